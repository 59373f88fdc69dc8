"""How long a training takes as there is more of it: images, parameters, strategies × seeds; growth.svg shows all.

Each is a table with the exponent of the power law that fits: 1 means that twice as much takes twice as long. About 7
minutes on 2 idle cores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.embedded import prepare_for, workspace
from benchmarks.growth_plot import Growth, drawing
from benchmarks.measuring import Section, interleaved
from graftwork.progress import Quiet
from graftwork.stages import Context
from graftwork.stages.finetune import load_fitting
from graftwork.stages.fitting import Fitting
from graftwork.training import train
from graftwork.workspace import run_stage

PLOT = "growth.svg"
STRATEGY, BATCH = "full_copy", 128
IMAGES = (1024, 2048, 4096, 8192, 16384)
MODELS = ("test_resnet", "resnet10t", "resnet18", "resnet34")  # of a kind, by size
TRAININGS = ((1, 2), (2, 2), (2, 4), (4, 4))  # strategies × seeds
STRATEGIES = ("scratch", "full_copy", "freeze", "regularized")


def growth(rounds: int = 3) -> Section:
    """Return the tables with the plot."""
    with tempfile.TemporaryDirectory() as folder:
        context = workspace(Path(folder))
        prepare_for(context, *STRATEGIES)
        images, parameters = by_images(context, IMAGES, rounds), by_parameters(context, MODELS, rounds)
        found = [images, parameters, by_trainings(context, TRAININGS, rounds)]
    tables = "\n\n".join(one.table() for one in found)
    link = f"![Seconds against images, parameters and trainings, all axes logarithmic]({PLOT})"
    return Section(f"{tables}\n\n{link}", {PLOT: drawing(found)})


def by_images(context: Context, counts: Sequence[int], rounds: int) -> Growth:
    """Train one epoch on so many images; where there are fewer, they come again."""
    fitting = load_fitting(context, STRATEGY)
    runs = {f"{count:,}": _run(_with_images(fitting, count)) for count in counts}
    return _measured("images", counts, runs, rounds)


def by_parameters(context: Context, models: Sequence[str], rounds: int, images: int = 4 * BATCH) -> Growth:
    """Train models of rising size from scratch on the same images."""
    sizes, runs = [], {}
    for name in models:
        model = context.settings.model.model_copy(update={"settings": {"name": name}})
        own = replace(context, settings=context.settings.model_copy(update={"model": model}))
        fitting = _with_images(replace(load_fitting(context, STRATEGY), context=own, start={}), images)
        sizes.append(sum(parameter.numel() for parameter in fitting.target(0).model.parameters()))
        runs[f"{sizes[-1]:,} ({name})"] = _run(fitting)
    return _measured("parameters", sizes, runs, rounds)


def by_trainings(context: Context, grid: Sequence[tuple[int, int]], rounds: int) -> Growth:
    """Run the finetune stage of so many strategies, each with so many seeds."""

    def run(strategies: int, seeds: int) -> None:
        settings = context.settings.model_copy(update={"seeds": tuple(range(seeds))})
        for name in STRATEGIES[:strategies]:
            run_stage(replace(context, settings=settings), "finetune", name)

    runs = {f"{a * b} ({a} × {b})": partial(run, a, b) for a, b in grid}
    return _measured("strategies × seeds", [a * b for a, b in grid], runs, rounds)


def _measured(what: str, amounts: Sequence[float], runs: dict[str, Callable[[], object]], rounds: int) -> Growth:
    seconds = interleaved(runs, rounds)
    return Growth(what, tuple(amounts), tuple(runs), tuple(seconds.values()))


def _with_images(fitting: Fitting, count: int) -> Fitting:
    whole = fitting.train
    repeated = whole.take(torch.arange(count) % len(whole))
    training = fitting.training.model_copy(update={"epochs": 1, "batch_size": BATCH})
    return replace(fitting, train=repeated, training=training)


def _run(fitting: Fitting) -> Callable[[], None]:
    def run() -> None:
        job = fitting.job(0, Quiet())
        train(job)
        job.checkpoints.remove()

    return run
