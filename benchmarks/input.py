"""What it takes to have a batch ready: our whole batches against pictures one by one in a DataLoader, and timm's."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.loops import BATCH, Setting
from benchmarks.measuring import Row, interleaved, ratios, spread
from graftwork.encoded_images import EncodedImages
from graftwork.engine import Normalise
from graftwork.images import Batches, LabelledImages
from graftwork.labelled_arrays import LabelledArrays
from graftwork.labelled_encoded import LabelledEncoded
from graftwork.seeds import generator
from graftwork.settings import ImageFormat
from graftwork.soft_labels import augmented
from graftwork.warps import fused
from graftwork_plugins.augmentations import Affine, Colour, Crop, CutMix, Erase, Flip, MixUp, Rotate, Shift

SMALL, PHOTOS, SIZE = 2048, 96, 224
LISTS: dict[str, list[Any]] = {
    "nothing": [], "flip": [Flip()], "flip, shift": [Flip(), Shift(4)], "crop": [Crop()],
    "flip, crop": [Flip(), Crop()], "flip, rotate, shift, crop": [Flip(), Rotate(), Shift(), Crop()],
    "affine": [Affine()], "colour": [Colour()], "erase": [Erase()], "mixup": [MixUp()], "cutmix": [CutMix()],
}  # fmt: skip


def input_rows(rounds: int = 5) -> list[Row]:
    """Tell the loader's share of the default model's step, and images a second at 32 and 224 px."""
    setting = Setting()
    return [_share(setting, rounds), *_small_rows(setting, rounds), *_photo_rows(rounds)]


def _share(setting: Setting, rounds: int, steps: int = 8) -> Row:
    """Compare gathering, flipping and normalising batches with steps of the default model, which do that too."""
    normalise, draws = Normalise(setting.contract, setting.machine), generator(setting.machine.device, 0)
    model = setting.model().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, fused=True)
    order = torch.randperm(len(setting.train), generator=draws)[: steps * BATCH]

    def ready() -> Batches:
        for images, labels in setting.train.stream(order, BATCH):
            yield normalise(augmented([Flip()], images, draws)[0]), labels

    def steps_made() -> None:
        for images, labels in ready():
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.zero_grad()

    seconds = interleaved({"input": lambda: _drain(ready()), "steps": steps_made}, rounds)
    shares = ratios(seconds["input"], seconds["steps"])
    what = f"share of the input in a step: test_resnet, batch {BATCH}, flip"
    return Row(what, "≤ 0.05", *spread(shares, 3), median(shares) <= 0.05)


def _small_rows(setting: Setting, rounds: int) -> list[Row]:
    """Images of 32 px, in memory: each list of ours, and the usual loaders with crop and flip."""
    pixels = torch.randint(0, 256, (SMALL, 3, 32, 32), dtype=torch.uint8)
    data = LabelledArrays(pixels, torch.zeros(SMALL, dtype=torch.int64))
    draws = generator(setting.machine.device, 0)
    lists = {name: fused(several) for name, several in LISTS.items()}
    lists["the same, one by one"] = LISTS["flip, rotate, shift, crop"]
    contenders = {name: partial(_augment, data, several, draws) for name, several in lists.items()}
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels]
    usual = {**_loaders(pictures, _torchvision(32)), "timm, 0 workers": _loader(pictures, _timm(32), 0)}
    seconds = interleaved({**contenders, **usual}, rounds)
    rows = [
        Row(f"32 px, {name}: images/s", "–", *spread([SMALL / value for value in seconds[name]], 0)) for name in seconds
    ]
    for name in usual:
        rows.append(
            Row(f"32 px, {name} / ours: flip, crop", "–", *spread(ratios(seconds[name], seconds["flip, crop"]), 1))
        )
    return rows


def _photo_rows(rounds: int) -> list[Row]:
    """JPEG photos to 224 px, without augmentation."""
    stored = [photo(number) for number in range(PHOTOS)]
    image = ImageFormat(size=SIZE, channels=3)
    data = LabelledEncoded(EncodedImages(stored, image), torch.zeros(PHOTOS, dtype=torch.int64))
    contenders = {
        "ours": lambda: _drain(data.stream(torch.arange(PHOTOS), 32)),
        **_loaders(stored, _torchvision_file()),
    }
    seconds = interleaved(contenders, rounds)
    what = f"JPEG to {SIZE} px"
    rows = [Row(f"{what}, {n}: images/s", "–", *spread([PHOTOS / v for v in seconds[n]], 0)) for n in seconds]
    for name in list(seconds)[1:]:
        rows.append(Row(f"{what}, {name} / ours", "–", *spread(ratios(seconds[name], seconds["ours"]))))
    return rows


def photo(seed: int, width: int = 500, height: int = 375) -> bytes:
    """Return a JPEG of noise with the spectrum of photographs, amplitude falling with frequency."""
    draws = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1 / max(width, height)
    noise = draws.standard_normal((4, height, width))
    common, *own = np.fft.irfft2(np.fft.rfft2(noise) / frequency**1.2, (height, width))
    values = np.stack([common + 0.3 * channel for channel in own], axis=-1)
    pixels = 120 + 55 * (values - values.mean()) / values.std()
    stored = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stored, "jpeg", quality=90)
    return stored.getvalue()


def _augment(data: LabelledImages, augmentations: list[Any], draws: torch.Generator) -> None:
    """Gather, augment and normalise all images, in batches."""
    for images, _ in data.stream(torch.randperm(len(data), generator=draws), BATCH):
        augmented(augmentations, images, draws)[0].float().mul_(1 / 255).sub_(0.5)


def _drain(batches: Any) -> None:
    for _ in batches:
        pass


class Pictures(torch.utils.data.Dataset[Tensor]):
    def __init__(self, pictures: list[Any], transform: Callable[[Any], Tensor]) -> None:
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.pictures[index])


def _loader(pictures: list[Any], transform: Callable[[Any], Tensor], workers: int) -> Callable[[], None]:
    batch = BATCH if len(pictures) > BATCH else 32
    keep = {"persistent_workers": True} if workers else {}  # that they must be started isn't counted
    loader = torch.utils.data.DataLoader(
        Pictures(pictures, transform), batch, shuffle=True, num_workers=workers, **keep
    )  # fmt: skip
    return lambda: _drain(loader)


def _loaders(pictures: list[Any], transform: Callable[[Any], Tensor]) -> dict[str, Callable[[], None]]:
    return {f"torchvision, {workers} workers": _loader(pictures, transform, workers) for workers in (0, 2)}


def _torchvision(size: int) -> Callable[[Any], Tensor]:
    from torchvision import transforms as T

    several = [T.RandomResizedCrop(size, (0.25, 1.0)), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(0.5, 0.5)]
    return T.Compose(several)  # type: ignore[no-any-return]


def _torchvision_file() -> Callable[[Any], Tensor]:
    from torchvision import transforms as T

    steps = [_opened, T.Resize(SIZE, T.InterpolationMode.BICUBIC), T.CenterCrop(SIZE), T.PILToTensor()]
    return T.Compose(steps)  # type: ignore[no-any-return]


def _opened(stored: bytes) -> Image.Image:
    return Image.open(io.BytesIO(stored)).convert("RGB")


def _timm(size: int) -> Callable[[Any], Tensor]:
    from timm.data import create_transform

    made: Callable[[Any], Tensor] = create_transform(size, is_training=True, scale=(0.25, 1.0))
    return made
