"""Write the classic data sets' own formats, tiny."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def idx(array: Bytes) -> bytes:
    """Return an idx file of bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, train: int = 20, test: int = 10, *, packed: bool = True) -> dict[str, Bytes]:
    """Write MNIST's four files of 28×28 images and return what they hold, by the names of an .npz."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Bytes] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, part, count in (("train", "train", train), ("t10k", "test", test)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
        for kind, dimensions, letter in (("images", 3, "x"), ("labels", 1, "y")):
            content = idx(arrays[f"{letter}_{part}"])
            file = folder / f"{name}-{kind}-idx{dimensions}-ubyte{'.gz' * packed}"
            file.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return arrays


def python2(value: Any) -> bytes:
    """Return the value as Python 2 pickled it with protocol 2: strings of bytes, and numpy's old names."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    match value:
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return struct.pack("<cB", b"K", value) if 0 <= value < 256 else struct.pack("<ci", b"J", value)
        case str():
            return struct.pack("<cB", b"U", len(value)) + value.encode("latin-1")
        case bytes():
            return struct.pack("<ci", b"T", len(value)) + value
        case list():
            return b"](" + b"".join(map(_python2, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(_python2, value)) + b"t"
        case dict():
            return b"}(" + b"".join(_python2(item) for pair in value.items() for item in pair) + b"u"
        case None:
            return b"N"
    kind = b"cnumpy\ndtype\n" + _python2(("u1", 0, 1)) + b"R" + _python2((3, "|", None, None, None, -1, -1, 0)) + b"b"
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _python2((0,)) + _python2("b") + b"tR"
    state = b"(" + _python2(1) + _python2(value.shape) + kind + _python2(False) + _python2(value.tobytes()) + b"t"
    return start + state + b"b"


def cifar_pixels(count: int, seed: int) -> Bytes:
    """Return rows of 3,072 bytes: three planes."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def cifar10(version: str, *, per_batch: int = 10) -> dict[str, Any]:
    """Return the files of CIFAR-10: of the Python version as values, of the binary version as bytes."""
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    files: dict[str, Any] = {}
    for seed, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        pixels, labels = cifar_pixels(per_batch, seed), [(index + seed) % 10 for index in range(per_batch)]
        if version == "python":
            files[name] = {"batch_label": name, "labels": labels, "data": pixels, "filenames": ["a.png"] * per_batch}
        else:
            files[f"{name}.bin"] = np.column_stack([np.array(labels, dtype=np.uint8), pixels]).tobytes()
    if version == "python":
        return files | {"batches.meta": {"num_cases_per_batch": per_batch, "label_names": names, "num_vis": 3072}}
    return files | {"batches.meta.txt": "\n".join([*names, ""]).encode()}


def cifar100(version: str, *, count: int = 100) -> dict[str, Any]:
    """Return the files of CIFAR-100; fine class n belongs to coarse class n % 20."""
    fine_names, coarse_names = [f"fine {n}" for n in range(100)], [f"coarse {n}" for n in range(20)]
    files: dict[str, Any] = {}
    for seed, name in enumerate(("train", "test")):
        pixels, fine = cifar_pixels(count, seed), [index % 100 for index in range(count)]
        coarse = [label % 20 for label in fine]
        if version == "python":
            files[name] = {"fine_labels": fine, "coarse_labels": coarse, "data": pixels, "filenames": []}
        else:
            columns = [np.array(coarse, dtype=np.uint8), np.array(fine, dtype=np.uint8), pixels]
            files[f"{name}.bin"] = np.column_stack(columns).tobytes()
    if version == "python":
        return files | {"meta": {"fine_label_names": fine_names, "coarse_label_names": coarse_names}}
    lists = {"fine_label_names.txt": fine_names, "coarse_label_names.txt": coarse_names}
    return files | {name: ("\n".join(names) + "\n").encode() for name, names in lists.items()}


def packed(files: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files as bytes; values become pickles of Python 2."""
    return {name: content if isinstance(content, bytes) else python2(content) for name, content in files.items()}


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    """Write a tar of regular files."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path
