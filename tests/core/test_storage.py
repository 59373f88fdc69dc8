"""Images are stored as arrays or encoded, by their size or as settings say, and nothing else hangs on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graftwork import storage
from graftwork.channel_statistics import statistics
from graftwork.errors import DataError, SettingsError, StateError
from graftwork.files import read_json
from graftwork.images import RawImages
from graftwork.labelled_arrays import LabelledArrays, write_array
from graftwork.labelled_encoded import LabelledEncoded
from graftwork.layout import SPLITS, Layout
from graftwork.progress import Quiet
from graftwork.settings import ImageFormat, Settings
from graftwork.stages import Context
from graftwork.stages.fetch import load_raw
from graftwork.storage import choose_storage, in_format, labelled, load_split, save_images, save_split
from tests.conftest import ROOT
from tests.core.pictures import FORMAT, decoded, encoded, folders, picture, pictures
from tests.core.small import REGISTRY
from tests.core.tiny_workspace import archive, run, tiny_settings, workspace

NOISE = np.random.default_rng(0).integers(0, 256, (7, 3, 12, 12), dtype=np.uint8)


class Telling(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def test_encoded_images_stay_so_above_the_limit_and_arrays_stay_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_as_arrays = 20 * 3 * 16 * 16
    for limit, expected in ((bytes_as_arrays, "arrays"), (bytes_as_arrays - 1, "encoded")):
        monkeypatch.setattr(storage, "MOST_BYTES", limit)
        assert choose_storage("auto", encoded(), FORMAT) == expected
        assert choose_storage("auto", NOISE, FORMAT) == "arrays"
    assert choose_storage("arrays", encoded(), FORMAT) == "arrays"
    assert choose_storage("encoded", NOISE, FORMAT) == "encoded"


def test_the_limit_is_not_this_machines_memory() -> None:
    assert storage.MOST_BYTES == 2**30


@pytest.mark.parametrize("image", [None, ImageFormat(size=12, channels=3), ImageFormat(size=8, channels=1)], ids=str)
def test_an_array_written_in_parts_is_the_file_that_numpy_writes(
    image: ImageFormat | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graftwork.labelled_arrays.CHUNK_BYTES", 1000)  # two images
    monkeypatch.setattr("graftwork.labelled_arrays.LEAST", 1)
    indices = np.array([6, 0, 2, 5, 1])
    write_array(tmp_path / "parts.npy", NOISE, indices, image)
    np.save(tmp_path / "whole.npy", NOISE[indices] if image is None else storage.conform(NOISE[indices], image))
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize("image", [ImageFormat(size=12, channels=3), ImageFormat(size=8, channels=1)], ids=str)
def test_arrays_that_are_encoded_lose_nothing(image: ImageFormat, tmp_path: Path) -> None:
    save_images(tmp_path, NOISE, image, "encoded")
    assert np.array_equal(storage.load_images(tmp_path)[:], storage.conform(NOISE, image))


def test_what_is_no_picture_is_not_encoded(tmp_path: Path) -> None:
    vectors = np.zeros((4, 10, 1, 1), np.float32)
    with pytest.raises(SettingsError, match=r"storage: encoded can't hold vectors of 10 features as float32"):
        save_images(tmp_path, vectors, ImageFormat(size=1, channels=10), "encoded")


def test_statistics_do_not_hang_on_the_parts_and_are_numpys() -> None:
    whole = statistics([NOISE])
    assert whole == statistics([NOISE[4:], NOISE[:1], NOISE[1:4]])
    assert whole[0] == (NOISE.mean(axis=(0, 2, 3)) / 255).round(6).tolist()
    assert whole[1] == (NOISE.std(axis=(0, 2, 3)) / 255).round(6).tolist()
    with pytest.raises(DataError, match="one flat colour"):
        statistics([np.full((3, 1, 4, 4), 77, np.uint8)] * 2)


def test_some_images_come_in_another_format_alike_from_either() -> None:
    raw = [RawImages(images, np.arange(20) % 2, ("a", "b")) for images in (decoded(pictures(20)), encoded())]
    small, chosen = ImageFormat(size=9, channels=1), np.array([2, 11, 5])
    arrays, stored = (in_format(labelled(one, np.arange(20)), chosen, small) for one in raw)
    assert isinstance(arrays, LabelledArrays) and isinstance(stored, LabelledArrays)
    assert torch.equal(arrays.images, stored.images) and arrays.images.shape == (3, 1, 9, 9)
    assert isinstance(in_format(labelled(raw[1], np.arange(20)), chosen, FORMAT), LabelledEncoded)


@pytest.mark.parametrize("name", ["images.bin", "offsets.npy", "format.json", "labels.npy"])
@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_damaged_split_is_an_error_of_the_workspace(name: str, damage: str, tmp_path: Path) -> None:
    save_split(tmp_path, encoded(), np.arange(20))
    file = tmp_path / name
    if damage == "short":
        file.write_bytes(file.read_bytes()[:-3])
    else:
        file.unlink()
    with pytest.raises(StateError):
        load_split(tmp_path)


def settings(kind: str, **changes: Any) -> Settings:
    """Return settings of a target of pictures, or of an archive."""
    target = {"validation": 12, "test": 12, "augmentation": ("flip", {"shift": {"pixels": 1}}), **changes}
    of_kind = {"dataset": "image_folder", "path": "photos"} if kind == "photos" else {}
    image = {"size": 16, "channels": 3} if kind == "photos" else {"size": 8, "channels": 1}
    return tiny_settings(image=image, target={**of_kind, **target})


def prepared(root: Path, kind: str, **changes: Any) -> tuple[Context, list[str]]:
    """Fetch and augment the target."""
    if kind == "photos":
        folders(root / "photos", 60)
    else:
        root.mkdir()
        archive(root / "target.npz", 1)
    telling = Telling()
    context = Context(settings(kind, **changes), REGISTRY, Layout(root), telling)
    run(context, ("fetch", "target"), ("augment", "target"))
    return context, telling.lines


@pytest.mark.parametrize("kind", ["photos", "archive"])
def test_either_storage_gives_the_same_splits_statistics_samples_and_batches(kind: str, tmp_path: Path) -> None:
    contexts = [prepared(tmp_path / way, kind, storage=way)[0] for way in ("arrays", "encoded")]
    cards = [read_json(context.layout.card("target")) for context in contexts]
    assert [card.pop("storage") for card in cards] == ["arrays", "encoded"] and cards[0] == cards[1]
    assert len({context.layout.samples("target").read_bytes() for context in contexts}) == 1
    for name in SPLITS:
        arrays, stored = (load_split(context.layout.split("target", name)) for context in contexts)
        assert isinstance(arrays, LabelledArrays) and isinstance(stored, LabelledEncoded)
        assert torch.equal(arrays.labels, stored.labels) and arrays.shape == stored.shape
        everything = torch.arange(len(arrays))
        assert torch.equal(arrays.batch(everything), stored.batch(everything))


def test_encoded_files_keep_their_bytes_from_the_folder_to_the_splits(tmp_path: Path) -> None:
    context, _ = prepared(tmp_path, "photos", storage="encoded")
    originals = {file.read_bytes() for file in (tmp_path / "photos").rglob("*.jpg")}
    kept = [load_split(context.layout.split("target", name)) for name in SPLITS]
    assert {data.images.encoded(n) for data in kept for n in range(len(data))} == originals  # type: ignore[attr-defined]
    assert not list((tmp_path / "data").rglob("images.npy"))


def test_the_choice_is_told_and_stands_on_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, lines = prepared(tmp_path / "small", "photos")
    assert lines[0] == "60 images of 2 classes from photos, stored as arrays of 0.0 MiB"
    assert read_json(context.layout.card("target"))["storage"] == "arrays"
    monkeypatch.setattr(storage, "MOST_BYTES", 1000)
    context, lines = prepared(tmp_path / "large", "photos")
    assert lines[0] == "60 images of 2 classes from photos, stored encoded; as arrays they would take 0.0 MiB"
    assert load_raw(context.layout.raw("target"))[1]["storage"] == "encoded"


def test_a_picture_in_two_splits_is_found_by_its_pixels_not_its_bytes(tmp_path: Path) -> None:
    for way in ("arrays", "encoded"):
        for number in range(20):
            for part, kind in (("train", "png"), ("test", "png")):
                file = tmp_path / way / "photos" / part / ("dark", "bright")[number % 2] / f"{number}.{kind}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(picture(number + 100 * (part == "test"), kind))
        (tmp_path / way / "photos/train/dark/twin.bmp").write_bytes(picture(104, "bmp"))
        chosen = settings("photos", test=None, validation=6, storage=way)
        context = Context(chosen, REGISTRY, Layout(tmp_path / way), Quiet())
        run(context, ("fetch", "target"))
        with pytest.raises(DataError, match="1 images stand in two splits"):
            run(context, ("augment", "target"))


JOINT: dict[str, Any] = {"scratch": (), "full_copy": ("full_copy",), "joint": ("full_copy", {"joint": {"images": 12}})}


def trained(root: Path, way: str) -> dict[str, bytes]:
    """Run all stages but the report on source and target stored one way; return what they made of the images."""
    chosen = tiny_settings(target={"storage": way}, strategies=JOINT, sweep={"labels_per_class": (2,)})
    source = chosen.data["source"].model_copy(update={"storage": way})
    chosen = chosen.model_copy(update={"data": {**chosen.data, "source": source}})
    context = workspace(root, chosen)
    run(context, ("score", "source"), ("recommend", ""), ("cells", "source-full_copy"))
    run(context, ("transfer", "joint"), ("finetune", "joint"))
    files = [*(root / "weights").rglob("*.safetensors"), *(root / "report").rglob("*.json")]
    cells = [{**row, "key": ""} for row in read_json(context.layout.cells("source", "full_copy"))]
    return {"cells": str(cells).encode()} | {str(file.relative_to(root)): file.read_bytes() for file in files}


def test_all_stages_give_the_same_weights_scores_and_cells_from_either(tmp_path: Path) -> None:
    arrays, stored = (trained(tmp_path / way, way) for way in ("arrays", "encoded"))
    assert len(arrays) >= 6 and arrays == stored


MEMORY = """
import sys
from pathlib import Path
from tests.core.test_storage import peak_bytes, train_on
few, many = Path(sys.argv[1]), Path(sys.argv[2])
train_on(few)
before = peak_bytes()
train_on(many)
print(peak_bytes() - before)
"""
FEW, MANY, SIZE = 160, 600, 192  # small pictures, brought to SIZE: quick to decode, large as arrays


def peak_bytes() -> int:
    """Return the most memory that this process had so far; ru_maxrss would count the parent's too."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def train_on(root: Path) -> None:
    """Fetch, augment and train on a folder of pictures, one epoch, encoded."""
    data = settings("photos", validation=50, test=50, storage="encoded").data["target"]
    chosen = settings("photos")
    short = chosen.pretrain.model_copy(update={"epochs": 1, "batch_size": 20})
    image, model = ImageFormat(size=SIZE, channels=3), chosen.model.model_copy(update={"settings": {"hidden": (4,)}})
    changes = {"data": {"source": data, "target": data}, "image": image, "pretrain": short, "model": model}
    context = Context(chosen.model_copy(update=changes), REGISTRY, Layout(root), Quiet())
    run(context, ("fetch", "source"), ("augment", "source"), ("pretrain", "source"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_set_trains_in_a_fraction_of_the_memory_that_it_would_take_as_arrays(tmp_path: Path) -> None:
    for name, count in (("few", FEW), ("many", MANY)):
        folders(tmp_path / name / "photos", count)
    arguments = [str(tmp_path / "few"), str(tmp_path / "many")]
    returning = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # so that what is freed isn't counted on
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, timeout=240, cwd=ROOT, env=returning
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    as_arrays = MANY * 3 * SIZE**2
    assert int(done.stdout) < as_arrays / 4, f"{int(done.stdout) / 2**20:.1f} MiB more of {as_arrays / 2**20:.0f} MiB"
