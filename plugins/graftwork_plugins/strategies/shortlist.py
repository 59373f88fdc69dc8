"""Which stacks `auto` tries: those of a shelf and of params.yaml, less what scores and past trainings rule out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from graftwork.errors import SettingsError
from graftwork.evidence import student_interval
from graftwork.search import Search, Stack, stack_text
from graftwork.settings import Use

REFERENCE = "full_copy"
# What is tried beside the strategies of params.yaml, in this order as long as the ledger knows nothing better.
SHELF: dict[str, list[Any]] = {
    REFERENCE: ["full_copy"],
    "scratch": [],
    "lwf": ["full_copy", "lwf"],
    "stochnorm": ["full_copy", "stochnorm"],
    "wise_ft": ["full_copy", "wise_ft"],
    "l2_sp": ["full_copy", "l2_sp"],
    "layer_decay": ["full_copy", "layer_decay"],
    "freeze_embed": ["full_copy", {"freeze": {"until": 1}}],
    "delta": ["full_copy", "delta"],
    "soup": ["full_copy", "soup"],
    "lp_ft": ["full_copy", "lp_ft"],
    "feature_extract": ["full_copy", "feature_extract"],
    "lora": ["full_copy", "lora"],
}
KEPT = (REFERENCE, "scratch")  # never left out
FROZEN_SHARE = 0.1  # a stack that trains less of the parameters than this rests on the source's features
SIMILAR_BUDGET = 4.0  # labels per class count as alike up to this factor
FEWEST_TASKS = 3  # before the ledger may rule a candidate out
CONFIDENCE = 0.95


@dataclass
class Shortlist:
    """The candidates, the most promising first, and why others aren't among them."""

    candidates: dict[str, Stack] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)  # of the parameters, that each trains
    left_out: dict[str, str] = field(default_factory=dict)

    def leave_out(self, name: str, why: str) -> None:
        """Take a candidate off the list."""
        self.candidates.pop(name, None)
        self.left_out[name] = why

    def keep_probable(self, search: Search, reached: float) -> None:
        """Leave out what rests on frozen features where a probe of them can't reach what full_copy `reached`."""
        probe = search.scores.scores["linear_probe_accuracy"]
        if probe is None or probe.high >= reached:
            return
        for name in [name for name in self.candidates if self.shares[name] < FROZEN_SHARE and name not in KEPT]:
            self.leave_out(
                name,
                f"trains {self.shares[name]:.1%} of the parameters, and a linear probe of the source's features is "
                f"expected to reach {probe.high:.1%} at most, {REFERENCE} {reached:.1%}",
            )

    def keep_first(self, count: int) -> None:
        """Leave out all but the first, and those that are never left out."""
        names = [*KEPT, *(name for name in self.candidates if name not in KEPT)]
        for name in names[max(count, len(KEPT) + 1) :]:
            self.leave_out(name, "the budget is too small to try it")


def shortlist(search: Search, *, ledger: bool) -> Shortlist:
    """Return what can be trained here, ordered and thinned by what the ledger knows of earlier tasks."""
    gains = past_gains(search) if ledger else {}
    stacks = _stacks(search)
    found = Shortlist()
    for name in sorted(stacks, key=lambda name: -_shrunk(gains.get(stack_text(stacks[name]), []))):
        past = gains.get(stack_text(stacks[name]), [])
        try:
            found.shares[name] = search.trainable_share(stacks[name])
        except SettingsError as error:
            found.leave_out(name, f"can't be trained here: {error.what}")
            continue
        if name not in KEPT and len(past) >= FEWEST_TASKS and student_interval(past, CONFIDENCE).high < 0:
            found.leave_out(name, f"in {len(past)} earlier tasks it fell {-fmean(past):.1%} behind {REFERENCE}")
        else:
            found.candidates[name] = stacks[name]
    return found


def past_gains(search: Search) -> dict[str, list[float]]:
    """Return by stack the gains over full_copy on validation: a mean for each task that had about as many labels."""
    wanted = search.labels_per_class
    alike = [t for t in search.past if 1 / SIMILAR_BUDGET <= t.labels_per_class / wanted <= SIMILAR_BUDGET]
    reference = stack_text(reference_stack())
    base = {(t.task, t.seed): t.validation_accuracy for t in alike if t.stack == reference}
    gains: dict[str, dict[str, list[float]]] = {}
    for trial in alike:
        if (trial.task, trial.seed) in base:
            gain = trial.validation_accuracy - base[trial.task, trial.seed]
            gains.setdefault(trial.stack, {}).setdefault(trial.task, []).append(gain)
    return {stack: [fmean(held) for held in by_task.values()] for stack, by_task in gains.items()}


def reference_stack() -> Stack:
    """Return the stack that every other one has to beat."""
    return _parsed(SHELF[REFERENCE])


def _stacks(search: Search) -> dict[str, Stack]:
    """Return the shelf's stacks and those of params.yaml, each stack once."""
    shelf = {name: _parsed(stack) for name, stack in SHELF.items()}
    known = {stack_text(stack) for stack in shelf.values()}
    own = {name: stack for name, stack in search.strategies.items() if stack_text(stack) not in known}
    return shelf | {f"{name} of params.yaml" if name in shelf else name: stack for name, stack in own.items()}


def _parsed(stack: Sequence[Any]) -> Stack:
    return tuple(Use.model_validate(use) for use in stack)


def _shrunk(gains: Sequence[float]) -> float:
    """Return a mean that few tasks can't carry far from zero."""
    return sum(gains) / (len(gains) + 2)
