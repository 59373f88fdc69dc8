"""Vectors go through the whole pipeline as images of one pixel, without losing a bit or a scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from graftwork.adaptation import Adaptation
from graftwork.channel_statistics import statistics
from graftwork.desk import Desk
from graftwork.engine import Normalise
from graftwork.errors import DataError, SettingsError, WeightsError
from graftwork.files import read_json
from graftwork.findings import find
from graftwork.images import RawImages, conform
from graftwork.labelled_arrays import LabelledArrays
from graftwork.layout import Layout
from graftwork.models import build_model
from graftwork.progress import Quiet
from graftwork.rehearsal import rehearse
from graftwork.settings import ImageFormat, Settings
from graftwork.splits import split_images
from graftwork.stages import Context, stages
from graftwork.stages.augment import augment
from graftwork.storage import load_split, save_split
from graftwork.vectors import CELL, SHOWN, heat_map
from graftwork_plugins.mlp import MLP
from graftwork_plugins.origins.synthetic import Synthetic
from tests.core.small import CONTRACT, DATA, REGISTRY, SETTINGS, STRATIFIED, TRAINING
from tests.core.tiny import MACHINE

FORMAT = ImageFormat(size=1, channels=4)
SCALES = np.array([1e-6, 1.0, 1e4, 1e-3])


def vectors(count: int = 50, seed: int = 0) -> NDArray[np.float32]:
    """Return features of four scales and places; the last is constant."""
    draws = np.random.default_rng(seed).normal(3, 1, (count, 4)) * SCALES
    draws[:, 3] = 0.7
    return draws.astype(np.float32)[:, :, None, None]


def normaliser(values: NDArray[np.float32]) -> Normalise:
    mean, std = statistics(np.array_split(values, 3))
    contract = CONTRACT.model_copy(update={"mean": mean, "std": std, "size": 1, "channels": len(mean)})
    return Normalise(contract, MACHINE)


def test_normalised_features_have_mean_0_and_deviation_1_whatever_their_scale() -> None:
    values = vectors()
    normalised = normaliser(values)(torch.from_numpy(values))[:, :, 0, 0]
    assert normalised.mean(dim=0).abs().max() < 1e-4
    torch.testing.assert_close(normalised.std(dim=0, correction=0)[:3], torch.ones(3), atol=1e-4, rtol=0)


def test_a_feature_that_is_constant_becomes_zero_and_a_new_value_its_difference() -> None:
    values = vectors()
    shown = values[:2].copy()
    shown[1, 3] += 0.25
    normalised = normaliser(values)(torch.from_numpy(shown))[:, 3, 0, 0]
    torch.testing.assert_close(normalised, torch.tensor([0.0, 0.25]), atol=1e-5, rtol=0)


def test_vectors_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(DataError, match="vectors are the same"):
        statistics([np.full((9, 4, 1, 1), 2.5, dtype=np.float32)])


def test_normalising_spares_the_vectors() -> None:
    values = vectors()
    held = torch.from_numpy(values.copy())
    normaliser(values)(held[3:9])
    assert np.array_equal(held.numpy(), values)


def test_a_split_of_vectors_comes_back_to_the_bit_and_each_bit_counts(tmp_path: Path) -> None:
    values = vectors()
    save_split(tmp_path, values, np.arange(50))
    loaded = load_split(tmp_path)
    assert isinstance(loaded, LabelledArrays) and np.array_equal(loaded.images.numpy(), values)
    other = loaded.images.clone()
    other[0, 1] = torch.nextafter(other[0, 1], torch.tensor(1e9))
    assert LabelledArrays(other, loaded.labels).sha256() != loaded.sha256()


def test_vectors_conform_as_they_are_and_no_others_do() -> None:
    values = vectors()
    assert np.array_equal(conform(values, FORMAT), values)
    for image in (ImageFormat(size=1, channels=5), ImageFormat(size=8, channels=4)):
        with pytest.raises(SettingsError, match="The data has 4 features"):
            conform(values, image)


def test_pictures_are_given_no_other_channels_than_grey_and_colour() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 5, 9, 9), dtype=np.uint8)
    assert np.array_equal(conform(pictures, ImageFormat(size=9, channels=5)), pictures)
    with pytest.raises(DataError, match="5 channels can't be made 9 × 9 pixels, colour"):
        conform(pictures, ImageFormat(size=9, channels=3))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (vectors().astype(np.float64), "The images are float64"),
        (np.zeros((50, 3, 8, 8), np.float32), r"float32 of shape \(50, 3, 8, 8\)"),
        (np.zeros((50, 4), np.float32), r"float32 of shape \(50, 4\)"),
        (np.where(vectors() > 3e4, np.nan, vectors()), "hold NaN or infinity"),
    ],
)
def test_other_numbers_are_refused_when_a_dataset_returns_them(images: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        RawImages(images, np.arange(50) % 2, ("a", "b")).check("here")


def test_the_same_vector_in_two_splits_is_found() -> None:
    values = vectors()
    values[30] = values[0]
    split = np.repeat(["train", "validation", "test"], [20, 10, 20])
    raw = RawImages(values, np.arange(50) % 2, ("a", "b"), split)
    settings = SETTINGS.data["target"].model_copy(update={"validation": None, "test": None})
    with pytest.raises(DataError, match="1 images stand in two splits"):
        split_images(raw, settings, 0, "here", STRATIFIED)


def test_a_heat_map_spans_each_feature_and_greys_what_is_constant() -> None:
    drawn = heat_map(vectors())
    assert drawn.shape == (50 * CELL, 4 * CELL) and drawn.dtype == np.uint8
    columns = drawn[::CELL, ::CELL]
    assert columns.min(axis=0).tolist() == [0, 0, 0, 128] and columns.max(axis=0).tolist() == [255, 255, 255, 128]
    assert heat_map(np.zeros((2, 3000, 1, 1), np.float32)).shape == (2, 3000)


@pytest.mark.parametrize(("here", "there"), [((1, 4), (1, 5)), ((1, 3), (32, 3)), ((8, 1), (1, 64))])
def test_vectors_of_other_lengths_are_never_made_to_fit(here: tuple[int, int], there: tuple[int, int]) -> None:
    model = torch.nn.Linear(1, 1)
    source = CONTRACT.model_copy(update={"size": there[0], "channels": there[1]})
    with pytest.raises(WeightsError, match="The source's data is .*, the target's "):
        Adaptation(model, ImageFormat(size=here[0], channels=here[1]), source, "auto")


def test_the_perceptron_is_what_it_was_and_may_do_without_batch_normalisation() -> None:
    image = ImageFormat(size=2, channels=3)
    plain = MLP(hidden=(5,)).build(2, image)
    assert list(plain.state_dict())[:2] == ["trunk.1.0.weight", "trunk.1.1.weight"]
    without = MLP(hidden=(5, 4), batch_norm=False).build(2, image)
    assert [type(layer).__name__ for layer in without.trunk[1]] == ["Linear", "ReLU", "Dropout"]  # type: ignore[union-attr, index]
    assert "trunk.1.0.bias" in without.state_dict() and without(torch.zeros(1, 3, 2, 2)).shape == (1, 2)
    assert MLP(hidden=()).build(2, image)(torch.zeros(1, 3, 2, 2)).shape == (1, 2)


STRATEGIES: dict[str, Any] = {
    "scratch": (), "full_copy": ("full_copy",), "lwf": ("full_copy", "lwf"),
    "joint": ("full_copy", {"joint": {"images": 12}}),
}  # fmt: skip


def settings(source: int = 6, augmentation: tuple[Any, ...] = ()) -> Settings:
    image = {"size": 1, "channels": source}
    data = {**DATA, "dataset": "vectors", "validation": 40, "test": 120, "augmentation": augmentation}
    return Settings.model_validate(
        {
            **SETTINGS.model_dump(), "image": {"size": 1, "channels": 6},
            "model": {"mlp": {"hidden": (32, 16), "batch_norm": False}},
            "data": {
                "source": {**data, "path": "source/vectors.npz", "image": image},
                "target": {**data, "path": "target/vectors.csv"},
            },
            "pretrain": {**TRAINING, "epochs": 10, "batch_size": 40}, "finetune": {**TRAINING, "epochs": 2},
            "strategies": STRATEGIES,
        }
    )  # fmt: skip


def obtained(root: Path, chosen: Settings) -> Context:
    """Return a workspace in which the origin has written its files."""
    kinds = {"source": Synthetic(6, 3, 1200, format="npz"), "target": Synthetic(6, 3, 240, task=1)}
    for name, plugin in kinds.items():
        (root / name).mkdir()
        plugin.obtain(root / name, Desk(None, root, Quiet()))
    return Context(chosen, REGISTRY, Layout(root), Quiet())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A workspace in which all stages have run."""
    context = obtained(tmp_path_factory.mktemp("vectors"), settings())
    rehearse(context.settings, REGISTRY)
    run = stages()
    for stage, item in [(stage, data) for data in ("source", "target") for stage in ("fetch", "augment")]:
        run[stage](context, item)
    for stage, item in (("pretrain", "source"), ("score", "source"), ("recommend", "")):
        run[stage](context, item)
    for strategy in STRATEGIES:
        run["transfer"](context, strategy)
        run["finetune"](context, strategy)
    run["report"](context, "")
    return context


def test_the_pipeline_ends_with_a_report_on_every_strategy(done: Context) -> None:
    found = find(done.settings, REGISTRY, done.layout)
    assert [one.name for one in found.strategies] == list(STRATEGIES)
    assert found.source_accuracy is not None and found.source_accuracy > 0.6  # a third is chance
    page = (done.layout.report / "report.html").read_text(encoding="utf-8")
    assert "A row for each, a column for each feature" in page


def test_prepared_vectors_are_the_files_numbers_and_are_shown_as_cells(done: Context) -> None:
    train = load_split(done.layout.split("target", "train"))
    assert isinstance(train, LabelledArrays)
    assert train.images.dtype == torch.float32 and train.images.shape == (80, 6, 1, 1)
    rows = {tuple(row) for row in np.loadtxt(done.layout.root / "target/vectors.csv", delimiter=",", skiprows=1)[:, :6]}
    assert all(tuple(row) in rows for row in train.images[:, :, 0, 0].double().tolist())
    with Image.open(done.layout.samples("target")) as drawn:
        assert drawn.size == (6 * CELL, SHOWN * CELL) and drawn.mode == "L"


def test_the_scores_of_a_source_of_vectors_are_had(done: Context) -> None:
    scores = read_json(done.layout.score("source"))["scores"]
    assert {name for name, value in scores.items() if value} >= {"logme", "leep", "knn_accuracy"}


def test_a_source_of_other_features_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(WeightsError, match="The source's data is vectors of 7 features, the target's vectors of 6"):
        rehearse(settings(source=7), REGISTRY)


@pytest.mark.parametrize("name", ["flip", "shift", "rotate"])
def test_augmentations_of_pictures_are_refused_before_anything_is_trained(tmp_path: Path, name: str) -> None:
    context = obtained(tmp_path, settings(augmentation=(name,)))
    stages()["fetch"](context, "target")
    with pytest.raises(SettingsError, match=f"augmentation '{name}' is for pictures"):
        augment(context, "target")


def test_a_model_reads_vectors_as_they_were_written(done: Context) -> None:
    model = build_model(done.settings, REGISTRY, 3, seed=0)
    images, _ = next(load_split(done.layout.split("target", "test")).batches(120))
    answer: Tensor = model(images)
    assert answer.shape == (120, 3) and torch.isfinite(answer).all()
