"""Predicting is what the evaluation does: the same preprocessing, weights and temperature; bad files are named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from graftwork.calibration import scaled
from graftwork.choice import default_choice
from graftwork.engine import prepare
from graftwork.errors import DataError, SettingsError, StateError, WeightsError
from graftwork.evaluation import Evaluation
from graftwork.export import export
from graftwork.files import read_json, write_json
from graftwork.prediction import Answer, Refusal, answers, pictures
from graftwork.predictors import Ensemble, TorchPredictor, from_release, open_model
from graftwork.release import Release, choose_release, every_release
from graftwork.stages import Context
from graftwork.storage import load_split
from graftwork.weights import InputContract
from tests.core.exports import MLP, STORY, release
from tests.core.small import CONTRACT, REGISTRY
from tests.core.tiny_workspace import run, tiny_settings, workspace


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A workspace with two seeds of a strategy, and what the report says of it."""
    settings = tiny_settings(strategies={"scratch": (), "full_copy": ("full_copy",)})
    context = workspace(tmp_path_factory.mktemp("computed"), settings)
    run(context, ("recommend", ""), ("transfer", "full_copy"), ("finetune", "full_copy"))
    selection = read_json(context.layout.tuned("full_copy") / "selection.json").values()
    mean = sum(one["validation_accuracy"] for one in selection) / len(selection)
    chosen = {"chosen": "full_copy", "strategies": {"full_copy": {"validation_accuracy": mean}}}
    write_json(context.layout.report / "metrics.json", chosen)
    return context


@pytest.fixture(scope="module")
def photos(computed: Context) -> Path:
    """The test images as PNG files, named in their order."""
    folder = computed.layout.root / "photos"
    folder.mkdir()
    for number, pixels in enumerate(load_split(computed.layout.split("target", "test")).images.numpy()):
        Image.fromarray(pixels[0]).save(folder / f"{number:03}.png")
    return folder


def predictor_of(context: Context, found: Release) -> TorchPredictor:
    return from_release(found, context.registry, prepare(default_choice(context.settings.engine)))


def probabilities(found: Sequence[Answer | Refusal]) -> Tensor:
    assert all(isinstance(one, Answer) for one in found)
    return torch.tensor([one.probabilities for one in found if isinstance(one, Answer)], dtype=torch.float64)


@pytest.mark.parametrize("seed", [0, 1])
def test_files_get_the_probabilities_of_the_evaluation(seed: int, computed: Context, photos: Path) -> None:
    layout = computed.layout
    evaluation = Evaluation.begin(computed.settings, computed.registry, layout)
    _, plain, _ = evaluation._ask(layout.tuned("full_copy") / f"seed-{seed}.safetensors")
    temperature = read_json(layout.tuned("full_copy") / "selection.json")[str(seed)]["temperature"]
    found = list(answers(predictor_of(computed, choose_release(computed, "full_copy", seed)), [photos], batch=7))
    torch.testing.assert_close(probabilities(found), scaled(plain, temperature), rtol=0, atol=1e-6)
    assert temperature != 1.0


def test_an_export_answers_without_its_workspace(computed: Context, photos: Path, tmp_path: Path) -> None:
    chosen = choose_release(computed, None, None)
    story = replace(STORY, images=dict.fromkeys(STORY.images, (1, 2)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graftwork.export.missing_packages", lambda: ["onnx"])
        export(chosen, story, REGISTRY, "all", tmp_path / "x")
    inside = probabilities(list(answers(predictor_of(computed, chosen), [photos])))
    for name in ("", "model.safetensors"):
        outside = probabilities(list(answers(open_model(tmp_path / "x" / name, REGISTRY), [photos])))
        torch.testing.assert_close(outside, inside, rtol=0, atol=1e-6)


def test_onnx_answers_what_the_weights_answer(exported: Path, photos: Path) -> None:
    weights, onnx = (open_model(exported / name, REGISTRY) for name in ("model.safetensors", "model.onnx"))
    expected, found = (probabilities(list(answers(predictor, [photos]))) for predictor in (weights, onnx))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx"])
def test_a_flipped_bit_is_found(name: str, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    _damage(folder / name)
    with pytest.raises(WeightsError, match="damaged.*sha256") as raised:
        open_model(folder / name, REGISTRY)
    assert raised.value.fix.startswith("graftwork export")  # what DVC doesn't know it can't bring back


def _damage(file: Path) -> None:
    stored = bytearray(file.read_bytes())
    stored[len(stored) // 2] ^= 1
    file.write_bytes(stored)


def test_by_default_the_seed_that_validated_best_answers(computed: Context) -> None:
    selection = read_json(computed.layout.tuned("full_copy") / "selection.json")
    best = max(selection.values(), key=lambda one: one["validation_accuracy"])["validation_accuracy"]
    chosen = choose_release(computed, None, None)
    assert (chosen.strategy, chosen.validation_accuracy) == ("full_copy", best)


def test_an_ensemble_answers_the_mean_of_its_seeds(computed: Context, photos: Path) -> None:
    members = [predictor_of(computed, one) for one in every_release(computed, None)]
    assert len(members) == 2
    alone = [probabilities(list(answers(member, [photos]))) for member in members]
    together = probabilities(list(answers(Ensemble(members), [photos])))
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)


@pytest.mark.parametrize(
    ("strategy", "seed", "error", "text"),
    [
        ("fullcopy", None, SettingsError, "Unknown strategy"),
        ("full_copy", 7, SettingsError, "no seed 7"),
        ("scratch", None, StateError, "wasn't run"),
    ],
)
def test_a_model_that_there_is_not_is_told(
    strategy: str, seed: int | None, error: type[Exception], text: str, computed: Context
) -> None:
    with pytest.raises(error, match=text):
        choose_release(computed, strategy, seed)


def test_a_report_that_is_older_than_the_weights_chooses_nothing(computed: Context) -> None:
    path = computed.layout.report / "metrics.json"
    before = read_json(path)
    write_json(path, {**before, "strategies": {"full_copy": {"validation_accuracy": 0.123}}})
    with pytest.raises(StateError, match="newer than the report"):
        choose_release(computed, None, None)
    write_json(path, before)


class Bright:
    """Answer how bright an image is, and remember how many came at once."""

    contract: InputContract = CONTRACT

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        light = images.double().mean(dim=(1, 2, 3)) / 255
        return torch.stack([1 - light, light], dim=1)


def grey(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 30), value).save(path)
    return path


def test_bad_files_are_refused_and_the_rest_is_answered_in_order(tmp_path: Path) -> None:
    good = [grey(tmp_path / f"{name}.png", value) for name, value in (("a", 0), ("c", 255), ("e", 51))]
    (tmp_path / "b.png").touch()
    (tmp_path / "d.jpg").write_text("<html>")
    found = list(answers(Bright(), [tmp_path, tmp_path / "missing.png", good[0]], batch=2))
    assert [one.file.name for one in found] == ["a.png", "b.png", "c.png", "d.jpg", "e.png", "missing.png", "a.png"]
    refused = {one.file.name: one.why for one in found if isinstance(one, Refusal)}
    assert refused == {"b.png": "empty file", "d.jpg": "not an image", "missing.png": "there is no such file"}
    told = [one for one in found if isinstance(one, Answer)]
    assert [one.probabilities[1] for one in told] == pytest.approx([0.0, 1.0, 0.2, 0.0])
    assert told[1].best == (1, 0)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "bomb.png")
    (found,) = answers(Bright(), [tmp_path])
    assert isinstance(found, Refusal) and "10000×10000" in found.why


def test_no_more_than_a_batch_is_in_memory(tmp_path: Path) -> None:
    for number in range(7):
        grey(tmp_path / f"{number}.png", number)
    bright = Bright()
    first = next(asked := answers(bright, [tmp_path], batch=3))
    assert first.file.name == "0.png" and bright.batches == [3]
    assert len(list(asked)) == 6 and bright.batches == [3, 3, 1]


def test_folders_are_walked_in_a_fixed_order_and_links_do_not_lead_out(tmp_path: Path) -> None:
    outside = grey(tmp_path / "outside.png", 1)
    root = tmp_path / "root"
    grey(root / "b" / "1.png", 1)
    grey(root / "a" / "2.PNG", 1)
    grey(root / ".hidden" / "3.png", 1)
    (root / "notes.txt").touch()
    (root / "b" / "loop").symlink_to(root)
    (root / "link.png").symlink_to(outside)
    (root / "within.png").symlink_to(root / "b" / "1.png")
    found = list(pictures([root]))
    assert [one.file.name for one in found if isinstance(one, Refusal)] == ["link.png"]
    assert [str(one.relative_to(root)) for one in found if isinstance(one, Path)] == [
        "within.png",
        "a/2.PNG",
        "b/1.png",
    ]


def test_a_folder_that_may_not_be_read_is_refused_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.png", "b/2.png", "b/deep/3.png", "c/4.png"):
        grey(tmp_path / name, 1)
    closed, scandir = {str(tmp_path / "b"), str(tmp_path / "c")}, os.scandir

    def refusing(path: str) -> Any:  # the tests may run as root, who may read anything
        if str(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    why = "the folder can't be read: Permission denied"
    expected = [tmp_path / "a" / "1.png", *(Refusal(tmp_path / name, why) for name in ("b", "c"))]
    assert list(pictures([tmp_path])) == expected
    assert list(pictures([tmp_path / "b"])) == [Refusal(tmp_path / "b", why)]


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    good = grey(tmp_path / "good.png", 1)
    circle, other = pictures([tmp_path])
    assert isinstance(circle, Refusal) and circle.file.name == "circle.png"
    assert other == good


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    long, good = tmp_path / ("x" * 300), grey(tmp_path / "good.png", 1)
    assert list(pictures([long, good])) == [Refusal(long, "File name too long"), good]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert list(pictures([tmp_path])) == [Refusal(tmp_path, "the folder holds no pictures")]


def test_a_model_of_vectors_reads_no_pictures(tmp_path: Path) -> None:
    bright = Bright()
    bright.contract = CONTRACT.model_copy(update={"size": 1, "channels": 10})
    with pytest.raises(DataError, match="vectors of 10 features"):
        next(answers(bright, [tmp_path]))


def test_what_is_no_export_is_told(computed: Context, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no model"):
        open_model(tmp_path, REGISTRY)
    with pytest.raises(WeightsError, match="temperature"):
        open_model(computed.layout.tuned("full_copy") / "seed-0.safetensors", REGISTRY)
    (tmp_path / "model.onnx").write_bytes(b"\x00" * 64)
    with pytest.raises(WeightsError, match="can't read"):
        open_model(tmp_path, REGISTRY)


def test_a_model_that_no_plugin_builds_is_told(tmp_path: Path) -> None:
    mlp = release(MLP, size=8)
    wrong = replace(mlp, contract=mlp.contract.model_copy(update={"model": {"name": "mlp"}}))
    with pytest.raises(WeightsError, match="don't fit"):
        export(wrong, STORY, REGISTRY, "timm", tmp_path / "x")
    unknown = replace(mlp, contract=mlp.contract.model_copy(update={"model": {"name": "mlpp", "settings": {}}}))
    with pytest.raises(SettingsError, match="Unknown model"):
        export(unknown, STORY, REGISTRY, "timm", tmp_path / "x")
