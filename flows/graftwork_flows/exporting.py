"""Bring a model of the last run out of its workspace, and say what was written."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from safetensors import SafetensorError

from graftwork.errors import TrainingError
from graftwork.export import Exported, Format, export
from graftwork.lineage import lineage_of
from graftwork.model_card import tell
from graftwork.release import choose_release
from graftwork.workspace import open_workspace
from graftwork_flows.console import say

FORMS = {"timm": "timm loads it", "onnx": "ONNX Runtime, on batches of 1 and 5"}


def print_export(
    root: Path, strategy: str | None, seed: int | None, wanted: Format, to: Path | None, *, force: bool, as_json: bool
) -> None:
    """Export the model that validation chose, or the one that is named, with its card."""
    context = open_workspace(root)
    release = choose_release(context, strategy, seed)
    folder = (to or root / "exported" / release.strategy).absolute()
    file = context.layout.tuned(release.strategy) / f"seed-{release.seed}.safetensors"
    story = replace(tell(context, release), lineage=lineage_of(context.layout, file))
    try:
        found = export(release, story, context.registry, wanted, folder, force=force)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"The export can't be written: {error}",
            where=str(folder),
            fix="make room, or name another folder with --to",
        ) from error
    if as_json:
        say(json.dumps({"folder": str(folder), **asdict(found)}, indent=2))
    else:
        _tell(found, folder, release.validation_accuracy)


def _tell(found: Exported, folder: Path, validation_accuracy: float) -> None:
    say(f"{found.strategy}, seed {found.seed}: {100 * validation_accuracy:.1f} % on validation")
    for form, difference in found.differences.items():
        say(f"{form}: {FORMS[form]}; greatest difference {difference:.1e} of the greatest answer")
    for form, why in found.left_out.items():
        say(f"left out: {form}: {why}")
    say(f"in it: README.md (the model card), graftwork.json, {', '.join(found.files)}")
    say(str(folder))
