"""Full copy: start from every source tensor that fits, train everything (the usual fine-tuning)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from graftwork.hookspecs import hookimpl
from graftwork.strategy import SourceModel


@dataclass(frozen=True)
class FullCopy:
    """Start from all of the source's tensors but its head."""

    head: bool = False  # carry the head over too, where its shape fits

    @hookimpl
    def choose_weights(self, source: SourceModel) -> dict[str, Tensor]:
        """Offer every tensor, buffers included; the head only when asked for."""
        return {name: t for name, t in source.tensors.items() if self.head or name not in source.head}
