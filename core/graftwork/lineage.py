"""How a weight file came to be: told from what was recorded when it was computed, never from what is there now.

The file says what it is; dvc.lock, stage by stage, what it was made of and with which settings; a record in
.graftwork/runs who computed it, when, with which code and on what. Where hashes don't agree, that is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from graftwork.dvc_lock import LockedStage, listing_in_cache, md5_of, read_locks
from graftwork.errors import StateError
from graftwork.files import read_json, sha256_of_file
from graftwork.layout import Layout
from graftwork.run_records import RunRecord, read_records
from graftwork.weights_header import Header, read_header

State = Literal["as recorded", "changed", "not recorded"]


@dataclass(frozen=True)
class Step:
    """One stage on the way to a weight file, as dvc.lock has it; hashes are DVC's md5."""

    stage: str
    settings: dict[str, Any]
    made_of: dict[str, str]
    made: dict[str, str]
    engine: dict[str, Any] | None = None  # what was chosen to train on
    record: RunRecord | None = None  # of the run that made its weights
    replaced: tuple[str, ...] = ()  # of what it was made of: what dvc.lock has a later version of


@dataclass(frozen=True)
class Lineage:
    """A weight file, and the steps that led to it, the oldest first."""

    file: str
    sha256: str
    state: State
    why: str  # how that is known
    model: dict[str, Any]
    classes: tuple[str, ...]
    provenance: dict[str, Any]  # as the file itself has it: strategy, seed, source …
    record: RunRecord | None
    steps: tuple[Step, ...]


def lineage_of(layout: Layout, file: Path, cache: Path | None = None) -> Lineage:
    """Tell how a weight file came to be, in the workspace's folders or anywhere. `cache` is DVC's, of md5 files.

    Raises WeightsError for what is no weight file of Graftwork's, StateError for a record that can't be read.
    """
    header, sha256 = read_header(file), sha256_of_file(file)
    records, locks = read_records(layout), read_locks(layout.root)
    path = _inside(layout.root, file)
    stage, output = _maker(locks, path) if path else (None, "")
    record = next((one for one in reversed(records) if sha256 in one.files.values()), None)
    state, why = _state(header, _matches(layout.root, path, stage, output, cache), record)
    steps = _steps(layout, locks, stage, records) if stage and state == "as recorded" else ()
    return Lineage(
        path or str(file), sha256, state, why, header.contract["model"], tuple(header.contract["classes"]),
        header.contract["provenance"], record, steps,
    )  # fmt: skip


def lineage_of_export(folder: Path) -> Lineage:
    """Tell what an exported folder says of its weights, once the files in it are compared with its record."""
    found = read_json(folder / "graftwork.json")
    try:
        told = TypeAdapter(Lineage).validate_json(json.dumps(found["lineage"]))
        files = {name: str(expected) for name, expected in found["files"].items()}
    except (ValidationError, KeyError, TypeError, AttributeError):
        raise StateError(
            "This export tells no lineage", where=str(folder / "graftwork.json"), expected="one of this version",
            fix="export it anew: graftwork export --force",
        ) from None  # fmt: skip
    changed = [name for name, expected in files.items() if _sha256(folder / name) != expected]
    if changed:
        why = f"{', '.join(changed)} changed after the export"
        return replace(told, file=str(folder), state="changed", why=why)
    return replace(
        told, file=str(folder), state="as recorded", why="the sha256 of its files are those of graftwork.json"
    )


def _sha256(path: Path) -> str:
    return sha256_of_file(path) if path.is_file() else "missing"


def _inside(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else ""


def _maker(locks: Mapping[str, LockedStage], path: str) -> tuple[LockedStage | None, str]:
    """Return the stage that made a file or folder, and its output that this is, or lies in."""
    for stage in locks.values():
        for output in stage.outputs:
            if path == output or path.startswith(f"{output}/"):
                return stage, output
    return None, ""


def _matches(root: Path, path: str, stage: LockedStage | None, output: str, cache: Path | None) -> bool | None:
    """Tell whether a file is what dvc.lock says; None where it says nothing, or what it said isn't at hand."""
    if stage is None:
        return None
    recorded = stage.outputs[output]
    if md5_of(root / output) == recorded:
        return True
    listing = listing_in_cache(cache, recorded) if cache and path != output else None
    if path == output:
        return False
    return None if listing is None else listing.get(path.removeprefix(f"{output}/")) == md5_of(root / path)


def _state(header: Header, matches: bool | None, record: RunRecord | None) -> tuple[State, str]:
    if not header.whole:
        return "changed", "its tensors aren't those that it was written with"
    if matches is not None:
        return ("as recorded", "its hash is dvc.lock's") if matches else ("changed", "dvc.lock has another hash")
    if record is not None:
        return "as recorded", "its sha256 is in a record of .graftwork/runs"
    return "not recorded", "its tensors are those that it was written with; no record here has its hash"


def _steps(
    layout: Layout, locks: Mapping[str, LockedStage], last: LockedStage, records: list[RunRecord]
) -> tuple[Step, ...]:  # fmt: skip
    """Return the stages that a stage hangs on, and itself, each after those before it.

    Without those of which dvc.lock has a later run: this file wasn't made of what that made.
    """
    found: dict[str, Step] = {}

    def visit(stage: LockedStage) -> None:
        if stage.name in found:
            return
        replaced = []
        for path, md5 in stage.dependencies.items():
            maker, output = _maker(locks, path)
            if maker is not None and path == output and maker.outputs[output] != md5:
                replaced.append(path)
            elif maker is not None:
                visit(maker)
        settings = {key: value for values in stage.parameters.values() for key, value in values.items()}
        made_of, made = dict(stage.dependencies), dict(stage.outputs)
        engine, record = _engine(layout, stage), _record(layout, stage, records)
        found[stage.name] = Step(stage.name, settings, made_of, made, engine, record, tuple(replaced))

    visit(last)
    replaced = {path for step in found.values() for path in step.replaced}
    return tuple(step for step in found.values() if not replaced & step.made.keys())


def _engine(layout: Layout, stage: LockedStage) -> dict[str, Any] | None:
    """Return what was chosen to train on, if that file still is the one that the stage read."""
    for path, md5 in stage.dependencies.items():
        if path.startswith("weights/engine/") and md5_of(layout.root / path) == md5:
            chosen: dict[str, Any] = read_json(layout.root / path)
            return chosen
    return None


def _record(layout: Layout, stage: LockedStage, records: list[RunRecord]) -> RunRecord | None:
    """Return the newest record of a stage all of whose files are still as it made them."""
    for record in reversed(records):
        if record.stage == stage.name and all(_sha256(layout.root / p) == sha for p, sha in record.files.items()):
            return record
    return None
