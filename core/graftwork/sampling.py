"""In which order an epoch goes through the training images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Sampling = Literal["shuffled", "balanced"]


def epoch_order(sampling: Sampling, labels: Tensor, draws: torch.Generator) -> Tensor:
    """Return the numbers of an epoch's images, as many as there are labels, on the generator's device.

    `shuffled` takes every image once. `balanced` takes every class equally often, give or take one, as in Kang et al.,
    Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv 1910.09217: of a large class
    some images, each at most once; of a small one all, each equally often, give or take one.
    """
    if sampling == "shuffled":
        return torch.randperm(len(labels), generator=draws, device=draws.device)
    labels = labels.to(draws.device)
    classes = torch.unique(labels)
    turns = torch.randperm(len(classes), generator=draws, device=draws.device)  # who gets one more than others
    chosen = []
    for turn, place in enumerate(turns.tolist()):
        members = (labels == classes[place]).nonzero()[:, 0]
        share = len(labels) // len(classes) + (turn < len(labels) % len(classes))
        rounds = [_shuffled(members, draws) for _ in range(-(-share // len(members)))]
        chosen.append(torch.cat(rounds)[:share] if rounds else members[:0])
    return _shuffled(torch.cat(chosen), draws)


def _shuffled(numbers: Tensor, draws: torch.Generator) -> Tensor:
    return numbers[torch.randperm(len(numbers), generator=draws, device=draws.device)]
