"""BitFit: train biases and the head alone (Ben Zaken, Goldberg, Ravfogel, ACL 2022, arXiv 2106.10199)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graftwork.anatomy import batch_norms
from graftwork.hookspecs import hookimpl
from graftwork.strategy import TargetModel


@dataclass(frozen=True)
class BitFit:
    """Freeze everything but biases and the head; batch normalisation keeps its statistics."""

    excludes: ClassVar[tuple[str, ...]] = ("NormTune",)

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Freeze the rest."""
        for name, parameter in target.model.named_parameters():
            if name not in target.head and name.rpartition(".")[2] != "bias":
                parameter.requires_grad_(False)

    @hookimpl
    def epoch_started(self, target: TargetModel) -> None:
        """Hold the statistics: only their shifts train."""
        for norm in batch_norms(target.model):
            norm.eval()
