"""Weights that were trained elsewhere: what a reader returns, and the tensors in what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graftwork.chains import Chain
from graftwork.errors import WeightsError, listed
from graftwork.files import sha256_of_file

# Where training scripts put the state dict, the averaged one first where there are two: it is what they report.
NESTS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model", "module",
    "net", "network", "weights", "params", "backbone", "teacher", "student",
)  # fmt: skip
DEEPEST = 4
FETCH_ANEW = "fetch it anew, or copy it from where it was made; else name other weights under imports"
MOST_TIMES = 16  # tensors may share their bytes in the file, but a small file that claims gigabytes is an attack


@dataclass(frozen=True)
class ForeignWeights:
    """What a reader of weights returns: tensors by the names in the file, and what the file tells of the model.

    None stands for what it doesn't tell. `mean` and `std` are per channel, of pixels scaled to 0…1; `size` is the side
    of the images in pixels. `origin` says, as JSON, what else is known. `architecture` is there where the file
    describes the net itself, as a chain of layers. `file` is what was read where the path names a folder.
    """

    tensors: dict[str, Tensor]
    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: int | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    architecture: Chain | None = None
    file: Path | None = None


def weight_file(path: Path, suffixes: Sequence[str]) -> Path:
    """Return the file of weights at a path: the path itself, or the one file in that folder that ends so.

    Raises WeightsError where the folder holds none, or several.
    """
    if not path.is_dir():
        return path
    names = sorted(each.name for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    found = [name for name in names if name.lower().endswith(tuple(suffixes))]
    if len(found) != 1:
        raise WeightsError(
            f"The folder holds {f'several files of weights: {listed(found)}' if found else 'no file of weights'}",
            where=str(path), expected=f"exactly one file ending in {', '.join(suffixes)}",
            fix="name the file itself under imports, or move the others" if found else "correct path under imports",
        )  # fmt: skip
    return path / found[0]


def verified(path: Path, sha256: str | None = None) -> str:
    """Return the sha256 of a file; raise WeightsError where there is none, or it doesn't begin with `sha256`."""
    if not path.is_file():
        what = "The path is a folder" if path.is_dir() else "The file of weights is missing"
        raise WeightsError(
            what, where=str(path), expected="a file of weights",
            fix="correct path under imports in params.yaml, or put the file there",
        )  # fmt: skip
    found = sha256_of_file(path)
    if sha256 and not found.startswith(sha256.lower()):
        raise WeightsError(
            f"The file of weights has the sha256 {found[:12]}…", where=str(path), expected=f"sha256 {sha256[:12]}…",
            fix="fetch it anew; where the file is right, correct sha256 in params.yaml",
        )  # fmt: skip
    return found


def unwrap(found: object, key: str | None, where: str) -> tuple[dict[str, Tensor], str]:
    """Return the tensors in what a training script saved, and where in it they stood, as `checkpoint.state_dict`.

    A nest is opened only where a level holds no tensors itself: the one that `key` names (dots go deeper), or the first
    of the usual ones. Values that aren't tensors are left out. Raises WeightsError where no tensors are found.
    """
    steps = key.split(".") if key else []
    path: list[str] = []
    for _ in range(DEEPEST):
        if not isinstance(found, Mapping):
            break
        if not steps and any(isinstance(value, Tensor) for value in found.values()):
            return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}, ".".join(path)
        names = steps[:1] or [name for name in NESTS if isinstance(found.get(name), Mapping)]
        if not names or names[0] not in found:
            break
        path, steps, found = [*path, names[0]], steps[1:], found[names[0]]
    shown = f"holds {listed(map(str, found))}" if isinstance(found, Mapping) else f"is a {type(found).__name__}"
    raise WeightsError(
        f"No tensors were found: {'.'.join(path) or 'the file'} {shown}", where=where,
        expected=f"a state dict, by itself or under {key or ', '.join(NESTS)}",
        fix="name the entry that holds the tensors: weights: {torch: {key: …}}",
    )  # fmt: skip


def plain(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return dense tensors on the CPU, halves and doubles as float32.

    Raises WeightsError for sparse or quantised ones, for those without values, and for a small file whose tensors would
    fill the memory.
    """
    odd = [name for name, tensor in tensors.items() if not _is_plain(tensor)]
    if odd:
        raise WeightsError(
            f"Sparse, nested, quantised or complex tensors, or such without values, can't be used: {listed(odd)}",
            where=str(path), expected="dense floating-point tensors",
            fix="save model.state_dict() of the model as it was trained: not quantised, not on the device meta",
        )  # fmt: skip
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > max(2**20, MOST_TIMES * path.stat().st_size):
        raise WeightsError(
            f"A file of {path.stat().st_size:,} bytes claims tensors of {claimed:,} bytes", where=str(path),
            expected=f"at most {MOST_TIMES} times its size", fix="don't trust this file",
        )  # fmt: skip
    return {name: _float32(tensor.detach().cpu()) for name, tensor in tensors.items()}


def _is_plain(tensor: Tensor) -> bool:
    """Tell whether a tensor is dense, of real numbers, and has values at all: one on the device meta has none."""
    odd = tensor.is_nested or tensor.is_meta or tensor.is_quantized or tensor.is_complex()
    return not odd and tensor.layout == torch.strided


def _float32(tensor: Tensor) -> Tensor:
    return (tensor.to(torch.float32) if tensor.is_floating_point() else tensor).contiguous().clone()
