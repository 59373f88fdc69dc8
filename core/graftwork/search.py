"""The search for a strategy: what a plugin that chooses one gets to see, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graftwork.ledger import Trial
from graftwork.scoring import SourceScores
from graftwork.settings import Use

Stack = tuple[Use, ...]


@dataclass(frozen=True)
class Search:
    """A task to find a strategy for. Test images are not among it."""

    strategies: Mapping[str, Stack]  # what params.yaml names, but for those that choose themselves
    scores: SourceScores
    labels_per_class: float
    past: Sequence[Trial]  # all that the ledger knows, of other tasks too
    trainable_share: Callable[[Stack], float]  # of the parameters; raises SettingsError for what can't be trained here
    train: Callable[[str, Stack, int], Trial]  # name, stack, number of the repeat: validation accuracy of one training
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Tried:
    """What became of one candidate; accuracies are fractions of 1, on validation."""

    name: str
    stack: Stack
    accuracies: tuple[float, ...]  # one for each repeat
    seconds: float  # of one training, mean
    fate: str  # why it went no further, or that it was chosen


@dataclass(frozen=True)
class Recommendation:
    """The stack that was chosen, and why."""

    name: str
    stack: Stack
    reasons: tuple[str, ...]
    tried: tuple[Tried, ...]  # the best first
    left_out: Mapping[str, str]  # candidate → why it wasn't tried

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, without seconds: they differ from machine to machine."""
        stored = asdict(self)
        stored["stack"] = plain(self.stack)
        for one, tried in zip(stored["tried"], self.tried, strict=True):
            del one["seconds"]
            one["stack"] = plain(tried.stack)
        return stored


def plain(stack: Stack) -> list[dict[str, Any]]:
    """Return a stack as plain values."""
    return [use.model_dump() for use in stack]


def stack_text(stack: Stack) -> str:
    """Return a stack as the ledger writes it."""
    return json.dumps(plain(stack), sort_keys=True)


def stack_from(stored: Sequence[Mapping[str, Any]]) -> Stack:
    """Return the stack that `plain` gave."""
    return tuple(Use.model_construct(**entry) for entry in stored)
