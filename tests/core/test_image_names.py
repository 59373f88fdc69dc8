"""Images keep the names that people know them by, whatever is in them."""

from __future__ import annotations

from pathlib import Path

from graftwork.image_names import names_of, stored_names, write_names

NAMES = ["cat/a.jpg", "two\nlines", "\x1b[31m", "é", "\udcff", '"', "row train-0.parquet 7"]


def test_names_come_back_as_they_were_and_as_often_as_asked(tmp_path: Path) -> None:
    assert stored_names(tmp_path) is None
    write_names(tmp_path, NAMES)
    found = stored_names(tmp_path)
    assert found is not None and list(found) == list(found) == NAMES


def test_some_names_are_found_by_number_and_can_be_shown(tmp_path: Path) -> None:
    write_names(tmp_path, NAMES)
    assert names_of(stored_names(tmp_path), [6, 0]) == {0: "cat/a.jpg", 6: "row train-0.parquet 7"}
    assert all(name.isprintable() for name in names_of(NAMES, range(7)).values())
    assert names_of(None, [1]) == {} == names_of(NAMES, [])
