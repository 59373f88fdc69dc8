"""Weights that torch.save wrote: .pth, .pt, .bin. Such a file is a program; only the harmless part of it is run."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from zipfile import BadZipFile

import torch

from graftwork.errors import WeightsError
from graftwork.foreign import ForeignWeights, plain, unwrap, verified
from graftwork_plugins.weights.sidecar import beside

CONVERT = "convert it where you trust it: safetensors.torch.save_file(model.state_dict(), 'x.safetensors')"


@dataclass(frozen=True)
class TorchFile:
    """A .pth, .pt or .bin file, read with `weights_only=True`; `key` names the entry that holds the state dict.

    `sha256`, or its beginning, is compared.
    """

    key: str | None = None
    sha256: str | None = None

    def read(self, path: Path) -> ForeignWeights:
        """Read the file; raises WeightsError where it is damaged, or holds more than tensors."""
        verified(path, self.sha256)
        tensors, nest = unwrap(_load(path), self.key, str(path))
        known = beside(path)
        told = {"entry": nest} if nest else {}
        return ForeignWeights(plain(tensors, path), **known | {"origin": {**known.get("origin", {}), **told}})


def _load(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's about old formats and TorchScript: what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, BadZipFile, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError,
            AttributeError, IndexError, AssertionError) as error:  # fmt: skip
        raise _refusal(path, str(error)) from None


def _refusal(path: Path, message: str) -> WeightsError:
    """Say what torch refused; its own message is a page, and advises to switch the protection off."""
    named = re.search(r"GLOBAL ([\w.]+)|(?:class|function|global) '?([\w.]+\.[\w.]+)'? (?:was|is) not", message)
    if named or "Unsupported global" in message:
        return WeightsError(
            f"The file asks to run {named.group(1) or named.group(2) if named else 'code'} when it is read, and was "
            "refused", where=str(path), expected="tensors alone", fix=CONVERT,
        )  # fmt: skip
    if "TorchScript" in message:
        return WeightsError(
            "The file is a TorchScript program, not a state dict",
            where=str(path),
            expected="tensors alone",
            fix=CONVERT,
        )
    lines = message.strip().splitlines()
    reason = next((line for line in lines if "Weights only load failed" not in line), "it ends too early")
    return WeightsError(
        f"The file of weights is damaged, or wasn't written by torch.save: {reason[:200]}", where=str(path),
        expected="a .pth, .pt or .bin file", fix=f"fetch it anew, or {CONVERT}",
    )  # fmt: skip
