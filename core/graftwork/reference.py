"""The source model, made to read the target's images."""

from __future__ import annotations

from torch import Tensor

from graftwork.adaptation import Adaptation
from graftwork.errors import WeightsError
from graftwork.models import build_model
from graftwork.registry import Registry
from graftwork.settings import Settings
from graftwork.weights import InputContract


def for_target(
    settings: Settings, registry: Registry, tensors: dict[str, Tensor], contract: InputContract
) -> tuple[dict[str, Tensor], InputContract]:
    """Return the source model's tensors and contract for images of the target's format.

    Where the formats are equal, both are returned as they are. Raises WeightsError for a tensor that can't be adapted.
    """
    image = settings.image_of("target")
    if (contract.size, contract.channels) == (image.size, image.channels):
        return tensors, contract
    model = build_model(settings, registry, len(contract.classes), seed=0)
    adaptation = Adaptation(model, image, contract, settings.transfer.channels)
    adapted = {}
    for name, wanted in model.state_dict().items():
        fitted, why = adaptation.fit(name, tensors[name], wanted)
        if fitted is None:
            raise WeightsError(
                f"The source model can't read the target's images: {name} can't be adapted ({why})",
                where="its weights", expected="a tensor that hangs on the image in a known way",
                fix="set the image of all data to null, or take strategies that don't need the source while they train",
            )  # fmt: skip
        adapted[name] = fitted
    changes = {"size": image.size, "channels": image.channels, **adaptation.normalisation()}
    return adapted, contract.model_copy(update=changes)
