"""Tell by a glance into a data set's files which plugin reads them."""

from __future__ import annotations

import csv
import zipfile
from itertools import islice
from pathlib import Path

from graftwork.decoding import EXTENSIONS
from graftwork.errors import DataError
from graftwork.npz_headers import header_of
from graftwork.parquet_files import holds_bytes, open_parquet
from graftwork.text_tables import DELIMITERS
from graftwork.zip_members import METHODS

TELLTALE = {  # names of files, and the plugin that reads a folder of such
    "*-idx[13]-ubyte*": "idx",
    "*.idx[13]-ubyte*": "idx",
    "data_batch_*": "cifar",
    "batches.meta*": "cifar",
    "train.bin": "cifar",
    "*.parquet": "table",
}
PACKED = (".gz", ".tgz")
OF_PICTURES = {"path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "picture"}
USUAL_COLUMNS = {"path", "label"}  # the columns that `table` reads where no setting names others
FIRST_ROWS = 3


def recognise(path: Path) -> str:
    """Return the dataset plugin that reads what is at a path. Raises DataError for what none does.

    A file that its plugin wants named by its folder is that plugin's all the same: it tells so.
    """
    if path.is_dir():
        return _of_folder(path)
    kind = path.suffix.lower() if path.is_file() else ""
    if path.is_file() and path.match("*[-.]idx[13]-ubyte*"):
        return "idx"
    if kind == ".npz":
        return "vectors" if _holds_vectors(path) else "npz"
    if kind == ".parquet":
        return "table" if _lists_pictures(path) else "vectors"
    if kind in DELIMITERS:
        return "table" if _names_pictures(path) else "vectors"
    if kind in PACKED:
        return "cifar"
    what = "isn't there" if not path.exists() else "is of no kind that is known by its name"
    raise DataError(
        f"The data {what}", where=str(path),
        expected="a folder of classes, of a table and its pictures, or of idx, CIFAR or Parquet files; a file .npz, "
        ".csv, .tsv or .parquet", fix="correct the path, or set dataset and path in params.yaml by hand",
    )  # fmt: skip


def part_of(path: Path) -> str:
    """Return the dataset plugin of which a file is a part, so that its folder is the data; nothing for the whole."""
    if not path.is_file():
        return ""
    kind = path.suffix.lower()
    if kind == ".parquet":
        return "table" if _lists_pictures(path) and not _holds_pictures(path) else ""
    if kind in DELIMITERS:
        return "table" if _names_pictures(path) else ""
    return next((plugin for name, plugin in TELLTALE.items() if path.match(name)), "")


def _of_folder(folder: Path) -> str:
    """Return the plugin for a folder; one of class folders with a table beside them is the table's."""
    found = next((plugin for name, plugin in TELLTALE.items() if any(folder.glob(name))), None)
    tables = (each for each in sorted(folder.iterdir()) if each.suffix.lower() in DELIMITERS and each.is_file())
    if found is None and any(set(_first_rows(table)[0]) >= USUAL_COLUMNS for table in tables):
        return "table"
    return found or "image_folder"


def _holds_vectors(path: Path) -> bool:
    """Tell vectors in an archive from images by its arrays' names; where both are called so, by their dimensions."""
    try:
        with zipfile.ZipFile(path) as archive:
            if "x_train.npy" not in archive.namelist():
                return "vectors.npy" in archive.namelist()
            member = archive.getinfo("x_train.npy")
            return member.compress_type in METHODS and len(header_of(archive, member)[0]) == 2
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile):
        return False  # the plugin says what is wrong


def _lists_pictures(path: Path) -> bool:
    """Tell a Parquet file that names or holds pictures from one of numbers, by its columns."""
    with open_parquet(path) as opened:
        return any(field.name.casefold() in OF_PICTURES or holds_bytes(field.type) for field in opened.schema_arrow)


def _holds_pictures(path: Path) -> bool:
    with open_parquet(path) as opened:
        return any(holds_bytes(field.type) for field in opened.schema_arrow)


def _names_pictures(path: Path) -> bool:
    """Tell a text table that names pictures from one of numbers, by its header and its first rows."""
    header, *rows = _first_rows(path)
    cells = (cell.casefold() for row in (header, *rows) for cell in row)
    return any(name.casefold() in OF_PICTURES for name in header) or any(cell.endswith(EXTENSIONS) for cell in cells)


def _first_rows(path: Path) -> list[list[str]]:
    """Return the cells of the first rows that aren't empty; one empty row where there are none, or no text."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            rows = (
                [cell.strip() for cell in row] for row in csv.reader(file, delimiter=DELIMITERS[path.suffix.lower()])
            )
            return list(islice((row for row in rows if any(row)), FIRST_ROWS)) or [[]]
        except csv.Error:
            return [[]]
