"""Time several ways of doing one thing, in turn, and leave those early that are far behind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

BEHIND = 1.5  # times the best of its group: after one bout no more are needed
WARMING = 2.0  # times as much is allowed to a warm-up
ROUNDS = 5  # of those that are left
AHEAD = 0.95  # of the usual one's seconds: a smaller difference may be noise

C = TypeVar("C", bound=Hashable)


class Unfit(Exception):  # noqa: N818  # a finding, not a fault
    """A contender can't be used; the message says why."""


@dataclass
class Race(Generic[C]):
    """What was timed so far."""

    seconds: dict[C, list[float]] = field(default_factory=dict)
    dropped: dict[C, str] = field(default_factory=dict)  # with the reason

    def median(self, one: C) -> float:
        """Return the seconds of a contender that was timed."""
        return statistics.median(self.seconds[one])

    @property
    def left(self) -> list[C]:
        """Those that went all the way."""
        return [one for one in self.seconds if one not in self.dropped]


def race(
    bouts: Mapping[C, Callable[[], float]], budget_seconds: float, group: Callable[[C], Hashable] = lambda _: 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Race[C]:  # fmt: skip
    """Time every contender: a warm-up and a bout each, then rounds in turn of those near the best of their group.

    A bout returns seconds, or raises Unfit. There are as many rounds as the
    budget allows, one at least and ROUNDS at most.
    """
    ends, found = clock() + budget_seconds, Race[C]()
    for one, bout in bouts.items():
        try:
            warm_up = bout()
            found.seconds[one] = [warm_up]
            _drop(found, group, WARMING * BEHIND)
            if one not in found.dropped:
                found.seconds[one] = [bout()]
        except Unfit as error:
            _disqualify(found, one, error)
    _drop(found, group, BEHIND)
    for number in range(ROUNDS):
        if number and clock() > ends:
            break
        for one in found.left:
            try:
                found.seconds[one].append(bouts[one]())
            except Unfit as error:
                _disqualify(found, one, error)
    return found


def _disqualify(found: Race[C], one: C, error: Unfit) -> None:
    found.seconds.pop(one, None)
    found.dropped[one] = str(error)


def _drop(found: Race[C], group: Callable[[C], Hashable], limit: float) -> None:
    """Leave out who takes more than `limit` times the seconds of the best of its group."""
    best: dict[Hashable, float] = {}
    for one in found.seconds:
        best[group(one)] = min(best.get(group(one), float("inf")), found.median(one))
    for one in found.left:
        behind = found.median(one) / best[group(one)]
        if behind > limit:
            found.dropped[one] = f"{behind:.1f} times the seconds of the fastest"


def choose(seconds: Mapping[C, float], usual: C) -> C:
    """Return the fastest; the usual one where it is among them and nothing is ahead of it clearly.

    So noise doesn't decide between what is equally fast.
    """
    fastest = min(seconds, key=lambda one: seconds[one])
    if usual in seconds and seconds[fastest] > AHEAD * seconds[usual]:
        return usual
    return fastest
