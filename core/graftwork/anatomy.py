"""Ask a model about its parts: how deep a parameter lies, which parameters are norms', what is batch normalisation.

No layer is known by name: timm's `group_matcher` and `get_classifier` tell. A model that has no matcher is taken
child by child.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from graftwork.models import head_tensors


def depths(model: nn.Module) -> dict[str, int]:
    """Return each parameter's depth: 0 for the stem, one more for each stage, the head's the greatest."""
    head = head_tensors(model)
    trunk = [name for name, _ in model.named_parameters() if name not in head]
    found = _by_matcher(model) if hasattr(model, "group_matcher") else _by_children(trunk)
    order = {depth: place for place, depth in enumerate(sorted({found[name] for name in trunk}))}
    shallow = {name: order[found[name]] for name in trunk}
    return {name: shallow.get(name, len(order)) for name, _ in model.named_parameters()}


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the model's batch normalisation layers."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def hold_frozen_batch_norms(model: nn.Module) -> None:
    """Put those batch norms into evaluation mode whose parameters are frozen, so that their statistics stay."""
    for norm in batch_norms(model):
        if not any(parameter.requires_grad for parameter in norm.parameters()):
            norm.eval()


def norm_parameters(model: nn.Module) -> frozenset[str]:
    """Return the names of the scales and shifts of all normalisation layers, batch, layer, group or other."""
    norms = {name for name, module in model.named_modules() if "Norm" in type(module).__name__}
    return frozenset(name for name, _ in model.named_parameters() if name.rpartition(".")[0] in norms)


def _by_matcher(model: nn.Module) -> dict[str, int]:
    from timm.models import group_parameters

    found: dict[str, int] = group_parameters(model, model.group_matcher(coarse=True), reverse=True)  # type: ignore[operator]
    return found


def _by_children(names: list[str]) -> dict[str, int]:
    """Number the parts that the first two components of the names tell apart, in their order."""
    parts = list(dict.fromkeys(_part(name) for name in names))
    return {name: parts.index(_part(name)) for name in names}


def _part(name: str) -> str:
    return ".".join(name.split(".")[:-1][:2])
