"""Choose a strategy by successive halving on validation (Jamieson, Talwalkar, AISTATS 2016, arXiv 1502.07943).

The resource that survivors get more of is repeats with other seeds: epochs would compare schedules cut short.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Annotated, Any

from pydantic import Field

from graftwork.errors import SettingsError
from graftwork.evidence import student_interval
from graftwork.hookspecs import hookimpl
from graftwork.ledger import Trial
from graftwork.search import Recommendation, Search, Stack, Tried, stack_text
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
MOST_REPEATS = 8


@dataclass(frozen=True)
class Auto:
    """Choose a stack: scores and past runs give a shortlist, successive halving on validation the winner.

    `seconds` of training are spent on trying. A number of `trainings` in their place makes the choice the same on any
    machine, and `ledger: false` the same after any past.
    """

    seconds: Annotated[float, Field(gt=0)] = 120.0
    trainings: Annotated[int, Field(ge=2)] | None = None
    ledger: bool = True

    @hookimpl
    def recommend(self, search: Search) -> Recommendation:
        """Return the winner: full_copy, unless another did better by more than a standard error."""
        return _Tournament(search, self).result()


@dataclass
class _Tournament:
    search: Search
    settings: Auto
    candidates: dict[str, Stack] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    fates: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def result(self) -> Recommendation:
        self._gather()
        self._try(REFERENCE, 1)
        self._leave_out_by_scores()
        self._fit_to_budget()
        survivors = self._halve()
        winner = self._winner(survivors)
        self.fates[winner] = "chosen"
        tried = sorted(self.trials, key=lambda name: (name != winner, -self._mean(name)))
        rows = tuple(self._row(name) for name in tried)
        return Recommendation(winner, self.candidates[winner], tuple(self.reasons), rows, self.left_out)

    def _gather(self) -> None:
        """Collect what can be trained here, the most promising first."""
        shelf = {name: tuple(Use.model_validate(use) for use in stack) for name, stack in SHELF.items()}
        known = {stack_text(stack) for stack in shelf.values()}
        own = {name: stack for name, stack in self.search.strategies.items() if stack_text(stack) not in known}
        past = self._past_gains()
        for name, stack in sorted(
            {**shelf, **own}.items(), key=lambda item: -_shrunk(past.get(stack_text(item[1]), []))
        ):
            gains = past.get(stack_text(stack), [])
            try:
                self.shares[name] = self.search.trainable_share(stack)
            except SettingsError as error:
                self.left_out[name] = f"can't be trained here: {error.what}"
                continue
            if name not in KEPT and len(gains) >= FEWEST_TASKS and student_interval(gains, CONFIDENCE).high < 0:
                self.left_out[name] = f"in {len(gains)} earlier tasks it fell {-fmean(gains):.1%} behind {REFERENCE}"
                continue
            self.candidates[name] = stack

    def _past_gains(self) -> dict[str, list[float]]:
        """Return by stack the gains over full_copy on validation, a mean for each earlier task with labels as few."""
        if not self.settings.ledger:
            return {}
        wanted = self.search.labels_per_class
        alike = [t for t in self.search.past if 1 / SIMILAR_BUDGET <= t.labels_per_class / wanted <= SIMILAR_BUDGET]
        reference = stack_text(tuple(Use.model_validate(use) for use in SHELF[REFERENCE]))
        base = {(t.task, t.seed): t.validation_accuracy for t in alike if t.stack == reference}
        gains: dict[str, dict[str, list[float]]] = {}
        for t in alike:
            if (t.task, t.seed) in base:
                gain = t.validation_accuracy - base[t.task, t.seed]
                gains.setdefault(t.stack, {}).setdefault(t.task, []).append(gain)
        return {stack: [fmean(held) for held in by_task.values()] for stack, by_task in gains.items()}

    def _leave_out_by_scores(self) -> None:
        """Leave out what rests on frozen features where a probe of them can't reach full_copy."""
        probe, reached = self.search.scores.scores["linear_probe_accuracy"], self._mean(REFERENCE)
        if probe is None or probe.high >= reached:
            return
        for name in [name for name in self.candidates if self.shares[name] < FROZEN_SHARE and name not in KEPT]:
            del self.candidates[name]
            self.left_out[name] = (
                f"trains {self.shares[name]:.1%} of the parameters, and a linear probe of the source's features is "
                f"expected to reach {probe.high:.1%} at most, {REFERENCE} {reached:.1%}"
            )

    def _fit_to_budget(self) -> None:
        """Keep as many candidates as can be tried once with half of the budget."""
        affordable = int(self._budget / 2 / self._cost(REFERENCE))
        names = [*KEPT, *(name for name in self.candidates if name not in KEPT)]
        for name in names[max(affordable, len(KEPT) + 1) :]:
            del self.candidates[name]
            self.left_out[name] = "the budget is too small to try it"

    def _halve(self) -> list[str]:
        """Try all once, the better half of them twice, half of these four times …; full_copy goes on to the end."""
        for name in self.candidates:
            self._try(name, 1)
        ranked, repeats = self._ranked(self.candidates), 1
        while repeats < MOST_REPEATS:
            kept = ranked[: max(2, math.ceil(len(ranked) / 2))]
            survivors = [*kept, *(REFERENCE for _ in range(REFERENCE not in kept))]
            if repeats * sum(map(self._cost, survivors)) > self._left:
                break
            fate = f"out after {repeats} training{'s' * (repeats > 1)}"
            self.fates |= dict.fromkeys(set(ranked) - set(survivors), fate)
            repeats *= 2
            for name in survivors:
                self._try(name, repeats)
            ranked = self._ranked(survivors)
        return ranked

    def _winner(self, finalists: Sequence[str]) -> str:
        """Return the best of the finalists if it is ahead of full_copy by more than a standard error."""
        self.fates |= dict.fromkeys(finalists, "among the last")
        best = next(name for name in finalists if name != REFERENCE)
        gains = [a - b for a, b in zip(self._accuracies(best), self._accuracies(REFERENCE), strict=True)]
        error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
        ahead = fmean(gains) > error
        self.reasons.append(
            f"{best} reached {self._mean(best):.1%} on validation and {REFERENCE} {self._mean(REFERENCE):.1%}: "
            f"{100 * fmean(gains):+.1f} ± {100 * error:.1f} points over {len(gains)} paired trainings, "
            f"{'more' if ahead else 'not more'} than a standard error."
        )
        return best if ahead else REFERENCE

    @property
    def _budget(self) -> float:
        return self.settings.trainings or self.settings.seconds

    @property
    def _left(self) -> float:
        return self._budget - sum(len(trials) * self._cost(name) for name, trials in self.trials.items())

    def _cost(self, name: str) -> float:
        """Return what a training takes: 1 where they are counted, else seconds."""
        trials = self.trials[name]
        return 1 if self.settings.trainings else fmean(trial.seconds for trial in trials)

    def _try(self, name: str, repeats: int) -> None:
        """Train a candidate until it was trained so often."""
        held = self.trials.setdefault(name, [])
        while len(held) < repeats:
            held.append(self.search.train(name, self.candidates[name], len(held)))
        self.search.tell(f"{name}: {self._mean(name):.1%} on validation, mean of {repeats}")

    def _ranked(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: -self._mean(name))

    def _mean(self, name: str) -> float:
        return fmean(self._accuracies(name))

    def _accuracies(self, name: str) -> list[float]:
        return [trial.validation_accuracy for trial in self.trials[name]]

    def _row(self, name: str) -> Tried:
        seconds = fmean(trial.seconds for trial in self.trials[name])
        return Tried(name, self.candidates[name], tuple(self._accuracies(name)), seconds, self.fates[name])


def _shrunk(gains: Sequence[float]) -> float:
    """Return a mean that few tasks can't carry far from zero."""
    return sum(gains) / (len(gains) + 2)
