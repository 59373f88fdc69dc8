"""Write a model as timm keeps models on a hub: config.json beside model.safetensors.

The configuration is written here, not by timm's `save_for_hf`, which would hand on what the architecture's own
pretrained weights are like: their tag, their licence, their preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graftwork.agreement import difference, plain_machine, probe
from graftwork.engine import Normalise
from graftwork.errors import WeightsError
from graftwork.files import write_json
from graftwork.release import Release
from graftwork.torchvision_operators import define_missing
from graftwork.weights import save_weights

WEIGHTS, CONFIG = "model.safetensors", "config.json"
MOST_DIFFERENCE = 1e-6  # of the greatest logit: the same operations on the same weights


def is_timms(model: nn.Module) -> bool:
    """Tell whether timm can build this model by name."""
    named = getattr(model, "pretrained_cfg", None)
    return named is not None and bool(_timm().is_model(str(named.get("architecture"))))


def write_weights(folder: Path, release: Release, model: nn.Module) -> None:
    """Write the weights, which carry their contract, and the configuration: timm's for its models, else our own."""
    save_weights(folder / WEIGHTS, release.tensors, release.passport())
    write_json(folder / CONFIG, _timms_config(release, model) if is_timms(model) else _own_config(release))
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # safetensors writes for the owner alone


def verify_in_timm(folder: Path, release: Release, model: nn.Module) -> float:
    """Load the folder as a stranger would, and return how far its logits are off, as a share of the greatest.

    Raises WeightsError where timm can't load it, or the logits aren't the same.
    """
    create: Callable[..., nn.Module] = _timm().create_model
    try:
        loaded = create(f"local-dir:{folder}", pretrained=True)
    except (RuntimeError, TypeError, ValueError, KeyError, OSError) as error:
        raise _refused(f"timm can't load what was written: {error}") from error
    found = difference(_logits(loaded.eval(), release), _logits(model, release))
    if not found <= MOST_DIFFERENCE:
        raise _refused(f"timm loads a model whose logits differ by {found:.1e} of the greatest")
    return found


def _timm() -> Any:
    define_missing()
    import timm

    return timm


def _refused(what: str) -> WeightsError:
    return WeightsError(
        what,
        expected="the same logits",
        fix="graftwork export --format onnx; please report it with the model's name",
    )


@torch.inference_mode()
def _logits(model: nn.Module, release: Release) -> Tensor:
    logits: Tensor = model(Normalise(release.contract, plain_machine())(probe(release.contract)))
    return logits


def _timms_config(release: Release, model: nn.Module) -> dict[str, Any]:
    """Return what timm reads: architecture, arguments, classes, and the input that these weights know."""
    contract, named = release.contract, dict(model.pretrained_cfg)  # type: ignore[arg-type]  # timm's attribute
    fixed = bool(named.get("fixed_input_size"))
    arguments = {"in_chans": contract.channels, **contract.model.get("settings", {}).get("options", {})}
    if fixed:
        arguments.setdefault("img_size", contract.size)
    return {
        "architecture": named["architecture"],
        "num_classes": len(contract.classes),
        "num_features": model.num_features,
        "label_names": list(contract.classes),
        "model_args": arguments,
        "pretrained_cfg": {
            **_input_of(release),
            "custom_load": False,
            "fixed_input_size": fixed,
            "crop_pct": 1.0,  # the centred square, all of it
            "crop_mode": "center",
            "num_classes": len(contract.classes),
            "pool_size": None,
            "first_conv": named.get("first_conv"),
            "classifier": named.get("classifier"),
        },
    }


def _own_config(release: Release) -> dict[str, Any]:
    """Return the same of a model that timm doesn't know."""
    return {
        "library": "graftwork",
        "model": release.contract.model,
        "num_classes": len(release.contract.classes),
        "label_names": list(release.contract.classes),
        **_input_of(release),
    }


def _input_of(release: Release) -> dict[str, Any]:
    contract = release.contract
    return {
        "input_size": [contract.channels, contract.size, contract.size],
        "interpolation": contract.interpolation,
        "mean": list(contract.mean),
        "std": list(contract.std),
    }
