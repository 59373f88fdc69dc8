"""A check of the data says what is there, what is wrong with it, and obeys no name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graftwork.data_check import DataCheck
from graftwork.files import write_json
from graftwork.layout import Layout
from graftwork.markdown import table


def card(**changes: Any) -> dict[str, Any]:
    usual = {
        "classes": ["cat", "dog"], "splits": {"train": [10, 8], "validation": [4, 1], "test": [5, 5]},
        "near_duplicates": {"validation": {"count": 0, "first": []}, "test": {"count": 0, "first": []}},
        "duplicates_dropped": 0, "origin": {},
    }  # fmt: skip
    return usual | changes


def checked(root: Path, refused: dict[str, str], **cards: dict[str, Any]) -> DataCheck:
    for name, found in cards.items():
        write_json(Layout(root).card(name), found)
    return DataCheck.of(Layout(root), [*cards, *refused], refused)


def test_data_without_a_fault_has_a_row_of_figures_and_nothing_to_mend(tmp_path: Path) -> None:
    found = checked(tmp_path, {}, target=card())
    assert found.verdict() == "1 data set, 33 images: nothing to mend."
    (row,) = found.rows()
    assert row["training"] == "18" and row["of a class"] == "8 to 10" and row["unreadable"] == "0"
    assert "| cat | 10 | 4 | 5 |" in found.markdown()


def test_what_is_wrong_with_data_is_counted_and_told(tmp_path: Path) -> None:
    near = {"validation": {"count": 0, "first": []}, "test": {"count": 3, "first": []}}
    origin = {"skipped": ["cat/a.jpg: truncated"], "ignored_extensions": {".txt": 2}}
    bad = card(near_duplicates=near, duplicates_dropped=4, origin=origin)
    found = checked(tmp_path, {}, source=card(), target=bad)
    assert found.verdict() == "2 data sets, 66 images: look at target."
    row = found.rows()[1]
    assert (row["unreadable"], row["duplicates left out"], row["look-alikes"], row["passed over"]) == (
        "1",
        "4",
        "3",
        "2",
    )
    told = "\n".join(found.lines())
    assert "3 of 10 test images look like a training image" in told and "truncated" in told
    assert "`cat/a.jpg: truncated`" in found.markdown() and "Passed over: 2 .txt" in found.markdown()


def test_refused_data_is_told_beside_the_rest(tmp_path: Path) -> None:
    found = checked(tmp_path, {"target": "3 images stand in two splits\n  fix: drop"}, source=card())
    assert found.verdict() == "Can't be trained on: target, of 2 data sets."
    assert [row["classes"] for row in found.rows()] == ["2", "refused"]
    assert "target: refused. 3 images stand in two splits" in found.lines()[-1]
    assert "### target: refused" in found.markdown()


def test_nothing_but_refused_data_is_told_too(tmp_path: Path) -> None:
    found = checked(tmp_path, {"target": "no"})
    assert found.rows() == [{"data": "target", "classes": "refused"}] and "refused" in found.markdown()


def test_an_imported_model_has_no_images_to_check(tmp_path: Path) -> None:
    empty = {"train": [0, 0], "validation": [0, 0], "test": [0, 0]}
    assert checked(tmp_path, {}, imported=card(splits=empty)).found == ()


def test_names_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    found = checked(tmp_path, {}, target=card(classes=["<script>", "a|b"]))
    assert "<script>" not in found.markdown() and "a\\|b" in found.markdown()


def test_underscores_within_words_stay_as_they_are() -> None:
    assert table([{"a": "full_copy", "b": "_x_"}]).splitlines()[-1] == "| full_copy | \\_x\\_ |"


def test_look_alikes_are_told_by_file_or_by_number(tmp_path: Path) -> None:
    first = [
        {"image": 3, "train": 7, "correlation": 1.0, "image_name": "cat/`a`.jpg", "train_name": "cat/b.jpg"},
        {"image": 4, "train": 8, "correlation": 0.99},
    ]
    near = {"validation": {"count": 0, "first": []}, "test": {"count": 2, "first": first}}
    told = checked(tmp_path, {}, target=card(near_duplicates=near)).markdown()
    assert "a`.jpg" in told and "looks like `cat/b.jpg` in training" in told
    assert "- `number 4` looks like `number 8` in training" in told
