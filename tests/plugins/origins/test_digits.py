"""scikit-learn's digits become images without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graftwork.desk import Desk
from graftwork.files import sha256_of_file
from graftwork.progress import Quiet
from graftwork.settings import ImageFormat
from graftwork_plugins.npz import Npz
from graftwork_plugins.origins.digits import Digits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "digits").mkdir()
    return tmp_path / "digits"


def test_digits_are_images_of_the_full_range(folder: Path) -> None:
    from sklearn.datasets import load_digits

    told = Digits().obtain(folder, Desk(None, folder / "partial", Quiet()))
    raw = Npz().load(folder / "digits.npz", ImageFormat(size=8, channels=1))
    raw.check("digits")
    known = load_digits()
    assert raw.images.shape == (1797, 1, 8, 8) and raw.classes == tuple("0123456789") and raw.split is None
    assert np.array_equal(raw.labels, known.target)
    assert np.array_equal(np.round(raw.images[:, 0] * (16 / 255)), known.images)
    assert (raw.images.min(), raw.images.max(), len(np.unique(raw.images))) == (0, 255, 17)
    assert told["licence"] == "CC BY 4.0" and "from" not in told
    assert [file.name for file in folder.iterdir()] == ["digits.npz"]


def test_digits_are_the_same_bytes_each_time(folder: Path, tmp_path: Path) -> None:
    for place in (folder, tmp_path):
        Digits().obtain(place, Desk(None, tmp_path / "partial", Quiet()))
    assert sha256_of_file(folder / "digits.npz") == sha256_of_file(tmp_path / "digits.npz")
