"""Training and `predict` find the same pictures below a folder, and nothing that is lost is lost in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from graftwork.decoding import EXTENSIONS, FORMATS
from graftwork.picture_files import is_picture, pictures_below, stays_inside
from graftwork.prediction import Refusal, pictures
from graftwork.settings import ImageFormat
from graftwork_plugins.image_folder import ImageFolder


def test_the_endings_are_all_that_pillow_knows_of_the_formats_that_are_decoded() -> None:
    known = {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert set(EXTENSIONS) == known


def test_training_and_predict_read_the_same_files(tmp_path: Path) -> None:
    names = [f"0{ending}" for ending in EXTENSIONS]
    names += ["deep/1.PNG", ".hidden.png", "._0.png", ".cache/0.png", "__MACOSX/0.png", "notes.txt"]
    for kind in ("cat", "dog"):
        for name in names:
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (9, 9)).save(tmp_path / kind / name, "png")
    found = [one for one in pictures([tmp_path]) if isinstance(one, Path)]
    trained_on = ImageFolder().load(tmp_path, ImageFormat(size=8, channels=1)).images
    assert len(found) == len(trained_on) == 2 * (len(EXTENSIONS) + 1)


def test_links_are_given_to_whoever_asks_and_never_entered(tmp_path: Path) -> None:
    (tmp_path / "within.png").touch()
    links = {"loop.png": "loop.png", "nowhere.png": "gone", "up": "..", "notes.txt": "within.png"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    assert {path.name for path in pictures_below(tmp_path)} == {"within.png", *links}
    assert [name for name in sorted(links) if stays_inside(tmp_path / name, tmp_path)] == ["notes.txt"]
    asked = {one.file.name for one in pictures([tmp_path]) if isinstance(one, Refusal)}
    assert asked == {"loop.png", "nowhere.png"} and not is_picture(tmp_path / "notes.txt")


def test_a_folder_that_can_not_be_read_is_told_of(tmp_path: Path) -> None:
    told: list[OSError] = []
    assert not list(pictures_below(tmp_path / "gone", told.append)) and len(told) == 1
    with pytest.raises(FileNotFoundError):
        list(pictures_below(tmp_path / "gone"))
