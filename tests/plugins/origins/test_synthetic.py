"""Made-up vectors are the same everywhere; teachers of one seed differ by task, and share what they shall share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from graftwork.desk import Desk
from graftwork.errors import SettingsError
from graftwork.files import sha256_of_file
from graftwork.images import RawImages
from graftwork.progress import Quiet
from graftwork.settings import ImageFormat
from graftwork_plugins.origins.synthetic import Synthetic
from graftwork_plugins.vectors import Vectors


def made(folder: Path, chosen: Synthetic) -> RawImages:
    """Write a data set, and read it as its users do."""
    folder.mkdir(exist_ok=True)
    told = chosen.obtain(folder, Desk(None, folder, Quiet()))
    ((name, sha256),) = told["files"].items()
    assert [file.name for file in folder.iterdir()] == [name] and sha256_of_file(folder / name) == sha256
    raw = Vectors().load(folder / name, ImageFormat(size=1, channels=chosen.features))
    raw.check("here")
    return raw


@pytest.mark.parametrize(
    ("chosen", "sha256"),
    [
        (Synthetic(), "7d921d481055a8d6"),
        (Synthetic(labels="random"), "3b91426da1e506a2"),
        (Synthetic(task=3, shared=0.7, classes=3, features=4, samples=200, seed=5), "435488c2def33c8d"),
    ],
)
def test_the_bytes_are_the_same_on_every_machine(tmp_path: Path, chosen: Synthetic, sha256: str) -> None:
    told = chosen.obtain(tmp_path, Desk(None, tmp_path, Quiet()))
    assert told["files"]["vectors.csv"][:16] == sha256


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    text, archive = (made(tmp_path / kind, Synthetic(format=kind)) for kind in ("csv", "npz"))  # type: ignore[arg-type]
    assert np.array_equal(text.images, archive.images) and np.array_equal(text.labels, archive.labels)
    assert text.classes == archive.classes == tuple(map(str, range(10)))


def test_vectors_are_centred_and_of_one_scale(tmp_path: Path) -> None:
    images = made(tmp_path / "a", Synthetic(samples=5000)).images
    assert np.abs(images.mean(axis=0)).max() < 0.05 and np.abs(images.std(axis=0) - 209 / 256).max() < 0.03


def test_more_samples_go_on_where_fewer_ended(tmp_path: Path) -> None:
    few, many = (made(tmp_path / str(count), Synthetic(samples=count)) for count in (500, 900))
    assert np.array_equal(few.images, many.images[:500]) and np.array_equal(few.labels, many.labels[:500])


def test_random_labels_are_balanced_and_can_not_be_guessed(tmp_path: Path) -> None:
    raw = made(tmp_path / "a", Synthetic(classes=2, samples=2000, labels="random"))
    assert np.bincount(raw.labels).tolist() == [1000, 1000]
    values = raw.images[:, :, 0, 0]
    fitted = LogisticRegression().fit(values[:1000], raw.labels[:1000])
    assert abs(fitted.score(values[1000:], raw.labels[1000:]) - 0.5) < 0.06


def test_learnable_labels_are_learnt(tmp_path: Path) -> None:
    raw = made(tmp_path / "a", Synthetic(classes=4, features=6, samples=2500))
    values = raw.images[:, :, 0, 0]
    fitted = LogisticRegression().fit(values[:2000], raw.labels[:2000])
    assert fitted.score(values[2000:], raw.labels[2000:]) > 0.5  # a line's share; chance is a quarter


def agreement(chosen: Synthetic, other: Synthetic) -> float:
    """Return how often two teachers agree on the same vectors."""
    vectors = chosen._draw((3000, chosen.features), "seen by both")
    return float((chosen._learnable(vectors) == other._learnable(vectors)).mean())


def test_tasks_are_others_and_seeds_are_other_worlds() -> None:
    first = Synthetic()
    for other in (Synthetic(task=1), Synthetic(seed=1), Synthetic(task=1, shared=0.0)):
        assert agreement(first, other) < 0.5
    assert agreement(first, replace(first, samples=50)) == 1.0
    assert agreement(first, replace(first, shared=0.0)) == 1.0  # task 0 shares all with itself


def test_the_first_layers_are_shared_as_far_as_said() -> None:
    def layer(task: int, shared: float) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return Synthetic(task=task, shared=shared)._layer(200, 50, 0).ravel()

    for shared in (1.0, 0.6, 0.0):
        assert np.corrcoef(layer(0, shared), layer(2, shared))[0, 1] == pytest.approx(shared, abs=0.03)
        assert layer(2, shared).std() == pytest.approx(209, rel=0.03)


def test_a_class_that_is_too_rare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="20 samples leave"):
        Synthetic(samples=20).obtain(tmp_path, Desk(None, tmp_path, Quiet()))


def test_many_features_and_classes_do_not_overflow(tmp_path: Path) -> None:
    raw = made(tmp_path / "a", Synthetic(features=1000, classes=50, samples=1000, format="npz"))
    assert np.bincount(raw.labels).max() < 100
