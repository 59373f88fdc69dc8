"""Mixup and CutMix mix as timm does, with a share for each image, and say truly what is in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Generator, Tensor

from graftwork.torchvision_operators import define_missing
from graftwork_plugins.augmentations import CutMix, MixUp
from graftwork_plugins.augmentations.mixing import boxes


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def flats(count: int = 400, size: int = 12) -> Tensor:
    """Return images black and white in turn: each one's partner is of the other kind."""
    return (
        (torch.arange(count, dtype=torch.uint8) % 2 * 255)[:, None, None, None].expand(-1, 1, size, size).contiguous()
    )


def test_mixup_averages_each_image_with_its_partner() -> None:
    images = torch.randint(0, 256, (7, 3, 5, 6), generator=draws(3), dtype=torch.uint8)
    found, blend = MixUp(1.0).mixed(images, draws())
    shares = blend.shares.view(-1, 1, 1, 1)
    expected = shares * images + (1 - shares) * images[blend.partners]
    assert (found.float() - expected).abs().max() <= 0.5001
    assert torch.equal(blend.partners, torch.arange(7).flip(0))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_of_the_beta_distribution_and_differ_within_a_batch(alpha: float) -> None:
    _, blend = MixUp(alpha).mixed(flats(4000, 1), draws())
    assert stats.kstest(blend.shares.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_the_smallest_alpha_gives_shares_that_are_numbers() -> None:
    _, blend = MixUp(0.05).mixed(flats(100_000, 1), draws())
    assert ((blend.shares >= 0) & (blend.shares <= 1)).all()


def test_cutmix_mixes_labels_by_the_area_that_is_there() -> None:
    images = flats()
    found, blend = CutMix().mixed(images, draws())
    own = (found == images).float().mean(dim=(1, 2, 3))
    torch.testing.assert_close(own, blend.shares)
    assert blend.shares.unique().numel() > 30


def test_cutmixs_boxes_are_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    define_missing()
    from timm.data.mixup import rand_bbox

    numbers = np.random.default_rng(0)
    for _ in range(200):
        share, x, y = numbers.random(3)
        told = iter([int(y * 17), int(x * 23)])
        monkeypatch.setattr(np.random, "randint", lambda *_, told=told, **__: next(told))
        top, bottom, left, right = rand_bbox((1, 3, 17, 23), share)
        found = boxes(17, 23, *(torch.tensor([value], dtype=torch.float64) for value in (share, x, y)))
        assert [int(edge) for edge in found] == [top, left, bottom, right]


@pytest.mark.parametrize("mixing", [MixUp(1.0, 0.3), CutMix(1.0, 0.3)])
def test_a_probability_leaves_the_others_whole(mixing: MixUp | CutMix) -> None:
    images = flats(2000, 8)
    found, blend = mixing.mixed(images, draws())
    whole = blend.shares == 1
    assert torch.equal(found[whole], images[whole])
    assert 0.6 < float(whole.float().mean()) < 0.8
