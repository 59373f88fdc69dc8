"""A card tells how large classes are, what looks alike and what was left out; and warns where that matters."""

from __future__ import annotations

from typing import Any

import pytest

from graftwork.near_duplicates import LookAlike
from graftwork.prepared_data import MOST_SHOWN, LookAlikes, PreparedData, imbalance


def card(**changes: Any) -> dict[str, Any]:
    usual = {
        "classes": ["cat", "dog"], "splits": {"train": [40, 10], "validation": [4, 1], "test": [5, 5]},
        "near_duplicates": {"validation": {"count": 0, "first": []}, "test": {"count": 0, "first": []}},
        "duplicates_dropped": 0, "origin": {},
    }  # fmt: skip
    return usual | changes


def prepared(**changes: Any) -> PreparedData:
    found = PreparedData.from_card("target", card(**changes))
    assert found is not None
    return found


@pytest.mark.parametrize(("counts", "ratio"), [([5, 5], 1.0), ([40, 10, 20], 4.0), ([3, 0], float("inf"))])
def test_imbalance_is_the_largest_over_the_smallest(counts: list[int], ratio: float) -> None:
    assert imbalance(counts) == ratio


def test_ratios_are_told_of_each_split() -> None:
    assert prepared().ratios() == {"train": 4.0, "validation": 4.0, "test": 1.0}


def test_look_alikes_come_back_from_the_card_and_only_the_first_are_kept() -> None:
    found = [LookAlike(number, number + 100, 0.995) for number in range(MOST_SHOWN + 5)]
    kept = LookAlikes.of(found)
    assert kept.count == MOST_SHOWN + 5 and kept.first == tuple(found[:MOST_SHOWN])
    assert LookAlikes.from_json(kept.as_json()) == kept


def test_classes_that_differ_more_than_threefold_are_warned_of_and_no_others() -> None:
    (warning,) = prepared().warnings()
    assert "4 times as many" in warning and "40 of 'cat', 10 of 'dog'" in warning and "sampling: balanced" in warning
    level = {"train": [30, 10], "validation": [40, 1], "test": [5, 5]}
    assert list(prepared(splits=level).warnings()) == []


def test_look_alikes_and_skipped_files_are_warned_of() -> None:
    near = {"validation": {"count": 0, "first": []}, "test": LookAlikes.of([LookAlike(3, 7, 1.0)]).as_json()}
    level = {"train": [10, 10], "validation": [1, 1], "test": [5, 5]}
    alike, skipped = prepared(
        splits=level, near_duplicates=near, origin={"skipped": ["cat/a.jpg: empty file"]}
    ).warnings()  # fmt: skip
    assert "1 of 10 test images look like a training image" in alike
    assert "could not be read and were skipped: 1, cat" in skipped and skipped.endswith("a.jpg: empty file")


def test_an_imported_model_has_no_data_and_a_card_of_before_has_no_look_alikes() -> None:
    none = {"train": [0, 0], "validation": [0, 0], "test": [0, 0]}
    assert PreparedData.from_card("source", card(splits=none)) is None
    old = {key: value for key, value in card().items() if key not in ("near_duplicates", "origin")}
    found = PreparedData.from_card("source", old)
    assert found is not None and found.look_alikes == {} and found.skipped == ()
