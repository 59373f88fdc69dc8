"""What an .npz archive's members say of their arrays, read without believing how long a header claims to be."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

HEADER_BYTES = 1 << 16  # numpy's own are of some hundred; it would read any length before it looks
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def header_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return an array's shape and type. Raises ValueError, and what zipfile raises, for what is no array."""
    with archive.open(member) as stream:
        head = io.BytesIO(stream.read(HEADER_BYTES))
    version = np.lib.format.read_magic(head)
    if version not in READERS:
        raise ValueError(f"{member.filename} is of the format {version}")
    shape, _, dtype = READERS[version](head)
    return shape, dtype
