"""What a strategy's model costs: the parameters that were trained, and the bytes to keep beside the source's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Cost:
    """The size of one strategy's model; its time is the findings' own, as it differs by machine."""

    trainable_parameters: int  # adapters included
    parameters: int  # all, adapters included
    stored_bytes: int  # of tensors that must be kept where the source's weights are at hand
    whole_bytes: int  # of all tensors of the delivered model

    @property
    def trainable_share(self) -> float:
        """The share of the parameters that is trained."""
        return self.trainable_parameters / self.parameters


def cost(manifest: Mapping[str, Any], delivered: Tensors, source: Tensors) -> Cost:
    """Count, from what the manifest tells and from the weights that were delivered for one seed."""
    parameters = [(fate["trainable"], _count(fate)) for fate in manifest["tensors"] if fate["trainable"] is not None]
    return Cost(
        trainable_parameters=sum(size for trainable, size in parameters if trainable),
        parameters=sum(size for _, size in parameters),
        stored_bytes=stored_bytes(manifest, delivered, source),
        whole_bytes=sum(map(_bytes, delivered.values())),
    )


def stored_bytes(manifest: Mapping[str, Any], delivered: Tensors, source: Tensors) -> int:
    """Return the bytes that make the delivered tensors out of the source's.

    A tensor that was copied and is still equal to the bit costs nothing. One that was copied and frozen under an
    adapter costs what the adapter's own parameters do, or what it does itself, whichever is less: merged, it differs
    everywhere, but the source's weights and the adapter give it again. Every other one is kept whole.
    """
    fates = {fate["name"]: fate for fate in manifest["tensors"] if fate["kind"] != "dropped"}
    adapters = _adapter_values(fates)
    total = 0
    for name, tensor in delivered.items():
        fate = fates.get(name)
        if fate is None or fate["kind"] != "copied":
            total += _bytes(tensor)
        elif not _same_bits(tensor, source[name]):
            adapted = adapters.get(name) if fate["trainable"] is False else None
            total += _bytes(tensor) if adapted is None else min(_bytes(tensor), adapted * tensor.element_size())
    return total


def _adapter_values(fates: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return, for each tensor with adapters, how many values they have: those of fc.weight are fc.weight.0.down, ..."""
    found: dict[str, int] = {}
    for name in (name for name, fate in fates.items() if fate["why"] == "an adapter"):
        owner = next((other for other in fates if name.startswith(f"{other}.")), None)
        if owner is not None:
            found[owner] = found.get(owner, 0) + _count(fates[name])
    return found


def _count(fate: Mapping[str, Any]) -> int:
    return int(torch.Size(fate["shape"]).numel())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(_raw(one), _raw(other))


def _raw(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
