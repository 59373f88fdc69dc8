"""Find and read idx files, believing nothing that their headers say."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError, listed

NAME = re.compile(r"(?P<set>.*?)(?P<kind>images|labels)[-.]idx\d[-.]ubyte(?P<gz>\.gz)?", re.IGNORECASE)
SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "t10k": "test", "test": "test"}
UBYTE = 8  # the code of unsigned bytes in the third byte of the magic number
MOST_BYTES = 2 << 30  # EMNIST's largest file has 0.55 GB
MOST_RATIO = 100  # MNIST's images are packed 5 times, its labels twice
SMALL_BYTES = 64 << 20  # below this no ratio is a danger
CHUNK_BYTES = 1 << 20
LAYOUT = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte; also .gz"


class Stream(Protocol):
    """A file that is read from its beginning to its end."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""


@dataclass(frozen=True)
class Pair:
    """An images file and its labels file; `split` is None for a folder's only pair, called after none."""

    images: Path
    labels: Path
    split: str | None


def find_pairs(path: Path) -> list[Pair]:
    """Return the pairs of a folder, training first, or its only one, whatever that is called. Raises DataError.

    A file isn't taken by itself: images are nothing without their labels, and a change of these would go unnoticed.
    """
    if path.is_file():
        raise DataError(
            "The path is a file, and idx files come in pairs", where=str(path), expected=f"a folder of {LAYOUT}",
            fix=f"path: {path.parent}; of several sets there, put each into a folder of its own",
        )  # fmt: skip
    if not path.is_dir():
        raise DataError(
            "The idx files are missing", where=str(path), expected=f"a folder of {LAYOUT}", fix="correct path"
        )
    return _pairs_of(path)


def _pairs_of(folder: Path) -> list[Pair]:
    pairs: dict[str, Pair] = {}
    sets = _by_set(folder.iterdir())
    for prefix, files in sorted(sets.items()):
        split = next((split for word, split in SPLITS.items() if word in prefix.lower()), None)
        if split is None and len(sets) > 1:
            continue
        for kind in ("images", "labels"):
            if kind not in files:
                raise _missing(folder, prefix, kind)
        if split is None:
            return [Pair(files["images"], files["labels"], None)]
        if split in pairs:
            raise DataError(
                f"There are several {split} sets: {pairs[split].images.name} and {files['images'].name}",
                where=str(folder), expected="one set a folder", fix="put each set into a folder of its own",
            )  # fmt: skip
        pairs[split] = Pair(files["images"], files["labels"], split)
    if "train" not in pairs:
        found = sorted(file.name for file in folder.iterdir())
        raise DataError(
            f"The folder holds no training set: {listed(found, 5)}", where=str(folder), expected=LAYOUT,
            fix="correct path in params.yaml; a folder's only set may be called as it likes",
        )  # fmt: skip
    return [pairs[split] for split in ("train", "validation", "test") if split in pairs]


def _by_set(files: Iterable[Path]) -> dict[str, dict[str, Path]]:
    """Return idx files by what stands before `images` or `labels`, then by kind; a plain one before its gzip."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(files):
        match = NAME.fullmatch(file.name)
        if match is not None and file.is_file():
            found.setdefault(match["set"], {}).setdefault(match["kind"].lower(), file)
    return found


def _missing(folder: Path, prefix: str, kind: str) -> DataError:
    return DataError(
        f"The {kind} of {prefix.rstrip('-.') or 'the set'} are missing", where=str(folder), expected=LAYOUT,
        fix=f"put {prefix}{kind}-idx{3 if kind == 'images' else 1}-ubyte beside the other file",
    )  # fmt: skip


def read_pair(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images (N, H, W) and labels (N,) of one split."""
    labels, images = read_idx(pair.labels, 1), read_idx(pair.images, 3)
    if len(images) != len(labels):
        raise DataError(
            f"There are {len(images)} images but {len(labels)} labels", where=str(pair.images),
            expected=f"as many as in {pair.labels.name}", fix="take both files from one place",
        )  # fmt: skip
    return images, labels


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the bytes of an idx file in the shape that its header gives. Raises DataError.

    Memory grows with what is read, not with what the header claims; a gzip that unpacks to far more than it weighs is
    refused.
    """
    try:
        with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as stream:
            shape = _shape(stream, dimensions, file)
            content = _content(stream, shape, file)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The idx file can't be read: {error}", where=str(file), fix="fetch it anew") from None
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _shape(stream: Stream, dimensions: int, file: Path) -> tuple[int, ...]:
    expected = bytes((0, 0, UBYTE, dimensions))
    header = stream.read(4 + 4 * dimensions)
    if header[:4] != expected[: len(header)] or not header:
        raise DataError(
            f"The file begins with {header[:4].hex(' ') or 'nothing'}", where=str(file),
            expected=f"{expected.hex(' ')}: {'images' if dimensions == 3 else 'labels'} of one byte each",
            fix="fetch it anew, or correct path in params.yaml",
        )  # fmt: skip
    if len(header) < 4 + 4 * dimensions:
        raise _truncated(file, f"a header of {4 + 4 * dimensions} bytes", len(header))
    shape = tuple(np.frombuffer(header, dtype=">u4", offset=4).tolist())
    if not all(shape):
        raise DataError(
            f"The header says {_times(shape)}", where=str(file), expected="at least one of each", fix="fetch it anew"
        )
    return shape


def _content(stream: Stream, shape: tuple[int, ...], file: Path) -> bytearray:
    """Return exactly the bytes that the shape asks for; raise for fewer, for more, and for a bomb."""
    wanted, stored = math.prod(shape), file.stat().st_size
    most = min(MOST_BYTES, max(SMALL_BYTES, MOST_RATIO * stored))
    if wanted > most:
        raise DataError(
            f"The header says {_times(shape)} = {wanted:,} bytes, and the file has {stored:,}", where=str(file),
            expected=f"at most {most:,} bytes", fix="fetch it anew",
        )  # fmt: skip
    content = bytearray()
    while len(content) <= wanted and (chunk := stream.read(min(CHUNK_BYTES, wanted + 1 - len(content)))):
        content += chunk
    if len(content) < wanted:
        raise _truncated(file, f"{_times(shape)} = {wanted:,} bytes", len(content))
    if len(content) > wanted:
        raise DataError(
            "There are bytes behind the last one", where=str(file), expected=f"{_times(shape)} = {wanted:,} bytes",
            fix="fetch it anew",
        )  # fmt: skip
    return content


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{side:,}" for side in shape)


def _truncated(file: Path, expected: str, found: int) -> DataError:
    return DataError(f"The file ends after {found:,} bytes", where=str(file), expected=expected, fix="fetch it anew")
