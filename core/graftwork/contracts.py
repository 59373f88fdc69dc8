"""Make the input contract of a model that is trained here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graftwork.settings import Settings
from graftwork.weights import InputContract


def contract_for(settings: Settings, data: str, card: Mapping[str, Any], head: frozenset[str]) -> InputContract:
    """Return the contract for the prepared data that `card` describes."""
    image = settings.image_of(data)
    return InputContract(
        model=settings.model.model_dump(mode="json"),
        classes=tuple(card["classes"]),
        mean=tuple(card["mean"]),
        std=tuple(card["std"]),
        size=image.size,
        channels=image.channels,
        head=tuple(sorted(head)),
        provenance={
            "data": data,
            "dataset": card["dataset"],
            "training_images": sum(card["splits"]["train"]),
            "graftwork": settings.versions["graftwork"],
        },
    )


def provenance_of(source: InputContract, strategy: str) -> dict[str, Any]:
    """Return the provenance of weights that a strategy took from a source."""
    return {"strategy": strategy, "source": {**source.provenance, "classes": list(source.classes)}}
