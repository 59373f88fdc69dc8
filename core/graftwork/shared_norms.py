"""Batch normalisation by the statistics of a batch that is spread over processes, for any model, on any backend.

torch's SyncBatchNorm takes the place of its layers, and works on GPUs alone. Here the function that all kinds of batch
norms call is answered otherwise while a mode is on, so that models, their tensors' names and their hooks stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

PARAMETERS = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


class SharedStatistics(TorchFunctionMode):
    """While it is on, `F.batch_norm` of layers that are training takes mean and variance over all processes."""

    def __init__(self, add_up: Callable[[Tensor], Tensor]) -> None:
        """`add_up` returns the sum of a tensor over all processes."""
        super().__init__()
        self._add_up = add_up

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call what was called, or our batch norm in its place. Standardised kernels, which have no running statistics
        and are the same everywhere, use the function too: they keep it."""
        kwargs = kwargs or {}
        if func is F.batch_norm:
            named = dict(zip(PARAMETERS, args, strict=False)) | kwargs
            if named.get("training") and named.get("running_mean") is not None:
                return _batch_norm(self._add_up, **named)
        return func(*args, **kwargs)


def _batch_norm(
    add_up: Callable[[Tensor], Tensor], input: Tensor, running_mean: Tensor, running_var: Tensor,
    weight: Tensor | None = None, bias: Tensor | None = None, training: bool = True, momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Return what `F.batch_norm` does of the whole batch, this process's part of it (N, C, …)."""
    over = [axis for axis in range(input.ndim) if axis != 1]
    shape = [1, -1] + [1] * (input.ndim - 2)
    values = input.float()
    count = values.new_tensor([values.numel() / values.shape[1]])
    sums = _summed(torch.cat([values.sum(over), count]), add_up)
    mean, number = sums[:-1] / sums[-1], sums[-1].detach()
    centred = values - mean.view(shape)
    variance = _summed(centred.square().sum(over), add_up) / number  # in two passes: one would cancel digits
    with torch.no_grad():
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * (number / (number - 1))).to(running_var.dtype), momentum)
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    normalised: Tensor = centred * scale.view(shape)
    return (normalised if bias is None else normalised + bias.view(shape)).to(input.dtype)


def _summed(values: Tensor, add_up: Callable[[Tensor], Tensor]) -> Tensor:
    summed: Tensor = _Sum.apply(values, add_up)  # type: ignore[no-untyped-call]
    return summed


class _Sum(torch.autograd.Function):
    """The sum over all processes. Every process's answer hangs on each one's values: so gradients are summed too."""

    @staticmethod
    def forward(context: Any, values: Tensor, add_up: Callable[[Tensor], Tensor]) -> Tensor:
        context.add_up = add_up
        return add_up(values.clone())

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return context.add_up(gradients[0].contiguous().clone()), None
