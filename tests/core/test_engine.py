"""Asking a model for answers takes a bounded number of images at once."""

from __future__ import annotations

import pytest

from graftwork.engine import at_once


@pytest.mark.parametrize(("side", "images"), [(1, 256), (28, 256), (96, 227), (224, 41), (1024, 16)])
def test_the_larger_the_images_the_fewer_at_once(side: int, images: int) -> None:
    assert at_once((3, side, side)) == images
