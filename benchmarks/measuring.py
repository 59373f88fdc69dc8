"""Measure contenders in turn, so that a busy machine is busy for all of them, and tabulate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    what: str
    aim: str
    measured: str
    spread: str
    met: bool | None = None  # None: no aim


def interleaved(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender in each round; the first, unmeasured round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratios(slow: list[float], fast: list[float]) -> list[float]:
    """Return how many times longer `slow` took than `fast`, round by round."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


def spread(values: list[float], digits: int = 2) -> tuple[str, str]:
    """Return the median, and the range, as texts."""
    return f"{statistics.median(values):.{digits}f}", f"{min(values):.{digits}f}–{max(values):.{digits}f}"


def table(rows: list[Row]) -> str:
    lines = ["| what | aim | measured | spread | met |", "|---|---|---:|---:|---|"]
    for row in rows:
        met = "–" if row.met is None else "yes" if row.met else "**no**"
        lines.append(f"| {row.what} | {row.aim} | {row.measured} | {row.spread} | {met} |")
    return "\n".join(lines)
