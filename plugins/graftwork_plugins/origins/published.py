"""A published model as an origin leaves it: model.safetensors, and a config.json beside it, as on timm's hub."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from graftwork.desk import Desk
from graftwork.errors import DataError, listed
from graftwork.files import write_json
from graftwork_plugins.weights.torch import TorchFile

WEIGHTS, CONFIG = "model.safetensors", "config.json"
MIRROR_FOLDER = "weights"


def from_mirror(desk: Desk, architecture: str, tag: str, tags: Collection[str]) -> tuple[Path | None, list[str]]:
    """Return the mirror's weights of an architecture, and what was passed over.

    They are weights/<architecture>.safetensors, or have more after a dot. Those that name the tag win; those that name
    another of the architecture's `tags` are other weights. Raises DataError where several are left.
    """
    if desk.mirror is None:
        return None, []
    folder = desk.mirror / MIRROR_FOLDER
    known = {path: path.name.split(".") for path in sorted(folder.glob("*.safetensors"))}
    named = {path: parts[1] for path, parts in known.items() if parts[0] == architecture}
    others = [path for path, told in named.items() if tag and told != tag and told in tags]
    found = [path for path, told in named.items() if tag and told == tag]
    found = found or [path for path in named if path not in others]
    if len(found) > 1:
        raise DataError(
            f"The mirror holds several weights of {architecture}: {listed(path.name for path in found)}",
            where=str(folder), expected=f"one, or {architecture}.<tag>.safetensors",
            fix="name the tag, or move the others",
        )  # fmt: skip
    return (found[0] if found else None), [f"{path.name} in the mirror is of another tag" for path in others]


def convert(pickled: Path, folder: Path) -> None:
    """Write the tensors of a .pth file as model.safetensors: no pickle is kept. Raises WeightsError as its reader."""
    save_file(TorchFile().read(pickled).tensors, folder / WEIGHTS)


def write_config(folder: Path, architecture: str, images: Mapping[str, Any], classes: list[str] | None = None) -> None:
    """Write config.json: the architecture, what its images are like, and its classes' names."""
    config = {"architecture": architecture, "pretrained_cfg": {**images}, "label_names": classes}
    plain = json.loads(json.dumps({key: value for key, value in config.items() if value is not None}, default=str))
    write_json(folder / CONFIG, plain)
