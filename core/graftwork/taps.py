"""Catch what flows through a model while it trains: the head's input, and what its stages give."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from graftwork.errors import SettingsError

MOST_STAGES = 4  # of a model with many blocks, so many are watched, evenly spread, the last among them


class Taps:
    """Holds the newest catch of the watched modules."""

    def __init__(self) -> None:
        self._caught: dict[str, Tensor] = {}
        self._stages: list[str] = []

    def __deepcopy__(self, _memo: dict[int, Any]) -> Taps:
        """Stay empty in the copy of a model: catches belong to the original's graph."""
        return Taps()

    @property
    def features(self) -> Tensor | None:
        """What the head got last (batch, features); None where it isn't watched."""
        return self._caught.get("head")

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """What the watched stages gave last, from the image on."""
        return tuple(self._caught[name] for name in self._stages)

    def watch_features(self, model: nn.Module) -> RemovableHandle:
        """Catch the input of the model's classifier, until the handle is removed."""

        def catch(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._caught["head"] = inputs[0]

        handle: RemovableHandle = model.get_classifier().register_forward_pre_hook(catch)  # type: ignore[operator]
        return handle

    def watch_stages(self, model: nn.Module) -> None:
        """Catch the outputs of the model's stages, as timm's `feature_info` names them."""
        self._stages = _watched(model)
        for name in self._stages:
            self._watch(model.get_submodule(name), name)

    def _watch(self, module: nn.Module, name: str) -> None:
        def catch(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._caught[name] = output

        module.register_forward_hook(catch)


def stage_channels(model: nn.Module) -> list[int]:
    """Return the number of channels of each stage that `watch_stages` watches."""
    channels = {entry["module"]: int(entry["num_chs"]) for entry in model.feature_info}  # type: ignore[union-attr]
    return [channels[name] for name in _watched(model)]


def _watched(model: nn.Module) -> list[str]:
    names = stage_names(model)
    return names[:: -max(1, len(names) // MOST_STAGES)][:MOST_STAGES][::-1]


def stage_names(model: nn.Module) -> list[str]:
    """Return the names of the modules that end a stage, from the image on. Raises SettingsError for unknown ones."""
    info = getattr(model, "feature_info", None) or []
    names = [entry["module"] for entry in info if entry["module"]]
    if not names:
        raise SettingsError(
            f"{type(model).__name__} doesn't tell where its stages are", expected="timm's feature_info",
            fix="use one of timm's models, or a strategy that needs no stages",
        )  # fmt: skip
    return names
