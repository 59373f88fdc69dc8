"""What was chosen to train with, kept beside what it was chosen for: in the workspace, and once for each machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from graftwork.cache_folder import cache_folder
from graftwork.checkpoints import fingerprint
from graftwork.choice import Choice
from graftwork.errors import StateError
from graftwork.files import read_json, write_json
from graftwork.layout import Layout


@dataclass(frozen=True)
class Record:
    """A choice, what it was made for (without the machine), where, why, and on which figures."""

    key: dict[str, Any]
    choice: Choice
    reasons: tuple[str, ...]
    figures: dict[str, Any]
    machine: str  # empty where nothing was measured

    def as_json(self) -> dict[str, Any]:
        """Return all but the choice, which has a file of its own: new figures alone change nothing downstream."""
        return {
            "key": self.key, "reasons": list(self.reasons), "figures": self.figures, "machine": self.machine,
        }  # fmt: skip

    def sentence(self) -> str:
        """Say in one line what was chosen, why, and where."""
        where = f", on {self.machine}" if self.machine else ""
        return f"chosen: {self.choice}{where}; {'; '.join(self.reasons)}"

    def save(self, layout: Layout, data: str) -> None:
        """Write weights/engine/<data>.json and report/engine/<data>.json."""
        write_json(layout.engine(data), self.choice.recorded())
        write_json(layout.engine_figures(data), self.as_json())

    @classmethod
    def load(cls, layout: Layout, data: str) -> Record | None:
        """Return what the workspace holds; None where it holds nothing that can be read."""
        try:
            return cls._from(read_json(layout.engine(data)), read_json(layout.engine_figures(data)))
        except (StateError, ValidationError, KeyError, TypeError):
            return None

    def remember(self, machine: str) -> None:
        """Keep it for other workspaces on this machine; where that can't be, each measures for itself."""
        try:
            write_json(_file(self.key, machine), {"choice": self.choice.recorded(), **self.as_json()})
        except (StateError, OSError):
            return

    @classmethod
    def remembered(cls, key: dict[str, Any], machine: str) -> Record | None:
        """Return what was chosen on this machine for the same key, in whichever workspace."""
        try:
            stored = read_json(_file(key, machine))
            found = cls._from(stored["choice"], stored)
        except (StateError, ValidationError, KeyError, TypeError, OSError):
            return None
        return found if found.key == key else None

    @classmethod
    def _from(cls, choice: Any, rest: Any) -> Record:
        reasons = tuple(map(str, rest["reasons"]))
        return cls(dict(rest["key"]), Choice.model_validate(choice), reasons, rest["figures"], rest["machine"])


def forget(key: dict[str, Any], machine: str) -> None:
    """Drop what this machine remembers for a key."""
    _file(key, machine).unlink(missing_ok=True)


def _file(key: dict[str, Any], machine: str) -> Path:
    return cache_folder() / "engine" / f"{fingerprint(key, machine)[:32]}.json"
