"""Print how a weight file came to be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from graftwork.errors import StateError, did_you_mean
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.lineage import Lineage, Step, lineage_of, lineage_of_export
from graftwork.run_records import RunRecord
from graftwork_flows.console import say

MOST_SETTINGS = 76  # characters of a value in a line


def print_lineage(root: Path, weights: str, seed: int | None, as_json: bool) -> None:
    """Tell how weights came to be: a file, a folder of them, an export, or a strategy of this workspace.

    Raises StateError where nothing is found, or a file isn't what was recorded of it.
    """
    found = [
        lineage_of_export(path) if path.is_dir() else lineage_of(Layout(root), path, _cache(root))
        for path in _files(root, weights, seed)
    ]
    if as_json:
        say(json.dumps([asdict(one) for one in found], indent=2))
    else:
        say("\n\n".join("\n".join(_told(one)) for one in found))
    changed = [one for one in found if one.state == "changed"]
    if changed:
        raise StateError(
            f"{changed[0].file} was changed after it was made: {changed[0].why}", where=str(root),
            fix="dvc checkout brings the recorded one back",
        )  # fmt: skip


def _files(root: Path, weights: str, seed: int | None) -> list[Path]:
    """Return the weight files, or the export, that are meant."""
    path = Path(weights).absolute()
    if path.is_dir() and (path / "graftwork.json").is_file():
        return [path]
    if path.is_file():
        return [path]
    tuned = Layout(root).tuned(weights)
    folder = path if path.is_dir() else tuned
    if folder == tuned:
        wanted = _best(tuned) if seed is None else seed
        found = [tuned / f"seed-{wanted}.safetensors"]
    else:
        found = sorted(folder.glob("*.safetensors"))
    if found and found[0].is_file():
        return found
    raise _nothing(root, weights, folder)


def _best(tuned: Path) -> int:
    """Return the seed that validated best."""
    if not (tuned / "selection.json").is_file():
        return 0
    selection = read_json(tuned / "selection.json")
    return max(map(int, selection), key=lambda seed: float(selection[str(seed)]["validation_accuracy"]))


def _nothing(root: Path, weights: str, folder: Path) -> StateError:
    strategies = Layout(root).tuned("x").parent
    known = sorted(path.name for path in strategies.iterdir()) if strategies.is_dir() else []
    return StateError(
        f"There are no weights {weights!r}", where=str(folder),
        expected=f"a .safetensors file, a folder of them, an export, or a strategy: {', '.join(known) or 'none yet'}",
        fix=did_you_mean(weights, known) or "graftwork run, or dvc pull",
    )  # fmt: skip


def _cache(root: Path) -> Path | None:
    """Return DVC's cache, where the workspace has one."""
    from graftwork_flows.pipeline import Pipeline

    try:
        return Pipeline(root).cache
    except StateError:
        return None


def _told(found: Lineage) -> Iterator[str]:
    """Yield the lines that tell one file's lineage."""
    yield found.file
    yield from _line("state", f"{found.state}: {found.why}" if found.state != "changed" else f"CHANGED: {found.why}")
    yield from _line("sha256", found.sha256)
    yield from _line("model", _flat(found.model))
    yield from _line("says", _flat(found.provenance))
    yield from _record_lines(found.record)
    for step in found.steps:
        yield from _step_lines(step)


def _record_lines(record: RunRecord | None) -> Iterator[str]:
    if record is None:
        yield from _line("made", "when, where and by which run isn't recorded here")
        return
    yield from _line("made", f"{record.began}, {record.seconds:.1f} s, by {record.asked_by} ({record.stage})")
    yield from _line("on", record.machine)
    yield from _line("code", f"commit {record.commit}; {_flat(record.versions)}")


def _step_lines(step: Step) -> Iterator[str]:
    yield f"  {step.stage}"
    for path, md5 in step.made_of.items():
        yield f"    from     {path} {md5}{' (replaced since by a later run)' if path in step.replaced else ''}"
    for path, md5 in step.made.items():
        yield f"    made     {path} {md5}"
    for key, value in step.settings.items():
        yield f"    with     {key}: {_short(_flat(value) if isinstance(value, dict) else json.dumps(value))}"
    if step.engine:
        yield f"    on       {_flat(step.engine)}"
    if step.record:
        yield f"    by       {step.record.asked_by}, {step.record.began}, commit {step.record.commit}"


def _line(name: str, text: str) -> Iterable[str]:
    return [f"  {name:<8} {text}"]


def _flat(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items())


def _short(text: str) -> str:
    return text if len(text) <= MOST_SETTINGS else text[: MOST_SETTINGS - 1] + "…"
