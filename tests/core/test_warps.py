"""Maps in a row are composed in the right order, interpolated once, and draw as each would alone."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from graftwork.warps import Warps, fused
from graftwork_plugins.augmentations import Affine, Colour, Crop, Flip, Rotate, Shift


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def smooth(count: int = 20, size: int = 40) -> Tensor:
    """Return images without edges, so that interpolating twice blurs little."""
    coarse = torch.rand(count, 3, 5, 5, generator=draws(9)) * 255
    images = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
    return images.clamp(0, 255).round().to(torch.uint8)


@pytest.mark.parametrize("one", [Flip(), Shift(2), Rotate(20.0), Crop((0.5, 1.0))], ids=repr)
@pytest.mark.parametrize("other", [Flip(), Rotate(20.0), Affine(10, 0.05)], ids=repr)
def test_a_row_shows_what_one_after_the_other_shows(one: Flip, other: Rotate) -> None:
    images, together, apart = smooth(), draws(1), draws(1)
    found = Warps((one, other))(images, together)
    expected = other(one(images, apart), apart)
    assert torch.equal(together.get_state(), apart.get_state())
    assert (found.int() - expected.int())[..., 12:-12, 12:-12].abs().max() <= 5


@pytest.mark.parametrize("gather", [Flip(), Shift(3)], ids=repr)
def test_a_gather_as_a_map_gives_the_same_pixels(gather: Flip | Shift) -> None:
    images = smooth(6)
    assert torch.equal(Warps((gather, Rotate(0.0)))(images, draws()), gather(images, draws()))


def test_only_what_is_interpolated_anyway_is_put_together() -> None:
    flip, shift, turn, crop, colour = Flip(), Shift(), Rotate(), Crop(), Colour()
    assert fused([flip, shift]) == [flip, shift]
    assert fused([turn]) == [turn]
    assert fused([flip, turn, colour, shift, crop]) == [Warps((flip, turn)), colour, Warps((shift, crop))]
    assert fused([turn, colour, flip]) == [turn, colour, flip]
    assert fused([]) == []
