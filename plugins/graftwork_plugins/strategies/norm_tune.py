"""Norm tuning: train normalisation's scales and shifts, and the head (Frankle et al., ICLR 2021, arXiv 2003.00152)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graftwork.anatomy import batch_norms, norm_parameters
from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.strategy import TargetModel


@dataclass(frozen=True)
class NormTune:
    """Freeze everything but normalisation and the head; its running statistics follow the target, or stay (`eval`)."""

    batch_norm: Literal["update", "eval"] = "update"

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Freeze the rest. Raises SettingsError for a model without normalisation."""
        norms = norm_parameters(target.model)
        if not norms:
            raise SettingsError("norm_tune needs normalisation layers, and the model has none", fix="use bitfit")
        for name, parameter in target.model.named_parameters():
            if name not in norms and name not in target.head:
                parameter.requires_grad_(False)

    @hookimpl
    def epoch_started(self, target: TargetModel) -> None:
        """Hold the statistics where so set."""
        for norm in batch_norms(target.model) if self.batch_norm == "eval" else []:
            norm.eval()
