"""Ask a model about picture files, some at a time, with the preprocessing that its evaluation had."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from graftwork.agreement import takes_vectors
from graftwork.decoding import FORMATS, decode, quietly
from graftwork.errors import DataError, first_line
from graftwork.predictors import Predictor
from graftwork.release import image_format
from graftwork.settings import ImageFormat

BATCH = 64  # pictures in memory at once


@dataclass(frozen=True)
class Answer:
    """What a model says of one file."""

    file: Path
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]  # of each class

    @property
    def best(self) -> tuple[int, int]:
        """The likeliest class and the next, as indices."""
        first, second = sorted(range(len(self.classes)), key=lambda index: -self.probabilities[index])[:2]
        return first, second


@dataclass(frozen=True)
class Refusal:
    """A path that can't be answered, and why."""

    file: Path
    why: str


def answers(predictor: Predictor, paths: Sequence[Path], batch: int = BATCH) -> Iterator[Answer | Refusal]:
    """Answer files, and all pictures in folders, in order; what can't be read is refused and the rest goes on.

    Raises DataError where the model doesn't take pictures at all.
    """
    contract = predictor.contract
    image = image_format(contract)
    if takes_vectors(contract) or contract.channels not in (1, 3):
        raise DataError(
            f"The model takes {image}, and predict reads pictures", expected="1 or 3 channels",
            fix="graftwork export --format onnx, and ask ONNX Runtime as its card says",
        )  # fmt: skip
    found = pictures(paths)
    with ThreadPoolExecutor() as pool, quietly():
        while some := list(islice(found, batch)):
            yield from _answered(predictor, image, some, pool)


def pictures(paths: Iterable[Path]) -> Iterator[Path | Refusal]:
    """Yield files as they are named, and the pictures below folders in a fixed order.

    What isn't there is refused, and so are folders that can't be read. Links to folders are not entered; links to files
    may not lead out of the folder that was named.
    """
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
    for path in paths:
        try:
            yield from _named(path, endings)
        except OSError as error:  # a name that is too long; a folder on the way that may not be entered
            yield Refusal(path, error.strerror or first_line(error))


def _named(path: Path, endings: set[str]) -> Iterator[Path | Refusal]:
    if path.is_dir():
        empty = True
        for file in _below(path, endings):
            empty = False
            yield file
        if empty:
            yield Refusal(path, "the folder holds no pictures")
    elif path.is_file():
        yield path
    else:
        yield Refusal(path, "there is no such file" if not path.exists() else "neither a file nor a folder")


def _below(root: Path, endings: set[str]) -> Iterator[Path | Refusal]:
    inside = root.resolve()
    closed: list[OSError] = []  # folders that can't be listed: `walk` passes over them without a word
    for folder, below, names in os.walk(root, onerror=closed.append):
        yield from _refused(closed)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if file.suffix.lower() not in endings or name.startswith("."):
                continue
            yield Refusal(file, why) if (why := _barred(file, inside)) else file
    yield from _refused(closed)


def _barred(file: Path, inside: Path) -> str:
    """Return why a file isn't to be read: a link that leads out of the folder, or can't be followed; else nothing."""
    try:
        out = file.is_symlink() and not file.resolve().is_relative_to(inside)
    except (OSError, RuntimeError) as error:  # a folder that may be listed, not entered; a circle of links
        return first_line(error)
    return "a link that leads out of the folder" if out else ""


def _refused(closed: list[OSError]) -> Iterator[Refusal]:
    """Yield what couldn't be listed, and forget it."""
    while closed:
        error = closed.pop(0)
        yield Refusal(Path(error.filename), f"the folder can't be read: {error.strerror}")


def _answered(
    predictor: Predictor, image: ImageFormat, some: Sequence[Path | Refusal], pool: ThreadPoolExecutor
) -> Iterator[Answer | Refusal]:  # fmt: skip
    """Yield a batch's answers and refusals in the order of its files."""
    decoded = list(pool.map(lambda one: one.why if isinstance(one, Refusal) else decode(one, image), some))
    pixels = [found for found in decoded if not isinstance(found, str)]
    given = iter(predictor(torch.from_numpy(np.stack(pixels))).tolist() if pixels else ())
    for one, found in zip(some, decoded, strict=True):
        if isinstance(found, str):
            yield one if isinstance(one, Refusal) else Refusal(one, found)
        else:
            assert isinstance(one, Path)
            yield Answer(one, predictor.contract.classes, tuple(next(given)))
