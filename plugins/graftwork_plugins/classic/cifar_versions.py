"""The four archives of CIFAR-10 and CIFAR-100, and how their files are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError, listed
from graftwork_plugins.classic.plain_pickles import Array, read_pickle

PIXELS = (3, 32, 32)  # three planes, each row by row

Grain = Literal["fine", "coarse"]
GRAINS: tuple[Grain, ...] = ("fine", "coarse")
Part = tuple[NDArray[np.uint8], NDArray[np.int64]]  # images (N, 3, 32, 32), labels (N,)


@dataclass(frozen=True)
class Version:
    """The files of one of the four archives, and how one of them is read."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str  # the file of the classes' names; {grain} in it is fine or coarse
    read: Callable[[bytes, Grain, str], Part]
    read_names: Callable[[bytes, Grain, str], tuple[str, ...]]
    coarse: bool  # whether it has coarse labels too

    def files(self, grain: Grain) -> tuple[str, ...]:
        """Return the files that are needed."""
        return (*self.train, *self.test, self.names.format(grain=grain))


def _read_binary(columns: int) -> Callable[[bytes, Grain, str], Part]:
    """Return a reader of rows of `columns` label bytes (coarse before fine) and 3,072 pixels."""

    def read(content: bytes, grain: Grain, file: str) -> Part:
        row = columns + 3072
        if not content or len(content) % row:
            raise _damaged(file, f"{len(content):,} bytes", f"a multiple of {row:,}")
        rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, row)
        column = 0 if grain == "coarse" else columns - 1
        return rows[:, columns:].reshape(-1, *PIXELS), rows[:, column].astype(np.int64)

    return read


def _read_lines(content: bytes, grain: Grain, file: str) -> tuple[str, ...]:
    names = tuple(line.strip() for line in content.decode("latin-1").splitlines() if line.strip())
    if not names:
        raise _damaged(file, "no names", "one a line")
    return names


def _read_python(content: bytes, grain: Grain, file: str) -> Part:
    batch = _dict(content, file)
    pixels, labels = batch.get("data"), batch.get("labels", batch.get(f"{grain}_labels"))
    if not isinstance(pixels, Array) or pixels.values.ndim != 2 or pixels.values.shape[1] != 3072:
        raise _damaged(file, "no images", "data: rows of 3,072 bytes")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise _damaged(file, "no labels", f"a list of numbers from 0 to 255: labels, or {grain}_labels")
    if len(labels) != len(pixels.values):
        raise _damaged(file, f"{len(pixels.values)} images and {len(labels)} labels", "as many of both")
    return pixels.values.reshape(-1, *PIXELS), np.array(labels, dtype=np.int64)


def _read_meta(content: bytes, grain: Grain, file: str) -> tuple[str, ...]:
    meta = _dict(content, file)
    names = meta.get("label_names", meta.get(f"{grain}_label_names"))
    if not isinstance(names, list) or not names or not all(isinstance(name, str | bytes) for name in names):
        raise _damaged(file, f"{listed(map(str, meta))}", f"label_names, or {grain}_label_names: a list of names")
    return tuple(_text(name) for name in names)


def _dict(content: bytes, file: str) -> dict[str, object]:
    value = read_pickle(content, file)
    if not isinstance(value, dict):
        raise _damaged(file, f"a {type(value).__name__}", "a dict")
    return {_text(key): item for key, item in value.items()}


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _damaged(file: str, found: str, expected: str) -> DataError:
    return DataError(f"{file} holds {found}", where=file, expected=expected, fix="fetch the archive anew")


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
VERSIONS = (
    Version(
        "cifar-10-batches-py", _BATCHES, ("test_batch",), "batches.meta", _read_python, _read_meta, coarse=False
    ),
    Version(
        "cifar-10-batches-bin", tuple(f"{name}.bin" for name in _BATCHES), ("test_batch.bin",), "batches.meta.txt",
        _read_binary(1), _read_lines, coarse=False,
    ),
    Version("cifar-100-python", ("train",), ("test",), "meta", _read_python, _read_meta, coarse=True),
    Version(
        "cifar-100-binary", ("train.bin",), ("test.bin",), "{grain}_label_names.txt", _read_binary(2), _read_lines,
        coarse=True,
    ),
)  # fmt: skip
