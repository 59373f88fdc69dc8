"""Graftwork against other libraries on one job; those that aren't installed are listed as such (peers.txt).

About 7 minutes with all of them installed, 4 with none, on 2 idle cores.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from torch import nn

from benchmarks.measuring import Section, columns, joined, ratios
from benchmarks.peer_job import PeerJob
from benchmarks.peer_loops import fastai, lightning, timm_recipe, transformers, tutorial
from graftwork.evidence import student_interval
from graftwork.progress import Quiet
from graftwork.settings import Engine
from graftwork.training import train

Contender = Callable[[PeerJob, int], nn.Module]  # the job, a seed → the trained model
TUTORIAL = "torchvision + DataLoader, 0 workers"
PLAIN = "graftwork, float32, contiguous"
LIBRARIES: dict[str, tuple[str, Contender]] = {
    "fastai, fine_tune": ("fastai", fastai),
    "Lightning, BaseFinetuning": ("lightning", lightning),
    "Hugging Face Trainer": ("transformers", transformers),
}
HEAD = ("who", "seconds", "tutorial's seconds / its", "test accuracy, %", "points over the tutorial's, 95 %")


def peers(rounds: int = 3, images: int | None = 4096) -> Section:
    """Return the table of all contenders, and below it who is missing."""
    with tempfile.TemporaryDirectory() as folder:
        job = PeerJob.prepare(Path(folder), images)
        missing = [name for name, (module, _) in LIBRARIES.items() if find_spec(module) is None]
        seconds, accuracies = _measure(job, _contenders(job, missing), rounds)
    rows = [
        (
            name, joined(seconds[name], 1), joined(ratios(seconds[TUTORIAL], seconds[name])),
            joined([100 * value for value in accuracies[name]], 1), _gain(accuracies[name], accuracies[TUTORIAL]),
        )
        for name in seconds
    ]  # fmt: skip
    absent = [(name, "not installed", "–", "–", "–") for name in missing]
    return Section(columns(HEAD, [*rows, *absent]))


def _contenders(job: PeerJob, missing: list[str]) -> dict[str, Contender]:
    here = {f"{name} {version(module)}": run for name, (module, run) in LIBRARIES.items() if name not in missing}
    engine = fastest_engine(job)
    fast = f"graftwork, {engine.precision}, {engine.memory_format} (the fastest of four)"
    return {
        TUTORIAL: tutorial,
        "torchvision + DataLoader, 2 workers": partial(tutorial, workers=2),
        f"timm {version('timm')}'s recipe": timm_recipe,
        **here,
        PLAIN: ours,
        fast: lambda job, seed: ours(job.on(engine), seed),
    }


def ours(job: PeerJob, seed: int) -> nn.Module:
    """Train as the finetune stage does."""
    fitting = replace(job.fitting)  # which remembers nothing of another round
    training = fitting.job(seed, Quiet())
    trained = train(training)
    training.checkpoints.remove()  # else the next round would find the work done, and what its trunk computed
    shutil.rmtree(fitting.context.layout.features, ignore_errors=True)
    training.target.model.load_state_dict(trained.tensors)
    return training.target.model


def fastest_engine(job: PeerJob, rounds: int = 3) -> Engine:
    """Return the arithmetic in which a few steps take least, as a user would find it."""
    now, short = job.fitting.context.settings.engine, job.short()
    choices = [
        now.model_copy(update={"precision": precision, "memory_format": layout})
        for precision, layout in product(("float32", "bfloat16"), ("contiguous", "channels_last"))
    ]
    took = {place: [_seconds(ours, short.on(engine), 0) for _ in range(rounds)] for place, engine in enumerate(choices)}
    return choices[min(took, key=lambda place: min(took[place]))]


def _measure(
    job: PeerJob, contenders: dict[str, Contender], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return everyone's seconds and accuracies; a round has one seed, and before the first all import and warm up."""
    for run in contenders.values():
        run(job.short(), 0)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    accuracies: dict[str, list[float]] = {name: [] for name in contenders}
    for seed, (name, run) in product(range(rounds), contenders.items()):
        started = time.perf_counter()
        model = run(job, seed)
        seconds[name].append(time.perf_counter() - started)
        accuracies[name].append(job.accuracy(model))
        print(f"{name}, round {seed + 1}: {seconds[name][-1]:.1f} s, {accuracies[name][-1]:.1%}", flush=True)
    return seconds, accuracies


def _gain(values: list[float], control: list[float]) -> str:
    """Return the mean difference in points, seed by seed, with Student's interval."""
    if len(values) < 2 or values is control:
        return "–"
    found = student_interval([100 * (value - other) for value, other in zip(values, control, strict=True)], 0.95)
    return f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"


def _seconds(run: Contender, job: PeerJob, seed: int) -> float:
    started = time.perf_counter()
    run(job, seed)
    return time.perf_counter() - started
