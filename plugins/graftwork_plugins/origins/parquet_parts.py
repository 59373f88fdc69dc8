"""Whether the Parquet files of a data set are all there and whole, by their names and by how they begin and end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

NUMBERED = re.compile(r"(.*)-(\d{5})-of-(\d{5})(.*)")
MARK, LEAST_BYTES = b"PAR1", 12  # at both ends; before the last one stands the length of what is told


def is_whole(path: Path) -> bool:
    """Tell by its first and last bytes whether a file is Parquet, and not cut."""
    if path.stat().st_size < LEAST_BYTES:
        return False
    with path.open("rb") as file:
        begin = file.read(len(MARK))
        file.seek(-len(MARK), os.SEEK_END)
        return begin == file.read() == MARK


def gaps(names: Iterable[str]) -> list[str]:
    """Return the names that numbered ones, as train-00000-of-00005.parquet, say are there too, and aren't."""
    there: dict[tuple[str, str], dict[int, str]] = {}
    for found in filter(None, map(NUMBERED.fullmatch, names)):
        there.setdefault((found[1], found[3]), {})[int(found[2])] = found[4]
    return [
        f"{prefix}-{number:05}-of-{count}{next(iter(rests.values()))}"
        for (prefix, count), rests in there.items()
        for number in range(int(count))
        if number not in rests
    ]
