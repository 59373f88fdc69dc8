"""Ask a model about picture files, some at a time, with the preprocessing that its evaluation had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from graftwork.agreement import takes_vectors
from graftwork.decoding import decode, quietly
from graftwork.errors import DataError, first_line
from graftwork.picture_files import is_picture, pictures_below, stays_inside
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
    for path in paths:
        try:
            yield from _named(path)
        except OSError as error:  # a name that is too long; a folder on the way that may not be entered
            yield Refusal(path, error.strerror or first_line(error))


def _named(path: Path) -> Iterator[Path | Refusal]:
    if path.is_dir():
        empty = True
        for file in _below(path):
            empty = False
            yield file
        if empty:
            yield Refusal(path, "the folder holds no pictures")
    elif path.is_file():
        yield path
    else:
        yield Refusal(path, "there is no such file" if not path.exists() else "neither a file nor a folder")


def _below(root: Path) -> Iterator[Path | Refusal]:
    closed: list[OSError] = []  # what can't be looked at: the search passes over it
    for file in pictures_below(root, closed.append):
        yield from _refused(closed)
        if not file.is_symlink():
            yield file
        elif is_picture(file) and not file.is_dir():
            yield file if stays_inside(file, root) else Refusal(file, "a link that leads out of the folder, or nowhere")
    yield from _refused(closed)


def _refused(closed: list[OSError]) -> Iterator[Refusal]:
    """Yield what couldn't be looked at, and forget it."""
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
