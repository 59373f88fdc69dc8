"""Whether two forms of one model give the same answers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graftwork.engine import Machine
from graftwork.weights import InputContract

PROBES = 5


def plain_machine() -> Machine:
    """Return the processor, in float32: what a model outside its workspace can count on."""
    return Machine(torch.device("cpu"), autocast=False, memory_format=torch.contiguous_format)


def probe(contract: InputContract, count: int = PROBES) -> Tensor:
    """Return noise (count, channels, size, size) as uint8 with the contract's mean and spread; always the same."""
    draws = torch.Generator().manual_seed(count)
    noise = torch.randn((count, contract.channels, contract.size, contract.size), generator=draws)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (contract.mean, contract.std))
    return ((mean + std * noise).clamp(0, 1) * 255).round().to(torch.uint8)


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the greatest difference, as a share of the greatest expected magnitude; infinity for NaN."""
    worst = float((found.double() - expected.double()).abs().max() / expected.double().abs().max().clamp_min(1e-12))
    return math.inf if math.isnan(worst) else worst
