"""Images that stay encoded, as JPEG or PNG or whatever they came in, until they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graftwork.decoding import THREADS, decode, quietly
from graftwork.errors import DataError, StateError
from graftwork.files import read_json, write_json
from graftwork.images import Indices, Pixels
from graftwork.progress import QUIET, Progress, Tally
from graftwork.settings import ImageFormat

GROUP = 8  # images that a thread decodes in one go: of small ones, handing over costs as much as decoding
BYTES, OFFSETS, FORMAT = "images.bin", "offsets.npy", "format.json"


class Sources(Protocol):
    """What gives each image's bytes, or the file that holds them: a list, or something that reads when asked."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Path | bytes: ...


@dataclass(frozen=True)
class EncodedImages:
    """Images (N, C, H, W) of a format, decoded when they are asked for by slice, numbers or mask, and then let go.

    Raises DataError for one that can't be decoded; whoever makes it has looked at each once.
    """

    sources: Sources
    image: ImageFormat

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W), as if they were decoded."""
        return len(self), self.image.channels, self.image.size, self.image.size

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """What they are decoded to."""
        return np.dtype(np.uint8)

    def __getitem__(self, indices: Any) -> Pixels:
        numbers = np.arange(len(self))[indices]
        pixels = np.empty((numbers.size, *self.shape[1:]), dtype=np.uint8)
        with quietly(), ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda part: self.decode_into(*part), groups(numbers.reshape(-1), pixels)):
                pass
        return pixels if numbers.ndim else pixels[0]

    def take(self, indices: Indices) -> EncodedImages:
        """Return some of them, still encoded."""
        return EncodedImages(_Chosen(self.sources, indices), self.image)

    def encoded(self, number: int) -> bytes:
        """Return one's bytes as they are."""
        source = self.sources[number]
        return source.read_bytes() if isinstance(source, Path) else source

    def decode_into(self, numbers: Indices, pixels: Pixels) -> None:
        """Decode so many into pixels (numbers, C, H, W). Call it within `quietly`."""
        for number, place in zip(numbers.tolist(), pixels, strict=True):
            source = self.sources[number]
            found = decode(source, self.image)
            if isinstance(found, str):
                where = str(source) if isinstance(source, Path) else f"image {number}, counted from 0"
                raise DataError(f"An image can't be read: {found}", where=where, fix="mend or delete it; run again")
            place[:] = found


def groups(numbers: Indices, pixels: Pixels) -> Sequence[tuple[Indices, Pixels]]:
    """Divide images, and the places that they are decoded to, into what one thread decodes in one go."""
    starts = range(0, len(numbers), GROUP)
    return [(numbers[start : start + GROUP], pixels[start : start + GROUP]) for start in starts]


def pack(folder: Path, images: EncodedImages, progress: Progress = QUIET) -> None:
    """Write the bytes as they are, one image after the other, with where each begins and the format.

    Writes images.bin, offsets.npy (N + 1) and format.json into an existing folder; holds one image at a time.
    Raises Interrupted when asked to stop.
    """
    lengths, tally = [0], Tally(progress, len(images), "images")
    with (folder / BYTES).open("wb") as file:
        for number in range(len(images)):
            lengths.append(file.write(images.encoded(number)))
            tally.count(1)
    np.save(folder / OFFSETS, np.cumsum(lengths, dtype=np.int64), allow_pickle=False)
    write_json(folder / FORMAT, images.image.model_dump())


def packed(folder: Path) -> bool:
    """Say whether `pack` wrote a folder."""
    return (folder / BYTES).exists()


def unpack(folder: Path) -> EncodedImages:
    """Return what `pack` wrote, still on disk. Raises OSError, ValueError or StateError where it is damaged."""
    offsets: NDArray[np.int64] = np.load(folder / OFFSETS, allow_pickle=False)
    size = (folder / BYTES).stat().st_size
    if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != size:
        raise ValueError(f"{BYTES} has {size:,} bytes, and {OFFSETS} says {offsets[-1]:,}")
    return EncodedImages(_Packed(folder / BYTES, offsets), ImageFormat.model_validate(read_json(folder / FORMAT)))


@dataclass(frozen=True)
class _Packed:
    """Images in one file. It is opened for each: a mapped file would count as this process's memory."""

    file: Path
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> bytes:
        begin, end = self.offsets[number : number + 2].tolist()
        try:
            with self.file.open("rb") as file:
                file.seek(begin)
                return file.read(end - begin)
        except OSError as error:
            raise StateError(
                f"The stored images can't be read: {error.strerror}", where=str(self.file), fix="graftwork run"
            ) from None


@dataclass(frozen=True)
class _Chosen:
    sources: Sources
    numbers: Indices

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int) -> Path | bytes:
        return self.sources[int(self.numbers[number])]
