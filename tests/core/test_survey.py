"""A look at files tells which plugin reads them, and what is wrong is told as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from graftwork.errors import DataError
from graftwork.recognition import recognise
from graftwork.registry import load_plugins
from graftwork.survey import survey

REGISTRY = load_plugins()
IMAGES = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize(
    ("arrays", "plugin"),
    [
        ({"images": IMAGES, "labels": [0, 1, 0, 1]}, "npz"),
        ({"vectors": VECTORS, "labels": [0, 1, 0, 1]}, "vectors"),
        ({"x_train": IMAGES, "y_train": [0], "x_test": IMAGES, "y_test": [0]}, "npz"),
        ({"x_train": VECTORS, "y_train": [0], "x_test": VECTORS, "y_test": [0]}, "vectors"),
        ({"whatever": IMAGES}, "npz"),
    ],
)
def test_an_archives_arrays_tell_vectors_from_images(tmp_path: Path, arrays: dict[str, Any], plugin: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    assert recognise(tmp_path / "x.npz") == plugin


def test_a_damaged_archive_is_left_to_its_plugin_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="can't be read"):
        survey(tmp_path / "x.npz", REGISTRY)


@pytest.mark.parametrize(
    ("table", "plugin"),
    [
        ({"image": [{"bytes": b"", "path": "a"}], "label": [0]}, "table"),
        ({"jpg": [b""], "label": [0]}, "table"),
        ({"File": ["a.png"], "label": [0]}, "table"),
        ({"x": [0.5], "y": [1], "label": ["cat"]}, "vectors"),
    ],
)
def test_a_parquet_files_columns_tell_pictures_from_numbers(tmp_path: Path, table: dict[str, Any], plugin: str) -> None:
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    assert recognise(tmp_path / "x.parquet") == plugin


@pytest.mark.parametrize(
    ("text", "plugin"),
    [
        ("label,b,a\ncat,0.1,-2\ndog,3,4\n", "vectors"),
        ("cat,0.1,-2\ndog,3,4\n", "vectors"),
        ("0.1,2,cat\n", "vectors"),
        ("a,b,label\n1,2,x\n", "vectors"),
        (",path,label\n0,a.png,cat\n1,b.png,dog\n", "table"),
        ("number,Image,label\n7,a,cat\n", "table"),
        ("what,is it\n\nx/a.JPG,cat\n", "table"),
        ("", "vectors"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_texts_columns_and_first_rows_tell_pictures_from_numbers(
    tmp_path: Path, text: str, plugin: str, suffix: str
) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_text(text.replace(",", "\t") if suffix == "tsv" else text)
    assert recognise(path) == plugin


def pictures(folder: Path) -> Path:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        Image.new("L", (9, 12)).save(folder / name / "0.png")
    return folder


def test_names_that_are_not_utf_8_are_refused_before_there_is_a_workspace(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos")
    (folder / "cat" / "caf\udce9").mkdir()
    (folder / "note.\udcff").touch()
    with pytest.raises(DataError, match=r"2 file names are not UTF-8: cat/caf\\udce9, note\.\\udcff"):
        survey(folder, REGISTRY)
    (tmp_path / "x\udcff.csv").write_text("1,2,a\n")
    with pytest.raises(DataError, match=r"1 file name is not UTF-8: .*x\\udcff\.csv"):
        survey(tmp_path / "x\udcff.csv", REGISTRY)


def test_a_folder_with_a_table_of_its_pictures_is_read_by_it(tmp_path: Path) -> None:
    folder = pictures(tmp_path)
    (folder / "notes.csv").write_text("who,when\nme,now\n")
    assert recognise(folder) == "image_folder"
    (folder / "notes.csv").write_text("path,label\ncat/0.png,small\ndog/0.png,large\n")
    assert survey(folder, REGISTRY).classes == ("large", "small")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.csv", b"path,label\na.png,x\n", "is a table by itself"),
        ("train-images-idx3-ubyte.gz", b"", "idx files come in pairs"),
        ("train-labels-idx1-ubyte", b"", "idx files come in pairs"),
    ],
)
def test_a_file_that_is_half_of_the_data_is_told_of(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        survey(tmp_path / name, REGISTRY)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": IMAGES, "labels": np.array([0, 1, -1, 1])}, "label -1 of image 2 is out of range"),
        ({"images": IMAGES, "labels": np.zeros(0, dtype=int)}, "4 images but 0 labels"),
        ({"images": IMAGES, "labels": np.zeros(4, dtype=int)}, "one class only"),
        ({"vectors": VECTORS, "labels": [0, 2, 0, 2], "classes": ["a", "b", "c"]}, "'b' has no images"),
    ],
)
def test_labels_that_can_not_be_are_told_before_they_are_counted(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=words) as raised:
        survey(tmp_path / "x.npz", REGISTRY)
    assert str(tmp_path / "x.npz") in raised.value.where


@pytest.mark.parametrize("place", ["is_dir", "iterdir", "open"])
def test_what_may_not_be_read_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    path = pictures(tmp_path / "pets") if place == "iterdir" else tmp_path / "x.csv"
    if place != "iterdir":
        path.write_text("1,2,x\n")

    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, place, refuse)
    with pytest.raises(DataError, match="can't be read: Permission denied") as raised:
        survey(path, REGISTRY)
    assert raised.value.where == str(path)
