"""What people call each image: its file, or its row in a table. Kept beside the images, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from graftwork.names import printable

FILE = "names.jsonl"


@dataclass(frozen=True)
class StoredNames:
    """The names in a file, which is read whenever they are gone through: few are ever asked for."""

    file: Path

    def __iter__(self) -> Iterator[str]:
        with self.file.open(encoding="utf-8") as file:
            for line in file:
                yield str(json.loads(line))


def write_names(folder: Path, names: Iterable[str]) -> None:
    """Write a line for each image into an existing folder."""
    with (folder / FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(name) + "\n" for name in names)


def stored_names(folder: Path) -> StoredNames | None:
    """Return what `write_names` wrote; None where the images have no names."""
    return StoredNames(folder / FILE) if (folder / FILE).exists() else None


def names_of(names: Iterable[str] | None, numbers: Iterable[int]) -> dict[int, str]:
    """Return some images' names by number, fit to be shown, in one pass; none where the images have none."""
    wanted = set(numbers)
    return {n: printable(name) for n, name in enumerate(names) if n in wanted} if wanted and names is not None else {}
