"""Files and folders appear whole, or the old ones stay, and nothing else is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graftwork.errors import StateError
from graftwork.files import (
    atomic_file,
    atomic_folder,
    make_folder,
    read_json,
    require_writable,
    sha256_of_file,
    write_json,
    write_text,
)


class BreakdownError(Exception):
    """What goes wrong in the middle of writing."""


def test_a_file_appears_when_its_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "file.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_file_whose_writing_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(BreakdownError), atomic_file(path) as temporary:
        temporary.write_text("ne")
        raise BreakdownError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_block_that_writes_nothing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_file(path):
        pass
    assert path.read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "old.txt").write_text("old")
    with atomic_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
        assert (path / "deep" / "old.txt").read_text() == "old"
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")] == ["folder", "folder/new.txt"]


def test_a_folder_whose_writing_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(BreakdownError), atomic_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
        raise BreakdownError
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")] == ["folder", "folder/old.txt"]


def test_a_link_in_a_folders_place_is_replaced_and_its_target_spared(tmp_path: Path) -> None:
    target, path = tmp_path / "cache", tmp_path / "folder"
    target.mkdir()
    (target / "kept.txt").write_text("kept")
    path.symlink_to(target)
    with atomic_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
    assert not path.is_symlink() and os.listdir(path) == ["new.txt"]
    assert os.listdir(target) == ["kept.txt"]


def test_a_link_in_a_files_place_is_replaced_and_its_target_spared(tmp_path: Path) -> None:
    target, path = tmp_path / "cache", tmp_path / "file"
    target.write_text("kept")
    path.symlink_to(target)
    write_text(path, "new")
    assert (path.read_text(), target.read_text(), path.is_symlink()) == ("new", "kept", False)


def test_a_long_name_has_room_for_its_temporary(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_text(path, "fits")
    assert path.read_text() == "fits"


def test_equal_values_are_equal_bytes_whatever_their_order(tmp_path: Path) -> None:
    write_json(tmp_path / "one", {"b": 1, "a": "é"})
    write_json(tmp_path / "two", {"a": "é", "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_json(tmp_path / "one") == {"a": "é", "b": 1}


def test_nan_never_gets_into_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"accuracy": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_damaged_json_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(StateError, match="isn't valid JSON"):
        read_json(path)


def test_missing_json_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="graftwork run"):
        read_json(tmp_path / "file.json")


def test_a_file_where_a_folder_belongs_is_an_error_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateError, match="can't be created"):
            make_folder(path)
    with pytest.raises(StateError, match="can't be created"):
        require_writable(tmp_path / "file")


def test_a_writable_folder_is_left_as_it_was(tmp_path: Path) -> None:
    require_writable(tmp_path / "new")
    assert os.listdir(tmp_path / "new") == []


def test_the_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4's example
    assert sha256_of_file(tmp_path / "abc") == expected
