"""Principal components, and a Gaussian mixture fitted to them: what N-LEEP puts in place of source classes."""

from __future__ import annotations

import numpy as np

from graftwork.similarity import Array


def principal_components(rows: Array, share: float) -> Array:
    """Return the rows along so many principal components that these hold `share` of the variance."""
    u, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    held = np.cumsum(singular**2)
    kept = int(np.searchsorted(held, share * held[-1])) + 1
    return np.asarray(u[:, :kept] * singular[:kept])


def mixture_posteriors(rows: Array, components: int, rng: np.random.Generator) -> Array:
    """Return each row's membership (rows, components) of a mixture fitted by at most 100 steps of EM."""
    floor = 1e-6 * rows.var(axis=0).mean() + np.finfo(np.float64).tiny
    members, before = _seeded(rows, components, rng), -np.inf
    for _ in range(100):
        mass = members.sum(axis=0) + 1e-10  # so that a component that lost all its rows stays finite
        means = members.T @ rows / mass[:, None]
        variances = np.maximum(members.T @ rows**2 / mass[:, None] - means**2, floor)
        logs = np.log(mass / len(rows)) - (np.log(2 * np.pi * variances) + means**2 / variances).sum(axis=1) / 2
        logs = logs - rows**2 @ (0.5 / variances).T + rows @ (means / variances).T
        top = logs.max(axis=1, keepdims=True)
        totals = top + np.log(np.exp(logs - top).sum(axis=1, keepdims=True))
        members = np.exp(logs - totals)
        if totals.mean() - before < 1e-6:
            break
        before = totals.mean()
    return members


def _seeded(rows: Array, components: int, rng: np.random.Generator) -> Array:
    """Return one-hot memberships of the nearest of k-means++ centres (Arthur, Vassilvitskii, SODA 2007)."""
    nearest = np.full(len(rows), np.inf)
    owner = np.zeros(len(rows), dtype=np.int64)
    chosen = int(rng.integers(len(rows)))
    for component in range(components):
        distances = ((rows - rows[chosen]) ** 2).sum(axis=1)
        owner[distances < nearest] = component
        nearest = np.minimum(nearest, distances)
        total = nearest.sum()
        chosen = int(rng.choice(len(rows), p=nearest / total if total > 0 else None))
    return np.asarray(np.eye(components)[owner])
