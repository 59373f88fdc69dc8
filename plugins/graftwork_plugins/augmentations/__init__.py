"""Augmentation of whole batches with a draw per image, no Python loop over images; they stay uint8 in between."""

from graftwork_plugins.augmentations.affine import Affine, Crop, Rotate
from graftwork_plugins.augmentations.colours import Colour, Erase
from graftwork_plugins.augmentations.gathers import Flip, Shift
from graftwork_plugins.augmentations.mixing import CutMix, MixUp

__all__ = ["Affine", "Colour", "Crop", "CutMix", "Erase", "Flip", "MixUp", "Rotate", "Shift"]
