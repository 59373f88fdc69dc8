"""Where what is kept for all of a user's workspaces on this machine lies."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "GRAFTWORK_CACHE"  # in the environment: takes the place of the user's cache folder


def cache_folder() -> Path:
    """Return where this user's programs keep what can be computed anew, as the XDG base directories have it."""
    own = os.environ.get(FOLDER)
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "graftwork"
