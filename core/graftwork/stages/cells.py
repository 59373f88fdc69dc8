"""Cells: train one strategy from one source with every label budget and seed of the sweep, and evaluate each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from graftwork.files import read_json, write_json
from graftwork.images import Indices, LabelledImages
from graftwork.ledger import Trial
from graftwork.params_file import sweep_of
from graftwork.selection import Selector
from graftwork.settings import Use
from graftwork.side_by_side import side_by_side
from graftwork.splits import label_budgets
from graftwork.stages import Context
from graftwork.stages.fetch import load_raw
from graftwork.stages.fitting import with_steps
from graftwork.stages.grafting import SourceWeights, load_source_weights
from graftwork.stages.recommend import stack_of
from graftwork.stages.trials import Trials
from graftwork.storage import labelled, load_split

REPEATABLE = (
    "key", "labels", "labels_per_class", "seed", "validation_accuracy", "test_accuracy", "trainable", "stored_bytes",
)  # fmt: skip


def cells(context: Context, item: str) -> None:
    """Write sweep/cells/<source>-<strategy>.json: a row for each label budget and seed, without seconds.

    Choices see validation alone, as in a run; each training's weights are evaluated on the test images and let go.
    """
    source, _, strategy = item.partition("-")
    seeds = context.settings.seeds
    stack = stack_of(context, strategy, source)
    if stack != stack_of(context, strategy):
        instead = ", ".join(use.name for use in stack) or "scratch"
        context.progress.log(f"The chosen stack needs images, of which {source} has none; in its place: {instead}")
    grid: list[tuple[int, Trials]] = context.compute(lambda: _grid(context, source, strategy, stack))
    tasks = {
        f"{budget} labels a class, seed {seed}": partial(trials.run, strategy, stack, seed)
        for budget, trials in grid
        for seed in seeds
    }
    side = context.choice("target").side_by_side
    rows = [_row(trial) for trial in side_by_side(tasks, side, context.progress, context.compute)]
    for place, (budget, _) in enumerate(grid):
        accuracy = sum(row["test_accuracy"] for row in rows[place * len(seeds) :][: len(seeds)]) / len(seeds)
        context.progress.log(f"{budget} labels a class: {accuracy:.1%} on test, mean of {len(seeds)} seeds")
    if context.team.leads:
        write_json(context.layout.cells(source, strategy), rows)


def _grid(context: Context, source: str, strategy: str, stack: tuple[Use, ...]) -> list[tuple[int, Trials]]:
    """Return the trials of each label budget; what their seeds share is ready before any is run."""
    weights = load_source_weights(context, source)
    grid = [(budget, _trials(context, weights, train)) for budget, train in _budgets(context)]
    for _, trials in grid:
        trials.ready(strategy, stack)
    return grid


def _budgets(context: Context) -> Iterator[tuple[int, LabelledImages]]:
    """Yield the label budgets with their images, each of which holds the images of those before it."""
    settings, layout = context.settings, context.layout
    data = settings.data["target"]
    raw, _ = load_raw(layout.raw("target"))
    wanted = sweep_of(settings).labels_per_class
    selector = Selector(context.registry.create("selection", data.selection))
    dropped = _dropped(read_json(layout.card("target")))
    chosen = label_budgets(raw, data, settings.seed, wanted, f"data.target ({data.path})", selector, dropped)
    for budget, indices in chosen.items():
        yield budget, labelled(raw, indices)


def _dropped(card: Mapping[str, Any]) -> Indices | None:
    """Return the numbers of the images that were left out as duplicates; None where an older card counts them alone."""
    found = card.get("dropped", [])
    return np.array(found, dtype=np.int64) if len(found) == card["duplicates_dropped"] else None


def _trials(context: Context, source: SourceWeights, train: LabelledImages) -> Trials:
    settings, layout = context.settings, context.layout
    validation, test = (load_split(layout.split("target", part)) for part in ("validation", "test"))
    training = with_steps(settings.finetune, len(train), sweep_of(settings).minimum_steps)
    return Trials(context, source, train, validation, training, test)


def _row(trial: Trial) -> dict[str, Any]:
    return {name: getattr(trial, name) for name in REPEATABLE}
