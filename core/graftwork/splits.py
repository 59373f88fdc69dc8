"""Split data into training, validation and test images that share nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from graftwork.duplicates import without_duplicates
from graftwork.errors import DataError
from graftwork.images import Indices, Labels, RawImages
from graftwork.looks import Look, digests
from graftwork.selection import Selector
from graftwork.settings import DataSettings


@dataclass(frozen=True)
class Splits:
    """Indices of the images of each split, sorted; `dropped` were left out as duplicates."""

    train: Indices
    validation: Indices
    test: Indices
    dropped: Indices

    def by_name(self) -> dict[str, Indices]:
        """Return the three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split_images(
    raw: RawImages, settings: DataSettings, seed: int, where: str, selector: Selector, seen: Look | None = None
) -> Splits:  # fmt: skip
    """Return stratified splits, or the dataset's own where settings say null; then cut the training set to its labels.

    The selector says which images get them. What was `seen` in an earlier look at the images isn't looked for again.
    Raises DataError where a class would be missing from a split, or one image stands in two of them.
    """
    splits, order = _ordered_splits(raw, settings, seed, where, selector, seen)
    if settings.labels is not None:
        _check_labels(splits.train, settings.labels, len(raw.classes), where)
        chosen = np.fromiter(islice(order, settings.labels), dtype=np.int64, count=settings.labels)
        splits = replace(splits, train=np.sort(chosen))
    for name, indices in splits.by_name().items():
        _check_classes(raw, indices, name, where)
    return splits


def label_budgets(
    raw: RawImages, settings: DataSettings, seed: int, budgets: Sequence[int], where: str, selector: Selector,
    dropped: Indices | None = None,
) -> dict[int, Indices]:  # fmt: skip
    """Return training images with so many labels of each class, sorted; each budget holds all smaller ones.

    They are the first of their class in the selector's order of all training images, whatever `settings.labels` says,
    and leave validation and test as they are. Where it is told what was `dropped` as duplicates when the images were
    split, no image is looked at for that again. Raises DataError where a class has fewer.
    """
    splits, order = _ordered_splits(raw, settings, seed, where, selector, dropped=dropped)
    counts = np.bincount(raw.labels[splits.train], minlength=len(raw.classes))
    fewest = int(counts.argmin())
    if counts[fewest] < max(budgets):
        raise DataError(
            f"labels_per_class: {max(budgets)} is more than the {counts[fewest]} training images of the class "
            f"{raw.classes[fewest]!r}", where=where, expected=f"at most {counts[fewest]}",
            fix="lower it under sweep in params.yaml, or leave more images to training",
        )  # fmt: skip
    members: list[list[int]] = [[] for _ in raw.classes]
    short = set(range(len(members)))
    while short:
        chosen = next(order)
        members[raw.labels[chosen]].append(chosen)
        if len(members[raw.labels[chosen]]) == max(budgets):
            short.remove(int(raw.labels[chosen]))
    return {budget: np.sort(np.concatenate([m[:budget] for m in members])) for budget in budgets}


def _ordered_splits(
    raw: RawImages, settings: DataSettings, seed: int, where: str, selector: Selector, seen: Look | None = None,
    dropped: Indices | None = None,
) -> tuple[Splits, Iterator[int]]:  # fmt: skip
    """Return the splits with all training images, and these in the order in which labels are given to them."""
    rng = np.random.default_rng([seed, 0x5B117])
    given = _given(raw)
    train = given.pop("train", np.array([], dtype=np.int64))
    test, train = _own_or_cut(raw, given, train, settings.test, "test", rng, where)
    validation, train = _own_or_cut(raw, given, train, settings.validation, "validation", rng, where)
    if dropped is None:
        known = seen.digests if seen else digests(raw.images)
        held = (train, validation, test)
        train, validation, dropped = without_duplicates(known, raw.names, settings.duplicates, *held, where)
    else:
        train, validation = (part[~np.isin(part, dropped)] for part in (train, validation))
    splits = Splits(np.sort(train), np.sort(validation), np.sort(test), dropped)
    return splits, selector.order(seen.small if seen else raw.images, raw.labels[train], train, rng)


def stratified_order(labels: Labels, rng: np.random.Generator) -> Indices:
    """Return a random order of which *every* prefix is stratified.

    The first prefix holds one image of each class; after that, classes keep their proportions. So label budgets
    taken as prefixes are nested in each other.
    """
    place = np.empty(len(labels), dtype=np.float64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
        place[members[0]] = -1.0
    return np.lexsort((rng.random(len(labels)), place))


def _given(raw: RawImages) -> dict[str, Indices]:
    if raw.split is None:
        return {"train": np.arange(len(raw.labels))}
    names = [str(name) for name in np.unique(raw.split)]
    return {name: np.flatnonzero(raw.split == name) for name in names}


def _own_or_cut(
    raw: RawImages, given: dict[str, Indices], pool: Indices, size: int | float | None, name: str,
    rng: np.random.Generator, where: str,
) -> tuple[Indices, Indices]:  # fmt: skip
    """Return the split `name` and what it leaves of `pool`: the dataset's own, or a cut, but never a silent choice."""
    own = given.get(name)
    if own is not None and size is not None:
        raise DataError(
            f"The dataset brings {len(own)} {name} images of its own, and {name}: {size} asks for others",
            where=where, fix=f"set {name} to null in params.yaml to take the dataset's own",
        )  # fmt: skip
    if own is not None:
        return own, pool
    if size is None:
        raise DataError(
            f"{name} is null, but the dataset brings no {name} images of its own", where=where,
            expected="a dataset with that split, or a size", fix=f"set {name} to a count, or to a fraction such as 0.2",
        )  # fmt: skip
    return _cut(raw, pool, size, name, rng, where)


def _cut(
    raw: RawImages, pool: Indices, size: int | float, name: str, rng: np.random.Generator, where: str
) -> tuple[Indices, Indices]:
    """Take a stratified part of `size` (a count, or a fraction) out of `pool`; return it and the rest."""
    count = round(size * len(pool)) if isinstance(size, float) else size
    classes = len(raw.classes)
    if not classes <= count <= len(pool) - classes:
        raise DataError(
            f"A {name} set of {count} images can't be taken from {len(pool)} images of {classes} classes",
            where=where, expected=f"{classes} to {max(classes, len(pool) - classes)} images: one of each class on "
            "either side", fix=f"change {name} in params.yaml, or add images",
        )  # fmt: skip
    order = stratified_order(raw.labels[pool], rng)
    return pool[order[:count]], pool[order[count:]]


def _check_labels(train: Indices, budget: int, classes: int, where: str) -> None:
    if budget > len(train):
        raise DataError(
            f"There are {len(train)} training images, fewer than labels: {budget}", where=where,
            fix="lower labels in params.yaml, or set it to null to take all",
        )  # fmt: skip
    if budget < classes:
        raise DataError(
            f"labels: {budget} is less than one for each of the {classes} classes", where=where,
            fix=f"set labels to {classes} or more",
        )  # fmt: skip


def _check_classes(raw: RawImages, indices: Indices, name: str, where: str) -> None:
    counts = np.bincount(raw.labels[indices], minlength=len(raw.classes))
    if (counts > 0).all():
        return
    missing = int(np.flatnonzero(counts == 0)[0])
    total = int((raw.labels == missing).sum())
    mended = "or remove the class" if name == "train" else f"remove the class, or enlarge {name} in params.yaml"
    raise DataError(
        f"The class {raw.classes[missing]!r} has {total} image{'s' * (total != 1)} in all and none in the "
        f"{name} set", where=where, expected="at least 3 images a class, one for each split",
        fix=f"add images to it, {mended}",
    )  # fmt: skip
