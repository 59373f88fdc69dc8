"""A strategy for Graftwork in a package of its own: freeze what is narrow, train the rest."""

from __future__ import annotations

from dataclasses import dataclass

from graftwork.hookspecs import hookimpl
from graftwork.registry import Registry
from graftwork.strategy import TargetModel


@dataclass(frozen=True)
class BiasTuning:
    """Train the head and every bias and norm, nothing else (BitFit; Zaken et al., ACL 2022, arXiv 2106.10199)."""

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Freeze matrices and kernels outside the head."""
        for name, parameter in target.model.named_parameters():
            parameter.requires_grad_(name in target.head or parameter.ndim <= 1)


@hookimpl
def register_plugins(register: Registry) -> None:
    """Offer the strategy's part."""
    register.strategy("bias_tuning", BiasTuning)
