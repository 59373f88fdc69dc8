"""Checkpoints of one training: whole or absent, and only ever those of the same settings."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from graftwork.files import atomic_file, atomic_folder, sha256_of_file, write_json
from graftwork.temporaries import settle
from graftwork.tensors import storable

EVERY_SECONDS = 5.0
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """Groups of tensors, and what else the loop must know, as JSON."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder of its own outside DVC's outputs (DVC empties those)."""

    def __init__(
        self, folder: Path, fingerprint: str, every_seconds: float | None = None, *, writes: bool = True
    ) -> None:  # fmt: skip
        """`fingerprint` stands for everything that decides the weights: other trainings' files are not seen.

        Of several processes that share a training one writes; the others read.
        """
        self.folder = folder / fingerprint[:16]
        self._saved_at = time.monotonic()
        self._every_seconds = every_seconds
        self._writes = writes

    def save(self, snapshot: Callable[[], Checkpoint], *, force: bool = False) -> None:
        """Write a checkpoint when the last one is some seconds old, or when forced."""
        every_seconds = EVERY_SECONDS if self._every_seconds is None else self._every_seconds
        if not self._writes or (not force and time.monotonic() - self._saved_at < every_seconds):
            return
        checkpoint = snapshot()
        with atomic_folder(self.folder / "newest") as folder:
            for name, tensors in checkpoint.tensors.items():
                save_file(storable(tensors), folder / f"{name}.safetensors")
            write_json(folder / "state.json", dict(checkpoint.state))
            write_json(folder / MANIFEST, {file.name: sha256_of_file(file) for file in sorted(folder.iterdir())})
        self._saved_at = time.monotonic()

    def newest(self) -> Checkpoint | None:
        """Return the checkpoint, or None where there is none or it isn't whole."""
        folder = self.folder / "newest"
        try:
            settle(folder)
            sums = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if any(sha256_of_file(folder / name) != expected for name, expected in sums.items()):
                return None
            names = [name.removesuffix(".safetensors") for name in sums if name.endswith(".safetensors")]
            tensors = {name: load_file(folder / f"{name}.safetensors") for name in names}
            return Checkpoint(tensors, json.loads((folder / "state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, SafetensorError):
            return None

    def keep_last_good(self, tensors: Mapping[str, Tensor]) -> Path:
        """Write the best weights so far beside the checkpoints, for a training that went wrong."""
        path = self.folder / "last-good.safetensors"
        if not self._writes:
            return path
        with atomic_file(path) as temporary:
            save_file(storable(tensors), temporary)
        return path

    def remove(self) -> None:
        """Delete them: the training's outputs are in place."""
        if self._writes:
            shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(*parts: Any) -> str:
    """Return the hex sha256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
