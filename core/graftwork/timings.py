"""How long a training took on this machine: beside the results, never among them, as they must be repeatable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from graftwork.errors import StateError
from graftwork.files import read_json, write_json


def write_timing(path: Path, seconds: Sequence[float], history: str) -> None:
    """Store seconds for each seed, tied to the history of the training that took them."""
    write_json(path, {"seconds": list(seconds), "history": _digest(history)})


def read_timing(path: Path, history: Path) -> list[float] | None:
    """Return seconds for each seed, or None where this machine didn't compute these results."""
    try:
        stored = read_json(path)
        if stored["history"] == _digest(history.read_text(encoding="utf-8")):
            return [float(value) for value in stored["seconds"]]
    except (StateError, OSError, KeyError, TypeError):
        pass
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
