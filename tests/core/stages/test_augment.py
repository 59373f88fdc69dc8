"""Augment writes into the card, and says, what whoever trains on the data should know."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graftwork.errors import DataError
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.progress import Quiet
from graftwork.stages import Context
from graftwork.storage import load_split
from tests.core.pictures import picture
from tests.core.small import REGISTRY
from tests.core.tiny_workspace import run, tiny_settings


class Heard(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def prepared(root: Path, counts: Sequence[int], **target: Any) -> tuple[Context, Heard]:
    """Fetch and augment noise of 16 × 16 pixels, with so many images of each class."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(len(counts)), counts)
    noise = rng.integers(0, 120, (len(labels), 16, 16)) + 60 * labels[:, None, None]
    images = noise.astype(np.uint8)
    images[-1] = images[-2] + 1  # the same picture, a little brighter
    np.savez(root / "target.npz", images=images, labels=labels)
    heard = Heard()
    settings = tiny_settings(target=target, image={"size": 16, "channels": 1})
    context = Context(settings, REGISTRY, Layout(root), heard)
    run(context, ("fetch", "target"), ("augment", "target"))
    return context, heard


def test_uneven_classes_are_told_with_their_counts(tmp_path: Path) -> None:
    context, heard = prepared(tmp_path, [80, 20])
    card = read_json(context.layout.card("target"))
    train = card["splits"]["train"]
    assert any(f"{train[0]} of '0', {train[1]} of '1'" in line for line in heard.lines)


def test_look_alikes_of_another_split_are_in_the_card_and_told(tmp_path: Path) -> None:
    found = []
    for seed in range(6):
        root = tmp_path / str(seed)
        root.mkdir()
        context, heard = prepared(root, [30, 30])
        again = replace(context, settings=context.settings.model_copy(update={"seed": seed}))
        heard.lines.clear()
        run(again, ("augment", "target"))
        near = read_json(context.layout.card("target"))["near_duplicates"]
        pairs = [{pair["image"], pair["train"]} for alike in near.values() for pair in alike["first"]]
        assert pairs in ([], [{58, 59}])
        assert any("look like a training image" in line for line in heard.lines) == bool(pairs)
        found.append(bool(pairs))
    assert any(found), "in some splits the two stand apart"


def test_duplicates_and_look_alikes_of_a_folder_are_told_by_their_files(tmp_path: Path) -> None:
    photos, number = tmp_path / "photos", 0
    for split, count in (("train", 10), ("validation", 6), ("test", 6)):
        for _ in range(count):
            file = photos / split / ("dark", "bright")[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(number, "png", 16, 16))
            number += 1
    brighter = Image.open(photos / "train" / "bright" / "1.png").point(lambda level: min(255, level + 3))
    brighter.save(photos / "validation" / "bright" / "again.png")
    target = {"path": "photos", "dataset": "image_folder", "validation": None, "test": None}
    settings = tiny_settings(target=target, image={"size": 16, "channels": 3})
    context = Context(settings, REGISTRY, Layout(tmp_path), Heard())
    run(context, ("fetch", "target"), ("augment", "target"))
    near = read_json(context.layout.card("target"))["near_duplicates"]
    assert near["test"]["first"] == []
    (pair,) = near["validation"]["first"]
    assert (pair["image_name"], pair["train_name"]) == ("validation/bright/again.png", "train/bright/1.png")
    shutil.copyfile(photos / "train" / "dark" / "4.png", photos / "test" / "dark" / "twin.png")
    run(context, ("fetch", "target"))
    with pytest.raises(DataError, match=r"trained on: train/dark/4\.png and test/dark/twin\.png\n"):
        run(context, ("augment", "target"))


@pytest.mark.parametrize("name", ["stratified", "random", "k_center", "herding"])
def test_a_selection_gives_the_labels_to_its_own_images(name: str, tmp_path: Path) -> None:
    context, _ = prepared(tmp_path, [40, 40], labels=8, selection=name)
    train = load_split(context.layout.split("target", "train"))
    assert len(train) == 8 and set(train.labels.tolist()) == {0, 1}
