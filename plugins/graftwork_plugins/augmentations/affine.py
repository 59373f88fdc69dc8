"""Affine augmentations: each is a map per image, and those in a row are one `grid_sample` (graftwork.warps)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from graftwork.warps import affine, warped
from graftwork_plugins.augmentations.drawing import between, require_order, require_pictures, uniform

# N images, C channels, H height, W width

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Rotate:
    """Turn about the centre, bilinear, the border repeated."""

    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Rotate each image (N, C, H, W) by an angle uniform in ±`degrees`."""
        return warped(images, self.matrices(images, generator))

    def matrices(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the rotations."""
        require_pictures(images, "rotate")
        draw = torch.rand(len(images), generator=generator, device=generator.device) * 2 - 1
        angle = draw * math.radians(self.degrees)
        zero = torch.zeros_like(angle)
        return affine([(angle.cos(), -angle.sin(), zero), (angle.sin(), angle.cos(), zero)])


@dataclass(frozen=True)
class Affine:
    """Turn, move by a fraction of the sides, zoom and shear, as torchvision's RandomAffine; the border is repeated."""

    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    shift: Annotated[float, Field(ge=0, lt=1)] = 0.1
    scale: tuple[Positive, Positive] = (0.9, 1.1)
    shear_degrees: Annotated[float, Field(ge=0, lt=90)] = 0.0

    def __post_init__(self) -> None:
        require_order("scale", *self.scale)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Map each image (N, C, H, W) with draws uniform in ±`degrees`, ±`shift`, `scale` and ±`shear_degrees`."""
        return warped(images, self.matrices(images, generator))

    def matrices(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the inverse of: shear, turn and zoom about the centre, then move."""
        require_pictures(images, "affine")
        draw = uniform(images, generator, 5)
        angle, shear, right, down = (
            between(-most, most, each)
            for most, each in zip(
                (math.radians(self.degrees), math.radians(self.shear_degrees), self.shift, self.shift),
                draw,
                strict=False,
            )
        )
        return inverse_affine(
            angle, shear, between(*self.scale, draw[4]), right * images.shape[3], down * images.shape[2]
        )


@dataclass(frozen=True)
class Crop:
    """Cut out a part and enlarge it to the whole: Inception's random resized crop (Szegedy et al., CVPR 2015).

    `scale` is the part's share of the area, `ratio` its width to its height. Enlarging never aliases; bilinear.
    """

    scale: tuple[Share, Share] = (0.25, 1.0)
    ratio: tuple[Positive, Positive] = (0.75, 1.333)

    def __post_init__(self) -> None:
        require_order("scale", *self.scale)
        require_order("ratio", *self.ratio)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Crop each image (N, C, H, W) at a place, area and logarithm of the ratio that are uniform."""
        return warped(images, self.matrices(images, generator))

    def matrices(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the crops as maps; a side that would be longer than the image's is cut to it."""
        require_pictures(images, "crop")
        height, width = images.shape[2:]
        area, ratio, x, y = uniform(images, generator, 4)
        area = between(*self.scale, area) * height * width
        ratio = between(math.log(self.ratio[0]), math.log(self.ratio[1]), ratio).exp()
        across, up = (area * ratio).sqrt().clamp(max=width), (area / ratio).sqrt().clamp(max=height)
        return crops(images, x * (width - across), y * (height - up), across, up)


def crops(images: Tensor, left: Tensor, top: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Return the maps (N, 3, 3) that enlarge boxes, in pixels, (N,), to the images' size."""
    zero = torch.zeros_like(left)
    right, down = left + (width - images.shape[3]) / 2, top + (height - images.shape[2]) / 2  # of the centre
    return affine([(width / images.shape[3], zero, right), (zero, height / images.shape[2], down)])


def inverse_affine(angle: Tensor, shear: Tensor, scale: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Return the maps (N, 3, 3) that undo shear, rotation (radians), zoom, and a move in pixels, as torchvision's."""
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    a, b = (cos - sin * tan) / scale, (cos * tan + sin) / scale
    c, d = -sin / scale, cos / scale
    return affine([(a, b, -a * right - b * down), (c, d, -c * right - d * down)])
