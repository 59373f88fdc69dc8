"""Choose a strategy by successive halving on validation (Jamieson, Talwalkar, AISTATS 2016, arXiv 1502.07943).

The resource that survivors get more of is repeats with other seeds: epochs would compare schedules cut short.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Annotated

from pydantic import Field

from graftwork.hookspecs import hookimpl
from graftwork.ledger import Trial
from graftwork.search import Recommendation, Search, Tried
from graftwork_plugins.strategies.shortlist import REFERENCE, Shortlist, shortlist

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
        return _Halving(search, self, shortlist(search, ledger=self.ledger)).result()


@dataclass
class _Halving:
    search: Search
    settings: Auto
    listed: Shortlist
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    fates: dict[str, str] = field(default_factory=dict)

    def result(self) -> Recommendation:
        self._try(REFERENCE, 1)
        self.listed.keep_probable(self.search, self._mean(REFERENCE))
        self.listed.keep_first(int(self._budget / 2 / self._cost(REFERENCE)))  # half of it is for the later rounds
        finalists = self._halve()
        self.fates |= dict.fromkeys(finalists, "among the last")
        winner, reason = self._winner(finalists)
        self.fates[winner] = "chosen"
        tried = sorted(self.trials, key=lambda name: (name != winner, -self._mean(name)))
        rows = tuple(self._row(name) for name in tried)
        return Recommendation(winner, self.listed.candidates[winner], (reason,), rows, self.listed.left_out)

    def _halve(self) -> list[str]:
        """Try all once, the better half of them twice, half of these four times …; full_copy goes on to the end."""
        for name in self.listed.candidates:
            self._try(name, 1)
        ranked, repeats = self._ranked(self.listed.candidates), 1
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

    def _winner(self, finalists: Sequence[str]) -> tuple[str, str]:
        """Return the best of the finalists if it is ahead of full_copy by more than a standard error, and why."""
        best = next(name for name in finalists if name != REFERENCE)
        gains = [a - b for a, b in zip(self._accuracies(best), self._accuracies(REFERENCE), strict=True)]
        error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
        ahead = fmean(gains) > error
        reason = (
            f"{best} reached {self._mean(best):.1%} on validation and {REFERENCE} {self._mean(REFERENCE):.1%}: "
            f"{100 * fmean(gains):+.1f} ± {100 * error:.1f} points over {len(gains)} paired trainings, "
            f"{'more' if ahead else 'not more'} than a standard error."
        )
        return (best if ahead else REFERENCE), reason

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
            held.append(self.search.train(name, self.listed.candidates[name], len(held)))
        self.search.tell(f"{name}: {self._mean(name):.1%} on validation, mean of {repeats}")

    def _ranked(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: -self._mean(name))

    def _mean(self, name: str) -> float:
        return fmean(self._accuracies(name))

    def _accuracies(self, name: str) -> list[float]:
        return [trial.validation_accuracy for trial in self.trials[name]]

    def _row(self, name: str) -> Tried:
        seconds = fmean(trial.seconds for trial in self.trials[name])
        return Tried(name, self.listed.candidates[name], tuple(self._accuracies(name)), seconds, self.fates[name])
