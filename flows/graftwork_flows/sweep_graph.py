"""The sweep's stage graph, which stands beside dvc.yaml so that a sweep runs only when asked for.

DVC fills in sources and strategies from params.yaml whenever it reads the graph; what a stage hangs on stands in it.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from graftwork.errors import StateError
from graftwork.files import write_text
from graftwork.params_file import load_settings, sweep_of
from graftwork.workspace import PARAMS
from graftwork_flows.pipeline import SWEEP

GOALS = ("cells", "sweep")
MARK = "# Yours to change; made by graftwork from "  # and the digest of what follows, as it was made


def write_graph(root: Path) -> None:
    """Put sweep/dvc.yaml there where it is missing, or was made by another version and not changed since.

    Raises SettingsError for a sweep that can't be, StateError for another version's graph that was changed by hand.
    """
    sweep_of(load_settings(root / PARAMS))
    template = (files("graftwork_flows") / "templates" / "sweep.yaml.template").read_text("utf-8")
    current, file = _digest(template), root / SWEEP
    if file.exists():
        made_from, now = _digests(file)
        if made_from == current:
            return
        if now not in (made_from, current):
            raise StateError(
                "The sweep's stage graph was made by another version of graftwork, and changed by hand",
                where=str(file), expected="the graph of this version, with what each stage hangs on",
                fix=f"mv {file} {file}.old; graftwork sweep writes it anew; bring your changes over",
            )  # fmt: skip
    write_text(file, f"{MARK}{current}\n{template}")


def remove_orphan(root: Path) -> None:
    """Remove the graph of a sweep that params.yaml has no longer: DVC, which reads it in every run, would fail.

    Raises StateError where it was changed by hand.
    """
    file = root / SWEEP
    if not file.exists():
        return
    made_from, now = _digests(file)
    if now != made_from:
        raise StateError(
            "There is a sweep's stage graph, and no sweep in params.yaml", where=str(file),
            expected="a key `sweep`, which DVC looks for in every run", fix=f"put the key back, or rm {file}",
        )  # fmt: skip
    file.unlink()


def _digests(file: Path) -> tuple[str, str]:
    """Return the digest of what a graph was made as, or nothing, and of what it is now."""
    text = file.read_text("utf-8")
    first, _, rest = text.partition("\n")
    return (first.removeprefix(MARK), _digest(rest)) if first.startswith(MARK) else ("", _digest(text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
