"""Look into a weight file without torch: what it says of itself, and whether its tensors are as they were written.

The format is that of github.com/huggingface/safetensors: eight bytes of length, a JSON header, the tensors.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from graftwork.errors import WeightsError

METADATA_KEY = "graftwork"  # one key: safetensors writes several in no fixed order
MOST_BYTES = 100_000_000  # of a header, as safetensors itself has it
CHUNK_BYTES = 1 << 20
TORCH_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a weight file says of itself: its contract, as JSON, and the digest of its tensors."""

    contract: dict[str, Any]
    sha256: str  # of names, types, shapes and values
    whole: bool  # whether the tensors have it


def read_header(path: Path) -> Header:
    """Read a weight file that Graftwork wrote, and hash its tensors. Raises WeightsError for any other file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MOST_BYTES:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
            contract = json.loads(header.pop("__metadata__")[METADATA_KEY])
            expected = str(contract.pop("sha256"))
            return Header(contract, expected, _digest(file, header, 8 + length) == expected)
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"This is no weight file of Graftwork's: {error}", where=str(path),
            expected=".safetensors that say where they come from", fix="name one below weights/, or an export",
        ) from None  # fmt: skip


def _digest(file: BinaryIO, tensors: dict[str, Any], begin: int) -> str:
    """Return what `weights.digest` returns of the same tensors."""
    result = hashlib.sha256()
    for name, about in sorted(tensors.items()):
        start, end = about["data_offsets"]
        kind = TORCH_NAMES.get(about["dtype"], about["dtype"])
        result.update(f"{name}:torch.{kind}:{tuple(about['shape'])};".encode())
        file.seek(begin + start)
        left = end - start
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            result.update(chunk)
            left -= len(chunk)
    return result.hexdigest()
