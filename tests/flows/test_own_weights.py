"""Weights that were trained elsewhere are named with their own images, and only such as there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.errors import SettingsError
from graftwork.registry import load_plugins
from graftwork_flows.own_weights import Weights, find_weights

REGISTRY = load_plugins()


def found(source: str, model: str | None = None) -> Weights:
    """Return the weights that a source names."""
    weights = find_weights(source, model, Path("/nowhere"), REGISTRY)
    assert weights is not None
    return weights


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("convnext_tiny", 224),
        ("convnext_tiny.in12k_ft_in1k_384", 384),
        ("convnext_tiny.in12k_ft_in1k_384@main", 384),
        ("hf-hub:timm/convnext_tiny.in12k_ft_in1k_384", 384),
    ],
)
def test_a_tag_tells_the_images(name: str, size: int) -> None:
    weights = found(f"timm:{name}")
    assert f"image: {{size: {size}, channels: 3}}" in weights.entry and weights.model == "convnext_tiny"


def test_a_files_name_may_tell_the_tag_too(tmp_path: Path) -> None:
    for name, size in (("convnext_tiny.in12k_ft_in1k_384", 384), ("convnext_tiny.mine", 224)):
        (tmp_path / f"{name}.safetensors").write_bytes(b"looked at later")
        assert f"size: {size}" in found(str(tmp_path / f"{name}.safetensors")).entry
    other = found(str(tmp_path / "convnext_tiny.in12k_ft_in1k_384.safetensors"), "resnet18")
    assert "size: 224" in other.entry and other.model == "resnet18"


def test_a_tag_that_timm_does_not_know_is_refused_with_those_that_it_does() -> None:
    with pytest.raises(SettingsError, match=r"'resnet18\.a1_in1q'") as error:
        found("timm:resnet18.a1_in1q")
    assert "Did you mean resnet18.a1_in1k?" in error.value.fix and "resnet18.tv_in1k" in error.value.expected
    with pytest.raises(SettingsError, match="Unknown model 'resnet81'"):
        found("timm:resnet81", "resnet18")


def test_of_a_strangers_repository_the_model_must_be_said_and_can_be() -> None:
    with pytest.raises(SettingsError, match="doesn't tell of what model") as error:
        found("timm:hf-hub:someone/my-finetune")
    assert "--model" in error.value.fix
    weights = found("timm:hf-hub:someone/my-finetune@v2", "resnet18")
    assert weights.model == "resnet18" and "hf-hub:someone/my-finetune@v2" in weights.origin
    assert found("timm:hf-hub:someone/resnet18.mine").model == "resnet18"
    with pytest.raises(SettingsError, match="Unknown model 'resnet81'"):
        found("timm:hf-hub:someone/my-finetune", "resnet81")
