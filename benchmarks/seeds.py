"""The default job's fine-tunings – four strategies, five seeds each – one after the other and side by side.

Side by side they are forked processes of one thread each, as many at once as there are cores. Beside it what stacking
the seeds' parameters (`torch.func`, `vmap`) would give: the same steps of five models in one call.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.embedded import prepare_for, workspace
from benchmarks.measuring import Row, interleaved, ratios, spread
from graftwork.job import Trained
from graftwork.models import build_model
from graftwork.progress import Progress
from graftwork.side_by_side import side_by_side
from graftwork.stages import Context
from graftwork.stages.finetune import load_fitting
from graftwork.stages.fitting import Fitting
from graftwork.training import train

AIM, STEPS = 1.5, 20
Results = list[Trained]


def seed_rows(rounds: int = 3) -> list[Row]:
    """Compare whole fine-tunings, then single steps of five models."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        context = workspace(Path(folder))
        prepare_for(context, *context.settings.strategies)
        results: dict[str, Results] = {}

        def contender(name: str, threads: int, at_once: int) -> Callable[[], None]:
            def run() -> None:
                results[name] = _trained(context, threads, at_once)

            return run

        seconds = interleaved(
            {
                "in turn": contender("in turn", cores, 1),
                "side by side": contender("side by side", 1, cores),
            },
            rounds,
            warm_up=False,
        )
        equal = _same(_trained(context, 1, 1), results["side by side"])
    found = ratios(seconds["in turn"], seconds["side by side"])
    stacked = _stacked(context, rounds)
    return [
        Row("in turn, all cores, s", "–", *spread(seconds["in turn"], 1)),
        Row("side by side, s", "–", *spread(seconds["side by side"], 1)),
        Row("in turn / side by side", f"≥ {AIM}", *spread(found), statistics.median(found) >= AIM),
        Row("weights equal to those of one thread in turn, to the bit", "yes", "yes" if equal else "no", "–", equal),
        Row("a step of five models: in turn / stacked", "–", *spread(stacked)),
    ]


def _trained(context: Context, threads: int, at_once: int) -> Results:
    """Train every seed of every strategy."""
    engine = context.settings.engine.model_copy(update={"threads": threads, "side_by_side": at_once})
    other = replace(context, settings=context.settings.model_copy(update={"engine": engine}))
    tasks: dict[str, Callable[[Progress], Trained]] = {}
    for name in context.settings.strategies:
        fitting = load_fitting(other, name)
        tasks |= {f"{name}, seed {seed}": partial(_train, fitting, seed) for seed in context.settings.seeds}
    return side_by_side(tasks, at_once, context.progress)


def _train(fitting: Fitting, seed: int, progress: Progress) -> Trained:
    job = fitting.job(seed, progress)
    trained = train(job)
    job.checkpoints.remove()  # or the next round would find it done
    return trained


def _same(ones: Results, others: Results) -> bool:
    pairs = zip(ones, others, strict=True)
    return all(torch.equal(tensor, other.tensors[name]) for one, other in pairs for name, tensor in one.tensors.items())


def _stacked(context: Context, rounds: int) -> list[float]:
    """Return how much longer forward and backward of five models take in turn than stacked, batch normalisation fixed.

    A fixed one, as its running statistics can't be written under `vmap`; that spares the stacked ones work.
    """
    models = [build_model(context.settings, context.registry, 5, seed).eval() for seed in range(5)]
    parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]
    images, labels = torch.randn(50, 1, 28, 28), torch.arange(50) % 5

    def loss(own: dict[str, Tensor], held: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(models[0], (own, held), (images,)), labels)

    def one(model: nn.Module) -> None:
        F.cross_entropy(model(images), labels).backward()
        model.zero_grad()

    def times(work: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            started = time.perf_counter()
            for _ in range(STEPS):
                work()
            return time.perf_counter() - started

        return run

    together = vmap(grad(loss), in_dims=(0, 0))
    seconds = interleaved(
        {
            "in turn": times(lambda: [one(model) for model in models]),
            "stacked": times(lambda: together(parameters, buffers)),
        },
        rounds,
    )
    return ratios(seconds["in turn"], seconds["stacked"])
