"""DELTA: keep the stages' feature maps near the source's (Li et al., ICLR 2019, arXiv 1901.09229).

α · Σ_stages Σ_c W_c · mean over images and positions of (FM_c(w, x) − FM_c(w⁰, x))² + β · ‖w_S̄‖², Σ_c W_c = 1. The
mean instead of the paper's sum makes α independent of batch and map size.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from graftwork.hookspecs import hookimpl
from graftwork.kept_maps import KeptMaps, Maps, keep_maps
from graftwork.linear_heads import class_mean_head
from graftwork.strategy import Step, TargetModel
from graftwork.taps import Taps, stage_channels
from graftwork.training_run import Run
from graftwork.weights import digest

SMOOTHING = 0.1  # without it the gradient vanishes where the classes are far apart


@dataclass
class _Reference:
    model: nn.Module
    taps: Taps
    weights: list[Tensor]  # of the channels of each stage
    fresh: list[nn.Parameter]
    kept: KeptMaps | None = None

    def maps(self, images: Tensor) -> Maps:
        self.model(images)
        return self.taps.maps

    def wanted(self, step: Step) -> Maps:
        """Return the source's maps for a step's images; it runs only where they aren't kept."""
        if self.kept is not None and step.numbers is not None:
            return self.kept.of(step.numbers)
        with torch.no_grad():
            return self.maps(step.images)


def channels_last(feature_map: Tensor, channels: int) -> Tensor:
    """Return a stage's output as (batch, positions, channels), whether it came as a map or as tokens."""
    if feature_map.ndim == 4 and feature_map.shape[1] == channels:
        return feature_map.flatten(2).transpose(1, 2)
    return feature_map.flatten(1, -2)


@dataclass(frozen=True)
class Delta:
    """Pull the stages' outputs towards those of the source's weights for the same images; shrink the new head.

    `attention: channel` weighs channels by what they mean to the target: the softmax of |activation · gradient| of
    the loss with a class-mean head (Molchanov et al. 2017), which approximates the paper's one-by-one removal.
    """

    alpha: Annotated[float, Field(ge=0)] = 0.01
    beta: Annotated[float, Field(ge=0)] = 0.01
    attention: Literal["uniform", "channel"] = "uniform"

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Copy the model as it starts, and watch the stages of both."""
        reference = copy.deepcopy(target.model).eval().requires_grad_(False)
        taps = Taps()
        taps.watch_stages(reference)
        target.taps.watch_stages(target.model)
        fresh = [p for n, p in target.trainable().items() if n not in target.transferred and p.ndim > 1]
        uniform = [torch.full((channels,), 1 / channels) for channels in stage_channels(target.model)]
        target.notes["Delta"] = _Reference(reference, taps, uniform, fresh)

    @hookimpl
    def training_started(self, run: Run) -> None:
        """Weigh the channels; compute the source's maps once where it would see the same images at every epoch."""
        known: _Reference = run.target.notes["Delta"]
        trunk = {n: t for n, t in known.model.state_dict().items() if n not in run.target.head}  # that is a seed's own
        known.kept = keep_maps(run, known.maps, digest(trunk)) if self.alpha else None
        if self.attention == "channel":
            known.weights = _attention(known, run)
        known.weights = [weights.to(run.machine.device) for weights in known.weights]

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor | None:
        """Return the penalty: zero at the start but for the head's part, with both models in evaluation mode."""
        if self.alpha == self.beta == 0:
            return None
        known: _Reference = step.target.notes["Delta"]
        penalty = self.beta * torch.stack([p.square().sum() for p in known.fresh]).sum() if known.fresh else 0.0
        for now, then, weights in zip(step.maps, known.wanted(step), known.weights, strict=True):
            difference = channels_last(now, len(weights)).float() - channels_last(then, len(weights)).float()
            penalty = penalty + self.alpha * (difference.square().mean(dim=(0, 1)) * weights).sum()
        return penalty if isinstance(penalty, Tensor) else None


def _attention(known: _Reference, run: Run) -> list[Tensor]:
    """Return one weight a channel for each stage; those of a stage sum to 1."""
    features, classes = run.features(known.model, run.train), run.target.classifier().out_features
    weight, bias = class_mean_head(features, run.train.labels, classes, run.class_weights)
    taps = Taps()
    handle = taps.watch_features(known.model)
    scores = [torch.zeros_like(weights, device=run.machine.device) for weights in known.weights]
    for images, labels in run.batches(run.train):
        with torch.enable_grad():
            maps = known.maps(images.requires_grad_())
            assert taps.features is not None
            logits = F.linear(taps.features.float(), weight, bias)
            loss = F.cross_entropy(logits, labels, weight=run.class_weights, reduction="sum", label_smoothing=SMOOTHING)
            gradients = torch.autograd.grad(loss, maps)
        for score, activation, gradient in zip(scores, maps, gradients, strict=True):
            score += channels_last((activation * gradient).detach(), len(score)).float().sum(dim=1).abs().sum(dim=0)
    handle.remove()
    return [(score / score.max().clamp_min(1e-12)).softmax(dim=0).cpu() for score in scores]
