"""Tables of numbers become vectors exactly; a cell that is no number is named by row and column."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graftwork.errors import DataError, SettingsError
from graftwork.images import RawImages, conform
from graftwork.number_tables import read_text
from graftwork.settings import ImageFormat
from graftwork_plugins.vectors import Vectors

TWO = ImageFormat(size=1, channels=2)
VALUES = [[0.1, -2.0], [3e-5, 4.0], [5.0, 1e30]]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def load(path: Path, features: int = 2, **settings: Any) -> RawImages:
    return Vectors(**settings).load(path, ImageFormat(size=1, channels=features))


PLAIN = "0.1,-2,cat\n3e-5,4,dog\n5, 1e30 ,cat\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", PLAIN),
        ("x.csv", "a,b,what\n" + PLAIN),
        ("x.csv", "\ufeffa,b,what\r\n" + PLAIN.replace("\n", "\r\n\r\n")),
        ("x.tsv", PLAIN.replace(",", "\t")),
        ("x.csv", "label,b,a\ncat,0.1,-2\ndog,3e-5,4\ncat,5,1e30\n"),
        ("X.CSV", "a,label,b\n0.1,cat,-2\n3e-5,dog,4\n5,cat,1e30\n"),
    ],
)
def test_values_are_the_float32_nearest_and_the_label_is_found(tmp_path: Path, name: str, text: str) -> None:
    raw = load(write(tmp_path / name, text))
    raw.check("here")
    assert raw.images.dtype == np.float32 and raw.images.shape == (3, 2, 1, 1)
    assert np.array_equal(raw.images[:, :, 0, 0], np.array(VALUES, dtype=np.float32))
    assert raw.classes == ("cat", "dog") and raw.labels.tolist() == [0, 1, 0] and raw.split is None
    assert conform(raw.images, TWO) is raw.images or np.array_equal(conform(raw.images, TWO), raw.images)


def test_columns_may_be_named_and_splits_given(tmp_path: Path) -> None:
    text = "part,0,1,species\ntrain,1,2,10\nVal,3,4,9\ntest,5,6,10\n"
    raw = load(write(tmp_path / "x.csv", text), label_column="species", split_column="part")
    assert raw.images[:, :, 0, 0].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert raw.classes == ("9", "10") and raw.origin["features"] == ["0", "1"]
    assert raw.split is not None and raw.split.tolist() == ["train", "validation", "test"]


def test_a_split_column_is_found_by_its_name(tmp_path: Path) -> None:
    raw = load(write(tmp_path / "x.csv", "a,b,label,split\n1,2,x,train\n3,4,y,test\n"))
    assert raw.classes == ("x", "y") and raw.split is not None and raw.split.tolist() == ["train", "test"]


def test_without_a_header_a_column_goes_by_its_number(tmp_path: Path) -> None:
    raw = load(write(tmp_path / "x.csv", "7,1,2\n8,3,4\n"), header=False, label_column="1")
    assert raw.classes == ("7", "8") and raw.images[1, :, 0, 0].tolist() == [3, 4]


def test_a_first_row_that_might_be_either_must_be_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "0,1,label\n5,6,1\n7,8,2\n")
    with pytest.raises(DataError, match="can't be told whether row 1 names the columns"):
        load(path)
    assert len(load(path, header=True).labels) == 2
    assert load(path, header=False).classes == ("1", "2", "label")


def test_zero_has_no_sign_so_that_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    raw = load(write(tmp_path / "x.csv", "-0.0,1,a\n0,1,b\n"))
    assert raw.images[0].tobytes() == raw.images[1].tobytes()


HEAD = "a,b,what\n1,2,x\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "1,red,y\n", "1 cell is no finite number: row 3, column 'b' holds 'red'"),
        (HEAD + "1,,y\n\n,2,y\n", "2 cells are no finite number: row 3, column 'b' holds '', row 5, column 'a'"),
        (HEAD + "nan,2,y\n", "row 3, column 'a' holds 'nan'"),
        (HEAD + "1,-inf,y\n", "row 3, column 'b' holds '-inf'"),
        (HEAD + "1,1_000,y\n", "row 3, column 'b' holds '1_000'"),
        (HEAD + "1e39,2,y\n", "1 numbers are too large for float32: row 3, column 'a'"),
        (HEAD + "1,2\n", r"1 row has other than 3 cells: row 3 \(2\)"),
        (HEAD + "1,2,3,y\n", r"1 row has other than 3 cells: row 3 \(4\)"),
        ("1.5,2,x\n3,y\n", r"1 row has other than 3 cells: row 2 \(2\)"),
        (HEAD + "3,4, \n", "1 row has no label: row 3"),
        (HEAD + "3,4,X\n", "hard to tell apart: 'X' .* and 'x'"),
        ("a,a,what\n1,2,x\n", "same name, or one has two uses: 'a'"),
        ("a,b,what\n", "a header and no rows"),
        ("", "table is empty"),
        ("what\nx\ny\n", "no numbers"),
        ("a,b,label,split\n1,2,x,nowhere\n", r"1 row has no known split: row 2 \('nowhere'\)"),
    ],
)
def test_cells_that_can_not_be_meant_are_refused_by_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(write(tmp_path / "x.csv", text))


def test_a_table_takes_little_more_memory_than_its_numbers(tmp_path: Path) -> None:
    rows, features = 4000, 40
    line = ",".join(f"{number / 7:.12f}" for number in range(features))
    with (tmp_path / "x.csv").open("w") as file:
        file.write(",".join(f"f{number}" for number in range(features)) + ",label\n")
        file.writelines(f"{line},{number % 2}\n" for number in range(rows))
    tracemalloc.start()
    try:
        table = read_text(tmp_path / "x.csv", None, None, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.values.shape == (rows, features) and table.values[-1, -1] == float(f"{(features - 1) / 7:.12f}")
    assert peak < 2.5 * table.values.nbytes


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="isn't UTF-8: byte 0xe9 in line 2"):
        load(write(tmp_path / "x.csv", "a,b,what\n1,2,café\n", "latin-1"))


@pytest.mark.parametrize("image", [ImageFormat(size=28, channels=1), ImageFormat(size=1, channels=3)])
def test_another_format_is_refused_with_what_to_set(tmp_path: Path, image: ImageFormat) -> None:
    with pytest.raises(SettingsError, match="The data has 2 features") as raised:
        Vectors().load(write(tmp_path / "x.csv", PLAIN), image)
    assert "image: {size: 1, channels: 2}" in raised.value.fix


@pytest.mark.parametrize("name", ["../x", "<script>", "line\nbreak", "no", "猫", 'a"b'])
def test_a_class_may_be_called_anything(tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    assert name in load(write(tmp_path / "x.csv", f"1.5,2,{quoted}\n3,4,other\n")).classes


@pytest.mark.parametrize(
    ("name", "words"), [("gone.csv", "is missing"), ("x.txt", "No vectors are read"), ("", "No vec")]
)
def test_a_path_that_is_no_table_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(tmp_path / name)


def archive(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


VECTORS = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float64)


def test_archives_are_read_in_both_layouts(tmp_path: Path) -> None:
    one = load(
        archive(tmp_path / "a.npz", vectors=VECTORS, labels=np.array([10, 9, 10]), split=["train", "val", "test"])
    )
    assert one.classes == ("9", "10") and one.labels.tolist() == [1, 0, 1] and one.split is not None
    both = {"x_train": VECTORS, "y_train": ["b", "a", "b"], "x_test": VECTORS[:1].astype(int), "y_test": ["a"]}
    two = load(archive(tmp_path / "b.npz", **both))
    assert two.images[:, 0, 0, 0].tolist() == [1, 3, 5, 1] and two.classes == ("a", "b")
    assert two.split is not None and two.split.tolist() == ["train"] * 3 + ["test"]


def test_an_archive_may_name_its_classes_and_a_gap_is_noticed(tmp_path: Path) -> None:
    named = load(archive(tmp_path / "a.npz", vectors=VECTORS, labels=[2, 0, 2], classes=["z", "y", "x"]))
    assert named.classes == ("z", "y", "x") and named.labels.tolist() == [2, 0, 2]
    with pytest.raises(DataError, match="class 'y' has no images"):
        named.check("here")
    with pytest.raises(DataError, match="Row 1 has the label 3, which the file gives no name"):
        load(archive(tmp_path / "a.npz", vectors=VECTORS, labels=[2, 3, 2], classes=["z", "y", "x"]))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": VECTORS}, "The archive holds images"),
        ({"vectors": VECTORS[:, :, None], "labels": [0, 1, 0]}, r"float64 of shape \(3, 2, 1\)"),
        ({"vectors": VECTORS, "labels": [0, 1]}, r"labels int64 of shape \(2,\)"),
        ({"vectors": VECTORS, "labels": [0.0, 1.0, 0.5]}, "labels float64"),
        ({"vectors": VECTORS.astype(str), "labels": [0, 1, 0]}, "The vectors are <U"),
        ({"vectors": VECTORS, "labels": [0, 1, 0], "split": ["train"]}, "The vectors are"),
        ({"vectors": VECTORS * [[1, np.nan]], "labels": [0, 1, 0]}, "3 cells are no finite number: row 0, feature 1"),
        ({"x_train": VECTORS, "y_train": [0, 1, 0], "x_test": VECTORS[:, :1], "y_test": [0, 1, 0]}, "and x_test"),
        ({"x_train": 1.0, "y_train": [0], "x_test": 2.0, "y_test": [1]}, r"x_train is float64 of shape \(\)"),
        ({"x_train": VECTORS, "y_train": 0, "x_test": VECTORS, "y_test": 1}, r"y_train is int64 of shape \(\)"),
        ({"x_train": VECTORS, "y_train": [0, 1, 0], "x_test": np.zeros(3, "i4,f4"), "y_test": [0, 1, 0]}, "and x_test"),
        ({"vectors": VECTORS, "labels": [0, 1, 0], "classes": "ab"}, r"'classes' is <U2 of shape \(\)"),
        ({"vectors": VECTORS, "labels": [0, 1, 0], "classes": ["cat", "cat"]}, "hard to tell apart"),
        ({"vectors": VECTORS, "labels": [0, 1, 0], "split": "train"}, r"'split' is <U5 of shape \(\)"),
        (
            {"vectors": VECTORS, "labels": list("aba"), "classes": ["a", "c"]},
            r"1 row has a label that isn't among the classes: row 1 \('b'\)",
        ),
    ],
)
def test_an_archive_that_holds_no_vectors_is_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(archive(tmp_path / "a.npz", **arrays))


def test_texts_in_an_archive_may_be_bytes(tmp_path: Path) -> None:
    arrays = {"vectors": VECTORS, "labels": [1, 0, 1], "classes": [b"cat", "é".encode()], "split": [b"train"] * 3}
    raw = load(archive(tmp_path / "a.npz", **arrays))
    assert raw.classes == ("cat", "é") and raw.labels.tolist() == [1, 0, 1]
    assert raw.split is not None and set(raw.split) == {"train"}


def test_labels_may_be_texts_among_the_classes_that_are_listed(tmp_path: Path) -> None:
    raw = load(archive(tmp_path / "a.npz", vectors=VECTORS, labels=list("bab"), classes=["b", "a"]))
    assert raw.classes == ("b", "a") and raw.labels.tolist() == [0, 1, 0]


def test_parquet_columns_of_any_number_are_read(tmp_path: Path) -> None:
    table = {
        "a": pa.array([1, 2], pa.int8()),
        "label": ["x", "y"],
        "b": pa.array([True, False]),
        "split": ["test", "train"],
    }
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    raw = load(tmp_path / "x.parquet")
    assert raw.images[:, :, 0, 0].tolist() == [[1, 1], [2, 0]] and raw.classes == ("x", "y")
    assert raw.split is not None and raw.split.tolist() == ["test", "train"]


@pytest.mark.parametrize(
    ("column", "words"),
    [(["red", "blue"], "The column 'b' holds string"), ([1.0, None], "row 2, column 'b' holds nan")],
)
def test_parquet_columns_of_anything_else_are_refused(tmp_path: Path, column: list[Any], words: str) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": column, "label": [0, 1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=words):
        load(tmp_path / "x.parquet")


def test_a_survey_tells_the_features_without_settings(tmp_path: Path) -> None:
    found = Vectors().survey(write(tmp_path / "x.csv", PLAIN))
    assert (found.classes, found.channels, found.sides) == (("cat", "dog"), 2, (1, 1, 1))
