"""The pictures of a report's figures are PNG of a bounded size, whatever the names."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from graftwork.pictures import NAMED_CLASSES, confusion_png_url, curves_png_url
from graftwork.stages.report import as_csv

HOSTILE = ("$\\frac{1}$", "x" * 300, "貓")


def size(url: str) -> tuple[int, int]:
    """Return a picture's size in pixels."""
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.format == "PNG"
    return picture.size


def history(path: Path, names: tuple[str, ...]) -> Path:
    rows = [(name, seed, epoch, 1.0, 0.1 * epoch) for name in names for seed in (0, 1) for epoch in (1, 2, 3)]
    path.write_text(as_csv([("strategy", "seed", "epoch", "loss", "validation_accuracy"), *rows]))
    return path


def confusion(path: Path, names: tuple[str, ...]) -> Path:
    rows = [(actual, predicted) for actual in names for predicted in (actual, actual, names[0])]
    path.write_text(as_csv([("actual", "predicted"), *rows]))
    return path


def test_the_curves_grow_by_lines_of_panels_and_not_in_width(tmp_path: Path) -> None:
    names = ("scratch", *HOSTILE), ("scratch", "a", "b", "c", "d")
    few, many = (size(curves_png_url(history(tmp_path / "h.csv", some), some)) for some in names)
    assert few[0] == many[0] and many[1] > few[1]


def test_the_control_alone_has_its_curve(tmp_path: Path) -> None:
    assert size(curves_png_url(history(tmp_path / "one.csv", ("scratch",)), ["scratch"]))[0] > 300


@pytest.mark.parametrize("names", [HOSTILE, tuple(map(str, range(NAMED_CLASSES + 1)))])
def test_the_confusion_matrix_is_drawn_for_few_classes_and_for_many(tmp_path: Path, names: tuple[str, ...]) -> None:
    width, height = size(confusion_png_url(confusion(tmp_path / "c.csv", names)))
    assert width < 1000 and height < 1000


def test_equal_figures_give_equal_pictures(tmp_path: Path) -> None:
    file = confusion(tmp_path / "c.csv", ("cat", "dog"))
    assert confusion_png_url(file) == confusion_png_url(file)
