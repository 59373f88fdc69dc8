"""Read .npz archives, executing nothing and believing nothing that their headers say."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError
from graftwork.npz_headers import header_of
from graftwork.zip_members import refuse_special
from graftwork_plugins.classic.idx_files import MOST_BYTES, MOST_RATIO, SMALL_BYTES

EXPECTED = "images and labels, or x_train, y_train, x_test, y_test; optionally classes"
LARGE_RATIO = 10  # of archives above MOST_BYTES
DAMAGED = (  # what numpy and zipfile raise for bytes that make no sense; found by altering archives at random
    OSError, ValueError, TypeError, AttributeError, EOFError, NotImplementedError, RuntimeError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_archive(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive by name. Raises DataError for what isn't one, or unpacks to far too much."""
    if not path.is_file():
        raise DataError(
            "The .npz file is missing", where=str(path), expected=EXPECTED, fix="correct path in params.yaml"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return _arrays(archive, path)
    except DAMAGED as error:
        raise DataError(
            f"The .npz file can't be read: {error}", where=str(path), expected=f"an .npz with {EXPECTED}",
            fix="write it anew with numpy.savez_compressed; arrays of objects are refused",
        ) from None  # fmt: skip


def _arrays(archive: zipfile.ZipFile, path: Path) -> dict[str, NDArray[Any]]:
    """Read every array, once its header has told that there is room for it."""
    found: dict[str, NDArray[Any]] = {}
    stored, wanted = path.stat().st_size, 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            continue
        refuse_special(member, str(path))
        shape, dtype = header_of(archive, member)
        wanted += math.prod(max(1, abs(side)) for side in shape) * max(1, dtype.itemsize)
        if wanted > _most_bytes(stored):
            raise DataError(
                f"With {name!r}, {dtype} of shape {shape}, the archive unpacks to {wanted:,} bytes, and it has "
                f"{stored:,}", where=str(path), expected=f"at most {_most_bytes(stored):,} bytes",
                fix="fetch it anew, or write it with numpy.savez, uncompressed",
            )  # fmt: skip
        with archive.open(member) as stream:
            found[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return found


def _most_bytes(stored: int) -> int:
    """Return what an archive of so many bytes may unpack to: as an idx file, or if larger some times its size."""
    return max(min(MOST_BYTES, max(SMALL_BYTES, MOST_RATIO * stored)), LARGE_RATIO * stored)
