"""What an origin plugin works with while it obtains files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from graftwork.errors import SettingsError
from graftwork.progress import Progress

TOLD = "origin.json"  # beside the files: what they are


@dataclass(frozen=True)
class Desk:
    """Where files are looked for before the network, where downloads in part are kept, and whom to tell."""

    mirror: Path | None
    partial: Path  # survives a kill
    progress: Progress


def find_mirror(root: Path, setting: str | None) -> Path | None:
    """Return the mirror folder: GRAFTWORK_MIRROR, else `mirror` in params.yaml, else none.

    Raises SettingsError where it isn't there.
    """
    named = os.environ.get("GRAFTWORK_MIRROR") or setting
    if not named:
        return None
    mirror = root / Path(named).expanduser()
    if not mirror.is_dir():
        raise SettingsError(
            "The mirror folder is missing", where=str(mirror), expected="a folder of data files",
            fix="correct GRAFTWORK_MIRROR, or mirror in params.yaml; without one, files come from the network",
        )  # fmt: skip
    return mirror
