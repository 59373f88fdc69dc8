"""Labelled images as one array: what small images are trained from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graftwork.images import Batches, Images, Indices, conform
from graftwork.progress import QUIET, Progress, Tally
from graftwork.settings import ImageFormat

CHUNK_BYTES = 2**22  # what is worked on at a time where not all shall be in memory
LEAST = 16  # images of it, however large


@dataclass(frozen=True)
class LabelledArrays:
    """Images (N, C, H, W) and labels (N,) int64, as tensors: in memory, or mapped from a file."""

    images: Tensor
    labels: Tensor

    @classmethod
    def load(cls, folder: Path) -> LabelledArrays:
        """Map what was saved; its bytes are read when they are used. Raises OSError or ValueError where damaged."""
        # Copy-on-write, as torch warns of arrays that can't be written
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        return cls(torch.from_numpy(images), torch.from_numpy(labels))

    def save(self, folder: Path) -> None:
        """Write images.npy and labels.npy into an existing folder."""
        np.save(folder / "images.npy", self.images.cpu().numpy(), allow_pickle=False)
        np.save(folder / "labels.npy", self.labels.cpu().numpy(), allow_pickle=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image."""
        return tuple(self.images.shape[1:])

    def batch(self, indices: Tensor) -> Tensor:
        """Return some of the images."""
        return self.images[indices]

    def batches(self, size: int) -> Batches:
        """Yield all, as views."""
        yield from zip(torch.split(self.images, size), torch.split(self.labels, size), strict=True)

    def stream(self, order: Tensor, size: int) -> Batches:
        """Yield them in an order."""
        for chosen in torch.split(order, size):
            yield self.images[chosen], self.labels[chosen]

    def take(self, indices: Tensor) -> LabelledArrays:
        """Return some of them."""
        return LabelledArrays(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> LabelledArrays:
        """Return it on another device."""
        return LabelledArrays(self.images.to(device), self.labels.to(device))

    def sha256(self) -> str:
        """Return the digest of images and labels, computed once: every epoch may ask for it."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        found = hashlib.sha256(str(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            found.update(tensor.cpu().contiguous().numpy().data)
        return found.hexdigest()


def write_array(
    path: Path, images: Images, indices: Indices, image: ImageFormat | None = None, progress: Progress = QUIET
) -> None:
    """Write some images, brought to a format, as .npy: a chunk at a time, the very bytes that np.save would write.

    Raises Interrupted when asked to stop.
    """
    shape = images.shape[1:] if image is None else (image.channels, image.size, image.size)
    tally = Tally(progress, len(indices), "images")
    described = {"descr": np.lib.format.dtype_to_descr(images.dtype), "fortran_order": False}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**described, "shape": (len(indices), *shape)})
        for chunk in chunks(images, indices):
            pixels = images[chunk]
            file.write(np.ascontiguousarray(pixels if image is None else conform(pixels, image)).data)
            tally.count(len(chunk))


def chunks(images: Images, indices: Indices) -> Iterator[Indices]:
    """Divide indices into parts whose images take at most CHUNK_BYTES, or are LEAST, so that threads share them."""
    each = images.dtype.itemsize * int(np.prod(images.shape[1:]))
    many = max(LEAST, CHUNK_BYTES // each)
    yield from (indices[start : start + many] for start in range(0, len(indices), many))
