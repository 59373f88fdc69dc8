"""Model soup: average several trainings of one start (Wortsman et al., ICML 2022, arXiv 2203.05482)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from graftwork.hookspecs import hookimpl
from graftwork.strategy import Phase, TargetModel
from graftwork.training_run import Outcome, Tensors


@dataclass(frozen=True)
class Soup:
    """Train `ingredients` times from the same weights and head, with other batches and draws, and average.

    Each takes all the epochs, so it costs as many trainings. `greedy` adds them by validation accuracy as long as
    the average gets no worse; `uniform` takes all. The statistics of batch normalisation are measured anew.
    """

    excludes: ClassVar[tuple[str, ...]] = ("WiSEFT",)
    ingredients: Annotated[int, Field(ge=1, le=20)] = 3
    recipe: Literal["greedy", "uniform"] = "greedy"

    @hookimpl
    def phases(self, target: TargetModel, epochs: int) -> list[Phase]:
        """Return one training for each ingredient."""
        return [Phase(f"ingredient {i + 1}", epochs, from_start=i > 0) for i in range(self.ingredients)]

    @hookimpl
    def training_ended(self, outcome: Outcome) -> None:
        """Stir."""
        measure = outcome.run.validation_accuracy
        ranked = sorted(outcome.finished.values(), key=measure, reverse=True)
        chosen = ranked if self.recipe == "uniform" else ranked[:1]
        best = measure(ranked[0])
        for candidate in ranked[1:] if self.recipe == "greedy" else []:
            accuracy = measure(outcome.run.with_fresh_statistics(average([*chosen, candidate])))
            if accuracy >= best:
                chosen, best = [*chosen, candidate], accuracy
        outcome.notes["ingredients"] = len(chosen)
        several = len(chosen) > 1
        outcome.tensors = outcome.run.with_fresh_statistics(average(chosen)) if several else chosen[0]


def average(ingredients: Sequence[Tensors]) -> Tensors:
    """Return the mean of each tensor; integers are taken from the first."""
    return {
        name: torch.stack([i[name] for i in ingredients]).mean(dim=0) if tensor.is_floating_point() else tensor
        for name, tensor in ingredients[0].items()
    }
