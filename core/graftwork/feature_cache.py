"""Keep what the part of a model that stands still makes of images: computed once, mapped from files afterwards.

An entry is a folder named by the sha256 of all that decides it, which holds activations.npy and entry.json. It is put
there whole, and its bytes are checked before they are used.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graftwork.disk import reserve
from graftwork.files import atomic_folder, make_folder, sha256_of_file, write_json

ARRAY, ENTRY = "activations.npy", "entry.json"
MOST_OF_ONE = 2**32  # bytes of a training; no share of the free disk, as that mustn't decide what is trained on
MOST_BYTES = 4 * MOST_OF_ONE  # of all entries: what was used longest ago goes first
KEPT_SECONDS = 7 * 86_400.0  # after its last use


@dataclass(frozen=True)
class Activations:
    """Activations of images in their own order, mapped from a file."""

    stored: Tensor  # (images, …); of maps in the memory format channels_last (images, height, width, channels)
    channels_last: bool = False

    def __len__(self) -> int:
        return len(self.stored)

    def batch(self, chosen: Tensor | slice, device: torch.device) -> Tensor:
        """Return those of some images, (batch, …), as the model gave them."""
        found = self.stored[chosen]
        found = found.clone() if isinstance(chosen, slice) else found  # the rest of a model may work in place
        found = found.to(device)
        return found.permute(0, 3, 1, 2) if self.channels_last else found


@dataclass
class FeatureCache:
    """Entries in a folder of this machine's own, where they are bounded, and in folders that are only read."""

    folder: Path
    read_only: Sequence[Path] = ()
    _checked: dict[str, Activations] = field(default_factory=dict)  # by this process

    def find(self, key: str) -> Activations | None:
        """Return an entry; None where there is none, or a damaged one."""
        if key not in self._checked:
            found = next(filter(None, (_read(folder / key) for folder in (*self.read_only, self.folder))), None)
            if found is None:
                return None
            if (self.folder / key / ENTRY).exists():
                os.utime(self.folder / key / ENTRY)  # when it was used last
            self._checked[key] = found
        return self._checked[key]

    def fill(self, key: str, parts: Iterable[Tensor], shape: Sequence[int], dtype: torch.dtype) -> Activations | None:
        """Return the entry, which holds `parts` one after the other, computed unless another process just did.

        `shape` is that of all together. None where it would take more than MOST_OF_ONE. Raises DiskFullError where the
        disk has no room.
        """
        wanted = math.prod(shape) * dtype.itemsize
        if not few_enough(wanted):
            return None
        make_folder(self.folder)
        with _locked(self.folder / "lock"):
            found = self.find(key)
            if found is None:
                self._make_room(wanted)
                write_entry(self.folder / key, parts, shape)
                found = self._checked[key] = _opened(self.folder / key)
        return found

    def _make_room(self, wanted: int) -> None:
        """Remove what wasn't used for long, then what was used longest ago, until `wanted` bytes more may be kept."""
        entries = sorted((path for path in self.folder.iterdir() if path.is_dir()), key=_used_at)
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in entries}
        for path in entries:
            if time.time() - _used_at(path) > KEPT_SECONDS or sum(sizes.values()) + wanted > MOST_BYTES:
                shutil.rmtree(path, ignore_errors=True)  # another process that has it mapped keeps it
                self._checked.pop(path.name, None)
                del sizes[path]


def few_enough(wanted: int) -> bool:
    """Tell whether one training may keep so many bytes of activations."""
    return wanted <= MOST_OF_ONE


def write_entry(path: Path, parts: Iterable[Tensor], shape: Sequence[int]) -> None:
    """Write an entry: `parts`, float32 or bfloat16, one after the other, of this shape together."""
    with atomic_folder(path) as folder:
        about: dict[str, Any] = {}
        stored, place = None, 0
        for part in parts:
            part = part.detach().cpu()
            if stored is None:
                about = {"bfloat16": part.dtype == torch.bfloat16, "channels_last": _is_channels_last(part)}
            part = part.permute(0, 2, 3, 1) if about["channels_last"] else part
            rows = part.contiguous().view(torch.uint16).numpy() if about["bfloat16"] else part.contiguous().numpy()
            if stored is None:
                whole = (shape[0], *rows.shape[1:])
                stored = np.lib.format.open_memmap(folder / ARRAY, mode="w+", dtype=rows.dtype, shape=whole)
                reserve(folder / ARRAY)
            stored[place : place + len(rows)] = rows
            place += len(rows)
        assert stored is not None and place == shape[0], "as many activations as images"
        stored.flush()
        write_json(folder / ENTRY, {**about, "sha256": sha256_of_file(folder / ARRAY)})


def _read(path: Path) -> Activations | None:
    """Return the entry in a folder; None where it isn't there, isn't whole, or isn't what was written."""
    try:
        sha256 = json.loads((path / ENTRY).read_text(encoding="utf-8"))["sha256"]
        return _opened(path) if sha256_of_file(path / ARRAY) == sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _opened(path: Path) -> Activations:
    """Map the entry in a folder, whose bytes are known to be right."""
    about = json.loads((path / ENTRY).read_text(encoding="utf-8"))
    # Copy-on-write, as torch warns of arrays that can't be written
    stored = torch.from_numpy(np.load(path / ARRAY, mmap_mode="c", allow_pickle=False))
    stored = stored.view(torch.bfloat16) if about["bfloat16"] else stored
    return Activations(stored, about["channels_last"])


def _is_channels_last(part: Tensor) -> bool:
    return (
        part.ndim == 4
        and part.is_contiguous(memory_format=torch.channels_last)
        and not part.is_contiguous()  # maps of one pixel, or one channel, are both
    )


def _used_at(path: Path) -> float:
    try:
        return (path / ENTRY).stat().st_mtime
    except OSError:  # left by a kill
        return 0.0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the folder: who trains beside waits for the activations instead of computing them, too."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, however the process ends
        yield
