"""Scores are those worked out by hand and by slower formulas, and don't mind dead features, gaps or empty classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from graftwork import mixtures, transferability
from graftwork.evidence import Interval
from graftwork.transferability import (
    SCORES,
    Score,
    bootstrap_interval,
    gbc,
    h_score,
    h_score_regularized,
    knn_accuracy,
    leep,
    linear_probe_accuracy,
    logme,
    nce,
    nleep,
    transrate,
)

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

A = np.repeat([0, 1, 2], [4, 4, 4])
B = np.repeat([0, 1, 2], [6, 4, 2])
every_score = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)


def reference_features(labels: Codes) -> Array:
    rows, columns = np.arange(1, 13)[:, None], np.arange(1, 4)
    return np.asarray(np.sin(rows * columns) + 1.5 * (labels[:, None] == columns - 1))


def reference_probabilities(labels: Codes) -> Array:
    rows, classes = np.arange(1, 13)[:, None], np.arange(1, 5)
    mass = np.exp(np.cos(rows * classes) + (labels[:, None] == classes - 1))
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))


def clouds(rows: int = 30, width: int = 6, classes: int = 3, apart: float = 4.0, seed: int = 0) -> tuple[Array, Codes]:
    """Return features around a random centre for each class, and the labels, in mixed order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    return rng.normal(size=(rows, width)) + apart * rng.normal(size=(classes, width))[labels], labels


def rotation(width: int, seed: int) -> Array:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0])


def test_the_reference_inputs_are_the_ones_meant() -> None:
    assert reference_features(A)[0] == pytest.approx([2.341471, 0.909297, 0.141120], abs=1e-6)
    assert reference_probabilities(A)[0] == pytest.approx([0.750485, 0.106088, 0.059765, 0.083661], abs=1e-6)


@pytest.mark.parametrize(
    ("score", "on_a", "on_b"),
    [
        (logme, -0.731171, -0.671255),
        (h_score, 1.277793, 1.338328),
        (gbc, -1.377843, -0.802143),
        (transrate, 0.303453, 1.160145),
    ],
)
def test_scores_of_features_reach_the_reference_values(score: Score, on_a: float, on_b: float) -> None:
    assert score(reference_features(A), A) == pytest.approx(on_a, abs=6e-7)
    assert score(reference_features(B), B) == pytest.approx(on_b, abs=6e-7)


@pytest.mark.parametrize(("labels", "soft", "hard"), [(A, -1.009476, -0.598679), (B, -0.857581, -0.462098)])
def test_scores_of_a_source_head_reach_the_reference_values(labels: Codes, soft: float, hard: float) -> None:
    probabilities = reference_probabilities(labels)
    assert leep(probabilities, labels) == pytest.approx(soft, abs=6e-7)
    assert nce(probabilities.argmax(axis=1), labels) == pytest.approx(hard, abs=6e-7)


def test_leep_is_the_one_worked_out_by_hand() -> None:
    probabilities = np.array([(0.9, 0.1), (0.9, 0.1), (0.1, 0.9), (0.1, 0.9)])
    assert leep(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(math.log(0.82), rel=1e-12)


def test_nce_is_0_when_the_source_tells_the_label_and_the_entropy_when_it_tells_nothing() -> None:
    labels = np.array([0, 0, 1, 1])
    assert nce(labels + 7, labels) == 0
    assert nce(np.full(4, 3), labels) == pytest.approx(-math.log(2), rel=1e-12)


def test_h_score_and_gbc_are_those_worked_out_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    assert h_score(np.array([(1, 0), (-1, 0), (1, 1), (-1, 1)]), labels) == pytest.approx(1, rel=1e-12)
    assert gbc(np.array([(0, 0), (2, 2), (3, 1), (5, 3)]), labels) == pytest.approx(-2 * math.exp(-1.25), rel=1e-12)


def exact_log_evidence(features: Array, target: Array, log_alpha: float, log_beta: float) -> float:
    """Return ln N(y; 0, I/β + FFᵀ/α), by the N×N covariance."""
    covariance = np.eye(len(target)) * math.exp(-log_beta) + features @ features.T * math.exp(-log_alpha)
    _, log_determinant = np.linalg.slogdet(covariance)
    fit = target @ np.linalg.solve(covariance, target)
    return -0.5 * float(log_determinant + fit + len(target) * math.log(2 * math.pi))


def slow_logme(features: Array, labels: Codes) -> float:
    """Maximise each class's exact evidence over α and β from several starts."""
    found = []
    for label in np.unique(labels):
        target = (labels == label).astype(np.float64)

        def loss(logs: Array, target: Array = target) -> float:
            return -exact_log_evidence(features, target, *np.clip(logs, -25, 25))

        starts = [(0.0, 0.0), (5.0, 2.0), (-3.0, 3.0), (3.0, 6.0)]
        ends = [minimize(loss, s, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-11}) for s in starts]
        found.append(-min(end.fun for end in ends) / len(labels))
    return float(np.mean(found))


@pytest.mark.parametrize(("rows", "width"), [(20, 4), (30, 8), (12, 12), (8, 20)])
def test_logme_maximises_the_exact_evidence(rows: int, width: int) -> None:
    features, labels = clouds(rows, width, apart=0.7, seed=rows)
    assert logme(features, labels) == pytest.approx(slow_logme(features, labels), abs=1e-6)


@given(st.integers(0, 10_000), st.sampled_from([1e-9, 1e-3, 0.3, 7.0, 1e9]), st.integers(5, 30), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_logme_does_not_change_under_rotation_and_scaling(seed: int, scale: float, rows: int, width: int) -> None:
    features, labels = clouds(rows, width, apart=0.5, seed=seed)
    turned = features @ rotation(width, seed) * scale
    assert logme(turned, labels) == pytest.approx(logme(features, labels), abs=1e-6)


@pytest.mark.parametrize("rows", [8, 30])
def test_features_that_are_always_zero_leave_logme_as_it_is(rows: int) -> None:
    features, labels = clouds(rows, width=12, apart=0.5)
    assert logme(np.pad(features, ((0, 0), (0, 40))), labels) == pytest.approx(logme(features, labels), abs=1e-9)


def test_logme_is_finite_where_labels_are_a_linear_function_of_the_features() -> None:
    assert 0 < logme(np.eye(3)[A], A) < math.inf
    assert logme(np.zeros((12, 2)), A) == pytest.approx(-0.5 * math.log(2 * math.pi * math.e / 3), abs=1e-9)


def test_a_source_class_without_mass_adds_nothing() -> None:
    probabilities = reference_probabilities(B)
    padded = np.insert(probabilities, [0, 2, 4], 0.0, axis=1)
    assert leep(padded, B) == pytest.approx(leep(probabilities, B), abs=1e-12)
    assert leep(np.eye(9)[B * 2], B) == 0


@pytest.mark.parametrize("seed", range(5))
def test_leep_is_its_definition_spelt_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet([0.05] * 6, size=10), np.arange(10) % 3
    total = 0.0
    for row, label in zip(probabilities, labels, strict=True):
        given = [probabilities[labels == label, z].sum() / probabilities[:, z].sum() for z in range(6)]
        total += math.log(sum(share * mass for share, mass in zip(given, row, strict=True)))
    assert leep(probabilities, labels) == pytest.approx(total / 10, rel=1e-9)
    assert leep(probabilities * 1.005, labels) == pytest.approx(total / 10, rel=1e-9)


def test_h_score_saturates_when_rows_are_few_and_the_regularized_one_does_not() -> None:
    features, labels = clouds(rows=12, width=40, apart=0.0)
    assert h_score(features, labels) == pytest.approx(2, abs=1e-9)
    assert h_score_regularized(features, labels) < 1


def test_the_shrinkage_is_the_noise_of_the_covariance_over_its_distance_from_a_sphere() -> None:
    rows = clouds(rows=15, width=4, apart=0.5)[0] * [1, 2, 3, 4]
    rows = rows - rows.mean(axis=0)
    covariance = rows.T @ rows / 15
    distance = ((covariance - np.eye(4) * np.trace(covariance) / 4) ** 2).sum()
    noise = sum(((np.outer(row, row) - covariance) ** 2).sum() for row in rows) / 15**2
    assert transferability._ledoit_wolf(rows) == pytest.approx(noise / distance, rel=1e-9)
    assert transferability._ledoit_wolf(np.array([[9.0, 1], [-9, -1], [1, -9], [-1, 9]])) == 0


def test_features_whose_covariance_is_noise_have_no_regularized_h_score() -> None:
    assert h_score_regularized(reference_features(A), A) == 0


@pytest.mark.parametrize(("rows", "width"), [(200, 5), (25, 60)])
def test_the_regularized_h_score_is_that_of_scikit_learns_shrunk_covariance(rows: int, width: int) -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    features, labels = clouds(rows, width, apart=0.8)
    features = features * np.linspace(0.5, 3, width)
    shrunk = covariance.LedoitWolf().fit(features)
    means = np.stack([features[labels == label].mean(axis=0) for label in labels])
    expected = (1 - shrunk.shrinkage_) * np.trace(shrunk.precision_ @ np.cov(means, rowvar=False, bias=True))
    assert 0 < shrunk.shrinkage_ < 1
    assert h_score_regularized(features, labels) == pytest.approx(expected, rel=1e-9)


def test_h_score_does_not_change_under_an_invertible_map() -> None:
    features, labels = clouds(apart=1.0)
    mapped = features @ (rotation(6, 1) * np.linspace(0.1, 10, 6)) + 3
    assert h_score(mapped, labels) == pytest.approx(h_score(features, labels), rel=1e-9)


def test_a_feature_that_is_dead_in_one_class_alone_does_not_decide_gbc() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 3)), np.arange(60) % 2
    features[labels == 0, 0] = 0.0
    assert -1 < gbc(features, labels) < -0.01


def test_transrate_is_the_difference_of_log_determinants() -> None:
    features, labels = clouds(rows=20, width=30)
    centred = features - features.mean(axis=0)

    def rate(rows: Array) -> float:
        return float(np.linalg.slogdet(np.eye(30) + rows.T @ rows / (len(rows) * 1e-4))[1]) / 2

    inside = sum((labels == c).mean() * rate(centred[labels == c]) for c in range(3))
    assert transrate(features, labels) == pytest.approx(rate(centred) - inside, rel=1e-9)


def test_nleep_of_one_component_tells_only_the_label_shares() -> None:
    features, _ = clouds(rows=12)
    entropy = -(np.log(2) / 2 + np.log(3) / 3 + np.log(6) / 6)
    assert nleep(features, B, components=1) == pytest.approx(entropy, abs=1e-9)


@pytest.mark.parametrize(("rows", "components"), [(9, 3), (30, 7), (90, 15)])
def test_nleep_fits_five_components_a_class_where_rows_suffice(rows: int, components: int) -> None:
    features, labels = clouds(rows, apart=0.5)
    assert nleep(features, labels) == nleep(features, labels, components=components)
    assert nleep(features, labels) != nleep(features, labels, components=components + 1)


def test_nleep_looks_only_at_the_components_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(400, 1)) * 10, rng.permutation(np.arange(400) % 2)
    telling = labels[:, None] * 4.0 + 0.1 * rng.normal(size=(400, 1))
    assert nleep(np.hstack([features, telling]), labels) == pytest.approx(nleep(features, labels), abs=0.05)
    assert nleep(telling, labels) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_mixture_starts_from_rows_far_apart(seed: int) -> None:
    rows = np.repeat([[0.0], [100.0], [250.0]], [500, 1, 1], axis=0) + 1e-3 * np.arange(502)[:, None] / 502
    members = mixtures._seeded(rows, 3, np.random.default_rng(seed))
    assert sorted(members.sum(axis=0)) == [1, 1, 500]


def test_nleep_of_clusters_far_apart_is_0() -> None:
    features, labels = clouds(rows=90, apart=50.0)
    assert nleep(features, labels) == pytest.approx(0, abs=1e-6)


def test_the_mixture_finds_the_parameters_it_was_drawn_from() -> None:
    rng = np.random.default_rng(0)
    side = rng.random(4000) < 0.25
    rows = np.where(side, rng.normal(3, 0.5, 4000), rng.normal(-2, 2.0, 4000))[:, None]
    members = mixtures.mixture_posteriors(rows, 2, rng)
    narrow = members[:, members[side].mean(axis=0).argmax()]
    mean = np.average(rows[:, 0], weights=narrow)
    assert narrow.mean() == pytest.approx(0.25, abs=0.02)
    assert mean == pytest.approx(3, abs=0.1)
    assert np.average((rows[:, 0] - mean) ** 2, weights=narrow) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(("degrees", "right"), [((0, 10, 80), 2), ((0, 60, 80), 1)])
def test_the_nearest_neighbour_is_the_one_at_the_least_angle(degrees: tuple[int, ...], right: int) -> None:
    angles = np.radians(degrees)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [100], [0.01]]
    assert knn_accuracy(features, np.array([0, 0, 1]), neighbours=1) == pytest.approx(right / 3)


def test_a_tied_vote_goes_to_the_nearest_row() -> None:
    angles = np.radians([0, 8, 20, 33])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # By degrees, nearest first: 0 sees 8, 20; 8 sees 0, 20; 20 sees 8, 33; 33 sees 20, 8.
    assert knn_accuracy(features, np.array([0, 0, 1, 1]), neighbours=2) == pytest.approx(3 / 4)
    assert knn_accuracy(features, np.array([0, 1, 1, 2]), neighbours=2) == pytest.approx(1 / 4)


def test_two_votes_outweigh_a_nearer_one() -> None:
    angles = np.radians([0, 3, 10, 11])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # The row at 0 sees 3 first, but 10 and 11 agree with it; so do the two against the row at 3.
    assert knn_accuracy(features, np.array([0, 1, 0, 0]), neighbours=3) == pytest.approx(3 / 4)


def test_blocks_of_rows_do_not_change_the_neighbour_vote() -> None:
    features, labels = clouds(rows=1300, apart=0.4)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    similar = units @ units.T - 9 * np.eye(1300)
    assert knn_accuracy(features, labels, 1) == (labels[similar.argmax(axis=1)] == labels).mean()


def ridge_by_solving(features: Array, targets: Array, penalty: float, tests: Array) -> Array:
    centre, offset = features.mean(axis=0), targets.mean(axis=0)
    x = features - centre
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (targets - offset))
    return np.asarray((tests - centre) @ weights + offset)


@pytest.mark.parametrize("width", [3, 20])
def test_the_probe_takes_the_penalty_that_leaving_one_out_finds(width: int) -> None:
    features, labels = clouds(rows=15, width=width, apart=0.5)
    features = features * np.linspace(0.1, 10, width)
    tests, targets = clouds(rows=7, width=width, seed=1)[0], np.eye(3)[labels]
    centre, spread, rest = features.mean(axis=0), features.std(axis=0), ~np.eye(15, dtype=bool)
    x = (features - centre) / spread

    def error(penalty: float) -> float:
        guesses = [ridge_by_solving(x[m], targets[m], penalty, x[~m]) for m in rest]
        return float(((np.concatenate(guesses) - targets) ** 2).sum())

    best = min([15 * 10.0**power for power in range(-4, 4)], key=error)
    expected = ridge_by_solving(x, targets, best, (tests - centre) / spread)
    assert transferability._ridge(features, targets, tests) == pytest.approx(expected, abs=1e-8)


def test_the_probe_learns_nothing_from_the_rows_it_is_tested_on() -> None:
    rng = np.random.default_rng(0)
    accuracy = linear_probe_accuracy(rng.normal(size=(120, 60)), np.arange(120) % 2)
    assert 0.35 < accuracy < 0.65


def test_the_probe_folds_are_stratified(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []

    def spy(train: Array, targets: Array, test: Array) -> Array:
        shares.append(targets.sum(axis=0).tolist())
        return np.zeros((len(test), 2))

    monkeypatch.setattr(transferability, "_ridge", spy)
    linear_probe_accuracy(np.random.default_rng(0).normal(size=(50, 2)), np.repeat([0, 1], [10, 40]))
    assert shares == [[8, 32]] * 5


@every_score
@pytest.mark.parametrize("seed", range(3))
def test_separable_features_score_higher_than_shuffled_labels(score: Score, seed: int) -> None:
    features, labels = clouds(rows=90, seed=seed)
    shuffled = np.random.default_rng(seed).permutation(labels)
    assert score(features, labels) > score(features, shuffled)


@every_score
def test_the_values_and_the_gaps_of_labels_do_not_matter(score: Score) -> None:
    features, labels = clouds(apart=0.5)
    assert score(features, np.array([0, 2, 5])[labels]) == score(features, labels)
    assert score(features, np.array([-3, 1000, 2**40])[labels]) == score(features, labels)


@every_score
def test_rows_may_be_fewer_than_features(score: Score) -> None:
    features, labels = clouds(rows=9, width=50)
    assert math.isfinite(score(features, labels))


# Not the regularized H-score, whose shrinkage is towards a variance in every direction, dead ones too.
@pytest.mark.parametrize("score", [logme, h_score, gbc, transrate, nleep, knn_accuracy, linear_probe_accuracy])
def test_columns_of_zeros_do_no_harm(score: Score) -> None:
    features, labels = clouds(apart=0.5)
    dead = np.insert(features, [0, 3, 6], 0.0, axis=1)
    assert score(dead, labels) == pytest.approx(score(features, labels), rel=1e-9)


@pytest.mark.parametrize("score", [h_score, gbc, transrate, linear_probe_accuracy, nleep])
def test_a_constant_column_does_no_harm_where_features_are_centred(score: Score) -> None:
    features, labels = clouds(apart=0.5)
    constant = np.insert(features, 2, 0.1, axis=1)
    assert score(constant, labels) == pytest.approx(score(features, labels), rel=1e-9)


@every_score
def test_equal_rows_have_a_finite_score(score: Score) -> None:
    assert math.isfinite(score(np.full((12, 3), 0.1), A))
    assert math.isfinite(score(np.zeros((12, 3)), A))


@every_score
def test_a_class_may_have_one_row(score: Score) -> None:
    features, labels = clouds(rows=20, classes=2)
    labels[3] = 9
    assert math.isfinite(score(features, labels))


@every_score
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_any_precision_score_as_the_same_numbers_in_an_array(score: Score, dtype: torch.dtype) -> None:
    features, labels = clouds(rows=20, apart=0.5)
    tensor = torch.tensor(features, dtype=dtype, requires_grad=True)
    found = score(tensor, torch.tensor(labels, dtype=torch.uint8))
    assert type(found) is float
    assert found == score(tensor.detach().double().numpy(), labels)


def test_a_source_head_may_give_tensors_too() -> None:
    tensor, labels = torch.tensor(reference_probabilities(A)), torch.tensor(A)
    assert leep(tensor, labels) == leep(tensor.numpy(), A)
    assert leep(tensor.bfloat16(), labels) == pytest.approx(leep(tensor, labels), abs=0.01)
    assert nce(tensor.argmax(dim=1), labels) == nce(tensor.numpy().argmax(axis=1), A)


@every_score
def test_a_score_is_the_same_twice_and_leaves_its_inputs_alone(score: Score) -> None:
    features, labels = clouds(apart=0.5)
    before = features.copy(), labels.copy()
    assert score(features, labels) == score(features, labels)
    assert (features == before[0]).all() and (labels == before[1]).all()


def test_the_seed_of_the_mixture_and_of_the_folds_matters() -> None:
    features, labels = clouds(rows=60, apart=0.5)
    assert len({nleep(features, labels, seed=seed) for seed in range(5)}) > 1
    assert len({linear_probe_accuracy(features, labels, seed=seed) for seed in range(5)}) > 1


GOOD = np.ones((4, 2)) * np.arange(4)[:, None]
WRONG: list[tuple[Any, Any, str]] = [
    (GOOD, np.array([0, 1, 0]), "4 rows and 3 labels"),
    (GOOD, np.array([5, 5, 5, 5]), "at least 2 classes, found 1"),
    (GOOD, np.array([0.0, 1.0, 0.0, 1.0]), "labels must be integers in one dimension, found float64"),
    (GOOD, np.eye(4, dtype=int), r"found int64 of shape \(4, 4\)"),
    (GOOD[:, 0], np.array([0, 1, 0, 1]), r"found shape \(4,\)"),
    (GOOD[None], np.array([0, 1, 0, 1]), r"found shape \(1, 4, 2\)"),
    (GOOD[:, :0], np.array([0, 1, 0, 1]), r"found shape \(4, 0\)"),
    (GOOD * [1, np.nan], np.array([0, 1, 0, 1]), "4 of 4 rows hold NaN or infinity"),
    (np.where(GOOD == 3, np.inf, GOOD), np.array([0, 1, 0, 1]), "1 of 4 rows hold NaN or infinity"),
]


@pytest.mark.parametrize("score", [*SCORES.values(), leep], ids=[*SCORES, "leep"])
@pytest.mark.parametrize(("features", "labels", "words"), WRONG)
def test_inputs_that_can_not_be_scored_are_refused(score: Score, features: Any, labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        score(features, labels)


@pytest.mark.parametrize("rows", [[(2.0, -1.0), (0.5, 0.5)], [(1.0, 0.5), (0.5, 0.5)], [(0.0, 0.0), (0.5, 0.5)]])
def test_leep_refuses_what_is_no_probability(rows: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="Apply softmax"):
        leep(np.array(rows), np.array([0, 1]))


def test_nce_refuses_source_labels_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="3 rows and 2 labels"):
        nce(np.array([0, 1, 1]), np.array([0, 1]))
    with pytest.raises(ValueError, match="source_labels must be integers"):
        nce(np.array([0.5, 1.0]), np.array([0, 1]))


@pytest.mark.parametrize("count", [0, 12, 13])
def test_neighbours_folds_and_components_must_fit_the_rows(count: int) -> None:
    features = reference_features(A)
    with pytest.raises(ValueError, match=f"neighbours must be 1 to 11, .* found {count}"):
        knn_accuracy(features, A, neighbours=count)
    with pytest.raises(ValueError, match=f"folds must be 2 to 12, .* found {count + (count == 12)}"):
        linear_probe_accuracy(features, A, folds=count + (count == 12))
    with pytest.raises(ValueError, match=f"components must be 1 to 12, .* found {count + (count == 12)}"):
        nleep(features, A, components=count + (count == 12))


def mean_gap(features: Any, labels: Any) -> float:
    return float(features[labels == 0].mean() - features[labels == 1].mean())


@pytest.mark.parametrize(("confidence", "normal"), [(0.95, 1.96), (0.8, 1.2816)])
def test_the_bootstrap_interval_of_a_mean_is_as_wide_as_theory_says(confidence: float, normal: float) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [80, 41])
    features = rng.normal(size=(121, 1)) + labels[:, None]
    found = bootstrap_interval(mean_gap, features, labels, confidence, repeats=4000)
    error = math.sqrt(sum(features[labels == c].var(ddof=1) / (labels == c).sum() for c in (0, 1)))
    assert found.mean == mean_gap(features, labels)
    assert (found.low - found.mean) / error == pytest.approx(-normal, rel=0.1)
    assert (found.high - found.mean) / error == pytest.approx(normal, rel=0.1)


def test_a_score_that_depends_on_the_number_of_rows_does_not_bend_the_interval() -> None:
    def biased(features: Any, labels: Any) -> float:
        return float(len(labels))

    assert bootstrap_interval(biased, np.ones((20, 1)), np.arange(20) % 2) == Interval(20.0, 20.0, 20.0)


def test_no_class_vanishes_and_no_row_comes_twice_in_a_bootstrap() -> None:
    seen = []

    def spy(features: Any, labels: Any) -> float:
        seen.append((features[:, 0].tolist(), np.unique(labels, return_counts=True)[1].tolist()))
        return 0.0

    labels = np.repeat([4, 7, 9], [1, 3, 16])
    bootstrap_interval(spy, np.arange(20.0)[:, None], labels, repeats=50)
    halves = seen[1:]
    assert seen[0][1] == [1, 3, 16] and len(halves) == 50
    assert all(len(set(rows)) == len(rows) for rows, _ in halves)
    assert {tuple(counts) for _, counts in halves} == {(1, 1, 8), (1, 2, 8)}


@pytest.mark.parametrize("score", [logme, gbc, knn_accuracy])
def test_a_bootstrap_is_set_by_its_seed_and_holds_the_score(score: Score) -> None:
    features, labels = clouds(rows=40, apart=0.5)
    found = bootstrap_interval(score, features, labels, repeats=30)
    assert found.low < found.mean < found.high
    assert found.mean == score(features, labels)
    assert found == bootstrap_interval(score, torch.tensor(features), torch.tensor(labels), repeats=30)
    assert found != bootstrap_interval(score, features, labels, repeats=30, seed=1)


def test_a_bootstrap_takes_source_predictions_too() -> None:
    probabilities = reference_probabilities(A)
    for score, source in ((leep, probabilities), (nce, probabilities.argmax(axis=1))):
        found = bootstrap_interval(score, source, A, repeats=20)
        assert found.low <= found.mean <= found.high


@pytest.mark.parametrize("wrong", [{"confidence": 0.0}, {"confidence": 1.0}, {"repeats": 1}])
def test_a_bootstrap_that_can_not_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs 0 < confidence < 1 and 2 repeats"):
        bootstrap_interval(logme, reference_features(A), A, **wrong)


def test_the_listed_scores_are_the_ones_of_features_and_labels() -> None:
    assert all(score.__name__ == name for name, score in SCORES.items())
    assert set(SCORES) == {
        "logme", "h_score", "h_score_regularized", "gbc", "transrate", "nleep", "knn_accuracy", "linear_probe_accuracy",
    }  # fmt: skip
