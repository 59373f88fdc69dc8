"""Stages whose trainings are shared by real processes, as torchrun starts them and as `engine.processes` does."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.flows.conftest import begun, call, edit

pytest.importorskip("accelerate", reason="the extra ddp isn't installed")
pytestmark = pytest.mark.slow
LONG = ("pretrain: {epochs: 2", "pretrain: {epochs: 100000")
WEIGHTS = Path("weights/source/model.safetensors")


def shared(folder: Path) -> None:
    edit(folder / "params.yaml", "memory_format: contiguous}", "memory_format: contiguous, processes: 2}")


def require_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.allclose(tensor.float(), other[name].float(), rtol=1e-4, atol=1e-5), name


def test_torchrun_trains_what_one_process_does(computed: Path) -> None:
    one = load_file(computed / WEIGHTS)
    (computed / WEIGHTS).unlink()
    command = ["torchrun", "--nproc-per-node", "2", "--no-python", "graftwork", "stage", "pretrain", "source"]
    call(computed, *command)
    two = load_file(computed / WEIGHTS)
    require_close(one, two)
    assert any(not torch.equal(tensor, two[name]) for name, tensor in one.items()), "it was shared at all"


def test_a_setting_shares_every_training_of_a_run(computed: Path) -> None:
    alone = {
        path: load_file(computed / path) for path in [WEIGHTS, Path("weights/target/full_copy/seed-0.safetensors")]
    }
    shared(computed)
    edit(computed / "params.yaml", "  freeze: [full_copy, freeze]\n", "")
    said = call(computed, "graftwork", "run", "--without-prefect")
    assert "2 processes" in said
    assert json.loads((computed / "weights/engine/source.json").read_text())["processes"] == 2
    for path, tensors in alone.items():
        require_close(tensors, load_file(computed / path))
    assert "up to date" in call(computed, "dvc", "status")
    assert "up to date" in call(computed, "dvc", "repro")


@contextmanager
def training(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Yield the command of a long training and the processes that share it, the first one first."""
    shared(folder)
    edit(folder / "params.yaml", *LONG)
    with begun(folder, "graftwork", "stage", "pretrain", "source", until="epoch") as process:
        yield process, sorted(psutil.Process(process.pid).children(), key=lambda one: one.environ()["RANK"])


def test_a_process_that_dies_ends_the_training_within_seconds(computed: Path) -> None:
    with training(computed) as (process, members):
        assert len(members) == 2
        began = time.monotonic()
        members[1].kill()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 5, said
    assert "SIGKILL\n  where: process 2 of 2" in said and "Traceback" not in said
    assert time.monotonic() - began < 15
    assert not psutil.wait_procs(members, timeout=5)[1]


def test_processes_dont_outlive_the_one_that_started_them(computed: Path) -> None:
    with training(computed) as (process, members):
        process.kill()
    assert not psutil.wait_procs(members, timeout=10)[1]


def test_a_stop_ends_all_processes(computed: Path) -> None:
    with training(computed) as (process, members):
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert not psutil.wait_procs(members, timeout=10)[1]
