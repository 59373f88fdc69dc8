"""YAML means what it says: numbers, words, one value a key, and nothing is ever executed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from graftwork.errors import SettingsError
from graftwork.yaml_source import YamlSource, parse_value, read_yaml


def read(folder: Path, text: str) -> YamlSource:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E5", 1e5), ("5", 5), ("no", "no"), ("off", "off"), ("true", True), ("010", 10), ("null", None)],
)  # fmt: skip
def test_a_scalar_is_what_yaml_1_2_says(tmp_path: Path, text: str, value: object) -> None:
    found = read(tmp_path, f"key: {text}\n").values["key"]
    assert found == value
    assert type(found) is type(value)
    assert parse_value(text) == value


def test_every_value_knows_its_line(tmp_path: Path) -> None:
    source = read(tmp_path, "# top\na: 1\nb:\n  c: 2\n  d:\n    - 3\n    - e: 4\n")
    lines = {("a",): 2, ("b", "c"): 4, ("b", "d"): 5, ("b", "d", 1, "e"): 7}
    assert {place: source.place(place) for place in lines} == {
        place: f"{source.path}, line {line}" for place, line in lines.items()
    }


def test_a_place_that_is_not_in_the_file_is_that_of_its_nearest_parent(tmp_path: Path) -> None:
    source = read(tmp_path, "a: 1\nb:\n  c: 2\n")
    assert source.place(("b", "missing", 0)).endswith("line 2")
    assert source.place(("missing",)) == str(source.path)


def test_a_key_that_stands_twice_is_refused_with_its_name_and_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, "seed: 0\nmodel: mlp\nseed: 1\n")
    assert '"seed"' in raised.value.what
    assert "lines 1" in raised.value.where and "3 (the second one)" in raised.value.where


def test_a_bomb_of_aliases_is_refused_within_a_second(tmp_path: Path) -> None:
    names = "abcdefghijklmnop"
    lines = [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip(names, names[1:], strict=False)]
    started = time.monotonic()
    with pytest.raises(SettingsError, match="far too many values"):
        read(tmp_path, "a: &a [x, x, x]\n" + "\n".join(lines) + "\n")
    assert time.monotonic() - started < 1


def test_an_alias_to_what_contains_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="far too many values"):
        read(tmp_path, "a: &a [1, *a]\n")


def test_an_alias_within_reason_is_followed(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &a {x: 1}\nb: *a\n").values == {"a": {"x": 1}, "b": {"x": 1}}


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir", "!run"])
def test_a_tag_of_an_object_is_refused_and_never_executed(tmp_path: Path, tag: str) -> None:
    owned = tmp_path / "owned"
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, f"key:\n  {tag} ['{owned}']\n")
    assert raised.value.where.endswith("line 2, column 3")
    assert isinstance(parse_value(f"{tag} ['{owned}']"), str)
    assert not owned.exists()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a:\n\t- 1\n", "line 2"),
        ("a: [1\nb: 2\n", "line 2"),
        ("a: 1\n---\nb: 2\n", "line 2"),
        ("a: \x00", "params.yaml"),
    ],
)
def test_broken_yaml_is_refused_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, text)
    assert place in raised.value.where
    assert raised.value.fix


@pytest.mark.parametrize("text", ["", "# nothing\n", "- 1\n", "word\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="The file holds"):
        read(tmp_path, text)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="graftwork init"):
        read_yaml(tmp_path / "params.yaml")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_yaml(tmp_path / "params.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xef\xbb\xbfseed: 3\n")
    assert read_yaml(tmp_path / "params.yaml").values == {"seed": 3}
