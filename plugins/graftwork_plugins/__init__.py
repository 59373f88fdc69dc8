"""The bundled plugins, on the same entry point as anyone's."""

from __future__ import annotations

from graftwork.hookspecs import hookimpl
from graftwork.registry import Registry


@hookimpl
def register_plugins(register: Registry) -> None:
    """Offer everything in this package."""
    from graftwork_plugins import (
        augmentations,
        fashion_mnist,
        freeze,
        full_copy,
        image_folder,
        l2_sp,
        mlp,
        npz,
        timm_model,
    )

    register.dataset("fashion_mnist", fashion_mnist.FashionMNIST)
    register.dataset("image_folder", image_folder.ImageFolder)
    register.dataset("npz", npz.Npz)
    register.model("mlp", mlp.MLP)
    register.model("timm", timm_model.TimmModel)
    register.augmentation("flip", augmentations.Flip)
    register.augmentation("rotate", augmentations.Rotate)
    register.augmentation("shift", augmentations.Shift)
    register.strategy("freeze", freeze.Freeze)
    register.strategy("full_copy", full_copy.FullCopy)
    register.strategy("l2_sp", l2_sp.L2SP)
