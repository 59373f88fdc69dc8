"""Weight files: safetensors that carry the input contract of the model they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from graftwork.errors import StateError, WeightsError
from graftwork.files import atomic_file
from graftwork.tensors import storable
from graftwork.weights_header import METADATA_KEY


class InputContract(BaseModel):
    """What a model expects of its input, what it answers, and where its weights are from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: dict[str, Any]  # name and settings of the model plugin
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # per channel, of pixels scaled to 0…1; of vectors, too, divided by 255
    std: tuple[float, ...]
    size: int
    channels: int
    interpolation: str = "bicubic"
    head: tuple[str, ...]  # names of the tensors of the classifier
    provenance: dict[str, Any]


def save_weights(path: Path, tensors: Mapping[str, Tensor], contract: InputContract) -> None:
    """Write tensors with their contract, atomically; equal content is equal bytes."""
    plain = storable(tensors)
    stored = contract.model_dump(mode="json") | {"sha256": digest(plain)}
    with atomic_file(path) as temporary:
        save_file(plain, temporary, metadata={METADATA_KEY: json.dumps(stored, sort_keys=True)})


def load_weights(path: Path, fix: str = "") -> tuple[dict[str, Tensor], InputContract]:
    """Read tensors and contract; raise WeightsError for a damaged file, a wrong digest, or NaN.

    `fix` is the advice for a file from elsewhere; without it the file is the workspace's own, and a run makes it anew.
    """
    if not path.is_file():
        raise StateError("The weights are missing", where=str(path), fix="graftwork run, or dvc pull")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error), fix) from None
    try:
        stored = json.loads(metadata[METADATA_KEY])
        expected = stored.pop("sha256")
        contract = InputContract.model_validate(stored)
    except (KeyError, ValueError, ValidationError):
        raise WeightsError(
            "The weights carry no input contract", where=str(path), expected="a file that Graftwork wrote",
            fix=fix or "train the source here: graftwork run",
        ) from None  # fmt: skip
    if digest(tensors) != expected:
        raise _damaged(path, f"its tensors don't have the sha256 {expected[:12]}…", fix)
    check_finite(tensors, str(path), fix)
    return tensors, contract


def check_finite(tensors: Mapping[str, Tensor], where: str, fix: str = "") -> None:
    """Raise WeightsError naming the first tensor with NaN or infinity; `fix` is as of `load_weights`."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(
                f"The tensor {name} holds NaN or infinity", where=where,
                fix=fix or "train it anew with a lower learning rate",
            )  # fmt: skip


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the hex sha256 over names, types, shapes and bytes."""
    result = hashlib.sha256()
    for name in sorted(tensors):
        result.update(f"{name}:{tensors[name].dtype}:{tuple(tensors[name].shape)};".encode())
        result.update(tensor_bytes(tensors[name]))
    return result.hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """Return a tensor's bytes in memory order, whatever its type."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _damaged(path: Path, why: str, fix: str) -> WeightsError:
    return WeightsError(
        f"The weight file is damaged: {why}", where=str(path),
        fix=fix or f"rm {path}; then dvc checkout, or graftwork run",
    )  # fmt: skip
