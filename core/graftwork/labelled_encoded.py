"""Labelled images that stay encoded on disk: while one batch trains, threads decode the next ones."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graftwork.decoding import THREADS, quietly
from graftwork.encoded_images import EncodedImages, groups, pack, unpack
from graftwork.images import Batches

CPU = torch.device("cpu")
AHEAD = 2  # batches that are decoded before they are asked for: so many, and the one in use, are in memory


@dataclass(frozen=True)
class LabelledEncoded:
    """Images as encoded bytes and labels (N,) int64; batches come out on the device."""

    images: EncodedImages
    labels: Tensor
    device: torch.device = CPU

    @classmethod
    def load(cls, folder: Path) -> LabelledEncoded:
        """Find what was saved. Raises OSError, ValueError or StateError where it is damaged."""
        return cls(unpack(folder), torch.from_numpy(np.load(folder / "labels.npy", allow_pickle=False)))

    def save(self, folder: Path) -> None:
        """Write images.bin, offsets.npy, format.json and labels.npy into an existing folder."""
        pack(folder, self.images)
        np.save(folder / "labels.npy", self.labels.cpu().numpy(), allow_pickle=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image."""
        return self.images.shape[1:]

    def batch(self, indices: Tensor) -> Tensor:
        """Decode some of the images now."""
        return torch.from_numpy(self.images[indices.cpu().numpy()]).to(self.device)

    def batches(self, size: int) -> Batches:
        """Yield all."""
        yield from self.stream(torch.arange(len(self)), size)

    def stream(self, order: Tensor, size: int) -> Batches:
        """Yield them in an order, decoded ahead. What decoding raises is raised where the image's batch is due.

        However the loop over it ends, its threads have ended when the generator is closed.
        """
        ahead: deque[_Ordered] = deque()
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
        try:
            with quietly():
                for chosen in torch.split(order.cpu(), size):
                    ahead.append(_Ordered.begin(pool, self, chosen))
                    if len(ahead) > AHEAD:
                        yield ahead.popleft().finished(self)
                while ahead:
                    yield ahead.popleft().finished(self)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def take(self, indices: Tensor) -> LabelledEncoded:
        """Return some of them, still encoded."""
        return LabelledEncoded(self.images.take(indices.cpu().numpy()), self.labels[indices], self.device)

    def to(self, device: torch.device) -> LabelledEncoded:
        """Return it with its labels on another device, to which its images will be decoded."""
        return LabelledEncoded(self.images, self.labels.to(device), device)

    def sha256(self) -> str:
        """Return the digest of the encoded images, of what they are decoded to, and of the labels."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        found = hashlib.sha256(f"encoded {self.images.shape}".encode())
        for number in range(len(self)):
            found.update(hashlib.sha256(self.images.encoded(number)).digest())
        found.update(self.labels.cpu().contiguous().numpy().data)
        return found.hexdigest()


@dataclass(frozen=True)
class _Ordered:
    """A batch that threads are decoding."""

    chosen: Tensor
    pixels: Tensor
    parts: list[Future[None]]

    @classmethod
    def begin(cls, pool: ThreadPoolExecutor, data: LabelledEncoded, chosen: Tensor) -> _Ordered:
        # Pinned memory is copied to a GPU while that computes
        on_gpu = data.device.type == "cuda"
        pixels = torch.empty((len(chosen), *data.shape), dtype=torch.uint8, pin_memory=on_gpu)
        work = groups(chosen.numpy(), pixels.numpy())
        return cls(chosen, pixels, [pool.submit(data.images.decode_into, *part) for part in work])

    def finished(self, data: LabelledEncoded) -> tuple[Tensor, Tensor]:
        for part in self.parts:
            part.result()
        images = self.pixels.to(data.device, non_blocking=True)
        return images, data.labels[self.chosen.to(data.labels.device)]
