"""Pictures in a Parquet file come one by one, in any order, and few of them are in memory."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from graftwork import parquet_pictures as module
from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.parquet_pictures import ParquetPictures
from graftwork.settings import ImageFormat
from graftwork_plugins.table import Table

ROWS, GROUP = 700, 130
ROOT = Path(__file__).parents[2]
SIDE, FEW, MANY = 180, 300, 900


def pictures(root: Path) -> tuple[ParquetPictures, list[bytes]]:
    """Write texts as pictures, in row groups of different sizes, half of them as Hugging Face's pairs."""
    cells = [f"picture {number}".encode() * (1 + number % 5) for number in range(ROWS)]
    column = pa.array([{"bytes": cell, "path": None} for cell in cells])
    pq.write_table(pa.table({"image": column}), root / "x.parquet", row_group_size=GROUP)
    sizes = [pq.ParquetFile(root / "x.parquet").metadata.row_group(g).num_rows for g in range(-(-ROWS // GROUP))]
    return ParquetPictures(root / "x.parquet", "image", sizes), cells


def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note from which row group on a file is read, whenever reading begins."""
    begun: list[int] = []
    begin = ParquetPictures._from
    monkeypatch.setattr(ParquetPictures, "_from", lambda own, group: begun.append(group) or begin(own, group))
    return begun


def test_in_order_each_row_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, cells = pictures(tmp_path)
    begun = watched(monkeypatch)
    assert [found[row] for row in range(ROWS)] == cells and begun == [0]


def test_rows_come_in_any_order_and_from_their_own_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, cells = pictures(tmp_path)
    begun = watched(monkeypatch)
    assert found[ROWS - 1] == cells[-1] and begun == [ROWS // GROUP]
    assert found[3] == cells[3] and begun[1:] == [0]
    order = np.random.default_rng(0).permutation(ROWS)[:100].tolist()
    assert [found[row] for row in order] == [cells[row] for row in order]


def test_threads_may_share_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, cells = pictures(tmp_path)
    begun = watched(monkeypatch)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(found.__getitem__, range(ROWS))) == cells
    assert begun == [0]


def test_no_more_rows_are_kept_than_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 10)
    found, _ = pictures(tmp_path)
    for row in range(ROWS):
        found[row]
    assert sum(len(part.cells) for part in found._kept) <= 10 * module.KEPT


def test_a_file_that_changed_is_told_of(tmp_path: Path) -> None:
    found, _ = pictures(tmp_path)
    pq.write_table(pa.table({"image": [b"one"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"changed while it was read|can't be read"):
        found[5]


def noise(path: Path, count: int) -> Path:
    """Write BMPs that can't be compressed, 97 kB each, in one row group."""
    rng = np.random.default_rng(0)
    schema = pa.schema({"image": pa.binary(), "label": pa.int64()})
    cells = []
    for _ in range(count):
        stored = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(stored, "bmp")
        cells.append(stored.getvalue())
    pq.write_table(pa.table({"image": cells, "label": np.arange(count) % 2}, schema=schema), path, row_group_size=10**6)
    return path


def go_through(path: Path) -> RawImages:
    """Survey and load a file, and ask for all of its images, some at a time."""
    Table().survey(path)
    raw = Table().load(path, ImageFormat(size=8, channels=3))
    for start in range(0, len(raw.images), 64):
        raw.images[start : start + 64]
    return raw


MEMORY = """
import sys
from pathlib import Path
from tests.core.test_parquet_pictures import go_through
from tests.core.test_storage import peak_bytes
go_through(Path(sys.argv[1]))
before = peak_bytes()
go_through(Path(sys.argv[2]))
print(peak_bytes() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_larger_file_takes_no_more_memory(tmp_path: Path) -> None:
    files = [str(noise(tmp_path / f"{count}.parquet", count)) for count in (FEW, MANY)]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *files], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    more = (MANY - FEW) * 3 * SIDE**2
    assert int(done.stdout) < more / 4, f"{int(done.stdout) / 2**20:.1f} MiB more of {more / 2**20:.0f} MiB"
