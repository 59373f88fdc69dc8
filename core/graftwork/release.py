"""A fine-tuned model on its way out: its weights, what they expect, and what validation said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from graftwork.errors import SettingsError, StateError, WeightsError, did_you_mean
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.registry import Registry
from graftwork.settings import ImageFormat, Use
from graftwork.stages import Context
from graftwork.weights import InputContract, load_weights


@dataclass(frozen=True)
class Release:
    """One seed's weights of a strategy, with the contract that says where they are from."""

    strategy: str
    seed: int
    tensors: dict[str, Tensor]
    contract: InputContract
    temperature: float  # fitted on validation: what logits are divided by
    validation_accuracy: float

    def passport(self) -> InputContract:
        """Return the contract for a place outside the workspace: what stands in files beside it here goes along."""
        own = {
            "strategy": self.strategy,
            "seed": self.seed,
            "temperature": self.temperature,
            "validation_accuracy": self.validation_accuracy,
        }
        return self.contract.model_copy(update={"provenance": {**self.contract.provenance, **own}})


def choose_release(context: Context, strategy: str | None, seed: int | None) -> Release:
    """Return a model of the last run: by default of the strategy, and the seed, that validated best.

    Raises StateError where nothing was run, or the weights are newer than the report; SettingsError for a name or
    a seed that there isn't.
    """
    name = _known(context, strategy) if strategy else _chosen(context.layout)
    selection = _selection(context.layout, name)
    if seed is None:
        seed = max(selection, key=lambda found: float(selection[found]["validation_accuracy"]))
    if seed not in selection:
        raise SettingsError(
            f"The strategy {name} has no seed {seed}", where=str(context.layout.tuned(name)),
            expected=f"one of: {', '.join(map(str, selection))}", fix="leave --seed out for the best on validation",
        )  # fmt: skip
    return _release(context.layout, name, seed, selection[seed])


def every_release(context: Context, strategy: str | None) -> list[Release]:
    """Return the models of all seeds of a strategy. Raises as `choose_release` does."""
    name = _known(context, strategy) if strategy else _chosen(context.layout)
    selection = _selection(context.layout, name)
    return [_release(context.layout, name, seed, chosen) for seed, chosen in selection.items()]


def rebuild(registry: Registry, tensors: dict[str, Tensor], contract: InputContract, where: str) -> nn.Module:
    """Return the model that the contract names, with these weights, in evaluation mode on the CPU.

    Raises PluginError where no installed plugin builds it, WeightsError where it no longer fits.
    """
    try:
        plugin = registry.create("model", Use.model_validate({contract.model["name"]: contract.model["settings"]}))
        with torch.random.fork_rng(devices=[]):
            model: nn.Module = plugin.build(len(contract.classes), image_format(contract))
        model.load_state_dict(tensors)
    except (RuntimeError, KeyError, ValidationError) as error:
        raise WeightsError(
            f"The weights don't fit the model that they name: {error}", where=where,
            expected="the versions of graftwork and timm that wrote them", fix="install these, or export anew",
        ) from None  # fmt: skip
    return model.eval()


def image_format(contract: InputContract) -> ImageFormat:
    """Return what images the contract asks for."""
    return ImageFormat.model_validate({"size": contract.size, "channels": contract.channels})


def _known(context: Context, strategy: str) -> str:
    names: Sequence[str] = tuple(context.settings.strategies)
    if strategy not in names:
        raise SettingsError(
            f"Unknown strategy {strategy!r}", where="--strategy", expected=f"one of: {', '.join(names)}",
            fix=did_you_mean(strategy, names) or "name one of params.yaml",
        )  # fmt: skip
    return strategy


def _chosen(layout: Layout) -> str:
    """Return the strategy that validation chose, as the report tells."""
    found = _report(layout)
    name = str(found["chosen"])
    accuracies = [float(one["validation_accuracy"]) for one in _selection(layout, name).values()]
    if not math.isclose(sum(accuracies) / len(accuracies), found["strategies"][name]["validation_accuracy"]):
        raise StateError("The weights are newer than the report", where=str(layout.report), fix="graftwork run")
    return name


def _report(layout: Layout) -> dict[str, Any]:
    path = layout.report / "metrics.json"
    if not path.is_file():
        raise StateError("Nothing was run here yet", where=str(path), fix="graftwork run, or dvc pull")
    found: dict[str, Any] = read_json(path)
    return found


def _selection(layout: Layout, name: str) -> dict[int, dict[str, Any]]:
    path = layout.tuned(name) / "selection.json"
    if not path.is_file():
        raise StateError(f"The strategy {name} wasn't run yet", where=str(path), fix="graftwork run, or dvc pull")
    return {int(seed): chosen for seed, chosen in read_json(path).items()}


def _release(layout: Layout, name: str, seed: int, chosen: dict[str, Any]) -> Release:
    path: Path = layout.tuned(name) / f"seed-{seed}.safetensors"
    tensors, contract = load_weights(path)
    return Release(name, seed, tensors, contract, float(chosen["temperature"]), float(chosen["validation_accuracy"]))
