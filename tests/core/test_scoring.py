"""Sources are scored, each score within its bounds or None, and ranked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graftwork import scoring
from graftwork.evidence import Interval
from graftwork.features import Extracted
from graftwork.scoring import TITLES, SourceScores, mean_ranks, ranked, score_source, scored_images
from graftwork.similarity import frechet_distance

ACCURACIES = ("knn_accuracy", "linear_probe_accuracy")


@pytest.fixture(autouse=True)
def few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "REPEATS", 10)


def extracted(labels: np.ndarray, apart: float, seed: int = 0, width: int = 6) -> Extracted:
    """Return features, and answers of a head of 3 classes, that tell the classes apart as far as said."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(labels), width)) + apart * np.eye(3, width)[labels]
    logits = rng.normal(size=(len(labels), 3)) + apart * np.eye(3)[labels]
    return Extracted(torch.from_numpy(features).float(), torch.from_numpy(logits).float().softmax(dim=1))


def scored(labels: np.ndarray, apart: float, name: str = "source", seed: int = 0) -> SourceScores:
    own, untrained = extracted(labels, apart, seed=8), extracted(labels, 0.0, seed=9)
    return score_source(name, extracted(labels, apart, seed), own, untrained, labels, 0.95)


@pytest.mark.parametrize("seed", [1, 2])
def test_features_that_separate_the_classes_stand_above_noise_in_every_score(seed: int) -> None:
    labels = np.arange(60) % 3
    noise, clear = scored(labels, 0.0, "noise", seed), scored(labels, 6.0, "clear", seed)
    assert ranked([noise, clear]) == {name: ["clear", "noise"] for name in TITLES}
    assert mean_ranks([noise, clear]) == {"clear": 1.0, "noise": 2.0}
    assert clear.untrained.keys() == scoring.SCORES.keys(), "the untrained model has no head of the source's"
    for name, plain in clear.untrained.items():
        found = clear.scores[name]
        assert found is not None and plain is not None and found.mean > plain


@given(st.integers(6, 40), st.floats(0, 6), st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_an_accuracy_and_its_interval_lie_between_nought_and_one(count: int, apart: float, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "SCORES", {name: scoring.SCORES[name] for name in ACCURACIES})
        patch.setattr(scoring, "REPEATS", 10)
        found = scored(np.arange(count) % 3, apart, seed=seed)
    for name in ACCURACIES:
        held = found.scores[name]
        if held is not None:
            assert 0 <= held.low <= held.mean <= held.high <= 1


@pytest.mark.parametrize("count", [2, 3, 4, 6, 9, 12])
def test_of_too_few_images_a_score_is_none_and_no_error(count: int) -> None:
    found = scored(np.arange(count) % 3, 1.0)
    assert found.images == count and found.scores.keys() == TITLES.keys()
    if count <= 6:  # half of each class, for the interval, leaves fewer than five neighbours
        assert found.scores["knn_accuracy"] is None
    if count == 12:
        assert all(found.scores.values())


def test_one_class_or_features_that_are_not_finite_have_no_scores() -> None:
    alone = scored(np.zeros(12, dtype=np.int64), 1.0)
    assert not any(alone.scores.values()) and alone.frechet_distance is not None
    labels = np.arange(12) % 3
    broken = extracted(labels, 1.0)
    broken.features[0, 0] = float("nan")
    found = score_source("source", broken, broken, extracted(labels, 0.0), labels, 0.95)
    assert not any(found.scores[name] for name in scoring.SCORES) and found.frechet_distance is None


def test_features_that_are_all_the_same_are_scored_too() -> None:
    labels = np.arange(30) % 3
    dead = Extracted(torch.ones(30, 4), torch.full((30, 3), 1 / 3))
    found = score_source("source", dead, dead, dead, labels, 0.95)
    assert found.frechet_distance == pytest.approx(0.0, abs=1e-9)
    assert all(np.isfinite(one.mean) for one in found.scores.values() if one)


@pytest.mark.parametrize("count", [30, 45])
def test_the_distance_compares_as_many_images_of_all_classes_even_where_they_are_sorted(count: int) -> None:
    labels = np.arange(90) // 30
    whole = extracted(labels, 8.0)
    few = np.linspace(0, 89, count).round().astype(int)
    own = extracted(labels[few], 8.0, seed=5)
    found = score_source("source", whole, own, whole, labels, 0.95).frechet_distance
    assert found is not None and found < 8.0, "of the same classes, though the images are others"
    assert frechet_distance(whole.features[:count], own.features) > 2 * found, "the first rows lack a class"


def test_equal_images_lie_at_no_distance() -> None:
    labels = np.arange(30) % 3
    same = extracted(labels, 2.0)
    found = score_source("source", same, same, same, labels, 0.95)
    assert found.frechet_distance == pytest.approx(0.0, abs=1e-9)


def test_scores_come_back_from_json_as_they_were() -> None:
    found = scored(np.arange(5) % 3, 1.0)
    assert None in found.scores.values() and any(found.scores.values())
    assert SourceScores.from_json(json.loads(json.dumps(found.as_json()))) == found


def told(source: str, **means: float | None) -> SourceScores:
    scores = {name: None if (mean := means.get(name)) is None else Interval(mean, mean, mean) for name in TITLES}
    return SourceScores(source, 10, scores, {}, None)


def test_a_source_without_a_score_is_left_out_of_its_ranking_and_counts_as_last() -> None:
    found = [told("a", logme=0.1, leep=-0.5), told("b", logme=0.3), told("c", logme=0.2, leep=-0.2)]
    assert ranked(found) == {"logme": ["b", "c", "a"], "leep": ["c", "a"]}
    assert mean_ranks(found) == {"c": 1.5, "b": 2.0, "a": 2.5}
    assert list(mean_ranks(found)) == ["c", "b", "a"]


def test_a_score_of_nought_is_a_score() -> None:
    assert ranked([told("a", leep=-1.0), told("b", leep=0.0)]) == {"leep": ["b", "a"]}


def test_where_no_score_could_be_had_nobody_is_ahead() -> None:
    assert ranked([told("a"), told("b")]) == {}
    assert mean_ranks([told("a"), told("b")]) == {"a": 1.0, "b": 1.0}


def test_one_source_is_the_first() -> None:
    assert mean_ranks([told("a", logme=0.1)]) == {"a": 1.0}


def test_the_images_to_score_on_are_all_or_a_stratified_choice_that_the_seed_decides() -> None:
    few = np.arange(50) % 2
    assert scored_images(few, 0).tolist() == list(range(50))
    many = np.repeat([0, 1, 2], [3000, 1500, 500])
    chosen = scored_images(many, 0)
    assert len(set(chosen.tolist())) == scoring.MOST_IMAGES and (np.diff(chosen) > 0).all()
    shares = scoring.MOST_IMAGES * np.array([0.6, 0.3, 0.1])
    assert np.abs(np.bincount(many[chosen]) - shares).max() <= 1
    assert np.array_equal(scored_images(many, 0), chosen) and not np.array_equal(scored_images(many, 1), chosen)
