"""A rehearsal tells what share of the parameters a stack trains, or that it can't be trained."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from graftwork.errors import SettingsError, WeightsError
from graftwork.hookspecs import hookimpl
from graftwork.models import build_model, head_tensors
from graftwork.registry import load_plugins
from graftwork.rehearsal import rehearse, rehearse_stack, rehearse_sweep
from graftwork.settings import Settings, Use
from graftwork.strategy import TargetModel
from tests.core.small import DATA, REGISTRY
from tests.core.tiny_workspace import tiny_settings

SETTINGS = tiny_settings()


def share(*uses: object) -> float:
    return rehearse_stack(SETTINGS, REGISTRY, "candidate", tuple(Use.model_validate(use) for use in uses))


def test_what_freezes_nothing_trains_all_and_a_frozen_trunk_leaves_the_head() -> None:
    model = build_model(SETTINGS, REGISTRY, classes=2, seed=0)
    head = head_tensors(model)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert share() == share("full_copy") == share("full_copy", "l2_sp") == 1.0
    expected = sum(size for name, size in sizes.items() if name in head) / sum(sizes.values())
    assert share("full_copy", {"freeze": {"until": "head"}}) == pytest.approx(expected)


def test_an_adapter_is_counted_with_the_head() -> None:
    assert share("full_copy", "freeze") < share("full_copy", "lora") < 1.0


def test_a_stack_that_trains_nothing_is_refused_by_its_name() -> None:
    @dataclass(frozen=True)
    class Stone:
        """Freezes all."""

        @hookimpl
        def prepare_model(self, target: TargetModel) -> None:
            target.model.requires_grad_(False)

    registry = load_plugins()
    registry.strategy("stone", Stone)
    with pytest.raises(SettingsError, match="'candidate' leaves nothing to train") as raised:
        rehearse_stack(SETTINGS, registry, "candidate", [Use.model_validate(name) for name in ("full_copy", "stone")])
    assert raised.value.where == "params.yaml, key strategies.candidate"


@pytest.mark.parametrize("stack", [("full_copy", "delta"), ("full_copy", "full_copy"), ("lwf", "unknown")])
def test_what_this_model_or_no_model_can_train_is_a_settings_error(stack: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError):
        share(*stack)


def test_a_plugin_that_stands_in_a_stack_twice_is_told_by_its_name() -> None:
    for again in ("full_copy", {"full_copy": {"head": "zero"}}):
        with pytest.raises(SettingsError, match="FullCopy stands there twice"):
            share("full_copy", again)


def test_a_rehearsal_leaves_no_trace() -> None:
    assert share("full_copy", "lora") == share("full_copy", "lora")
    assert share() == 1.0


def two_sources(
    *swept: str, image: dict[str, int] | None = None, own: dict[str, int] | None = None, imported: bool = True
) -> Settings:
    """Return settings with a second source, imported or not; `image` is its images' format, `own` the other data's."""
    data = {"source": {**DATA, "image": own}, "target": {**DATA, "image": own}}
    import_of = {"there": {"weights": "safetensors", "path": "x", "image": image}} if imported else {}
    return tiny_settings(
        ("source", "there"), data=data if imported else {**data, "there": {**DATA, "image": image}},
        imports=import_of, sweep={"strategies": ("scratch", *swept)},
    )  # fmt: skip


def test_a_sweep_of_a_strategy_that_needs_images_is_refused_where_of_a_source_there_are_weights_alone() -> None:
    rehearse(two_sources("full_copy", "joint"), REGISTRY)  # a run takes them from the first
    rehearse_sweep(two_sources("full_copy", "lwf"), REGISTRY)
    rehearse_sweep(two_sources("full_copy", "joint", imported=False), REGISTRY)
    with pytest.raises(SettingsError, match="Of the source 'there' there are weights alone") as raised:
        rehearse_sweep(two_sources("full_copy", "joint"), REGISTRY)
    assert raised.value.where == "params.yaml, key imports.there"


@pytest.mark.parametrize(("imported", "key"), [(True, "imports.there.image"), (False, "data.there.image")])
def test_a_candidate_that_can_not_be_adapted_is_refused_by_its_key(imported: bool, key: str) -> None:
    of_vectors = two_sources("full_copy", image={"size": 1, "channels": 6}, imported=imported)
    with pytest.raises(WeightsError, match="The source's data is vectors of 6 features") as raised:
        rehearse(of_vectors, REGISTRY)
    assert raised.value.where == f"params.yaml, key {key}"


def test_an_imported_first_source_is_named_by_its_own_key() -> None:
    chosen = two_sources("full_copy", image={"size": 12, "channels": 1})
    first = chosen.model_copy(update={"sources": ("there", "source"), "strategies": {"full_copy": _full_copy()}})
    with pytest.raises(WeightsError, match="Missing in the source") as raised:
        rehearse(first, REGISTRY)
    assert raised.value.where == "params.yaml, key imports.there.image"
    with pytest.raises(WeightsError, match="Missing in the source") as raised:
        rehearse_sweep(chosen, REGISTRY)
    assert raised.value.where == "params.yaml, key imports.there.image"


def _full_copy() -> tuple[Use, ...]:
    return (Use.model_validate("full_copy"),)
