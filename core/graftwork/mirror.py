"""The mirror: a folder with files that somebody put there, looked in before the network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from graftwork.desk import Desk
from graftwork.errors import DataError

OFFLINE = "GRAFTWORK_OFFLINE"


def find_in_mirror(desk: Desk, names: Sequence[str]) -> Path | None:
    """Return the first of these files, named from the mirror's folder on, that is there.

    Names may come from URLs: an absolute one, or one with `..`, is passed over.
    """
    return next(iter(all_in_mirror(desk, names)), None)


def all_in_mirror(desk: Desk, names: Sequence[str]) -> list[Path]:
    """Return those of these files that are in the mirror."""
    if desk.mirror is None:
        return []
    return [path for name in names if _stays_inside(name) and (path := desk.mirror / name).is_file()]


def forbidding(*variables: str) -> str | None:
    """Return the first of these environment variables that forbids the network; None where none does."""
    return next((name for name in variables if os.environ.get(name, "").lower() not in ("", "0", "false", "no")), None)


def require_online(
    desk: Desk, names: Sequence[str], url: str, refused: Sequence[str] = (), also: Sequence[str] = ()
) -> None:  # fmt: skip
    """Raise DataError where the network is forbidden: name the file wanted, and where it may be put.

    `refused` tells of files in the mirror that have the name but not the checksum; `also` names variables that forbid
    this part of the network, besides GRAFTWORK_OFFLINE.
    """
    variable = forbidding(OFFLINE, *also)
    if variable is None:
        return
    folder = desk.mirror or "a folder that GRAFTWORK_MIRROR, or mirror in params.yaml, names"
    why = f"; {'; '.join(refused)}" if refused else ""
    raise DataError(
        f"{names[0]} isn't in the mirror, and {variable} forbids the network{why}", where=url,
        expected=f"{' or '.join(names)} in {folder}", fix=f"put the file there, or unset {variable}",
    )  # fmt: skip


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    fits = len(name.encode(errors="replace")) < 1024 and all(
        len(part.encode(errors="replace")) < 256 for part in path.parts
    )
    return fits and bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
