"""A published model as an origin leaves it: model.safetensors, and a config.json beside it, as on timm's hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from graftwork.desk import Desk
from graftwork.errors import DataError, listed
from graftwork.files import write_json
from graftwork_plugins.weights.torch import TorchFile

WEIGHTS, CONFIG = "model.safetensors", "config.json"
MIRROR_FOLDER = "weights"


def from_mirror(desk: Desk, architecture: str, tag: str) -> Path | None:
    """Return the mirror's weights of an architecture: weights/<architecture>.safetensors, or with more after a dot.

    Those that name the tag win. Raises DataError where several are left.
    """
    if desk.mirror is None:
        return None
    folder = desk.mirror / MIRROR_FOLDER
    found = sorted(path for path in folder.glob("*.safetensors") if path.name.split(".")[0] == architecture)
    found = [path for path in found if tag and path.name.split(".")[1:2] == [tag]] or found
    if len(found) > 1:
        raise DataError(
            f"The mirror holds several weights of {architecture}: {listed(path.name for path in found)}",
            where=str(folder), expected=f"one, or {architecture}.<tag>.safetensors",
            fix="name the tag, or move the others",
        )  # fmt: skip
    return found[0] if found else None


def convert(pickled: Path, folder: Path) -> None:
    """Write the tensors of a .pth file as model.safetensors: no pickle is kept. Raises WeightsError as its reader."""
    save_file(TorchFile().read(pickled).tensors, folder / WEIGHTS)


def write_config(folder: Path, architecture: str, images: Mapping[str, Any], classes: list[str] | None = None) -> None:
    """Write config.json: the architecture, what its images are like, and its classes' names."""
    config = {"architecture": architecture, "pretrained_cfg": {**images}, "label_names": classes}
    plain = json.loads(json.dumps({key: value for key, value in config.items() if value is not None}, default=str))
    write_json(folder / CONFIG, plain)
