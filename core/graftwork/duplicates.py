"""Images that stand in two splits to the last pixel: refused, or left out of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from graftwork.errors import DataError
from graftwork.image_names import names_of
from graftwork.images import Indices

TOLD = 5  # pairs that an error names


def without_duplicates(
    known: Sequence[bytes], names: Iterable[str] | None, duplicates: Literal["refuse", "drop"], train: Indices,
    validation: Indices, test: Indices, where: str,
) -> tuple[Indices, Indices, Indices]:  # fmt: skip
    """Return training and validation images that stand in no split after theirs, and those that do.

    `known` are the digests of all images. Raises DataError where there are such and they are to be refused.
    """
    held = {known[number]: int(number) for number in reversed(test)}
    keep_validation = np.array([known[number] not in held for number in validation], dtype=bool)
    held = {known[number]: int(number) for number in reversed(validation)} | held
    keep_train = np.array([known[number] not in held for number in train], dtype=bool)
    dropped = np.sort(np.concatenate([train[~keep_train], validation[~keep_validation]]))
    if len(dropped) and duplicates == "refuse":
        raise _in_two_splits(known, names, held, dropped, where)
    return train[keep_train], validation[keep_validation], dropped


def _in_two_splits(
    known: Sequence[bytes], names: Iterable[str] | None, held: Mapping[bytes, int], dropped: Indices, where: str
) -> DataError:
    """Return the error that names the first pairs: by file or row, where images have such, else by number."""
    pairs = [(int(number), held[known[number]]) for number in dropped[:TOLD]]
    told = names_of(names, (number for pair in pairs for number in pair))
    texts = [" and ".join(told.get(number, f"number {number}") for number in pair) for pair in pairs]
    more = f"; and {len(dropped) - len(pairs)} more" if len(dropped) > len(pairs) else ""
    return DataError(
        f"{len(dropped)} images stand in two splits, so the test would see what was trained on: "
        f"{'; '.join(texts)}{more}",
        where=where, fix="remove one of each pair, or set duplicates: drop to leave them out of training",
    )  # fmt: skip
