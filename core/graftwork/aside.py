"""Tensors that are seldom asked for, kept on the disk instead of in memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graftwork.disk import room_for


class Aside:
    """Groups of tensors, as they were, in a file without a name: it is gone with the process, however that ends."""

    def __init__(self, groups: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
        """Write them where `folder` lies. Raises DiskFullError."""
        folder.mkdir(parents=True, exist_ok=True)
        with room_for(folder):
            self._file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # lives as long as this object
            weakref.finalize(self, self._file.close)
            torch.save({name: dict(held) for name, held in groups.items()}, self._file)

    def read(self) -> dict[str, dict[str, Tensor]]:
        """Return copies of them, on the CPU."""
        self._file.seek(0)
        found: dict[str, dict[str, Tensor]] = torch.load(self._file, map_location="cpu", weights_only=True)
        return found
