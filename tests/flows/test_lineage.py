"""A weight file tells how it came to be, wherever it is by then, and whether it still is what was made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from graftwork.errors import StateError, WeightsError
from graftwork.layout import Layout
from graftwork.lineage import lineage_of
from graftwork.run_records import read_records
from graftwork.weights import digest, load_weights, save_weights
from graftwork.weights_header import read_header
from tests.core.exports import MLP, release
from tests.flows.conftest import call, run


def lineage(workspace: Path, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call(workspace, "graftwork", "lineage", "--json", *arguments))
    return found


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_digest_without_torch_is_torchs(kind: torch.dtype, tmp_path: Path) -> None:
    found = release(MLP, size=4)
    tensors = {name: tensor.to(kind) for name, tensor in found.tensors.items()} | {"count": torch.tensor(3)}
    save_weights(tmp_path / "w.safetensors", tensors, found.contract)
    header = read_header(tmp_path / "w.safetensors")
    assert header.whole and header.sha256 == digest(tensors)
    assert header.contract["classes"] == list(found.contract.classes)


@pytest.mark.parametrize("content", [b"", b"\x05", b"\xff" * 16, b"\x02" + bytes(7) + b"{}", b"<html></html>"])
def test_what_is_no_weight_file_of_ours_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="no weight file of Graftwork's"):
        read_header(tmp_path / "w.safetensors")


def test_a_strategy_tells_every_step_from_the_data_to_the_weights(computed: Path) -> None:
    (found,) = lineage(computed, "full_copy", "--seed", "1")
    assert found["file"] == "weights/target/full_copy/seed-1.safetensors"
    assert found["state"] == "as recorded"
    assert found["provenance"]["strategy"] == "full_copy" and found["provenance"]["seed"] == 1
    steps = {step["stage"]: step for step in found["steps"]}
    names = list(steps)
    way = ("fetch@source", "augment@source", "pretrain@source", "transfer@full_copy", "finetune@full_copy")
    assert [name for name in names if name in way] == list(way), "the oldest first"
    last = steps["finetune@full_copy"]
    assert last["settings"]["finetune"]["lr"] == 0.01
    assert steps["transfer@full_copy"]["settings"]["strategies.full_copy"] == ["full_copy"]
    for split in ("train", "validation"):  # the data's hash of each split, as the stage read it
        path = f"data/prepared/target/{split}"
        assert last["made_of"][path] == steps["augment@target"]["made"][path]
    assert last["engine"]["threads"] == 1
    assert last["record"]["asked_by"] == found["record"]["asked_by"] == "graftwork run"
    assert len(found["record"]["commit"].split(" ")[0]) == 12
    assert found["record"]["versions"]["torch"] == torch.__version__
    assert steps["pretrain@source"]["record"]["files"].keys() == {"weights/source/model.safetensors"}


def test_records_name_who_asked_and_change_no_bits(computed: Path) -> None:
    file = Layout(computed).start("full_copy") / "start.safetensors"
    before = file.read_bytes()
    call(computed, "dvc", "repro", "--force", "--single-item", "transfer@full_copy")
    assert file.read_bytes() == before
    assert [record.asked_by for record in read_records(Layout(computed))][-1] == "dvc repro"


def test_a_file_that_was_changed_is_told_from_one_that_was_made(computed: Path) -> None:
    file = Layout(computed).tuned("full_copy") / "seed-0.safetensors"
    tensors, contract = load_weights(file)
    save_weights(
        file, {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, contract
    )
    done = run(computed, "graftwork", "lineage", str(file))
    assert done.returncode == 4
    assert "CHANGED: dvc.lock has another hash" in done.stdout and "changed after it was made" in done.stderr
    (other,) = lineage(computed, "full_copy", "--seed", "1")
    assert other["state"] == "as recorded", "its neighbour is as it was: DVC's cache knows what the folder held"
    bytes_ = bytearray(file.read_bytes())
    bytes_[-1] ^= 1
    file.write_bytes(bytes_)
    assert "its tensors aren't those" in run(computed, "graftwork", "lineage", str(file)).stdout


def test_a_copy_elsewhere_is_known_by_its_hash(computed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    shutil.copy(Layout(computed).tuned("freeze") / "seed-0.safetensors", copy)
    found = lineage_of(Layout(computed), copy)
    assert found.state == "as recorded" and found.record is not None and found.record.stage == "finetune@freeze"
    stranger = lineage_of(Layout(tmp_path / "elsewhere"), copy)
    assert stranger.state == "not recorded" and stranger.provenance["strategy"] == "freeze"


def test_what_was_replaced_since_is_said(computed: Path) -> None:
    yaml = YAML()
    lock = yaml.load(computed / "dvc.lock")
    lock["stages"]["pretrain@source"]["outs"][-1]["md5"] = "0" * 32  # as if it had been trained again
    assert lock["stages"]["pretrain@source"]["outs"][-1]["path"] == "weights/source/model.safetensors"
    yaml.dump(lock, computed / "dvc.lock")
    found = lineage_of(Layout(computed), Layout(computed).tuned("full_copy") / "seed-0.safetensors")
    steps = {step.stage: step for step in found.steps}
    assert steps["transfer@full_copy"].replaced == ("weights/source/model.safetensors",)
    assert "pretrain@source" not in steps, "dvc.lock has a later one, of which this file wasn't made"


def test_an_export_carries_its_lineage_out_of_the_workspace(computed: Path, tmp_path: Path) -> None:
    call(computed, "graftwork", "export", "--strategy", "full_copy", "--format", "all", "--to", str(tmp_path / "out"))
    (found,) = lineage(tmp_path, str(tmp_path / "out"))
    assert found["state"] == "as recorded"
    assert [step["stage"] for step in found["steps"]][-1] == "finetune@full_copy"
    (tmp_path / "out" / "model.safetensors").write_bytes(b"x")
    done = run(tmp_path, "graftwork", "lineage", "out")
    assert done.returncode == 4 and "model.safetensors changed after the export" in done.stdout


def test_a_name_that_there_isnt_is_told_the_choices(computed: Path) -> None:
    done = run(computed, "graftwork", "lineage", "ful_copy")
    assert done.returncode == 4
    assert "Did you mean full_copy?" in done.stderr and "Traceback" not in done.stderr


def test_records_travel_with_the_remote(computed: Path, tmp_path: Path) -> None:
    from tests.flows.test_exchange import PULLS, PUSHES, clone_of, exchange

    call(computed, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    exchange(computed, PUSHES)
    clone = clone_of(computed)
    exchange(clone, PULLS)
    found = lineage_of(Layout(clone), Layout(clone).tuned("full_copy") / "seed-0.safetensors")
    assert found.record in read_records(Layout(computed))


def test_a_damaged_lock_is_told(computed: Path) -> None:
    (computed / "dvc.lock").write_text("stages: [")
    with pytest.raises(StateError, match="DVC's record can't be read"):
        lineage_of(Layout(computed), Layout(computed).tuned("full_copy") / "seed-0.safetensors")
