"""Score, without training, how well a model's features or its source predictions suit a set of labels.

A score is a cheap gate with an interval, never a verdict. Letters: N images, D features, C classes, S source classes.
`features` are (N, D) and `labels` are any N integers, as numpy arrays or torch tensors; computed in float64; higher is
better. Every function raises ValueError for features that aren't a finite matrix, for labels that aren't N integers,
and for fewer than 2 classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from graftwork.evidence import Interval
from graftwork.mixtures import mixture_posteriors, principal_components
from graftwork.similarity import Array, Rows, as_matrix, as_numpy

Codes: TypeAlias = NDArray[np.int64]
Score: TypeAlias = Callable[[Rows, Rows], float]

RATIOS = np.linspace(-12, 12, 49)  # log10 of α/β over the mean eigenvalue: where LogME looks first
RIDGES = 10.0 ** np.arange(-4, 4)  # ridge penalties, each times the number of training rows


def logme(features: Rows, labels: Rows) -> float:
    """Return the log evidence of a Bayesian linear model of each one-hot label, a row, averaged over the classes.

    Per class, max over α, β of ln N(y; 0, I/β + FFᵀ/α) / N. It doesn't change under rotation and scaling of the
    features. The ratio α/β stays within 1e±12 of the mean eigenvalue of FᵀF, which also keeps it finite where labels
    are an exact linear function of the features. You, Liu, Wang, Long, ICML 2021, arXiv 2102.11005.
    """
    rows, codes = _checked(features, labels)
    one_hot = _one_hot(codes)
    u, singular, _ = np.linalg.svd(rows, full_matrices=False)
    projected = u.T @ one_hot
    outside = ((one_hot - u @ projected) ** 2).sum(axis=0)
    return float(_evidence(singular**2, projected**2, outside, len(rows)).mean())


def _evidence(eigenvalues: Array, inside: Array, outside: Array, count: int) -> Array:
    """Maximise the log evidence a row of each label. Given t = α/β the best β is known: one dimension is left.

    `inside` (eigenvalues, labels) holds the labels' squared components along the eigenvectors, `outside` (labels,) what
    no feature reaches. The ratio is sought for all labels at once, between ever nearer points.
    """
    scale = float(eigenvalues.mean()) or 1.0

    def loss(log_ratios: Array) -> Array:  # (points, labels), or (points, 1) for the same points of all
        t = scale * 10.0 ** log_ratios[:, None, :]
        kept = (inside * (t / (eigenvalues[:, None] + t))).sum(axis=1)
        # An eigenvalue of 0, as of a dead feature, adds nothing: so the sum runs over all D of them.
        volume = np.log1p(eigenvalues[:, None] / t).sum(axis=1) / count
        return np.asarray((np.log(2 * np.pi * np.e * (outside + kept) / count) + volume) / 2)

    points, step = np.asarray(RATIOS)[:, None], float(RATIOS[1] - RATIOS[0])
    while True:
        losses = loss(points)
        best = losses.argmin(axis=0)
        if step < 1e-9:
            return np.asarray(-losses.min(axis=0))
        middle = points[best, np.arange(len(best)) if points.shape[1] > 1 else 0]
        points = np.clip(middle + step * np.linspace(-1, 1, 21)[:, None], RATIOS[0], RATIOS[-1])
        step /= 10


def leep(probabilities: Rows, labels: Rows) -> float:
    """Return the log expected empirical prediction, at most 0, of the source head's probabilities (N, S).

    It is mean_i ln Σ_z P̂(y_i|z)·θ(x_i)_z with P̂(y, z) = mean_i [y_i=y]·θ(x_i)_z; a source class without mass adds
    nothing. Nguyen, Hassner, Seeger, Archambeau, ICML 2020, arXiv 2002.12462. Raises ValueError also for rows that are
    negative or don't sum to 1.
    """
    rows, codes = _checked(probabilities, labels)
    sums = rows.sum(axis=1)
    if rows.min() < 0 or np.abs(sums - 1).max() > 0.01:
        raise ValueError(
            f"LEEP needs probabilities, none below 0 and rows that sum to 1: found values from {rows.min():.4g} and "
            f"sums from {sums.min():.4g} to {sums.max():.4g}. Apply softmax to logits first"
        )
    return _leep(rows / sums[:, None], codes)


def _leep(probabilities: Array, codes: Codes) -> float:
    joint = _one_hot(codes).T @ probabilities
    mass = joint.sum(axis=0)
    given = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    return float(np.log((given[codes] * probabilities).sum(axis=1)).mean())


def nce(source_labels: Rows, labels: Rows) -> float:
    """Return the negative conditional entropy −H(Y|Z) in nats, at most 0, of labels given source labels (N integers).

    Z is as a rule the source head's argmax. Tran, Nguyen, Hassner, ICCV 2019, arXiv 1908.08142.
    """
    source = _codes(source_labels, "source_labels")
    target = _label_codes(labels, len(source))
    joint = _one_hot(source).T @ _one_hot(target) / len(target)
    given = joint / joint.sum(axis=1, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(given[seen])).sum())


def h_score(features: Rows, labels: Rows) -> float:
    """Return tr(cov(f)⁺·cov(E[f|y])), 0 to C−1: how much of the whitened features the class tells.

    It saturates at C−1 when N ≤ D: prefer `h_score_regularized` there. Bao et al., ICIP 2019.
    """
    rows, codes = _checked(features, labels)
    return _h_score(rows - rows.mean(axis=0), codes, shrinkage=0.0)


def h_score_regularized(features: Rows, labels: Rows) -> float:
    """Return tr(Σ⁻¹·(1−δ)·cov(E[f|y])) with cov(f) shrunk to Σ = (1−δ)·cov(f) + δ·tr(cov(f))/D·I.

    δ is Ledoit and Wolf's (J. Multivariate Analysis 88, 2004), so that this works for N ≤ D too.
    Ibrahim, Ponomareva, Mazumder, ECML PKDD 2022, arXiv 2110.06893.
    """
    rows, codes = _checked(features, labels)
    centred = rows - rows.mean(axis=0)
    return _h_score(centred, codes, _ledoit_wolf(centred))


def _h_score(centred: Array, codes: Codes, shrinkage: float) -> float:
    u, singular, _ = np.linalg.svd(centred, full_matrices=False)
    alive = singular > singular.max() * max(centred.shape) * np.finfo(np.float64).eps
    u, variances = u[:, alive], singular[alive] ** 2
    kept = (1 - shrinkage) * variances / ((1 - shrinkage) * variances + shrinkage * variances.sum() / centred.shape[1])
    # Whitened class means are the left singular vectors' sums over a class: no D×D inverse is needed.
    sums = _one_hot(codes).T @ u
    return float((kept * sums**2 / np.bincount(codes)[:, None]).sum())


def _ledoit_wolf(centred: Array) -> float:
    """Return the share δ, 0 to 1, at which shrinking to a multiple of the identity loses least."""
    count, width = centred.shape
    gram = centred @ centred.T if count < width else centred.T @ centred
    squares = float((gram**2).sum()) / count**2
    distance = squares - float((centred**2).sum() / count) ** 2 / width
    noise = (float(((centred**2).sum(axis=1) ** 2).mean()) - squares) / count
    return min(noise / distance, 1.0) if distance > 0 else 0.0


def gbc(features: Rows, labels: Rows) -> float:
    """Return −Σ_{i≠j} exp(−B_ij), at most 0, with B the Bhattacharyya distance of diagonal Gaussians of the classes.

    Variances are of the population. Constant features are left out, and no class has less than 1e-4 of a feature's
    overall variance: else one that is dead in one class alone would decide. Pándy, Agostinelli, Uijlings, Ferrari,
    Mensink, CVPR 2022, arXiv 2111.12780.
    """
    rows, codes = _checked(features, labels)
    rows = rows[:, _alive(rows)]
    groups = [rows[codes == code] for code in range(codes.max() + 1)]
    means = np.stack([group.mean(axis=0) for group in groups])
    variances = np.maximum(np.stack([group.var(axis=0) for group in groups]), 1e-4 * rows.var(axis=0))
    logs, overlap = np.log(variances), 0.0
    for i in range(1, len(groups)):
        shared = (variances[:i] + variances[i]) / 2
        apart = ((means[:i] - means[i]) ** 2 / shared / 8 + np.log(shared) / 2 - (logs[:i] + logs[i]) / 4).sum(axis=1)
        overlap += 2 * float(np.exp(-apart).sum())
    return -overlap


def transrate(features: Rows, labels: Rows) -> float:
    """Return R(Z) − Σ_c n_c/N·R(Z_c), the rate that the classes save, with R(Z) = ½ ln det(I + ZᵀZ/(nε)), ε = 1e-4.

    Z are the features, centred over all classes. It grows with the features' scale.
    Huang, Huang, Rong, Yang, Wei, ICML 2022, arXiv 2106.09362.
    """
    rows, codes = _checked(features, labels)
    centred = rows - rows.mean(axis=0)
    groups = [centred[codes == code] for code in range(codes.max() + 1)]
    return _rate(centred) - sum(len(group) / len(rows) * _rate(group) for group in groups)


def _rate(rows: Array) -> float:
    singular = np.linalg.svd(rows, compute_uv=False)
    return float(np.log1p(singular**2 / (len(rows) * 1e-4)).sum()) / 2


def nleep(features: Rows, labels: Rows, components: int | None = None, seed: int = 0) -> float:
    """Return LEEP with the posteriors of a Gaussian mixture in place of a source head: for models without one.

    The mixture (diagonal, EM from k-means++ seeding by `seed`) is fitted to the principal components that hold 80 % of
    the variance. `components` is 5 a class when None, but at most one for 4 rows, or one a class where rows are few.
    Li et al., CVPR 2021, arXiv 2011.11200. Raises ValueError also for components out of 1…N.
    """
    rows, codes = _checked(features, labels)
    classes = int(codes.max()) + 1
    wanted = min(5 * classes, max(classes, len(rows) // 4)) if components is None else components
    if not 1 <= wanted <= len(rows):
        raise ValueError(f"components must be 1 to {len(rows)}, the number of rows, found {wanted}")
    return _leep(mixture_posteriors(principal_components(rows, 0.8), wanted, np.random.default_rng(seed)), codes)


def knn_accuracy(features: Rows, labels: Rows, neighbours: int = 5) -> float:
    """Return the accuracy, 0 to 1, of a vote of each row's nearest other rows by cosine similarity.

    Of classes with equally many votes the one with the nearest row wins. Raises ValueError also for neighbours out of
    1…N−1.
    """
    rows, codes = _checked(features, labels)
    if not 1 <= neighbours < len(rows):
        raise ValueError(f"neighbours must be 1 to {len(rows) - 1}, the number of other rows, found {neighbours}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    right = 0
    for start in range(0, len(rows), 1024):  # in blocks, so that N×N similarities are never held
        block = np.arange(start, min(start + 1024, len(rows)))
        similar = units[block] @ units.T
        similar[np.arange(len(block)), block] = -np.inf
        near = codes[np.argsort(-similar, axis=1, kind="stable")[:, :neighbours]]
        votes = (near[:, :, None] == near[:, None, :]).sum(axis=2)
        # argmax takes the first, so the nearest, of the rows whose class has most votes.
        right += int((near[np.arange(len(block)), votes.argmax(axis=1)] == codes[block]).sum())
    return right / len(rows)


def linear_probe_accuracy(features: Rows, labels: Rows, folds: int = 5, seed: int = 0) -> float:
    """Return the accuracy, 0 to 1, of a ridge classifier over stratified folds, each tested once.

    Features are standardised, and the penalty (RIDGES, times the rows) chosen by exact leave-one-out error, both on
    the training folds alone. A class with one row is never learnt. Raises ValueError also for folds out of 2…N.
    """
    rows, codes = _checked(features, labels)
    if not 2 <= folds <= len(rows):
        raise ValueError(f"folds must be 2 to {len(rows)}, the number of rows, found {folds}")
    fold = np.empty(len(rows), dtype=np.int64)
    fold[np.lexsort((np.random.default_rng(seed).random(len(rows)), codes))] = np.arange(len(rows)) % folds
    one_hot, right = _one_hot(codes), 0
    for test in (fold == number for number in range(folds)):
        right += int((_ridge(rows[~test], one_hot[~test], rows[test]).argmax(axis=1) == codes[test]).sum())
    return right / len(rows)


def _ridge(train: Array, targets: Array, test: Array) -> Array:
    """Return the predictions (test rows, C) of the ridge regression with the least leave-one-out error."""
    alive = _alive(train)
    centre, spread = train[:, alive].mean(axis=0), train[:, alive].std(axis=0)
    scaled = (train[:, alive] - centre) / spread
    u, eigenvalues = _left_vectors(scaled)
    offset = targets.mean(axis=0)
    projected = u.T @ (targets - offset)

    def error(penalty: float) -> float:
        kept = eigenvalues / (eigenvalues + penalty)
        free = np.maximum(1 - 1 / len(train) - u**2 @ kept, np.finfo(np.float64).eps)
        left = targets - offset - u @ (kept[:, None] * projected)
        return float(((left / free[:, None]) ** 2).sum())

    penalty = min(RIDGES * len(train), key=error)
    weights = scaled.T @ (u @ (projected / (eigenvalues + penalty)[:, None]))
    return np.asarray((test[:, alive] - centre) / spread @ weights + offset)


def _left_vectors(rows: Array) -> tuple[Array, Array]:
    """Return the left singular vectors and the squares of the singular values: of few wide rows by their products."""
    if len(rows) > rows.shape[1]:
        u, singular, _ = np.linalg.svd(rows, full_matrices=False)
        return u, singular**2
    eigenvalues, u = np.linalg.eigh(rows @ rows.T)
    return u, np.maximum(eigenvalues, 0.0)


SCORES: dict[str, Score] = {
    "logme": logme,
    "h_score": h_score,
    "h_score_regularized": h_score_regularized,
    "gbc": gbc,
    "transrate": transrate,
    "nleep": nleep,
    "knn_accuracy": knn_accuracy,
    "linear_probe_accuracy": linear_probe_accuracy,
}


def bootstrap_interval(
    score: Score, features: Rows, labels: Rows, confidence: float = 0.95, repeats: int = 200, seed: int = 0
) -> Interval:
    """Return the score of all rows, as `mean`, within a bootstrap interval over the choice of rows.

    Each repeat scores a random half of every class, at least one row, drawn without replacement. Means over such halves
    spread as much as over resamples with replacement, but no row has a copy beside it, which would flatter neighbour
    votes, folds and ranks. The interval is the repeats' quantiles about their median, moved to `mean`. `features` is
    what `score` takes: probabilities for leep, source labels for nce. Raises what `score` raises, for half the rows
    too, and ValueError for a confidence out of (0, 1) or fewer than 2 repeats.
    """
    if not 0 < confidence < 1 or repeats < 2:
        raise ValueError(f"needs 0 < confidence < 1 and 2 repeats, found confidence {confidence} and repeats {repeats}")
    observed, rng = score(features, labels), np.random.default_rng(seed)
    values, found = as_numpy(features), as_numpy(labels)
    halves = (_half(found, rng) for _ in range(repeats))
    repeated = [score(values[half], found[half]) for half in halves]
    low, middle, high = np.quantile(repeated, [(1 - confidence) / 2, 0.5, (1 + confidence) / 2])
    return Interval(observed, observed - float(middle - low), observed + float(high - middle))


def _half(labels: NDArray[np.integer], rng: np.random.Generator) -> Codes:
    """Return sorted indices of half of each class; an odd row too many is taken every other time."""
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return np.sort(np.concatenate([m[: max(1, (len(m) + int(rng.integers(2))) // 2)] for m in members]))


def _checked(features: Rows, labels: Rows) -> tuple[Array, Codes]:
    rows = as_matrix(features, "features")
    return rows, _label_codes(labels, len(rows))


def _label_codes(labels: Rows, count: int) -> Codes:
    codes = _codes(labels, "labels")
    if len(codes) != count:
        raise ValueError(f"each row needs a label: found {count} rows and {len(codes)} labels")
    if not codes.any():
        raise ValueError(f"a score needs at least 2 classes, found {min(len(codes), 1)} in {len(codes)} labels")
    return codes


def _codes(labels: Rows, name: str) -> Codes:
    """Return labels, whatever their values, as 0…C−1."""
    found = as_numpy(labels)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers in one dimension, found {found.dtype} of shape {found.shape}")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _one_hot(codes: Codes) -> Array:
    return np.asarray(np.eye(codes.max() + 1)[codes])


def _alive(rows: Array) -> NDArray[np.bool_]:
    """Tell which columns vary by more than rounding."""
    return np.asarray(rows.std(axis=0) > 1e-12 * np.abs(rows).max(axis=0))
