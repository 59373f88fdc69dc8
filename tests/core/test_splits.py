"""Splits share no image, keep the classes' proportions, and label budgets are nested."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.settings import DataSettings, Use
from graftwork.splits import Splits, label_budgets, split_images, stratified_order
from tests.core.small import STRATIFIED

Counts = st.lists(st.integers(6, 40), min_size=2, max_size=5)


def raw(counts: list[int], split: list[str] | None = None) -> RawImages:
    """Return images of which no two are equal, `counts` of each class, in mixed order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    numbers = np.arange(len(labels), dtype=np.uint32)
    images = numbers.view(np.uint8).reshape(-1, 1, 2, 2).copy()
    classes = tuple(f"class {index}" for index in range(len(counts)))
    return RawImages(images, labels, classes, None if split is None else np.array(split))


def data(**changes: Any) -> DataSettings:
    usual = {
        "dataset": Use.model_validate("npz"),
        "path": "x",
        "validation": 0.2,
        "test": 0.2,
        "augmentation": (),
        "storage": "auto",
        "image": None,
    }
    return DataSettings(**usual | changes)


def split(images: RawImages, seed: int = 0, **changes: Any) -> Splits:
    return split_images(images, data(**changes), seed, where="here", selector=STRATIFIED)


def together(splits: Splits) -> list[int]:
    return sorted(np.concatenate([splits.train, splits.validation, splits.test, splits.dropped]).tolist())


@given(Counts, st.integers(0, 1000), st.floats(0.15, 0.35), st.floats(0.15, 0.35))
@settings(max_examples=60, deadline=None)
def test_splits_share_nothing_and_leave_nothing_out(
    counts: list[int], seed: int, validation: float, test: float
) -> None:
    images = raw(counts)
    try:
        splits = split(images, seed, validation=validation, test=test)
    except DataError as error:
        assert "images can't be taken from" in str(error) or "none in the" in str(error)
        return
    assert together(splits) == list(range(sum(counts)))
    for indices in splits.by_name().values():
        assert set(images.labels[indices]) == set(range(len(counts)))


@given(Counts, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_prefix_holds_the_classes_in_proportion(counts: list[int], seed: int) -> None:
    labels = raw(counts).labels
    order = stratified_order(labels, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(labels)))
    for size in range(len(counts), len(labels) + 1):
        found = np.bincount(labels[order[:size]], minlength=len(counts))
        share = np.array(counts) / len(labels)
        assert found.min() >= 1
        assert (np.abs(found - size * share) <= 1 + len(counts) * share).all()


@given(st.integers(2, 6), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_of_equal_classes_every_prefix_holds_equally_many_give_or_take_one(classes: int, each: int, seed: int) -> None:
    labels = raw([each] * classes).labels
    order = stratified_order(labels, np.random.default_rng(seed))
    for size in range(1, len(labels) + 1):
        found = np.bincount(labels[order[:size]], minlength=classes)
        assert found.max() - found.min() <= 1


def test_label_budgets_are_nested_and_leave_validation_and_test_alone() -> None:
    images = raw([60, 30, 30])
    whole = split(images)
    smaller: set[int] = set()
    for budget in (3, 10, 30, 60):
        splits = split(images, labels=budget)
        assert len(splits.train) == budget
        assert smaller < set(splits.train.tolist()) <= set(whole.train.tolist())
        assert np.array_equal(splits.validation, whole.validation)
        assert np.array_equal(splits.test, whole.test)
        smaller = set(splits.train.tolist())


def test_splits_depend_on_the_seed_alone() -> None:
    images = raw([30, 30])
    assert np.array_equal(split(images, 1).test, split(images, 1).test)
    assert not np.array_equal(split(images, 1).test, split(images, 2).test)


def test_sizes_are_counts_or_fractions() -> None:
    splits = split(raw([50, 50]), test=10, validation=0.1)
    assert [len(part) for part in splits.by_name().values()] == [81, 9, 10]


@pytest.mark.parametrize("size", [1, 99, 100, 0.999])
def test_a_split_that_leaves_no_room_for_every_class_is_refused(size: float) -> None:
    with pytest.raises(DataError, match="A test set of"):
        split(raw([50, 50]), test=size)


def test_a_class_that_training_lacks_needs_more_images() -> None:
    with pytest.raises(DataError, match="none in the train set") as raised:
        split(raw([50, 2]))
    assert raised.value.fix == "add images to it, or remove the class"


@pytest.mark.parametrize("few", [1, 2])
def test_a_class_too_small_for_three_splits_is_refused_by_name(few: int) -> None:
    with pytest.raises(DataError, match=rf"'class 1' has {few} image.* and none in the") as raised:
        split(raw([50, few]))
    assert "at least 3 images" in raised.value.expected


@pytest.mark.parametrize(("labels", "words"), [(1, "less than one for each"), (1000, "fewer than labels")])
def test_a_label_budget_that_can_not_be_is_refused(labels: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        split(raw([50, 50]), labels=labels)


def test_an_image_in_two_splits_is_refused() -> None:
    images = raw([30, 30])
    images.images[:] = images.images[0]
    with pytest.raises(DataError, match="stand in two splits"):
        split(images)


@pytest.mark.parametrize("named", [False, True])
def test_images_in_two_splits_are_told_with_their_twins(named: bool) -> None:
    images = raw([30, 30])
    clean = split(images)
    train, validation, test = (int(part[0]) for part in (clean.train, clean.validation, clean.test))
    other_train, other_validation = int(clean.train[1]), int(clean.validation[1])
    images.images[[train, validation]] = images.images[test]
    images.images[other_train] = images.images[other_validation]
    names = [f"folder/{number}.png" for number in range(60)] if named else None
    with pytest.raises(DataError, match="3 images stand in two splits") as raised:
        split(replace(images, names=names))
    told = [f"folder/{number}.png" if named else f"number {number}" for number in range(60)]
    pairs = {train: test, validation: test, other_train: other_validation}
    expected = "; ".join(f"{told[number]} and {told[pairs[number]]}" for number in sorted(pairs))
    assert raised.value.what.endswith(f"trained on: {expected}")


def test_an_image_in_two_splits_is_dropped_from_training_when_so_set() -> None:
    images = raw([30, 30])
    clean = split(images)
    train, validation, test = clean.train[0], clean.validation[0], clean.test[0]
    images.images[train] = images.images[test]
    images.images[validation] = images.images[test]
    splits = split(images, duplicates="drop")
    assert splits.dropped.tolist() == sorted([train, validation])
    assert np.array_equal(splits.test, clean.test)
    assert together(splits) == list(range(60))


def test_equal_images_within_one_split_are_nobodys_business() -> None:
    images = raw([30, 30])
    first, second = split(images).train[:2]
    images.images[first] = images.images[second]
    assert len(split(images).dropped) == 0


def test_given_splits_are_respected_to_the_image() -> None:
    names = (["train"] * 6 + ["validation"] * 2 + ["test"] * 2) * 6
    images = raw([30, 30], names)
    splits = split(images, validation=None, test=None)
    assert {name: indices.tolist() for name, indices in splits.by_name().items()} == {
        name: [index for index, given in enumerate(names) if given == name] for name in ("train", "validation", "test")
    }


def test_a_given_test_split_stays_and_validation_comes_out_of_training() -> None:
    names = (["train"] * 4 + ["test"]) * 12
    splits = split(raw([30, 30], names), validation=8, test=None)
    assert splits.test.tolist() == list(range(4, 60, 5))
    assert len(splits.validation) == 8
    assert together(splits) == list(range(60))


def test_a_class_missing_from_a_given_split_is_refused() -> None:
    images = raw([30, 30])
    names = np.where(images.labels == 1, "train", "test")
    names[:10] = "train"
    given_splits = RawImages(images.images, images.labels, images.classes, names)
    with pytest.raises(DataError, match="'class 1' has 30 images in all and none in the test set"):
        split(given_splits, test=None)


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_size_for_a_split_that_is_given_and_null_for_one_that_is_not_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"brings 12 {name} images of its own, and {name}: 9 asks"):
        split(raw([30, 30], (["train"] * 4 + [name]) * 12), **{name: 9})
    with pytest.raises(DataError, match=f"{name} is null, but the dataset brings no {name} images"):
        split(raw([30, 30]), **{name: None})


def budgets(images: RawImages, wanted: list[int], seed: int = 0, **changes: Any) -> dict[int, set[int]]:
    found = label_budgets(images, data(**changes), seed, wanted, where="here", selector=STRATIFIED)
    assert all((np.diff(indices) > 0).all() for indices in found.values()), "sorted, none twice"
    return {budget: set(indices.tolist()) for budget, indices in found.items()}


@given(st.lists(st.integers(10, 40), min_size=2, max_size=4), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_budgets_a_class_are_nested_and_hold_so_many_of_each_class(counts: list[int], seed: int) -> None:
    images = raw(counts)
    whole = split(images, seed)
    smaller: set[int] = set()
    for budget, found in budgets(images, [1, 2, 5], seed).items():
        assert np.bincount(images.labels[sorted(found)]).tolist() == [budget] * len(counts)
        assert smaller < found <= set(whole.train.tolist())
        assert not found & {*whole.validation.tolist(), *whole.test.tolist()}
        smaller = found


@given(st.integers(2, 5), st.integers(1, 8), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_of_equal_classes_a_budget_is_the_set_that_a_run_with_as_many_labels_trains_on(
    classes: int, each: int, seed: int
) -> None:
    images = raw([20] * classes)
    run = split(images, seed, validation=4 * classes, test=4 * classes, labels=each * classes)
    sizes = {"validation": 4 * classes, "test": 4 * classes}
    assert budgets(images, [each, 10], seed, **sizes)[each] == set(run.train.tolist())


def test_budgets_are_taken_from_all_training_images_whatever_the_runs_own_labels() -> None:
    images = raw([40, 40])
    assert budgets(images, [3, 20], labels=4) == budgets(images, [3, 20])


def test_a_budget_does_not_hang_on_the_others_that_are_asked_for() -> None:
    images = raw([40, 30])
    assert budgets(images, [5])[5] == budgets(images, [1, 5, 10])[5]


def test_budgets_leave_out_what_was_dropped_as_a_duplicate() -> None:
    images = raw([30, 30])
    clean = split(images)
    images.images[clean.train[0]] = images.images[clean.test[0]]
    kept = budgets(images, [15], duplicates="drop")[15]
    assert int(clean.train[0]) not in kept
    with pytest.raises(DataError, match="stand in two splits"):
        budgets(images, [15])


def test_a_class_with_too_few_images_for_a_budget_is_named_with_what_it_has() -> None:
    images = raw([60, 12])
    left = int((images.labels[split(images).train] == 1).sum())
    words = f"{left + 1} is more than the {left} training images of the class 'class 1'"
    with pytest.raises(DataError, match=words) as e:
        budgets(images, [2, left + 1])
    assert (e.value.where, e.value.expected) == ("here", f"at most {left}")
    assert "under sweep in params.yaml" in e.value.fix
    assert budgets(images, [left])
