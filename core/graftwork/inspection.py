"""Inspect pictures before anything is trained on them: can each be decoded, and what does decoding leave out?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from graftwork.decoding import THREADS, decode, quietly, remark
from graftwork.progress import QUIET, Progress, Tally
from graftwork.settings import ImageFormat

AT_ONCE = 256  # pictures that the threads are given: all at once would take 2 kB for each


@dataclass(frozen=True)
class Inspection:
    """What was found of pictures, whose pixels weren't kept."""

    faults: list[str]  # of each, why it can't be read; empty where it can
    remarks: dict[str, int]  # what decoding leaves out, and of how many


def inspect(
    source: Callable[[int], Path | bytes | str], count: int, image: ImageFormat, progress: Progress = QUIET
) -> Inspection:
    """Decode each of `count` pictures once, as `source` gives them by number; a text says why one isn't there.

    Raises Interrupted when asked to stop.
    """
    faults: list[str] = []
    remarks: Counter[str] = Counter()
    tally = Tally(progress, count, "pictures")
    with quietly(), ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, count, AT_ONCE):
            some = range(start, min(start + AT_ONCE, count))
            for fault, left_out in pool.map(lambda number: _inspected(source(number), image), some):
                faults.append(fault)
                remarks.update([left_out] if left_out else ())
                tally.count(1)
    return Inspection(faults, dict(sorted(remarks.items())))


def _inspected(source: Path | bytes | str, image: ImageFormat) -> tuple[str, str]:
    """Return why a picture can't be read, or nothing, and what is left out of one that can."""
    if isinstance(source, str):
        return source, ""
    found = decode(source, image)
    return (found, "") if isinstance(found, str) else ("", remark(source))
