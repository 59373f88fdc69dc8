"""A folder of weights with config.json, as timm and the Hugging Face hub write it: mean, std, size, classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graftwork.errors import WeightsError
from graftwork.foreign import weight_file

NAME = "config.json"
MOST_BYTES = 4_000_000


class _Images(BaseModel):
    """The part of it that tells what the images are like; the rest isn't looked at."""

    model_config = ConfigDict(frozen=True)

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: tuple[int, int, int] | None = None
    tag: str | None = None
    license: str | None = None


class Sidecar(BaseModel):
    """What a file of weights doesn't say itself."""

    model_config = ConfigDict(frozen=True)

    architecture: str | None = None
    label_names: tuple[str, ...] | None = None
    pretrained_cfg: _Images = Field(default_factory=_Images)

    def known(self) -> dict[str, Any]:
        """Return it as arguments of ForeignWeights."""
        images = self.pretrained_cfg
        told = {"architecture": self.architecture, "tag": images.tag, "licence": images.license}
        return {
            "classes": self.label_names,
            "mean": images.mean,
            "std": images.std,
            "size": images.input_size[-1] if images.input_size else None,
            "origin": {key: value for key, value in told.items() if value},
        }


def located(path: Path, suffixes: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Return the file of weights at a path, and what is told of it, as arguments of ForeignWeights.

    In a folder, which is a dependency of the run as a whole, config.json tells; beside a single file none is read, as
    its changes would go unnoticed. Raises WeightsError for a folder without exactly one such file.
    """
    file = weight_file(path, suffixes)
    return file, {} if file == path else {**_config(path / NAME), "file": file}


def _config(config: Path) -> dict[str, Any]:
    """Return what a config.json tells; nothing where there is none. Raises WeightsError for one that can't be read."""
    if not config.is_file():
        return {}
    try:
        if config.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        return Sidecar.model_validate_json(config.read_bytes()).known()
    except (ValidationError, ValueError) as error:
        raise WeightsError(
            f"The {NAME} beside the weights can't be read: {error}", where=str(config),
            expected="JSON with pretrained_cfg: mean, std, input_size", fix="mend it, or move it away",
        ) from None  # fmt: skip
