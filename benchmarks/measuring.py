"""Measure contenders in turn, so that a busy machine is busy for all of them, and tabulate."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    what: str
    aim: str
    measured: str
    spread: str
    met: bool | None = None  # None: no aim


@dataclass(frozen=True)
class Section:
    """What a part has to say that isn't rows: Markdown, and the files beside RESULTS.md that it points to."""

    text: str
    files: Mapping[str, str] = field(default_factory=dict)


def interleaved(
    contenders: dict[str, Callable[[], object]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[float]]:  # fmt: skip
    """Return the seconds of each contender in each round; a first, unmeasured round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + warm_up):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number or not warm_up:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratios(slow: list[float], fast: list[float]) -> list[float]:
    """Return how many times longer `slow` took than `fast`, round by round."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


def spread(values: list[float], digits: int = 2) -> tuple[str, str]:
    """Return the median, and the range, as texts."""
    return f"{statistics.median(values):.{digits}f}", f"{min(values):.{digits}f}–{max(values):.{digits}f}"


def joined(values: Sequence[float], digits: int = 2) -> str:
    """Return the median with the range behind it, as one text."""
    return "{} [{}]".format(*spread(list(values), digits))


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return any table: the first column to the left, the others to the right."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def slope(amounts: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent b of the power law seconds ∝ amount^b that fits best: least squares on logarithms.

    1: twice as much takes twice as long; 0: it takes no longer.
    """
    x, y = ([math.log(value) for value in values] for values in (amounts, seconds))
    return statistics.linear_regression(x, y).slope


def table(rows: list[Row]) -> str:
    lines = ["| what | aim | measured | spread | met |", "|---|---|---:|---:|---|"]
    for row in rows:
        met = "–" if row.met is None else "yes" if row.met else "**no**"
        lines.append(f"| {row.what} | {row.aim} | {row.measured} | {row.spread} | {met} |")
    return "\n".join(lines)
