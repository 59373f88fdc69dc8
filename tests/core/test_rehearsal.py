"""A rehearsal tells what share of the parameters a stack trains, or that it can't be trained."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.models import build_model, head_tensors
from graftwork.registry import load_plugins
from graftwork.rehearsal import rehearse_stack
from graftwork.settings import Use
from graftwork.strategy import TargetModel
from tests.core.small import REGISTRY
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
