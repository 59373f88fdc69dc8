"""Look at everything that a run needs, whatever of it is broken, and say of each what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from graftwork.errors import GraftworkError, StateError
from graftwork_flows.console import say

Level = Literal["ok", "warning", "broken"]


@dataclass(frozen=True)
class Line:
    """One thing that was looked at."""

    level: Level
    name: str
    text: str
    fix: str = ""


Check = Callable[[Path], Iterator[Line]]


def print_diagnosis(root: Path, as_json: bool) -> None:
    """Print a line for each thing. Raises StateError where one is broken."""
    found = []
    for line in diagnose(root):  # torch takes seconds: what is known already is shown
        found.append(line)
        if not as_json:
            say(f"{line.level:<8} {line.name:<12} {line.text}")
            if line.fix:
                say(f"{'':<8} {'':<12} fix: {line.fix}")
    if as_json:
        say(json.dumps([asdict(line) for line in found], indent=2))
    broken = [line.name for line in found if line.level == "broken"]
    if broken:
        raise StateError(
            f"Broken: {', '.join(dict.fromkeys(broken))}", where=str(root), fix="as said beside each: graftwork doctor"
        )


def diagnose(root: Path) -> Iterator[Line]:
    """Yield what was found, in a workspace or outside of any. No check that fails keeps the others from being made."""
    from graftwork_flows.checkup import machine, software, state

    for check in (*software.CHECKS, *machine.CHECKS, *state.CHECKS):
        yield from _guarded(check, root)


def _guarded(check: Check, root: Path) -> Iterator[Line]:
    name = check.__name__.replace("_", " ")
    try:
        yield from check(root)
    except GraftworkError as error:
        where = f" ({error.where})" if error.where else ""
        yield Line("broken", name, f"{error.what}{where}", error.fix)
    except Exception as error:  # the point is to go on whatever is broken
        yield Line("broken", name, f"couldn't be looked at: {type(error).__name__}: {error}", "see what it says")


def is_workspace(root: Path) -> bool:
    """Tell whether a folder has settings or stages."""
    return (root / "params.yaml").is_file() or (root / "dvc.yaml").is_file()


def size_of(path: Path) -> int:
    """Return the bytes that a file, or all files of a folder, take; links are not followed."""
    if path.is_symlink() or not path.exists():
        return 0
    if path.is_file():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def amount(size: float) -> str:
    """Return bytes in words."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def free_bytes(path: Path) -> int:
    """Return what is free on the disk of a path, or of the nearest folder above it that exists."""
    place = next(folder for folder in (path, *path.parents) if folder.exists())
    return shutil.disk_usage(place).free
