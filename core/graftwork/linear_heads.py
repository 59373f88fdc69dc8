"""Fit a linear head to features at one stroke: logistic regression, or the means of the classes."""

from __future__ import annotations

import torch
from torch import Tensor


def logistic_head(features: Tensor, labels: Tensor, classes: int, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return weight (classes, features) and bias (classes,) of a multinomial logistic regression.

    scikit-learn's, on standardised features (images, features), with the inverse regularisation `strength`; the
    standardisation is folded into what is returned. Classes without an image get the lowest bias.
    """
    from sklearn.linear_model import LogisticRegression

    x = features.double().cpu()
    mean, scale = x.mean(dim=0), x.std(dim=0, correction=0).clamp_min(1e-12)
    present = torch.unique(labels.cpu())
    fitted = LogisticRegression(C=strength, max_iter=1000).fit(((x - mean) / scale).numpy(), labels.cpu().numpy())
    found, intercept = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
    if len(present) == 2:  # scikit-learn gives one row for two classes: half for one, half against the other
        found, intercept = torch.cat([-found, found]) / 2, torch.cat([-intercept, intercept]) / 2
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64)
    bias = torch.full((classes,), float(intercept.min()) - 10.0, dtype=torch.float64)
    weight[present] = found / scale
    bias[present] = intercept - (found / scale) @ mean
    return weight.to(features), bias.to(features)


def class_mean_head(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return weight and bias that answer with the nearest class mean, by the pooled variance.

    The linear discriminant with one variance for all features: wᵧ = μᵧ/σ², bᵧ = −‖μᵧ‖²/2σ². Classes without an
    image get the overall mean.
    """
    x, overall = features.double(), features.double().mean(dim=0)
    means = torch.stack([x[labels == label].mean(dim=0) if (labels == label).any() else overall
                         for label in range(classes)])  # fmt: skip
    variance = (x - means[labels]).square().mean().clamp_min(1e-12)
    return (means / variance).to(features), (-means.square().sum(dim=1) / (2 * variance)).to(features)
