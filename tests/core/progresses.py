"""Progress that tests look at, or that ends a training where they want it to."""

from __future__ import annotations

from graftwork.errors import Interrupted
from graftwork.progress import Quiet


class Stopping(Quiet):
    """Ends a training before a step, counted from 1."""

    def __init__(self, stop_at: int) -> None:
        self.stop_at, self.steps = stop_at, 0

    def check(self) -> None:
        """Count a step."""
        self.steps += 1
        if self.steps == self.stop_at:
            raise Interrupted("now")


class Heard(Quiet):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.logs: list[str] = []

    def log(self, message: str) -> None:
        """Keep one."""
        self.logs.append(message)
