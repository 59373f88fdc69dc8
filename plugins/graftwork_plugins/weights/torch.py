"""Weights that torch.save wrote: .pth, .pt, .bin. Such a file is a program; only the harmless part of it is run."""

from __future__ import annotations

import pickletools
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

import torch

from graftwork.errors import WeightsError
from graftwork.foreign import ForeignWeights, plain, unwrap, verified
from graftwork_plugins.weights.sidecar import located

CONVERT = "convert it where you trust it: safetensors.torch.save_file(model.state_dict(), 'x.safetensors')"

SUFFIXES = (".pth", ".pt", ".bin")
MOST_LOOKED_AT = 10_000_000  # bytes
NAMING = ("GLOBAL", "INST", "STACK_GLOBAL")  # operations of a pickle that name what it asks for


@dataclass(frozen=True)
class TorchFile:
    """A .pth, .pt or .bin file, read with `weights_only=True`; `key` names the entry that holds the state dict.

    Or a folder with one such file, whose config.json is read too. `sha256`, or its beginning, is compared.
    """

    key: str | None = None
    sha256: str | None = None

    def read(self, path: Path) -> ForeignWeights:
        """Read the file; raises WeightsError where it is damaged, or holds more than tensors."""
        path, known = located(path, SUFFIXES)
        verified(path, self.sha256)
        tensors, nest = unwrap(_load(path), self.key, str(path))
        told = {"entry": nest} if nest else {}
        return ForeignWeights(plain(tensors, path), **known | {"origin": {**known.get("origin", {}), **told}})


def _load(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's about old formats and TorchScript: what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make torch raise nearly anything, struct.error and KeyError among it
        raise _refusal(path, str(error)) from None


def _refusal(path: Path, message: str) -> WeightsError:
    """Say what torch refused; its own message is a page, and advises to switch the protection off."""
    named = re.search(r"GLOBAL ([\w.]+)", message)
    asked = named.group(1) if named else _first_call(path)
    if (asked or "Unsupported global" in message) and not _is_cut(path):
        return WeightsError(
            f"The file asks to run {asked or 'code'} when it is read, and was refused", where=str(path),
            expected="tensors alone", fix=CONVERT,
        )  # fmt: skip
    if asked:
        what, reason = "is damaged", ": it ends too early"
    elif "TorchScript" in message:
        what, reason = "is a TorchScript program, not a state dict", ""
    else:
        lines = [line for line in message.strip().splitlines() if "weights_only" not in line.lower()]
        what, reason = "is damaged, or wasn't written by torch.save", f": {lines[0][:200]}" if lines else ""
    return WeightsError(
        f"The file of weights {what}{reason}", where=str(path), expected="a .pth, .pt or .bin file that holds tensors",
        fix=f"fetch it anew, or {CONVERT}",
    )  # fmt: skip


def _first_call(path: Path) -> str:
    """Return the first thing that a bare pickle would call, found without running it; empty for other files."""
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(path.read_bytes()[:MOST_LOOKED_AT]):
            if opcode.name in ("GLOBAL", "INST"):
                return str(argument).replace(" ", ".")
            if opcode.name == "STACK_GLOBAL":
                return ".".join(texts[-2:])
            texts += [argument] if isinstance(argument, str) else []
    except (ValueError, IndexError):  # no pickle, or one that is cut off
        pass
    return ""


def _is_cut(path: Path) -> bool:
    """Tell whether a file of the old format, some pickles in a row, ends within the first that names something."""
    if is_zipfile(path):
        return False
    with path.open("rb") as file:
        try:
            while not [opcode for opcode, _, _ in pickletools.genops(file) if opcode.name in NAMING]:
                pass
        except (ValueError, IndexError):
            return True
    return False
