"""A source of colour images of 32×32 helps a target of grey ones of 28×28, through all stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graftwork.choice import default_choice
from graftwork.engine import Normalise, predict, prepare
from graftwork.errors import WeightsError
from graftwork.files import read_json
from graftwork.findings import find
from graftwork.labelled_arrays import LabelledArrays
from graftwork.layout import Layout
from graftwork.models import build_model
from graftwork.progress import Quiet
from graftwork.rehearsal import rehearse
from graftwork.settings import Settings
from graftwork.stages import Context, stages
from graftwork.stages.source_kit import load_source
from graftwork.storage import load_split
from graftwork.weights import load_weights
from tests.core.small import DATA, REGISTRY, SETTINGS, TRAINING

STRATEGIES: dict[str, Any] = {
    "scratch": (), "full_copy": ("full_copy",), "lwf": ("full_copy", "lwf"), "delta": ("full_copy", "delta"),
    "joint": ("full_copy", {"joint": {"images": 12}}),
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {"test_resnet": {}, "test_vit": {"patch_size": 4}}
STEMS = {"test_resnet": "conv1.0.weight", "test_vit": "patch_embed.proj.weight"}


def settings(model: Any, **transfer: Any) -> Settings:
    short = {**TRAINING, "epochs": 1}
    return Settings.model_validate(
        {
            **SETTINGS.model_dump(), "image": {"size": 28, "channels": 1}, "model": model,
            "data": {
                "source": {**DATA, "path": "source.npz", "image": {"size": 32, "channels": 3}},
                "target": {**DATA, "path": "target.npz"},
            },
            "pretrain": short, "finetune": short, "strategies": STRATEGIES,
            "transfer": {"minimum_coverage": 0.9} | transfer,
        }
    )  # fmt: skip


def archive(path: Path, classes: int, size: int, colours: int) -> None:
    """Write noise, each class of another brightness; colour images show the same in every channel."""
    rng = np.random.default_rng(size)
    labels = np.arange(48) % classes
    grey = rng.integers(0, 100, (48, size, size, 1), dtype=np.uint8) + (50 * labels[:, None, None, None]).astype("u1")
    np.savez(path, images=np.repeat(grey, colours, axis=3), labels=labels)


@dataclass(frozen=True)
class Done:
    """A workspace in which everything but the report has run."""

    context: Context
    stem: str

    def manifest(self, strategy: str) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.context.layout.start(strategy) / "manifest.json")
        return found


@pytest.fixture(scope="module", params=MODELS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    root = tmp_path_factory.mktemp(request.param)
    archive(root / "source.npz", 3, 32, colours=3)
    archive(root / "target.npz", 2, 28, colours=1)
    chosen = settings({"timm": {"name": request.param, "options": MODELS[request.param]}})
    rehearse(chosen, REGISTRY)
    context = Context(chosen, REGISTRY, Layout(root), Quiet())
    run = stages()
    for stage, item in [(stage, data) for data in ("source", "target") for stage in ("fetch", "augment")]:
        run[stage](context, item)
    run["pretrain"](context, "source")
    run["score"](context, "source")
    run["recommend"](context, "")
    for strategy in STRATEGIES:
        run["transfer"](context, strategy)
        run["finetune"](context, strategy)
    return Done(context, STEMS[request.param])


def test_each_has_images_of_its_own_format(done: Done) -> None:
    splits = [load_split(done.context.layout.split(data, "train")) for data in ("source", "target")]
    assert [split.images.shape[1:] for split in splits] == [(3, 32, 32), (1, 28, 28)]


def test_the_whole_trunk_comes_over_and_the_manifest_says_how(done: Done) -> None:
    manifest = done.manifest("full_copy")
    assert manifest["coverage"] == 1.0
    adapted = {fate["name"]: fate["why"] for fate in manifest["tensors"] if fate["kind"] == "adapted"}
    assert adapted.pop(done.stem) == "input channels 3 → 1: summed, and spread evenly"
    assert list(adapted.values()) in ([], ["position embeddings resampled from 8×8 to 7×7 patches"])
    assert bool(adapted) == ("patch" in done.stem)


def test_the_target_is_normalised_as_the_source_but_scratch_as_itself(done: Done) -> None:
    layout = done.context.layout
    _, source = load_weights(layout.source_weights("source") / "model.safetensors")
    for name in STRATEGIES:
        _, start = load_weights(layout.start(name) / "start.safetensors")
        card = read_json(layout.card("target"))
        assert (start.size, start.channels) == (28, 1)
        assert start.mean == pytest.approx(card["mean"] if name == "scratch" else source.mean[:1])


def test_a_strategys_source_model_answers_grey_images_as_the_source_does_in_colour(done: Done) -> None:
    context, machine = done.context, prepare(default_choice(done.context.settings.engine))
    tensors, contract = load_weights(context.layout.source_weights("source") / "model.safetensors")
    original = build_model(context.settings, REGISTRY, 3, seed=0, images="source")
    original.load_state_dict(tensors)
    _, adapted = load_weights(context.layout.start("lwf") / "source.safetensors")
    known = load_source(context, context.layout.start("lwf"), machine)
    assert known is not None and (adapted.size, adapted.channels, len(adapted.mean)) == (28, 1, 1)
    grey = load_split(context.layout.split("target", "train"))
    if "patch" not in done.stem:  # a convolutional net takes any size; a transformer's grid is another
        colour = LabelledArrays(grey.images.expand(-1, 3, -1, -1), grey.labels)
        expected = predict(original, colour, Normalise(contract, machine), machine)
        torch.testing.assert_close(predict(known.reference(), grey, Normalise(adapted, machine), machine), expected)
    assert known.reference()(torch.zeros(2, 1, 28, 28)).shape == (2, 3)


def test_replayed_source_images_are_brought_to_the_targets_format(done: Done) -> None:
    assert load_split(done.context.layout.start("joint") / "source_images").images.shape == (12, 1, 28, 28)


def test_what_was_trained_is_evaluated_on_the_targets_images(done: Done) -> None:
    found = find(done.context.settings, REGISTRY, done.context.layout)
    assert [one.name for one in found.strategies] == list(STRATEGIES)


def test_a_source_that_can_not_be_adapted_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(WeightsError, match=r"Missing in the source: trunk\.1\.0\.weight 256×784") as raised:
        rehearse(settings("mlp"), REGISTRY)
    assert raised.value.where == "params.yaml, key data.source.image"


def test_the_way_of_the_settings_is_the_one_that_is_taken(done: Done) -> None:
    context = done.context
    model = context.settings.model.model_dump()
    way = settings({"timm": model["settings"]}, channels="mean")
    other = Context(way, REGISTRY, context.layout, Quiet())
    stages()["transfer"](other, "delta")
    reasons = {fate["name"]: fate["why"] for fate in done.manifest("delta")["tensors"]}
    assert reasons[done.stem] == "input channels 3 → 1: their mean for each"
