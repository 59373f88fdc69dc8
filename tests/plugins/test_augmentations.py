"""Augmentation draws for each image, from its generator alone, and changes nothing but the view."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Generator, Tensor

from graftwork_plugins.augmentations import Flip, Rotate, Shift

Augmentation = Callable[[Tensor, Generator], Tensor]
EACH = [Flip(), Shift(2), Rotate(30.0)]


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
    images = same_image()
    assert torch.equal(augment(images, draws(1)), augment(images, draws(1)))
    assert not torch.equal(augment(images, draws(1)), augment(images, draws(2)))


@pytest.mark.parametrize("augment", EACH)
def test_the_draw_is_the_generators_and_never_the_global_one(augment: Augmentation) -> None:
    before = torch.get_rng_state()
    augment(noise(), draws())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("augment", "views"), [(Flip(), 2), (Shift(1), 9), (Rotate(30.0), 30)])
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
