"""Models are built from a seed alone, and say what their head is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graftwork.errors import SettingsError
from graftwork.models import build_model, head_tensors
from graftwork.settings import ImageFormat, Settings, Use
from tests.core.small import REGISTRY, SETTINGS
from tests.core.tiny import different

TINY = {"channels": 1, "size": 32}


def settings(model: Use, **image: int) -> Settings:
    """Return settings of which building a model reads these two."""
    return SETTINGS.model_copy(update={"model": model, "image": ImageFormat(**TINY | image)})  # type: ignore[arg-type]


def timm_model(name: str, **options: object) -> Use:
    return Use.model_validate({"timm": {"name": name, "options": options}})


def build(use: Use, classes: int = 3, seed: int = 0, **image: int) -> nn.Module:
    return build_model(settings(use, **image), REGISTRY, classes, seed)


HEADS = [
    (timm_model("test_resnet"), {"fc.weight", "fc.bias"}),
    (timm_model("test_vit"), {"head.weight", "head.bias"}),
    (Use.model_validate("mlp"), {"head.weight", "head.bias"}),
    (Use.model_validate("lenet"), {"head.weight", "head.bias"}),
    (Use.model_validate("small_cnn"), {"head.weight", "head.bias"}),
]


@pytest.mark.parametrize(("use", "head"), HEADS)
def test_the_head_is_what_answers_with_a_number_for_each_class(use: Use, head: set[str]) -> None:
    model = build(use, classes=7)
    assert head_tensors(model) == head
    shapes = {name: tensor.shape[0] for name, tensor in model.state_dict().items() if name in head}
    assert set(shapes.values()) == {7}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("use", [use for use, _ in HEADS])
def test_a_model_takes_the_images_that_are_set(use: Use, channels: int) -> None:
    model = build(use, channels=channels).eval()
    assert model(torch.zeros(2, channels, 32, 32)).shape == (2, 3)


def test_the_source_may_have_images_of_its_own() -> None:
    own = SETTINGS.data["source"].model_copy(update={"image": ImageFormat(size=64, channels=3)})
    both = settings(timm_model("test_vit")).model_copy(update={"data": {**SETTINGS.data, "source": own}})
    assert (both.image_of("source").size, both.image_of("target").size) == (64, 32)
    assert build_model(both, REGISTRY, 3, 0, images="source")(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    assert build_model(both, REGISTRY, 3, 0)(torch.zeros(2, 1, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize("use", [use for use, _ in HEADS])
def test_weights_depend_on_the_seed_alone(use: Use) -> None:
    first = build(use, seed=1).state_dict()
    torch.rand(5)
    assert different(first, build(use, seed=1).state_dict()) == []
    assert different(first, build(use, seed=2).state_dict()) != []


def test_building_leaves_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    build(HEADS[0][0])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_trunk_is_the_same_whatever_the_number_of_classes() -> None:
    few, many = build(Use.model_validate("mlp"), classes=2), build(Use.model_validate("mlp"), classes=9)
    trunks = [{k: t for k, t in m.state_dict().items() if k not in head_tensors(m)} for m in (few, many)]
    assert different(*trunks) == []


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="no model 'test_resnett'") as raised:
        build(timm_model("test_resnett"))
    assert raised.value.fix == "Did you mean test_resnet?"


def test_an_option_that_a_model_does_not_take_is_refused() -> None:
    with pytest.raises(SettingsError, match="timm can't build test_resnet"):
        build(timm_model("test_resnet", no_such_option=1))
