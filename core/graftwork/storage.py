"""How images are stored, as arrays or encoded, and what reads either: chosen by size, unless settings say."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from graftwork.encoded_images import EncodedImages, pack, packed, unpack
from graftwork.errors import SettingsError, StateError
from graftwork.images import Images, Indices, LabelledImages, Labels, RawImages, conform
from graftwork.labelled_arrays import LabelledArrays, write_array
from graftwork.labelled_encoded import LabelledEncoded
from graftwork.progress import QUIET, Progress
from graftwork.settings import ImageFormat, Storage

MOST_BYTES = 2**30  # as arrays; not a share of this machine's memory, so that every machine chooses alike


def choose_storage(setting: Storage, images: Images, image: ImageFormat) -> Literal["arrays", "encoded"]:
    """Return how to store images: encoded where they come so and would take more than MOST_BYTES as arrays.

    What comes as arrays stays so, whatever its size, as nothing is won by encoding it: arrays are mapped, not read.
    """
    if setting != "auto":
        return setting
    return "encoded" if isinstance(images, EncodedImages) and decoded_bytes(images, image) > MOST_BYTES else "arrays"


def decoded_bytes(images: Images, image: ImageFormat) -> int:
    """Return how many bytes images take as arrays of a format."""
    return len(images) * image.channels * image.size**2 * images.dtype.itemsize


def save_images(
    folder: Path, images: Images, image: ImageFormat, storage: Literal["arrays", "encoded"], progress: Progress = QUIET
) -> None:
    """Write images, brought to a format, into an existing folder, few at a time.

    Encoded ones keep their bytes; arrays that shall be encoded become PNG, which loses nothing. Raises Interrupted when
    asked to stop.
    """
    if storage == "arrays":
        write_array(folder / "images.npy", images, np.arange(len(images)), image, progress)
    elif isinstance(images, EncodedImages):
        pack(folder, images, progress)
    else:
        _require_pictures(images, image)
        pack(folder, EncodedImages(_AsPng(images, image), image), progress)


def load_images(folder: Path) -> Images:
    """Return what `save_images` wrote, which stays on disk."""
    if packed(folder):
        return unpack(folder)
    arrays: Images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    return arrays


def save_split(
    folder: Path, images: Images, labels: Labels, indices: Indices | None = None, progress: Progress = QUIET
) -> None:
    """Write one split, all images or those of some indices, into an existing folder, as they are stored already.

    Raises Interrupted when asked to stop.
    """
    indices = np.arange(len(labels)) if indices is None else indices
    if isinstance(images, EncodedImages):
        pack(folder, images.take(indices), progress)
    else:
        write_array(folder / "images.npy", images, indices, progress=progress)
    np.save(folder / "labels.npy", labels[indices], allow_pickle=False)


def load_split(folder: Path) -> LabelledImages:
    """Read one split, however it is stored; raises StateError where its files are missing or damaged."""
    try:
        return LabelledEncoded.load(folder) if packed(folder) else LabelledArrays.load(folder)
    except (OSError, ValueError) as error:
        raise StateError(
            f"The prepared images can't be read: {error}", where=str(folder), fix="graftwork run"
        ) from None


def labelled(raw: RawImages, indices: Indices) -> LabelledImages:
    """Return some images as trainings use them: arrays in memory, encoded ones where they are."""
    labels = torch.from_numpy(raw.labels[indices])
    if isinstance(raw.images, EncodedImages):
        return LabelledEncoded(raw.images.take(indices), labels)
    return LabelledArrays(torch.from_numpy(raw.images[indices]), labels)


def in_format(data: LabelledImages, indices: Indices, image: ImageFormat) -> LabelledImages:
    """Return some images brought to a format: into memory, unless they have it already."""
    chosen = data.take(torch.from_numpy(indices))
    if chosen.shape == (image.channels, image.size, image.size):
        return chosen
    pixels = conform(chosen.batch(torch.arange(len(chosen))).numpy(), image)
    return LabelledArrays(torch.from_numpy(pixels), chosen.labels)


@dataclass(frozen=True)
class _AsPng:
    """Arrays as encoded images: each is brought to the format and encoded when it is asked for."""

    images: Images
    image: ImageFormat

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> bytes:
        pixels = conform(self.images[number : number + 1], self.image)[0]  # (C, H, W)
        stored = io.BytesIO()
        picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        picture.save(stored, "png", compress_level=1)
        return stored.getvalue()


def _require_pictures(images: Images, image: ImageFormat) -> None:
    if images.dtype != np.uint8 or image.channels not in (1, 3):
        raise SettingsError(
            f"storage: encoded can't hold {image} as {images.dtype}", where="params.yaml, key data",
            expected="pictures: uint8, 1 or 3 channels", fix="set storage to arrays, or to auto",
        )  # fmt: skip
