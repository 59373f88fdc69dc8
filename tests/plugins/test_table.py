"""Tables of pictures are read as they stand; rows that name nothing, or lead elsewhere, are refused by number."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from graftwork.encoded_images import EncodedImages
from graftwork.errors import DataError, SettingsError
from graftwork.images import RawImages
from graftwork.settings import ImageFormat
from graftwork_plugins.table import Table
from graftwork_plugins.vectors import Vectors

GREY = ImageFormat(size=8, channels=1)
FILES = ("a.png", "b.png", "more/c.png", "more/d.png")


def png(level: int) -> bytes:
    stored = io.BytesIO()
    Image.new("L", (9, 12), level).save(stored, "png")
    return stored.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four flat pictures of the levels 0, 10, 20, 30."""
    root = tmp_path / "data"
    (root / "more").mkdir(parents=True)
    for index, name in enumerate(FILES):
        (root / name).write_bytes(png(10 * index))
    return root


def write(path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = ("path", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
    return path


def load(path: Path, image: ImageFormat = GREY, **settings: Any) -> RawImages:
    """Load a folder, or a table in it as the setting `file`."""
    if path.suffix:
        path, settings = path.parent, {"file": path.name, **settings}
    return Table(**settings).load(path, image)


def levels(raw: RawImages) -> list[int]:
    return [int(level) for level in raw.images[:][:, 0, 0, 0]]


LABELS = ("dog", "cat", "dog", "no")
ROWS = list(zip(FILES, LABELS, strict=True))


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_rows_are_pictures_in_the_tables_order_and_classes_in_their_names(folder: Path, suffix: str) -> None:
    raw = load(write(folder / f"list.{suffix}", ROWS))
    assert levels(raw) == [0, 10, 20, 30] and raw.images.dtype == np.uint8
    assert raw.classes == ("cat", "dog", "no")  # a text, no boolean
    assert raw.labels.tolist() == [1, 0, 1, 2] and raw.split is None
    assert raw.names is not None and list(raw.names) == list(raw.names) == list(FILES)
    raw.check("here")


def test_a_byte_order_mark_further_columns_blank_lines_and_other_names_are_fine(folder: Path) -> None:
    text = "who,file,class,part\r\n\r\nme,a.png,x,Train\r\nyou,b.png,y,dev\r\n,more/c.png,x,test\r\n"
    (folder / "list.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    raw = load(folder / "list.csv", path_column="file", label_column="class", split_column="part")
    assert levels(raw) == [0, 10, 20]
    assert raw.split is not None and raw.split.tolist() == ["train", "validation", "test"]


def test_numbers_are_classes_in_their_own_order_and_stay_texts(folder: Path) -> None:
    raw = load(write(folder / "list.csv", list(zip(FILES, (10, 2, -1, 2), strict=True))))
    assert raw.classes == ("-1", "2", "10") and raw.labels.tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize(
    "name",
    ["../x", "<script>alert(1)</script>", "line\nbreak", "{{ 7*7 }}", "猫 🐈", 'a,b;c\t"', "no", "nan", "x" * 300],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_class_may_be_called_anything(folder: Path, name: str, suffix: str) -> None:
    labels, path = [name, "a", name, "b"], folder / f"list.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"path": list(FILES), "label": labels}), path)
    else:
        write(path, list(zip(FILES, labels, strict=True)))
    raw = load(path)
    assert [raw.classes[label] for label in raw.labels] == labels


def changed(row: int, *cells: object) -> list[Sequence[object]]:
    return [cells if index == row else kept for index, kept in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed(1, "gone.png", "cat"), r"1 of 4 pictures can't be read: row list.csv 3: 'gone.png' is missing"),
        (changed(1, "", "cat"), "row list.csv 3: no picture"),
        (changed(1, "more", "cat"), "row list.csv 3: 'more' is no file"),
        (changed(1, "b\0.png", "cat"), "row list.csv 3: .* is missing"),
        (changed(2, "../data/a.png", "cat"), r"1 row has a path out of .*: row list.csv 4 \('../data/a.png'\)"),
        (changed(2, "more/../a.png", "cat"), "1 row has a path out of"),
        (changed(2, "/etc/passwd", "cat"), r"row list.csv 4 \('/etc/passwd'\)"),
        (changed(0, "list.csv", "cat"), "row list.csv 2: not an image"),
        (changed(3, "a.png"), r"1 row has other than 2 cells: row 5 \(1\)"),
        (changed(3, "a.png", "cat", "x"), r"1 row has other than 2 cells: row 5 \(3\)"),
        (changed(3, "more/d.png", " "), "1 row has no label: row list.csv 5"),
        (changed(3, "a.png", "cat"), "'a.png' has two labels: 'dog' in row list.csv 2, 'cat' in row list.csv 5"),
        (changed(3, "more/d.png", "Cat"), "hard to tell apart: 'Cat' .* and 'cat'"),
        (list(zip(FILES, ("1", "1.0", "2", "2"), strict=True)), "hard to tell apart: '1' .* and '1.0'"),
        (list(zip(FILES, ("é", "e\u0301x", "E\u0301", "b"), strict=True)), "hard to tell apart"),
        ([], "a header and no rows"),
    ],
)
def test_rows_that_can_not_be_meant_are_refused_by_number(
    folder: Path, rows: Sequence[Sequence[object]], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        load(write(folder / "list.csv", rows))


@pytest.mark.parametrize("name", ["link.png", "linked/x.png"])
def test_a_link_out_of_the_folder_is_refused_even_when_others_are_skipped(
    folder: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").write_bytes(png(5))
    (folder / "link.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"1 row has a path out of .*: row list.csv 3 \(.* is a link\)"):
        load(write(folder / "list.csv", changed(1, name, "cat")), unreadable="skip")


@pytest.mark.parametrize("again", ["./a.png", "more/./c.png", "same.png"])
def test_a_file_has_one_label_however_its_path_is_written(folder: Path, again: str) -> None:
    (folder / "same.png").symlink_to(folder / "a.png")
    words = rf"'(a|more/c)\.png' has two labels: 'dog' in row list.csv \d, 'no' in row list.csv 5, as '{again}'"
    with pytest.raises(DataError, match=words):
        load(write(folder / "list.csv", changed(3, again, "no")))


def test_rows_without_a_picture_are_skipped_and_listed_when_so_set(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"")
    raw = load(write(folder / "list.csv", [*ROWS, ("gone.png", "cat"), ("more/c.png", "dog")]), unreadable="skip")
    assert levels(raw) == [0, 20, 30, 20]
    assert raw.origin["skipped"] == ["list.csv 3: empty file", "list.csv 6: 'gone.png' is missing"]


def test_nothing_to_read_is_refused_even_when_skipping(folder: Path) -> None:
    with pytest.raises(DataError, match="1 of 1 pictures can't be read"):
        load(write(folder / "list.csv", [("gone.png", "cat")]), unreadable="skip")


def test_pictures_may_lie_in_another_folder_of_the_settings(folder: Path) -> None:
    table = write(folder / "list.csv", [("c.png", "x"), ("d.png", "y")])
    assert levels(load(table, root="more")) == [20, 30]


@pytest.mark.parametrize("value", ["trian", "", "all"])
def test_an_unknown_split_is_refused_by_row(folder: Path, value: str) -> None:
    rows = [(*row, split) for row, split in zip(ROWS, ("train", "val", value, "test"), strict=True)]
    with pytest.raises(DataError, match=rf"1 row has no known split: row list.csv 4 \('{value}'\)"):
        load(write(folder / "list.csv", rows, ("path", "label", "split")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,label\na.png,caf\xe9\n", r"isn't UTF-8: byte 0xe9 in line 2"),
        ("path,label\na.png,x\n".encode("utf-16"), "isn't UTF-8: byte 0xff in line 1"),
        (b"", "table is empty"),
        (b"\n\n", "table is empty"),
        (b"path;label\na.png;x\n", "no column 'path'"),
        (b"path,path,label\na.png,a.png,x\n", "2 columns 'path'"),
        (b"Path,label\na.png,x\n", "no column 'path'"),
        (b'path,label\n"a.png,x\n', "unexpected end of data"),
        (b"path,label\na.png," + b"x" * 200_000 + b"\n", "field larger than field limit"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(folder: Path, content: bytes, words: str) -> None:
    (folder / "list.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load(folder / "list.csv")


def test_a_column_of_the_settings_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="no column 'part'"):
        load(write(folder / "list.csv", ROWS), split_column="part")


def huggingface(path: Path, labels: Sequence[int | None], names: Sequence[str] | None, image: str = "image") -> Path:
    """Write pictures of the levels 0, 10, … as the Hugging Face hub does."""
    cells = [{"bytes": png(10 * index), "path": f"{index}.png"} for index in range(len(labels))]
    table = pa.table({image: cells, "label": pa.array(labels, pa.int64())})
    if names:
        told = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, path)
    return path


def test_a_folder_of_parquet_files_holds_the_pictures_the_classes_and_the_splits(tmp_path: Path) -> None:
    for index, name in enumerate(("test", "train", "train", "validation")):
        huggingface(tmp_path / f"{name}-{index:05}-of-00004.parquet", [1, 0, 2], ("zebra", "ant", "bee"))
    raw = load(tmp_path)
    assert raw.classes == ("zebra", "ant", "bee") and raw.labels.tolist() == [1, 0, 2] * 4
    assert levels(raw) == [0, 10, 20] * 4
    assert raw.split is not None and raw.split[::3].tolist() == ["test", "train", "train", "validation"]


@pytest.mark.parametrize("image", ["image", "img", "path"])
def test_one_parquet_file_needs_no_name_of_a_split(tmp_path: Path, image: str) -> None:
    raw = load(huggingface(tmp_path / "all.parquet", [10, 2, 10], None, image))
    assert raw.classes == ("2", "10") and raw.labels.tolist() == [1, 0, 1] and raw.split is None


def test_plain_bytes_and_dictionaries_of_labels_are_read(tmp_path: Path) -> None:
    table = pa.table({"jpg": [png(3), png(4)], "label": pa.array(["b", "a"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "x.parquet")
    raw = load(tmp_path / "x.parquet")
    assert levels(raw) == [3, 4] and raw.classes == ("a", "b") and raw.labels.tolist() == [1, 0]


def test_a_path_beside_missing_bytes_is_followed_inside_the_folder_alone(folder: Path) -> None:
    cells = [{"bytes": None, "path": "b.png"}, {"bytes": png(9), "path": "../ignored.png"}]
    path = folder / "x.parquet"
    pq.write_table(pa.table({"image": cells, "label": ["x", "y"]}), path)
    assert levels(load(path)) == [10, 9]
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "../b.png"}], "label": ["x"]}), path)
    with pytest.raises(DataError, match=r"1 row has a path out of .*: row x.parquet 1"):
        load(path)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, None], "Row 2 has the label null"),
        ([0, -1], "Row 2 has the label -1"),
        ([0, 3], "Row 2 has the label 3"),
    ],
)
def test_labels_without_a_name_are_refused_by_row(tmp_path: Path, labels: list[int | None], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(huggingface(tmp_path / "x.parquet", labels, ("a", "b", "c")))


def test_a_gap_in_named_labels_is_a_class_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class 'b' has no images"):
        load(huggingface(tmp_path / "x.parquet", [0, 2, 0], ("a", "b", "c"))).check("here")


def test_labels_of_bytes_are_texts_if_they_are_utf_8(folder: Path) -> None:
    for content, fine in (("é".encode(), True), (b"caf\xe9", False)):
        pq.write_table(pa.table({"path": ["a.png", "b.png"], "label": [content, b"x"]}), folder / "x.parquet")
        if fine:
            assert load(folder / "x.parquet").classes == ("x", "é")
        else:
            with pytest.raises(DataError, match="can't be read: 'utf-8' codec can't decode"):
                load(folder / "x.parquet")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1.0, float("nan")], r"1 row has no label: row x.parquet 2"),
        ([[0], [1]], r"The column 'label' holds list<"),
        ([{"a": 1}, {"a": 2}], r"The column 'label' holds struct<"),
    ],
)
@pytest.mark.parametrize("vectors", [False, True])
def test_parquet_labels_that_are_no_labels_are_refused(
    folder: Path, labels: list[object], words: str, vectors: bool
) -> None:
    columns = {"x": [0.5, 1.5]} if vectors else {"path": ["a.png", "b.png"]}
    path = folder / "x.parquet"
    pq.write_table(pa.table({**columns, "label": labels}), path)
    with pytest.raises(DataError, match=words.replace("x.parquet ", "") if vectors else words):
        Vectors().load(path, ImageFormat(size=1, channels=1)) if vectors else load(path)


def test_a_split_that_is_missing_or_several_is_refused(folder: Path) -> None:
    for splits, words in (([float("nan"), 0.5], "no known split: row"), ([["train"], ["test"]], "'split' holds list<")):
        pq.write_table(pa.table({"path": FILES[:2], "label": ["x", "y"], "split": splits}), folder / "x.parquet")
        with pytest.raises(DataError, match=words):
            load(folder / "x.parquet")


def test_files_of_one_folder_must_agree(tmp_path: Path) -> None:
    huggingface(tmp_path / "train.parquet", [0, 1], ("a", "b"))
    huggingface(tmp_path / "test.parquet", [0, 1], ("b", "a"))
    with pytest.raises(DataError, match="list different classes"):
        load(tmp_path)


def test_a_column_and_a_files_name_must_not_disagree_on_the_split(folder: Path) -> None:
    write(folder / "train.csv", [("a.png", "x", "train"), ("b.png", "y", "test")], ("path", "label", "split"))
    with pytest.raises(DataError, match="Row 3 is of the split 'test', by the file's name it is of train"):
        load(folder)


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "holds no tables"),
        (
            lambda root: [(root / f"{x}.csv").write_text("path,label\n") for x in "ab"],
            "a.csv, b.csv belong to no split",
        ),
        (lambda root: [(root / x).write_text("") for x in ("train.csv", "x.csv")], "x.csv belong to no split"),
        (lambda root: (root / "train.csv").write_text("path\na.png\n"), "no column 'label'"),
        (lambda root: (root / "train.parquet").write_text("no such thing"), "Parquet file can't be read"),
        (lambda root: spoil(huggingface(root / "train.parquet", [0, 1], None)), "Parquet file can't be read"),
    ],
)
def test_a_folder_that_holds_no_such_tables_is_refused(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=words):
        load(tmp_path)


@pytest.mark.parametrize(("name", "words"), [("gone", "table is missing"), ("a.png", "ending in '.png'")])
def test_a_path_that_is_no_table_is_refused(folder: Path, name: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Table().load(folder / name, GREY)


def test_pictures_of_ten_channels_are_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match="can't be decoded to 8 × 8 pixels, 10 channels"):
        load(write(folder / "list.csv", ROWS), ImageFormat(size=8, channels=10))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = huggingface(tmp_path / "x.parquet", [0, 1], None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match="need pyarrow") as raised:
        load(path)
    assert raised.value.fix == "pip install 'graftwork[parquet]'"


def test_a_survey_tells_classes_splits_and_sizes_without_settings(tmp_path: Path, folder: Path) -> None:
    huggingface(tmp_path / "train.parquet", [1, 0, 1], ("zebra", "ant"))
    huggingface(tmp_path / "test.parquet", [0, 1], ("zebra", "ant"))
    found = Table().survey(tmp_path)
    assert (found.classes, found.counts) == (("zebra", "ant"), {"train": (1, 2), "test": (1, 1)})
    assert (found.channels, found.sides) == (1, (9, 9, 9))
    write(folder / "list.csv", ROWS)
    assert Table().survey(folder).counts == {"": (1, 2, 1)}


def test_bytes_stay_encoded_until_they_are_asked_for(tmp_path: Path) -> None:
    raw = load(huggingface(tmp_path / "x.parquet", [0, 1, 0], None))
    assert isinstance(raw.images, EncodedImages) and raw.images.encoded(1) == png(10)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_by_itself_is_refused_as_its_pictures_are_not_part_of_the_path(folder: Path, suffix: str) -> None:
    path = folder / f"list.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"path": list(FILES), "label": list(LABELS)}), path)
    else:
        write(path, ROWS)
    for read in (lambda: Table().load(path, GREY), lambda: Table().survey(path)):
        with pytest.raises(DataError, match="pictures that it names aren't part of it") as raised:
            read()
        assert raised.value.fix == f"path: {folder}, dataset: {{table: {{file: list.{suffix}}}}}"


def test_a_parquet_file_with_the_pictures_in_it_may_be_named_alone(tmp_path: Path) -> None:
    path = huggingface(tmp_path / "all.parquet", [1, 0, 1], None)
    raw = Table().load(path, GREY)
    assert levels(raw) == [0, 10, 20] and raw.origin["file"] == "all.parquet"
    assert Table().survey(path).counts == {"": (1, 2)}


def test_a_folders_only_table_needs_no_name_and_others_are_chosen_by_theirs(folder: Path) -> None:
    write(folder / "labels.csv", ROWS)
    assert levels(Table().load(folder, GREY)) == [0, 10, 20, 30]
    write(folder / "more" / "part.csv", ROWS[:2])
    write(folder / "fewer.csv", ROWS[1:])
    assert levels(Table(file="fewer.csv").load(folder, GREY)) == [10, 20, 30]
    assert levels(Table(file="more/part.csv").load(folder, GREY)) == [0, 10]  # paths are the folder's


@pytest.mark.parametrize(
    ("file", "words"),
    [("../out.csv", "isn't one of the folder's"), ("/etc/passwd.csv", "isn't one"), ("linked.csv", "isn't one"),
     ("a.png", "isn't one"), ("gone.csv", "table is missing")],
)  # fmt: skip
def test_a_table_outside_the_folder_is_refused(folder: Path, file: str, words: str) -> None:
    (folder / "linked.csv").symlink_to(write(folder.parent / "out.csv", ROWS))
    with pytest.raises(DataError, match=words):
        Table(file=file).load(folder, GREY)


@pytest.mark.parametrize("root", ["..", "/", "linked"])
def test_pictures_outside_the_folder_are_refused(folder: Path, root: str) -> None:
    (folder / "linked").symlink_to(folder.parent)
    with pytest.raises(DataError, match="leads out of the folder"):
        load(write(folder / "list.csv", ROWS), root=root)
