"""Fit a linear head to features at one stroke: logistic regression, or the means of the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from graftwork.calibration import likeliest_temperature


def logistic_head(
    features: Tensor, labels: Tensor, classes: int, strength: float = 1.0, class_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return weight (classes, features) and bias (classes,) of a multinomial logistic regression.

    scikit-learn's, on standardised features (images, features), with the inverse regularisation `strength`; the
    standardisation is folded into what is returned. An image counts what its class does (classes,), all the same by
    default. Classes without an image get the lowest bias.
    """
    from sklearn.linear_model import LogisticRegression

    x = features.double().cpu()
    mean, scale = x.mean(dim=0), x.std(dim=0, correction=0).clamp_min(1e-12)
    present = torch.unique(labels.cpu())
    counted = None if class_weights is None else class_weights.double().cpu()[labels.cpu()].numpy()
    regression = LogisticRegression(C=strength, max_iter=1000)
    fitted = regression.fit(((x - mean) / scale).numpy(), labels.cpu().numpy(), sample_weight=counted)
    found, intercept = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
    if len(present) == 2:  # scikit-learn gives one row for two classes: half for one, half against the other
        found, intercept = torch.cat([-found, found]) / 2, torch.cat([-intercept, intercept]) / 2
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64)
    bias = torch.full((classes,), float(intercept.min()) - 10.0, dtype=torch.float64)
    weight[present] = found / scale
    bias[present] = intercept - (found / scale) @ mean
    return weight.to(features), bias.to(features)


def class_mean_head(
    features: Tensor, labels: Tensor, classes: int, class_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return weight and bias that answer with the nearest class mean, as sure of it as it should be.

    wᵧ = μᵧ/τ, bᵧ = −‖μᵧ‖²/2τ, with the τ under which the images' labels are likeliest, each judged by means that leave
    it out. The pooled variance in τ's place, as the linear discriminant has it, takes correlated features for so many
    proofs; so sure a head sends gradients through the trunk that undo it. A class without an image gets the overall
    mean. `class_weights` (classes,) weigh images where τ is fitted: the means hang on no other class, and priors there
    are none.
    """
    x, overall = features.double(), features.double().mean(dim=0)
    counts = labels.bincount(minlength=classes)
    sums = torch.zeros(classes, x.shape[1], dtype=x.dtype, device=x.device).index_add_(0, labels, x)
    means = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], overall)
    variance = max(float((x - means[labels]).square().mean()), 1e-12)
    distances = torch.cdist(x, means).square()
    others = (counts[labels] - 1).clamp_min(1)
    own = (x - (sums[labels] - x) / others[:, None]).square().sum(dim=1)
    judged = counts[labels] > 1  # the only image of a class has no mean but itself
    distances[judged, labels[judged]] = own[judged]
    scale = variance
    if judged.any():
        answers = -distances[judged].cpu() / (2 * variance)
        weights = None if class_weights is None else class_weights.to(answers)
        scale *= likeliest_temperature(answers, labels[judged].cpu(), bound=8.0, class_weights=weights)
    return (means / scale).to(features), (-means.square().sum(dim=1) / (2 * scale)).to(features)
