"""Made-up vectors: random labels to be learnt by heart, or a teacher network's, related between tasks.

Random labels are the classic demonstration of memory without meaning (Zhang et al., ICLR 2017, arXiv 1611.03530):
nothing can be transferred from them but the habit. A teacher whose first layers several tasks share is the least world
in which transfer works.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from math import isqrt
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from graftwork.desk import Desk
from graftwork.errors import SettingsError
from graftwork.files import sha256_of_file
from graftwork.seeds import derived_seed

# All arithmetic is on integers, drawn from a bit generator's raw stream, which NumPy promises to keep: the files are
# the same to the bit on every machine. A draw has the mean 0 and the standard deviation 209.
Integers = NDArray[np.int64]
UNIT = 256  # features are written as multiples of 1/256, which decimals and float32 hold exactly
WIDE, NARROW = 32, 4  # the teacher's layers; the second is narrow, so that there is something to know about its tasks
REFERENCE = 2048  # vectors that the teacher is calibrated on


@dataclass(frozen=True)
class Synthetic:
    """Vectors with made-up labels, as vectors.csv or vectors.npz: learnable ones, from a teacher network, or random.

    The teachers of one seed's tasks differ in their last layer; `shared` is how much a task's first layers have of
    those of task 0, from 0, nothing, to 1, everything. Every task has vectors of its own.
    """

    features: Annotated[int, Field(ge=1, le=4096)] = 10
    classes: Annotated[int, Field(ge=2, le=1000)] = 10
    samples: Annotated[int, Field(ge=10, le=10_000_000)] = 1000
    labels: Literal["learnable", "random"] = "learnable"
    task: Annotated[int, Field(ge=0)] = 0
    shared: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    format: Literal["csv", "npz"] = "csv"

    def obtain(self, folder: Path, desk: Desk) -> dict[str, Any]:
        """Write the vectors. Raises SettingsError where there are too few of them for a class to be learnt."""
        vectors = self._draw((self.samples, self.features), "vectors", self.task)
        labels = self._learnable(vectors) if self.labels == "learnable" else self._random()
        fewest = int(np.bincount(labels, minlength=self.classes).min())
        if fewest < 3:
            raise SettingsError(
                f"{self.samples} samples leave {fewest} to one of the {self.classes} classes",
                where="params.yaml, key origins", expected="3 of each class or more", fix="raise samples",
            )  # fmt: skip
        file = folder / f"vectors.{self.format}"
        (_write_csv if self.format == "csv" else _write_npz)(file, vectors, labels)
        desk.progress.log(f"{self.samples:,} vectors of {self.features} features, {self.classes} classes")
        return {"made": asdict(self), "files": {file.name: sha256_of_file(file)}}

    def _draw(self, shape: tuple[int, ...], *purpose: str | int) -> Integers:
        """Return whole numbers that are nearly normal: each the sum of eight random bytes, less its mean."""
        raw = np.random.Philox(key=derived_seed(self.seed, "synthetic", *purpose)).random_raw(int(np.prod(shape)))
        sums: Integers = raw.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
        return sums.reshape(shape) - 8 * 255 // 2

    def _random(self) -> Integers:
        """Return labels that have nothing to do with the vectors, equally many of each class."""
        order = np.argsort(self._draw((self.samples,), "labels", self.task), kind="stable")
        return (np.arange(self.samples) % self.classes)[np.argsort(order, kind="stable")]

    def _learnable(self, vectors: Integers) -> Integers:
        """Return the teacher's answers: the class whose output lies highest above its own mean, in deviations.

        Means and deviations are those of vectors kept for that, so the answer to a vector hangs on nothing else.
        """
        hidden = np.concatenate([self._draw((REFERENCE, self.features), "reference"), vectors])
        for layer, width in enumerate((WIDE, NARROW + self.classes // 5)):
            hidden = np.maximum(_standardised(_product(hidden, self._layer(hidden.shape[1], width, layer))), 0)
        outputs = _product(hidden, self._draw((hidden.shape[1], self.classes), "last layer", self.task))
        return np.asarray(_standardised(outputs)[REFERENCE:].argmax(axis=1), dtype=np.int64)

    def _layer(self, inputs: int, width: int, layer: int) -> Integers:
        """Return weights (inputs, width): those of task 0, mixed with the task's own as far as it shares less."""
        common = self._draw((inputs, width), "layer", layer, 0)
        if self.task == 0:
            return common
        share = round(self.shared * UNIT)
        own = self._draw((inputs, width), "layer", layer, self.task)
        return (share * common + isqrt(UNIT**2 - share**2) * own) // UNIT


def _product(left: Integers, right: Integers) -> Integers:
    """Return a matrix product. In float64 it is fast, and exact in any order: no sum here comes near 2⁵³."""
    return (left.astype(np.float64) @ right.astype(np.float64)).astype(np.int64)


def _standardised(values: Integers) -> Integers:
    """Return each column less its mean, over its deviation, in units of 1/256; both are the first REFERENCE rows'."""
    known = values[:REFERENCE]
    mean: Integers = known.sum(axis=0) // REFERENCE
    deviation = [max(1, isqrt(int(total) // REFERENCE)) for total in ((known - mean) ** 2).sum(axis=0)]
    scaled: Integers = (values - mean) * UNIT // np.array(deviation, dtype=np.int64)
    return scaled


def _write_csv(path: Path, vectors: Integers, labels: Integers) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(f"x{index + 1}" for index in range(vectors.shape[1])), "label"])
        for row, label in zip((vectors / UNIT).tolist(), labels.tolist(), strict=True):
            writer.writerow([*row, label])


def _write_npz(path: Path, vectors: Integers, labels: Integers) -> None:
    np.savez(path, vectors=(vectors / UNIT).astype(np.float32), labels=labels)
