"""Recommend: find the stacks of strategies that leave it open, by trying stacks on validation."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from graftwork.errors import StateError
from graftwork.files import read_json, write_json
from graftwork.ledger import Ledger, Trial
from graftwork.progress import parts
from graftwork.rehearsal import rehearse_stack
from graftwork.scoring import SourceScores
from graftwork.search import Search, Stack, stack_from
from graftwork.seeds import derived_seed
from graftwork.stages import Context
from graftwork.stages.grafting import load_source_weights
from graftwork.stages.trials import Trials
from graftwork.storage import load_split
from graftwork.strategy import Strategy, build_strategy


def recommend(context: Context, _item: str) -> None:
    """Write weights/recommendation.json: for each strategy that chooses, what it chose and why; often none."""
    found: dict[str, Any] = {}
    for name, strategy in _choosers(context).items():
        chosen = strategy.recommend(own_search(context))
        context.progress.log(f"{name}: {chosen.name}. {' '.join(chosen.reasons)}")
        found[name] = chosen.as_json()
    write_json(context.layout.recommendation, found)


def stack_of(context: Context, name: str, source: str | None = None) -> Stack:
    """Return a strategy's stack: as params.yaml says, or as it was chosen.

    The choice is made for the first source. From another of which there are weights alone, a stack that needs images
    can't be trained: the best of those tried that needs none stands in for it.
    """
    stack = context.settings.strategies[name]
    if not build_strategy(name, stack, context.registry).chooses:
        return stack
    stored = read_json(context.layout.recommendation)
    if name not in stored:
        raise StateError(
            f"Nothing was chosen yet for the strategy {name!r}", where=str(context.layout.recommendation),
            fix="graftwork run, or dvc repro",
        )  # fmt: skip
    chosen = stack_from(stored[name]["stack"])
    if source in context.settings.imports and _needs_images(context, chosen):
        return next((other for other in _ranked(stored[name]) if not _needs_images(context, other)), chosen)
    return chosen


def _needs_images(context: Context, stack: Stack) -> bool:
    return bool(build_strategy("candidate", stack, context.registry).needs().images)


def _ranked(stored: Mapping[str, Any]) -> list[Stack]:
    """Return the stacks that were tried: those that went furthest first, and of these the most accurate."""
    tried = [one for one in stored["tried"] if one["accuracies"]]
    best = sorted(tried, key=lambda one: (-len(one["accuracies"]), -fmean(one["accuracies"])))
    return [stack_from(one["stack"]) for one in best]


def own_search(context: Context) -> Search:
    """Return the search for the workspace's own task."""
    settings, layout = context.settings, context.layout
    splits = [load_split(layout.split("target", part)) for part in ("train", "validation")]
    trials = Trials(context, load_source_weights(context, settings.source), splits[0], splits[1], settings.finetune)
    return search_on(trials, SourceScores.from_json(read_json(layout.score(settings.source))))


def search_on(trials: Trials, scores: SourceScores) -> Search:
    """Return the search for the task of these trials, which are kept in the ledger."""
    context, settings = trials.context, trials.context.settings
    choosers = _choosers(context)

    def train(name: str, stack: Stack, repeat: int) -> Trial:
        seed = derived_seed(settings.seed, "search", repeat) % 2**31  # apart from the seeds that are compared
        return trials.run(name, stack, seed, parts(context.progress, [name])[name])

    return Search(
        strategies={name: stack for name, stack in settings.strategies.items() if name not in choosers},
        scores=scores,
        labels_per_class=len(trials.train) / (int(trials.train.labels.max()) + 1),
        past=Ledger(context.layout.ledger).all(),
        trainable_share=lambda stack: rehearse_stack(settings, context.registry, "candidate", stack),
        train=train,
        tell=context.progress.log,
    )


def _choosers(context: Context) -> dict[str, Strategy]:
    built = {
        name: build_strategy(name, stack, context.registry) for name, stack in context.settings.strategies.items()
    }  # fmt: skip
    return {name: strategy for name, strategy in built.items() if strategy.chooses}
