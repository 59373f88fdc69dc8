"""Nets that are chains of layers, as a file describes them, and their counterparts in a model, found by order.

A chain from another library has names of its own. Where a model holds the same kinds of layers with the same shapes
in the same order, one fits onto the other without a table of names; whether it answers the same is then computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graftwork.adaptation import size_text
from graftwork.errors import WeightsError
from graftwork.settings import ImageFormat

Kind = Literal["linear", "convolution", "depthwise convolution", "norm"]
PROBES = 8
TOLERANCE = 1e-4  # of the greatest answer; float32 on both sides differs by some 1e-6


@dataclass(frozen=True)
class Layer:
    """A layer that holds tensors: `<name>.weight`, …; `epsilon` is a norm's."""

    kind: Kind
    name: str
    epsilon: float | None = None


@dataclass(frozen=True)
class Chain:
    """The layers with tensors, in order; what the net answers; and what a model must take care of to answer the same.

    `answer` computes logits (N, classes) for normalised images (N, C, H, W), independently of torch. It raises
    WeightsError for images of a shape that the net can't take.
    """

    layers: tuple[Layer, ...]
    answer: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    cautions: tuple[str, ...] = ()


def names_by_order(chain: Chain, tensors: Mapping[str, Tensor], model: nn.Module, where: str) -> dict[str, str]:
    """Return the name in the model of each of the chain's tensors, layer by layer.

    Raises WeightsError, with both chains in full, where kinds or shapes of their weights differ.
    """
    mine = [(name, _kind(module), module) for name, module in model.named_modules() if _kind(module)]
    theirs = [f"{layer.kind} {size_text(tensors[f'{layer.name}.weight'].shape)}" for layer in chain.layers]
    ours = [f"{kind} {size_text(module.weight.shape)}" for _, kind, module in mine]
    if theirs != ours:
        raise WeightsError(
            f"The file's layers aren't the model's. In the file: {', '.join(theirs)}. "
            f"In the model: {', '.join(ours) or 'none'}", where=where,
            expected="layers of equal kinds and shapes in the same order",
            fix="choose or write a model with the file's layers (a local plugin of a few lines), "
            "or name the tensors by rename rules",
        )  # fmt: skip
    return {
        name: f"{prefix}{name.removeprefix(layer.name)}"
        for layer, (prefix, _, _) in zip(chain.layers, mine, strict=True)
        for name in tensors
        if name.startswith(f"{layer.name}.")
    }


def with_own_epsilon(
    chain: Chain, tensors: Mapping[str, Tensor], names: Mapping[str, str], model: nn.Module
) -> dict[str, Tensor]:
    """Return the model's tensors, by its names, with variances that make up for another epsilon in its norms.

    A norm divides by √(variance + epsilon), and epsilon isn't among its tensors: the difference goes into the variance.
    """
    result = {names[name]: tensor for name, tensor in tensors.items() if name in names}
    modules = dict(model.named_modules())
    for layer in chain.layers:
        variance = names.get(f"{layer.name}.running_var", "")
        here = getattr(modules.get(variance.removesuffix(".running_var")), "eps", None)
        if layer.epsilon is not None and here is not None:
            result[variance] = result[variance] + (layer.epsilon - here)
    return result


def parity(chain: Chain, model: nn.Module, image: ImageFormat, where: str) -> dict[str, object]:
    """Return how far the model's logits are from the chain's own, on seeded noise of the image's format.

    Raises WeightsError when the greatest difference is above 1e-4 of the greatest answer.
    """
    shape = (PROBES, image.channels, image.size, image.size)
    probe = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = chain.answer(probe)
    with torch.inference_mode():
        found = model.cpu().float().eval()(torch.from_numpy(probe)).double().numpy()
    if found.shape != expected.shape:
        raise _differs(
            f"its answers are {size_text(found.shape)}, the file's {size_text(expected.shape)}", chain, where
        )
    scale, difference = float(np.abs(expected).max()), float(np.abs(found - expected).max())
    if not difference <= TOLERANCE * scale:
        raise _differs(f"logits up to {scale:.3g} differ by up to {difference:.2g}", chain, where)
    return {"probe": f"{PROBES} images", "greatest_difference": difference, "greatest_logit": scale}


def _differs(how: str, chain: Chain, where: str) -> WeightsError:
    known = f" What to look at: {'; '.join(chain.cautions)}." if chain.cautions else ""
    return WeightsError(
        f"With the file's weights, the model doesn't answer as the file's net does: {how}.{known}", where=where,
        expected=f"a difference below {TOLERANCE:.0e} of the greatest logit",
        fix="use a model with the same activations, paddings, pooling and order of channels",
    )  # fmt: skip


def _kind(module: nn.Module) -> Kind | None:
    """Return what a layer with a weight is, as chains call it; None for whatever else."""
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.Conv2d):
        return "depthwise convolution" if module.groups == module.in_channels > 1 else "convolution"
    return "norm" if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) else None
