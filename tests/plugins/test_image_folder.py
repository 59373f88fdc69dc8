"""Class folders are read as people see them; what can't be read or trusted is refused by name."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.prepared_data import PreparedData
from graftwork.settings import ImageFormat
from graftwork_plugins.image_folder import ImageFolder

GREY = ImageFormat(size=8, channels=1)
COLOUR = ImageFormat(size=8, channels=3)


def picture(path: Path, colour: int | tuple[int, ...] = 100, mode: str = "L", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (12, 10), colour).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two flat pictures."""
    root = tmp_path / "photos"
    for number, name in enumerate(("cat", "dog")):
        for index in range(2):
            picture(root / name / f"{index}.png", 50 * number + 10 * index)
    return root


def load(root: Path, image: ImageFormat = GREY, **settings: str) -> RawImages:
    raw = ImageFolder(**settings).load(root, image)  # type: ignore[arg-type]
    return replace(raw, images=raw.images[:])  # decoded


def colour_of(root: Path, file: Path, image: ImageFormat = COLOUR) -> list[int]:
    """Return the middle pixel of the only picture whose class is that of `file`."""
    raw = load(root, image)
    chosen = raw.images[raw.labels == raw.classes.index(file.parent.name)]
    assert len(chosen) == 1
    return [int(value) for value in chosen[0, :, 4, 4]]


def test_folders_are_classes_in_the_order_of_their_names(folder: Path) -> None:
    raw = load(folder)
    assert raw.classes == ("cat", "dog")
    assert raw.labels.tolist() == [0, 0, 1, 1]
    assert raw.images[:, 0, 0, 0].tolist() == [0, 10, 50, 60]
    assert raw.images.shape == (4, 1, 8, 8) and raw.images.dtype == np.uint8
    assert raw.split is None


def test_pictures_in_deeper_folders_belong_to_their_class(folder: Path) -> None:
    picture(folder / "cat" / "more" / "deep.jpg")
    raw = load(folder)
    assert raw.labels.tolist() == [0, 0, 0, 1, 1]
    assert raw.names is not None and "cat/more/deep.jpg" in list(raw.names) and len(list(raw.names)) == 5


def test_other_files_and_hidden_folders_are_passed_over_and_counted(folder: Path) -> None:
    (folder / "cat" / "notes.txt").write_text("no picture")
    (folder / ".cache").mkdir()
    raw = load(folder)
    assert len(raw.images) == 4
    assert raw.origin["ignored_extensions"] == {".txt": 1}


def test_what_an_origin_tells_of_the_folder_is_not_counted(folder: Path) -> None:
    for file in (folder / "origin.json", folder / "cat" / "other.json"):
        file.write_text("{}")
    assert load(folder).origin["ignored_extensions"] == {".json": 1}


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("L", 100, "png", [100, 100, 100]),
        ("RGB", (10, 20, 30), "png", [10, 20, 30]),
        ("RGBA", (10, 20, 30, 255), "png", [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), "png", [255, 255, 255]),
        ("LA", (10, 0), "png", [255, 255, 255]),
        ("CMYK", (0, 0, 0, 0), "tiff", [255, 255, 255]),
        ("CMYK", (0, 0, 0, 255), "tiff", [0, 0, 0]),
        ("1", 1, "png", [255, 255, 255]),
        ("I;16", 0x80FF, "png", [0x80, 0x80, 0x80]),
        ("I;16", 0x80FF, "tiff", [0x80, 0x80, 0x80]),
        ("RGB", (10, 20, 30), "bmp", [10, 20, 30]),
        ("L", 100, "gif", [100, 100, 100]),
    ],
)
def test_every_mode_is_shown_as_people_see_it(
    folder: Path, mode: str, colour: int | tuple[int, ...], suffix: str, expected: list[int]
) -> None:
    file = picture(folder / "new" / f"one.{suffix}", colour, mode)
    assert colour_of(folder, file) == expected


def test_a_transparent_palette_lies_on_white(folder: Path) -> None:
    file = folder / "new" / "one.png"
    file.parent.mkdir()
    palette = Image.new("P", (12, 10), 0)
    palette.putpalette([200, 0, 0, 0, 200, 0])
    palette.save(file)
    assert colour_of(folder, file) == [200, 0, 0]
    palette.save(file, transparency=0)
    assert colour_of(folder, file) == [255, 255, 255]


def test_a_camera_that_was_turned_is_turned_back(folder: Path) -> None:
    file = folder / "new" / "one.png"
    file.parent.mkdir()
    half = np.zeros((12, 12), np.uint8)
    half[:, 6:] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    Image.fromarray(half).save(file, exif=exif)
    shown = load(folder).images[-1, 0]
    assert (shown[-1] == 200).all() and (shown[0] == 0).all()


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(noise).save(stored, "jpeg")
    path.write_bytes(stored.getvalue()[: len(stored.getvalue()) // 2])


BROKEN = {
    "truncated": (truncated, "truncated"),
    "empty": (lambda path: path.write_bytes(b""), "empty file"),
    "html": (lambda path: path.write_text("<html><body>404</body></html>"), "not an image"),
    "eps": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_picture_that_can_not_be_read_is_named(folder: Path, kind: str) -> None:
    write, reason = BROKEN[kind]
    write(folder / "dog" / "bad.jpg")
    with pytest.raises(DataError, match=rf"1 of 5 images can't be read: dog/bad\.jpg: .*{reason}"):
        load(folder)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_picture_that_can_not_be_read_is_skipped_and_listed_when_so_set(folder: Path, kind: str) -> None:
    BROKEN[kind][0](folder / "dog" / "bad.jpg")
    raw = load(folder, unreadable="skip")
    assert raw.labels.tolist() == [0, 0, 1, 1]
    assert [line.partition(":")[0] for line in raw.origin["skipped"]] == ["dog/bad.jpg"]


def test_what_is_left_out_of_pictures_is_warned_of(folder: Path) -> None:
    whole = io.BytesIO()
    Image.new("L", (12, 10)).save(whole, "jpeg")
    (folder / "dog" / "cut.jpg").write_bytes(whole.getvalue()[:-2])
    Image.fromarray(np.full((9, 9), 0x80FF, np.uint16)).save(folder / "cat" / "deep.png")
    found = load(folder).origin["remarks"]
    assert found == {"of 16 bits, of which 8 are read": 1, "that end before their end marker": 1}
    card = {"splits": {"train": [3, 3], "validation": [1, 1], "test": [1, 1]}, "classes": ["cat", "dog"]}
    told = PreparedData.from_card("target", {**card, "origin": {"remarks": found}})
    assert told is not None
    assert list(told.warnings()) == [f"warning: pictures {what}: 1" for what in found]


def test_skipping_a_whole_class_is_noticed(folder: Path) -> None:
    for file in (folder / "dog").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="class 'dog' has no images"):
        load(folder, unreadable="skip").check("here")


def test_skipping_every_picture_is_refused(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="No image can be read"):
        load(folder, unreadable="skip")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(folder: Path) -> None:
    Image.new("1", (8000, 8000)).save(folder / "dog" / "huge.png")
    with pytest.raises(DataError, match="dog/huge.png: 8000×8000 pixels"):
        load(folder)


def test_an_empty_class_folder_is_refused(folder: Path) -> None:
    (folder / "emu").mkdir()
    with pytest.raises(DataError, match="'emu' holds no images"):
        load(folder)


def test_one_class_alone_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "dog")
    with pytest.raises(DataError, match="one class only: 'cat'"):
        load(folder).check("here")


@pytest.mark.parametrize("kind", ["empty", "file", "missing"])
def test_a_root_that_holds_no_classes_is_refused(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "empty":
        root.mkdir()
    elif kind == "file":
        root.write_text("no folder")
    expected = {"empty": "holds no class folders", "file": "is a file", "missing": "is missing"}[kind]
    with pytest.raises(DataError, match=expected):
        load(root)


def test_links_out_of_the_root_are_refused(folder: Path, tmp_path: Path) -> None:
    outside = picture(tmp_path / "elsewhere" / "secret.png")
    for link, target in ((folder / "cat" / "link.png", outside), (folder / "emu", outside.parent)):
        link.symlink_to(target)
        with pytest.raises(DataError, match="A link leads out of the data folder"):
            load(folder)
        link.unlink()


def test_folders_of_splits_that_are_links_are_refused(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for name in ("cat", "dog"):
        picture(elsewhere / name / "0.png")
        picture(root / "test" / name / "0.png")
    (root / "train").symlink_to(elsewhere)
    for read in (load, ImageFolder().survey):
        with pytest.raises(DataError, match="A link leads out of the data folder"):
            read(root)


def test_links_in_a_circle_or_to_nothing_are_refused(folder: Path) -> None:
    link = folder / "cat" / "link.png"
    for target in (link, folder / "gone.png"):
        link.symlink_to(target)
        with pytest.raises(DataError, match="A link leads out"):
            load(folder)
        link.unlink()


def test_a_link_to_a_picture_inside_the_root_is_read(folder: Path) -> None:
    (folder / "cat" / "link.png").symlink_to(folder / "dog" / "0.png")
    assert load(folder).labels.tolist() == [0, 0, 0, 1, 1]


def test_a_link_to_the_folder_it_stands_in_is_refused(folder: Path) -> None:
    (folder / "cat" / "again").symlink_to(folder / "cat")
    with pytest.raises(DataError, match="A link leads out"):
        load(folder)


@pytest.mark.parametrize(("one", "other"), [("emu", "EMU"), ("é", "e\u0301"), ("ﬁn", "fin"), ("straße", "STRASSE")])
def test_names_that_people_can_not_tell_apart_are_refused(folder: Path, one: str, other: str) -> None:
    for name in (one, other):
        picture(folder / name / "0.png")
    with pytest.raises(DataError, match="differ only in case or Unicode form"):
        load(folder)


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)<", "line\nbreak", "x" * 200, "{{ 7*7 }}", "-rf", "猫 🐈", "a,b;c\t\"'"],
)
def test_a_class_may_be_called_anything(folder: Path, name: str) -> None:
    picture(folder / name / "0.png", 123)
    raw = load(folder)
    assert name in raw.classes
    assert raw.images[raw.labels == raw.classes.index(name), 0, 0, 0].tolist() == [123]


@pytest.mark.parametrize("validation", ["validation", "val", "valid", None])
def test_given_splits_are_respected(tmp_path: Path, validation: str | None) -> None:
    for part in filter(None, ("train", validation, "test")):
        for name in ("cat", "dog"):
            picture(tmp_path / part / name / "0.png")
    raw = load(tmp_path)
    assert raw.classes == ("cat", "dog")
    expected = {"train": 2, "test": 2} | ({"validation": 2} if validation else {})
    assert raw.split is not None
    assert {str(name): int((raw.split == name).sum()) for name in np.unique(raw.split)} == expected


LAYOUTS = {
    ("train", "val"): {"train", "validation"},
    ("Train", "Test"): {"train", "test"},
    ("Training", "Testing"): {"train", "test"},
    ("train", "dev", "__MACOSX", ".cache"): {"train", "validation"},
}


@pytest.mark.parametrize("parts", LAYOUTS)
def test_folders_of_splits_are_never_classes(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        for name in ("cat", "dog"):
            picture(tmp_path / part / name / ("._0.png" if part == "__MACOSX" else "0.png"))
    raw = load(tmp_path)
    assert raw.classes == ("cat", "dog") and len(raw.labels) == 4
    assert raw.split is not None and set(raw.split) == LAYOUTS[parts]
    assert ImageFolder().survey(tmp_path).splits == LAYOUTS[parts]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("train", "test", "extra"), "folders called test and train, and beside them extra"),
        (("train", "val", "valid"), "folders called train and val and valid"),
        (("val", "test"), "folders called test and val"),
    ],
)
def test_folders_of_splits_that_can_not_be_meant_are_refused(
    tmp_path: Path, parts: tuple[str, ...], words: str
) -> None:  # fmt: skip
    for part in parts:
        for name in ("cat", "dog"):
            picture(tmp_path / part / name / "0.png")
    for read in (load, ImageFolder().survey):
        with pytest.raises(DataError, match=words) as raised:
            read(tmp_path)
        assert "or rename those that are classes" in raised.value.fix


def test_a_training_folder_without_classes_is_refused_by_name(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "0.png")
    picture(tmp_path / "test" / "cat" / "0.png")
    with pytest.raises(DataError, match="holds no class folders") as raised:
        load(tmp_path)
    assert raised.value.where == str(tmp_path / "train")


def test_one_class_called_like_a_split_is_a_class(folder: Path) -> None:
    picture(folder / "test" / "0.png")
    raw = load(folder)
    assert raw.classes == ("cat", "dog", "test") and raw.split is None


def test_pictures_in_no_class_folder_are_warned_of(folder: Path, tmp_path: Path) -> None:
    picture(folder / "loose.png")
    told = {"outside the class folders, which are not read": 1}
    assert load(folder).origin["remarks"] == told
    parts = tmp_path / "parts"
    shutil.copytree(folder, parts / "train")  # with the loose one
    picture(parts / "test" / "unlabelled.png")
    raw = load(parts)
    assert len(raw.labels) == 4 and raw.split is not None and set(raw.split) == {"train"}
    assert raw.origin["remarks"] == dict.fromkeys(told, 2)


def test_hidden_pictures_are_passed_over_and_counted(folder: Path) -> None:
    picture(folder / "cat" / ".ipynb_checkpoints" / "0.png")
    (folder / "cat" / "._0.png").write_bytes(b"no picture")
    (folder / "__MACOSX" / "cat").mkdir(parents=True)
    (folder / "__MACOSX" / "cat" / "0.png").write_bytes(b"no picture")
    raw = load(folder)
    assert len(raw.labels) == 4 and raw.classes == ("cat", "dog")
    assert raw.origin["ignored_extensions"] == {"(hidden)": 3}


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JPEG"])
def test_every_ending_of_a_format_that_is_decoded_is_read(folder: Path, ending: str) -> None:
    Image.new("L", (9, 9)).save(folder / "cat" / f"2.{ending}", "jpeg")
    assert load(folder).labels.tolist() == [0, 0, 0, 1, 1]


def test_endings_that_are_not_utf_8_can_be_told_of(folder: Path) -> None:
    (folder / "note.\udcff").write_text("no picture")
    assert json.dumps(load(folder).origin, ensure_ascii=False).encode()
    assert load(folder).origin["ignored_extensions"] == {r".\udcff": 1}


def test_photos_of_clothes_are_read_with_their_splits(shared_data: Path, tmp_path: Path) -> None:
    taken: dict[str, int] = {}
    with zipfile.ZipFile(shared_data / "clothing_small_128.zip") as archive:
        for name in sorted(archive.namelist()):
            group = name.rpartition("/")[0]
            if name.endswith(".jpg") and taken.setdefault(group, 0) < 12:
                taken[group] += 1
                archive.extract(name, tmp_path)
    raw = load(tmp_path / "clothing_small_128", ImageFormat(size=32, channels=3))
    raw.check("clothes")
    assert len(raw.classes) == 10 and {"dress", "hat", "t-shirt"} <= set(raw.classes)
    assert raw.images.shape == (sum(taken.values()), 3, 32, 32)
    assert raw.split is not None and set(raw.split) == {"train", "validation", "test"}
    assert raw.origin["skipped"] == []
    assert 30 < raw.images.std() < 100  # photos, not noise and not flat
