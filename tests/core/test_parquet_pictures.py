"""Pictures in a Parquet file come one by one, in any order, and few of them are in memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from graftwork import parquet_pictures as module
from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.parquet_pictures import PictureColumn, PictureReader
from graftwork.settings import ImageFormat
from graftwork_plugins.table import Table

ROWS, GROUP = 700, 130
ROOT = Path(__file__).parents[2]
SIDE, FEW, MANY = 180, 280, 600


@dataclass
class World:
    """A file with pictures, and its reader."""

    column: PictureColumn
    cells: list[bytes]
    reader: PictureReader
    begun: list[int] = field(default_factory=list)

    def read(self, row: int) -> bytes:
        return self.reader.read(self.column, row)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Write texts as pictures, as Hugging Face's pairs; note from which row group on a file is read."""
    world = World(*written(tmp_path / "x.parquet", "x"), PictureReader())
    begin = PictureColumn.parts
    monkeypatch.setattr(PictureColumn, "parts", lambda own, group: world.begun.append(group) or begin(own, group))
    return world


def written(path: Path, name: str) -> tuple[PictureColumn, list[bytes]]:
    cells = [f"{name} {number}".encode() * (1 + number % 5) for number in range(ROWS)]
    column = pa.array([{"bytes": cell, "path": None} for cell in cells])
    pq.write_table(pa.table({"image": column}), path, row_group_size=GROUP)
    with pq.ParquetFile(path) as opened:
        sizes = tuple(opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups))
    return PictureColumn(path, "image", sizes), cells


def test_in_order_each_row_is_read_once(world: World) -> None:
    assert [world.read(row) for row in range(ROWS)] == world.cells and world.begun == [0]


def test_rows_come_in_any_order_and_from_their_own_row_group(world: World) -> None:
    assert world.read(ROWS - 1) == world.cells[-1] and world.begun == [ROWS // GROUP]
    assert world.read(3) == world.cells[3] and world.begun[1:] == [0]
    order = np.random.default_rng(0).permutation(ROWS)[:100].tolist()
    assert [world.read(row) for row in order] == [world.cells[row] for row in order]


def test_threads_may_share_a_reader(world: World) -> None:
    came: list[bytes] = []
    with ThreadPoolExecutor(16) as pool:
        for start in range(0, ROWS, 100):
            came += pool.map(world.read, range(start, start + 100))
    assert came == world.cells and world.begun == [0]


def test_of_all_files_together_no_more_rows_are_kept_than_are_told(world: World, tmp_path: Path) -> None:
    for name in ("y", "z"):
        column, cells = written(tmp_path / f"{name}.parquet", name)
        for row in range(ROWS):
            assert world.reader.read(column, row) == cells[row]
            assert world.read(0) == world.cells[0] if row % 300 == 0 else True
    assert sum(len(part.cells) for part in world.reader._kept) <= module.AT_ONCE * module.KEPT


def test_nothing_holds_a_file_that_no_picture_is_asked_of_any_more(world: World) -> None:
    world.read(0)
    parts = weakref.ref(world.reader._parts)
    world.reader = PictureReader()
    assert parts() is None  # at once, without the garbage collector


def test_a_file_that_changed_is_told_of(world: World) -> None:
    pq.write_table(pa.table({"image": [b"one"]}), world.column.file)
    with pytest.raises(DataError, match=r"changed while it was read|can't be read"):
        world.read(5)


def noise(path: Path, count: int) -> Path:
    """Write BMPs that can't be compressed, 97 kB each, in row groups as the hub's."""
    rng = np.random.default_rng(0)
    schema = pa.schema({"image": pa.binary(), "label": pa.int64()})
    cells = []
    for _ in range(count):
        stored = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(stored, "bmp")
        cells.append(stored.getvalue())
    pq.write_table(pa.table({"image": cells, "label": np.arange(count) % 2}, schema=schema), path, row_group_size=100)
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
    returning = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # so that what is freed isn't counted on
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *files], capture_output=True, text=True, timeout=120, cwd=ROOT, env=returning,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    more = (MANY - FEW) * 3 * SIDE**2
    assert int(done.stdout) < more / 4, f"{int(done.stdout) / 2**20:.1f} MiB more of {more / 2**20:.0f} MiB"
