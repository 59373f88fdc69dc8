"""Augmentation draws for each image, from its generator alone, and changes nothing but the view."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Generator, Tensor

from graftwork.errors import SettingsError
from graftwork.torchvision_operators import define_missing
from graftwork.warps import warped
from graftwork_plugins.augmentations import Affine, Colour, Crop, CutMix, Erase, Flip, MixUp, Rotate, Shift
from graftwork_plugins.augmentations.affine import crops, inverse_affine
from graftwork_plugins.augmentations.colours import jittered

Augmentation = Callable[[Tensor, Generator], Tensor]
EACH = [
    Flip(), Shift(2), Rotate(30.0), Crop(), Affine(), Affine(20, 0.2, (0.5, 2.0), 30), Colour(), Erase(1.0),
    Erase(fill="noise"), MixUp(1.0), CutMix(),
]  # fmt: skip


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(count: int = 6, channels: int = 3, height: int = 9, width: int = 9) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, generator=draws(7), dtype=torch.uint8)


def same_image(count: int = 64) -> Tensor:
    return noise(1).expand(count, -1, -1, -1).contiguous()


@pytest.mark.parametrize("augment", EACH)
@pytest.mark.parametrize("shape", [(1, 1, 9, 9), (5, 3, 8, 13)])
def test_shape_and_type_stay_and_the_input_is_spared(augment: Augmentation, shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    before = images.clone()
    result = augment(images, draws())
    assert result.shape == images.shape and result.dtype == torch.uint8
    assert torch.equal(images, before)


@pytest.mark.parametrize("augment", EACH)
def test_equal_seeds_give_equal_views_and_others_do_not(augment: Augmentation) -> None:
    images = noise(64)
    assert torch.equal(augment(images, draws(1)), augment(images, draws(1)))
    assert not torch.equal(augment(images, draws(1)), augment(images, draws(2)))


@pytest.mark.parametrize("augment", EACH)
def test_the_draw_is_the_generators_and_never_the_global_one(augment: Augmentation) -> None:
    before = torch.get_rng_state()
    augment(noise(), draws())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("augment", "views"),
    [(Flip(), 2), (Shift(1), 9), (Rotate(30.0), 30), (Crop(), 200), (Affine(), 200), (Colour(), 200), (Erase(1.0), 30)],
)
def test_images_of_one_batch_get_draws_of_their_own(augment: Augmentation, views: int) -> None:
    batch = augment(same_image(256), draws())
    assert len(torch.unique(batch.flatten(1), dim=0)) >= views


def test_flipping_never_or_always_is_certain() -> None:
    images = noise()
    assert torch.equal(Flip(0.0)(images, draws()), images)
    assert torch.equal(Flip(1.0)(images, draws()), images.flip(3))


def test_flipping_with_a_probability_does_it_that_often() -> None:
    images = same_image(2000)
    flipped = (Flip(0.3)(images, draws()) != images).flatten(1).any(dim=1)
    assert float(flipped.float().mean()) == pytest.approx(0.3, abs=0.05)


def test_a_shift_is_a_crop_of_the_padded_image() -> None:
    images = same_image(128)
    padded = np.pad(images[0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    crops = {padded[:, y : y + 9, x : x + 9].tobytes() for y in range(3) for x in range(3)}
    assert {view.numpy().tobytes() for view in Shift(1)(images, draws())} == crops


def test_a_shift_by_a_fraction_of_the_side_is_one_by_so_many_pixels() -> None:
    images = torch.arange(2 * 400, dtype=torch.int32).remainder(256).to(torch.uint8).view(2, 1, 20, 20)
    assert torch.equal(Shift(fraction=0.1)(images, draws()), Shift(2)(images, draws()))


def test_no_shift_and_no_rotation_change_nothing() -> None:
    images = noise()
    assert torch.equal(Shift(0)(images, draws()), images)
    assert torch.equal(Rotate(0.0)(images, draws()), images)


@pytest.mark.parametrize(
    "augment",
    [
        Crop((1.0, 1.0), (1.0, 1.0)), Affine(0, 0, (1.0, 1.0)), Colour(0, 0, 0), Erase(0.0), Erase(scale=(0.0, 0.0)),
        MixUp(probability=0.0), CutMix(probability=0.0),
    ],
    ids=repr,
)  # fmt: skip
def test_at_no_strength_images_stay_as_they_are(augment: Augmentation) -> None:
    images = noise(6, 3, 9, 12) if not isinstance(augment, Crop) else noise()
    assert torch.equal(augment(images, draws()), images)


@pytest.mark.parametrize("augment", [each for each in EACH if not isinstance(each, MixUp)], ids=repr)
def test_vectors_are_refused_but_mixup_takes_them(augment: Augmentation) -> None:
    vectors = torch.randn(4, 10, 1, 1)
    with pytest.raises(SettingsError, match="is for pictures"):
        augment(vectors, draws())
    assert MixUp()(vectors, draws()).dtype == torch.float32


@pytest.mark.parametrize("wrong", [{"scale": (0.9, 0.2)}, {"ratio": (2.0, 0.5)}])
@pytest.mark.parametrize("augmentation", [Crop, Erase])
def test_a_range_the_wrong_way_round_is_refused(augmentation: type, wrong: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="is a range"):
        augmentation(**wrong)


def test_a_fixed_affine_map_is_torchvisions() -> None:
    define_missing()
    from torchvision.transforms.v2 import functional as tv

    images = noise(1, 3, 25, 31)
    angle, shear, scale, right, down = 20.0, 15.0, 1.2, 3.0, -2.0
    radians = (torch.tensor([math.radians(value)]) for value in (angle, shear))
    matrices = inverse_affine(*radians, *(torch.tensor([value]) for value in (scale, right, down)))
    found = warped(images, matrices).int()
    expected = tv.affine(
        images.float(),
        angle,
        [right, down],
        scale,
        [shear, 0.0],
        interpolation=tv.InterpolationMode.BILINEAR,
        fill=-1e6,
    ).round()
    seen = expected >= 0  # where torchvision looks at the image alone
    assert seen.float().mean() > 0.5
    assert (found - expected)[seen].abs().max() <= 1


def test_a_fixed_crop_is_torchvisions() -> None:
    define_missing()
    from torchvision.transforms.v2 import functional as tv

    images = noise(1, 1, 24, 24)
    left, top, width, height = (torch.tensor([value]) for value in (4.0, 7.0, 12.0, 8.0))
    found = warped(images, crops(images, left, top, width, height)).int()
    expected = tv.resized_crop(images.float(), 7, 4, 8, 12, [24, 24], antialias=False).round()
    assert (found - expected)[..., 2:-2, 2:-2].abs().max() <= 1  # at the edge ours sees what lies beyond


def test_crops_lie_within_the_image_and_have_area_and_ratio_of_their_ranges() -> None:
    matrices = Crop((0.2, 0.5), (0.5, 2.0)).matrices(noise(500, 1, 20, 20), draws())
    width, height = matrices[:, 0, 0] * 20, matrices[:, 1, 1] * 20
    area, ratio = width * height / 400, width / height
    assert 0.2 - 1e-4 < area.min() < 0.21 and 0.49 < area.max() < 0.5 + 1e-4
    assert 0.5 - 1e-4 < ratio.min() < 0.55 and 1.8 < ratio.max() < 2 + 1e-4
    for middle, side in ((matrices[:, 0, 2], width), (matrices[:, 1, 2], height)):
        assert (middle.abs() + side / 2).max() <= 10 + 1e-4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factors", [(1.3, 1.0, 1.0), (1.0, 0.6, 1.0), (1.0, 1.0, 1.4), (0.8, 1.3, 0.5)])
def test_fixed_factors_of_colour_are_torchvisions(channels: int, factors: tuple[float, float, float]) -> None:
    define_missing()
    from torchvision.transforms.v2 import functional as tv

    images = noise(2, channels)
    found = jittered(images, *(torch.full((2,), factor) for factor in factors))
    expected = images.float() / 255
    for change, factor in zip((tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation), factors, strict=True):
        expected = change(expected, factor)
    assert (found.int() - (expected * 255).round()).abs().max() <= 1


def test_erasing_paints_one_box_with_the_mean_colour_and_spares_the_rest() -> None:
    images = noise(50, 3, 16, 20)
    found = Erase(1.0, scale=(0.1, 0.3), ratio=(0.5, 2.0))(images, draws())
    for image, view in zip(images, found, strict=True):
        changed = (image != view).any(dim=0)
        rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
        box = view[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert torch.equal(box, image.float().mean(dim=(1, 2)).round().to(torch.uint8)[:, None, None].expand_as(box))
        assert 0.05 < box[0].numel() / 320 < 0.4


@pytest.mark.parametrize(("draw", "quarter_turns"), [(1.0, 1), (0.0, -1)])
def test_a_quarter_turn_is_numpys(monkeypatch: pytest.MonkeyPatch, draw: float, quarter_turns: int) -> None:
    images = noise()
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.full((count,), draw))
    turned = Rotate(90.0)(images, draws()).numpy().astype(int)
    assert np.abs(turned - np.rot90(images.numpy(), quarter_turns, axes=(2, 3)).astype(int)).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(21, 21), (15, 31)])
def test_a_rotation_is_scipys_also_of_images_that_are_no_squares(height: int, width: int) -> None:
    images = noise(3, 1, height, width)
    angles = (torch.rand(3, generator=draws(3)) * 2 - 1) * math.radians(25)
    turned = Rotate(25.0)(images, draws(3)).numpy()
    for image, angle, found in zip(images.numpy(), angles.numpy(), turned, strict=True):
        expected = ndimage.rotate(image[0].astype(float), math.degrees(angle), reshape=False, order=1, mode="nearest")
        assert np.abs(found[0].astype(float) - expected)[3:-3, 3:-3].max() <= 1
