"""What images are to the rest – as read, and with labels, as trained on – and conversions of size and channels."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from graftwork.errors import DataError
from graftwork.settings import ImageFormat
from graftwork.vectors import Vectors, require_vector_format

# N images, C channels, H height, W width
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Indices = NDArray[np.int64]
Batches = Generator[tuple[Tensor, Tensor], None, None]  # images (batch, C, H, W), labels (batch,)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to grey


class Images(Protocol):
    """An array, or `EncodedImages`, which decodes what it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The kind of each value."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Any, /) -> Any: ...


@dataclass(frozen=True)
class RawImages:
    """What a dataset plugin returns: images (N, C, H, W), labels (N,) into `classes`.

    Pictures are uint8, of any size; where they don't fit into memory `EncodedImages`, of the format that was asked for.
    Vectors are float32, (N, features, 1, 1).
    `split` is None, or holds for each image "train", "validation" or "test" where the dataset itself says so.
    `origin` describes where the data is from, as JSON: licence, URL, what was skipped. `names` are what people call the
    images, in their order – files within the data, rows of a table –, and may be gone through more than once.
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...]
    split: NDArray[np.str_] | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    names: Iterable[str] | None = None

    def check(self, where: str) -> None:
        """Raise DataError unless images are of a known kind, labels in range, and two classes have an image each."""
        self._check_kind(where)
        if len(self.images) != len(self.labels):
            raise DataError(f"There are {len(self.images)} images but {len(self.labels)} labels", where=where)
        wrong = (self.labels < 0) | (self.labels >= len(self.classes))
        if wrong.any():
            raise DataError(
                f"The label {self.labels[wrong][0]} of image {int(np.flatnonzero(wrong)[0])} is out of range",
                where=where, expected=f"0 to {len(self.classes) - 1}, as there are {len(self.classes)} classes",
                fix="correct the labels, or name every class",
            )  # fmt: skip
        counts = np.bincount(self.labels, minlength=len(self.classes))
        if len(self.classes) < 2:
            raise DataError(
                f"There is one class only: {self.classes[0]!r}" if self.classes else "There are no classes",
                where=where, expected="at least two classes", fix="add images of another class",
            )  # fmt: skip
        garbled = [ascii(name) for name in self.classes if not name.isprintable() and _has_surrogates(name)]
        if garbled:
            raise DataError(f"The class name {garbled[0]} isn't UTF-8", where=where, fix="rename it")
        if (counts == 0).any():
            empty = self.classes[int(np.flatnonzero(counts == 0)[0])]
            raise DataError(f"The class {empty!r} has no images", where=where, fix="add images, or remove the class")

    def _check_kind(self, where: str) -> None:
        dtype, shape = self.images.dtype, self.images.shape
        pictures = dtype == np.uint8 and len(shape) == 4
        if not pictures and not (dtype == np.float32 and len(shape) == 4 and shape[2:] == (1, 1)):
            raise DataError(
                f"The images are {dtype} of shape {shape}", where=where,
                expected="pictures: uint8, (N, C, H, W); or vectors: float32, (N, features, 1, 1)", fix="convert them",
            )  # fmt: skip
        if not pictures and not np.isfinite(self.images[:]).all():
            raise DataError("The vectors hold NaN or infinity", where=where, fix="fill in or remove those rows")


def _has_surrogates(name: str) -> bool:
    """Tell whether a name holds bytes that a file system gave and no encoding explains."""
    return any("\ud800" <= letter <= "\udfff" for letter in name)


class LabelledImages(Protocol):
    """Images of one split with their labels, however they are stored: what trainings and strategies see."""

    @property
    def labels(self) -> Tensor:
        """(N,), int64."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> Tensor:
        """Return some images, (indices, C, H, W), in that order."""

    def batches(self, size: int) -> Batches:
        """Yield all of them in their own order, `size` at a time."""

    def stream(self, order: Tensor, size: int) -> Batches:
        """Yield those of an order, `size` at a time. Close it where the loop over it may end early."""

    def take(self, indices: Tensor) -> LabelledImages:
        """Return some of them."""

    def to(self, device: torch.device) -> LabelledImages:
        """Return it with its batches on another device."""

    def save(self, folder: Path) -> None:
        """Write it into an existing folder, for `storage.load_split`."""

    def sha256(self) -> str:
        """Return a digest of images and labels; of one set of images, each storage has its own."""


def conform(images: Pixels | Vectors, image: ImageFormat) -> Pixels | Vectors:
    """Bring pictures (N, C, H, W) to the format: grey ↔ colour, then an antialiased resize to a square.

    Vectors stay as they are. Raises SettingsError where they are of another length, DataError for other channels.
    """
    channels = images.shape[1]
    if images.dtype != np.uint8:
        require_vector_format(channels, image, where="")
        vectors: Vectors = np.ascontiguousarray(images)
        return vectors
    if channels != image.channels and {channels, image.channels} != {1, 3}:
        raise DataError(
            f"Pictures of {channels} channels can't be made {image}", expected="as many channels, or 1 and 3",
            fix="set image.channels in params.yaml to what the pictures have",
        )  # fmt: skip
    return np.ascontiguousarray(_conformed(images, image))


def _conformed(images: NDArray[Any], image: ImageFormat) -> Pixels:
    channels = images.shape[1]
    if channels == 3 and image.channels == 1:
        weights = np.array(LUMA, dtype=np.float32)[None, :, None, None]
        images = np.round((images * weights).sum(axis=1, keepdims=True)).astype(np.uint8)
    elif channels == 1 and image.channels == 3:
        images = np.repeat(images, 3, axis=1)
    if images.shape[2:] != (image.size, image.size):
        images = np.concatenate(
            [_resized(part, image.size) for part in np.array_split(images, 1 + len(images) // 1024)]
        )
    return images


def _resized(images: Pixels, size: int) -> Pixels:
    """Crop (N, C, H, W) to the centred square, then resize."""
    side = min(images.shape[2:])
    top, left = (images.shape[2] - side) // 2, (images.shape[3] - side) // 2
    square = torch.from_numpy(images[:, :, top : top + side, left : left + side].copy()).float()
    resized = F.interpolate(square, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    result: Pixels = resized.round_().clamp_(0, 255).to(torch.uint8).numpy()
    return result
