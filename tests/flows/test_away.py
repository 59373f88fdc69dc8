"""Trainings on workers of Dask and of a work pool, each in a clone of its own, by a remote; with real processes."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
from prefect.states import Completed
from ruamel.yaml import YAML

from graftwork.errors import SettingsError, StateError
from graftwork.layout import Layout
from graftwork.ledger import Ledger, Trial
from graftwork.progress import Quiet
from graftwork_flows import runners
from graftwork_flows.orders import Order, done, known, unpack, versions
from graftwork_flows.pipeline import Node
from graftwork_flows.runners import Runner
from graftwork_flows.server import running_server
from tests.conftest import ROOT
from tests.flows.clusters import background, clone, cluster, free_port, wait_for_port
from tests.flows.conftest import call, commit, edit, environment, run

WENT_OUT = ("weights/source", "weights/target/scratch", "weights/target/full_copy", "weights/target/freeze")


def digests(folder: Path) -> dict[str, str]:
    """Return the hashes of the files that training made."""
    files = [file for name in WENT_OUT for file in sorted((folder / name).rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def locked(folder: Path) -> dict[str, str]:
    """Return the hashes in dvc.lock, the report's left out, which names the seconds."""
    stages = YAML(typ="safe").load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for name, stage in stages.items() if name != "report" for out in stage["outs"]}


def worked(home: Path) -> bool:
    """Tell whether a worker trained anything in its clone."""
    return any((home / ".graftwork" / "away").glob("*/weights/**/*.safetensors"))


@pytest.fixture
def site(template: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A workspace with a directory as its remote, committed, and the address of its Prefect server."""
    folder = Path(shutil.copytree(template, tmp_path / "workspace"))
    call(folder, "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    commit(folder)
    call(folder, "graftwork", "server", "start")
    server = running_server(folder)
    assert server is not None
    yield folder, server.url
    run(folder, "graftwork", "server", "stop")


def test_a_trial_that_was_evaluated_anew_comes_back_too(tmp_path: Path) -> None:
    ledger, node = Ledger(Layout(tmp_path).ledger), Node("cells@a-b", ("graftwork", "stage", "cells", "a-b"), ())
    trial = Trial("k", "t", "a", "b", "[]", 10, 5.0, 0, 0.5, 1.0, 1, 1, test_accuracy=0.5, test_sha256="former")
    ledger.add(replace(trial, key="other"))
    ledger.add(trial)
    before = known(tmp_path)
    ledger.add(replace(trial, test_accuracy=0.75, test_sha256="new"))
    found = done(tmp_path, node, "computed", {}, before)
    assert found.trials == [asdict(replace(trial, test_accuracy=0.75, test_sha256="new"))]


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_without_any_the_run_can_be_stopped(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    pytest.importorskip("prefect_dask", reason="the extra dask isn't installed")
    folder, url = site
    edit(folder / "params.yaml", "pretrain: {epochs: 2", "pretrain: {epochs: 2000")
    with cluster(folder, tmp_path, url) as (address, workers):
        command = ["graftwork", "run", "--runner", f"dask:{address}"]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
        home = busy(workers)
        dead = workers[home]
        descendants = psutil.Process(dead.pid).children(recursive=True)
        dead.kill()
        assert not psutil.wait_procs(descendants, timeout=10)[1], "its stage dies with it"
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said
    (other,) = set(workers) - {home}
    assert worked(other)
    assert "up to date" in call(folder, "dvc", "status")


def busy(workers: dict[Path, subprocess.Popen[bytes]]) -> Path:
    """Wait until a worker trains, and return its clone."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for home in workers:
            if any((home / ".graftwork" / "away").glob("*/.graftwork/checkpoints/**/newest")):
                return home
        time.sleep(0.1)
    raise AssertionError("no worker began to train")


@pytest.mark.slow
def test_stopping_the_run_stops_the_workers_and_the_next_run_goes_on(site: tuple[Path, str], tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask", reason="the extra dask isn't installed")
    folder, url = site
    good = (folder / "params.yaml").read_text()
    edit(folder / "params.yaml", "pretrain: {epochs: 2", "pretrain: {epochs: 100000")
    with cluster(folder, tmp_path, url, workers=1) as (address, workers):
        command = ["graftwork", "run", "--runner", f"dask:{address}"]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)
        home = busy(workers)
        stages = psutil.Process(workers[home].pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, said
        assert not psutil.wait_procs(stages, timeout=30)[1]
        (folder / "params.yaml").write_text(good)
        call(folder, "graftwork", "run", "--runner", f"dask:{address}")
    assert "up to date" in call(folder, "dvc", "status")


@pytest.mark.slow
@pytest.mark.parametrize(("runner", "package"), [("dask:2", "prefect_dask"), ("ray", "prefect_ray")])
def test_a_cluster_on_this_machine_needs_no_remote_and_trains_a_sweeps_cells(
    computed: Path, runner: str, package: str
) -> None:
    pytest.importorskip(package, reason=f"the extra {runner.partition(':')[0]} isn't installed")
    try:
        assert "labels a class" in call(computed, "graftwork", "sweep", "--runner", runner)
        assert "up to date" in call(computed, "dvc", "status", "sweep/dvc.yaml")
        cells = json.loads((computed / "sweep" / "cells" / "source-full_copy.json").read_text())
        assert len(cells) == 4
        (computed / ".graftwork" / "ledger.sqlite").unlink()  # or what came back wouldn't be trained here
        call(computed, "graftwork", "stage", "cells", "source-full_copy")
        assert json.loads((computed / "sweep" / "cells" / "source-full_copy.json").read_text()) == cells
    finally:
        run(computed, "graftwork", "server", "stop")


@pytest.mark.slow
def test_workers_in_clones_of_their_own_compute_what_one_machine_does_by_an_s3_server(
    template: Path, computed_template: Path, tmp_path: Path
) -> None:
    pytest.importorskip("prefect_dask", reason="the extra dask isn't installed")
    pytest.importorskip("dvc_s3", reason="dvc-s3 isn't installed")
    pytest.importorskip("moto", reason="moto isn't installed")
    import boto3

    folder, port = Path(shutil.copytree(template, tmp_path / "workspace")), free_port()
    keys = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret-of-mine", "AWS_DEFAULT_REGION": "us-east-1"}
    endpoint = f"http://127.0.0.1:{port}"
    with background(["moto_server", "-H", "127.0.0.1", "-p", str(port)], tmp_path, tmp_path / "moto.log"):
        wait_for_port(port)
        boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="me", aws_secret_access_key="x"
        ).create_bucket(Bucket="bucket")
        call(folder, "dvc", "remote", "add", "-d", "store", "s3://bucket/graftwork")
        call(folder, "dvc", "remote", "modify", "store", "endpointurl", endpoint)
        for key, value in (("access_key_id", "me"), ("secret_access_key", "secret-of-mine")):
            call(folder, "dvc", "remote", "modify", "--local", "store", key, value)
        commit(folder)
        call(folder, "graftwork", "server", "start")
        server = running_server(folder)
        assert server is not None
        try:
            with cluster(folder, tmp_path, server.url, **keys) as (address, workers):
                said = call(folder, "graftwork", "run", "--runner", f"dask:{address}")
        finally:
            run(folder, "graftwork", "server", "stop")
    assert "report: " in said
    assert digests(folder) == digests(computed_template)
    assert locked(folder) == locked(computed_template)
    assert all(map(worked, workers)), "both took part"
    assert all("nothing to commit" in call(home, "git", "status") for home in workers)
    assert "up to date" in call(folder, "dvc", "status")
    assert list((folder / ".graftwork" / "timings").iterdir())
    assert "flow run transfer-" in call(folder, "graftwork", "lineage", "weights/source/model.safetensors")
    secrets = [
        file
        for home in workers
        for file in home.rglob("*")
        if file.is_file() and b"secret-of-mine" in file.read_bytes()
    ]
    assert not secrets, "credentials don't travel"


@pytest.mark.slow
def test_stages_run_on_process_workers_of_a_work_pool(
    site: tuple[Path, str], computed_template: Path, tmp_path: Path
) -> None:
    folder, url = site
    homes = [clone(folder, tmp_path / f"clone-{number}") for number in (1, 2)]
    call(folder, "prefect", "work-pool", "create", "stages", "--type", "process")
    page = (ROOT / "docs" / "scaling.md").read_text()
    (folder / "away.yaml").write_text(page[page.index("# away.yaml") :].partition("```")[0])
    call(folder, "prefect", "--no-prompt", "deploy", "--prefect-file", "away.yaml", "--all")
    worker = ["prefect", "worker", "start", "--pool", "stages", "--type", "process", "--limit", "1"]

    def own(home: Path) -> dict[str, str]:
        own = {"GRAFTWORK_WORKSPACE": str(home), "PREFECT_API_URL": url, "PREFECT_HOME": str(home / ".prefect")}
        return {**own, "PREFECT_WORKER_QUERY_SECONDS": "1"}

    with (
        background(worker, homes[0], tmp_path / "worker-1.log", **own(homes[0])),
        background(worker, homes[1], tmp_path / "worker-2.log", **own(homes[1])),
    ):
        call(folder, "graftwork", "run", "--runner", "pool:stage/away")
    assert digests(folder) == digests(computed_template)
    assert all(map(worked, homes))
    assert "up to date" in call(folder, "dvc", "status")


@pytest.mark.parametrize("text", ["dusk", "threads:4", "pool", "dask4"])
def test_an_unknown_runner_is_told_with_examples(text: str) -> None:
    with pytest.raises(SettingsError, match="There is no runner") as caught:
        Runner.named(text)
    assert "dask:tcp://" in caught.value.expected


def test_a_runner_is_read_from_the_environment_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Runner.named("") == Runner("threads")
    monkeypatch.setenv("GRAFTWORK_RUNNER", "pool:stage/away")
    assert Runner.named("") == Runner("pool", "stage/away")
    assert Runner.named("dask:tcp://a:1") == Runner("dask", "tcp://a:1")
    assert Runner.named("dask:2").near and not Runner.named("dask:tcp://a:1").near


def an_order(**changes: object) -> Order:
    usual = {
        "stage": "pretrain@source", "project": "mine", "texts": {}, "inputs": [], "remote": "", "remote_settings": {},
        "cache": "", "proof": "", "versions": versions(), "asked_by": "a test",
    }  # fmt: skip
    return Order(**{**usual, **changes})  # type: ignore[arg-type]


def test_a_worker_with_other_versions_refuses() -> None:
    an_order().check_versions()
    with pytest.raises(StateError, match="This worker has torch") as caught:
        an_order(versions={**versions(), "torch": "1.0"}).check_versions()
    assert "torch 1.0" in caught.value.expected


def test_a_disk_is_shared_only_where_the_proof_can_be_read(tmp_path: Path) -> None:
    proof = tmp_path / "same-disk"
    proof.write_text("abc")
    assert an_order(cache=str(tmp_path), proof=f"{proof}\nabc").shares_disk
    assert not an_order(cache=str(tmp_path), proof=f"{proof}\nother").shares_disk
    assert not an_order(cache=str(tmp_path), proof=f"{tmp_path / 'none'}\nabc").shares_disk
    assert not an_order(proof=f"{proof}\nabc").shares_disk


def test_what_an_order_brought_goes_with_the_next_that_lacks_it(tmp_path: Path) -> None:

    unpack(an_order(texts={"params.yaml": "a", "sweep/dvc.yaml": "b"}), tmp_path)
    (tmp_path / "own").write_text("the worker's")
    unpack(an_order(texts={"params.yaml": "c"}), tmp_path)
    assert (tmp_path / "params.yaml").read_text() == "c" and (tmp_path / "own").exists()
    assert not (tmp_path / "sweep" / "dvc.yaml").exists()


def test_a_server_that_is_away_for_a_while_ends_no_stage() -> None:
    answers = iter([httpx.ConnectError("refused"), httpx.ReadTimeout("late"), SimpleNamespace(state=Completed())])

    def read(_: object) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = SimpleNamespace(read_flow_run=read)
    assert runners._final(client, "id", Quiet()).is_completed()


def test_an_order_writes_nothing_outside_of_its_folder(tmp_path: Path) -> None:

    with pytest.raises(StateError, match="outside of its folder"):
        unpack(an_order(texts={"../params.yaml": "x"}), tmp_path / "here")
    assert not list(tmp_path.rglob("params.yaml"))
