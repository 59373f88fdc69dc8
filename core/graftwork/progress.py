"""How a stage tells what it is doing, and learns that it shall stop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

TELL_SECONDS = 2.0


class Progress(Protocol):
    """What a stage calls while it works; a caller decides what becomes of it."""

    def log(self, message: str) -> None:
        """Tell something worth a line."""

    def advance(self, fraction: float, message: str) -> None:
        """Tell how much of the stage is done, from 0 to 1."""

    def check(self) -> None:
        """Raise Interrupted when the stage shall stop. Called every training step: it must be cheap."""


class Quiet:
    """Say nothing, never stop."""

    def log(self, message: str) -> None:
        """Drop the message."""

    def advance(self, fraction: float, message: str) -> None:
        """Drop the message."""

    def check(self) -> None:
        """Go on."""


QUIET = Quiet()  # for work that nobody watches


@dataclass(frozen=True)
class Part:
    """One of several equal parts of a stage's progress, which may go on at the same time; `done` is all of theirs."""

    whole: Progress
    done: list[float]
    index: int
    prefix: str

    def log(self, message: str) -> None:
        """Say something, behind the prefix."""
        self.whole.log(self.prefix + message)

    def advance(self, fraction: float, message: str) -> None:
        """Count a fraction of this part as its share of the whole."""
        self.done[self.index] = fraction
        self.whole.advance(sum(self.done) / len(self.done), self.prefix + message)

    def check(self) -> None:
        """Raise Interrupted when the run shall stop."""
        self.whole.check()

    def finish(self) -> None:
        """Count it as done, whatever it told."""
        self.done[self.index] = 1.0


def parts(whole: Progress, names: Iterable[str]) -> dict[str, Part]:
    """Divide a stage's progress into equal parts, each of which says its name."""
    names = list(names)
    done = [0.0] * len(names)
    return {name: Part(whole, done, index, f"{name}: ") for index, name in enumerate(names)}


class Tally:
    """Count what is done of so many things: a stop is heeded at each count, and work that takes longer is told of."""

    def __init__(self, progress: Progress, total: int, what: str) -> None:
        self._progress, self._total, self._what = progress, total, what
        self._done, self._told_at = 0, time.monotonic()

    def count(self, more: int) -> None:
        """Count some more. Raises Interrupted when the run shall stop."""
        self._progress.check()
        self._done += more
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._told_at = time.monotonic()
            self._progress.advance(self._done / max(1, self._total), f"{self._done:,} of {self._total:,} {self._what}")
