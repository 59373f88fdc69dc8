"""Full copy: start from every source tensor that fits, train everything (the usual fine-tuning)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from graftwork.hookspecs import hookimpl
from graftwork.linear_heads import class_mean_head, logistic_head
from graftwork.seeds import generator
from graftwork.source import SourceModel
from graftwork.training_run import Run


@dataclass(frozen=True)
class FullCopy:
    """Start from all of the source's tensors but its head.

    `head` says how the head begins: `default` as the model draws it; `source` the source's own, where it fits;
    `by_name` the source's rows of the classes with equal names, or names that `synonyms` (target: source) makes
    equal, other rows zero; `zero`; `trunc_normal` with a deviation of 0.02; `class_mean` and `linear_probe`, fitted
    to the training images' features.
    """

    head: Literal["default", "source", "by_name", "zero", "trunc_normal", "class_mean", "linear_probe"] = "default"
    synonyms: Mapping[str, str] = field(default_factory=dict)

    @hookimpl
    def choose_weights(self, source: SourceModel, classes: tuple[str, ...]) -> dict[str, Tensor]:
        """Offer every tensor, buffers included; of the head what the setting says."""
        if self.head == "source":
            return dict(source.tensors)
        trunk = {name: tensor for name, tensor in source.tensors.items() if name not in source.head}
        return trunk | self._rows_by_name(source, classes) if self.head == "by_name" else trunk

    @hookimpl
    def training_started(self, run: Run) -> None:
        """Set the head."""
        if self.head not in ("zero", "trunc_normal", "class_mean", "linear_probe"):
            return
        last = run.target.classifier()
        with torch.no_grad():
            for parameter, value in zip((last.weight, last.bias), self._values(run), strict=True):
                parameter.copy_(value)

    def _values(self, run: Run) -> tuple[Tensor, Tensor]:
        weight, bias = (torch.zeros(p.shape) for p in (run.target.classifier().weight, run.target.classifier().bias))
        if self.head == "trunc_normal":
            draws = generator(torch.device("cpu"), run.seed, "head")
            torch.nn.init.trunc_normal_(weight, std=0.02, generator=draws)
        if self.head in ("zero", "trunc_normal"):
            return weight, bias
        fit = class_mean_head if self.head == "class_mean" else logistic_head
        features = run.features(run.target.model, run.train)
        return fit(features, run.train.labels, len(weight), class_weights=run.class_weights)

    def _rows_by_name(self, source: SourceModel, classes: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the head's tensors with one row a target class; zero where the source doesn't know the class."""
        names = {name.casefold(): row for row, name in enumerate(source.classes)}
        rows = [names.get(self.synonyms.get(name, name).casefold(), -1) for name in classes]
        result = {}
        for name in source.head:
            tensor = source.tensors[name]
            result[name] = torch.stack([tensor[row] if row >= 0 else torch.zeros_like(tensor[0]) for row in rows])
        return result if max(rows, default=-1) >= 0 else {}
