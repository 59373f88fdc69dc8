"""Import: bring a model that was trained elsewhere into the form of one that was trained here."""

from __future__ import annotations

from graftwork.stages import Context


def import_weights(context: Context, name: str) -> None:
    """Write data/prepared/<name>: train/weights.safetensors with its contract, card.json, samples.png; no images.

    The folders of the three splits are there, as every source has them.
    """
    raise NotImplementedError
