"""Feature extraction: scikit-learn's logistic regression on the frozen trunk's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from graftwork.hookspecs import hookimpl
from graftwork.linear_heads import logistic_head
from graftwork.strategy import Phase, TargetModel
from graftwork.training_run import Outcome


@dataclass(frozen=True)
class FeatureExtract:
    """Compute the features of the training images once, without augmentation, and fit the head to them."""

    excludes: ClassVar[tuple[str, ...]] = ("WiSEFT",)
    strength: Annotated[float, Field(gt=0)] = 1.0  # scikit-learn's C: the inverse of the regularisation

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Freeze the trunk."""
        for name, parameter in target.model.named_parameters():
            parameter.requires_grad_(name in target.head)

    @hookimpl
    def phases(self) -> list[Phase]:
        """Train nothing by steps."""
        return []

    @hookimpl
    def training_ended(self, outcome: Outcome) -> None:
        """Fit the head; where `class_weights` or `sampling` is balanced, every class counts the same."""
        run, last = outcome.run, outcome.run.target.classifier()
        features = run.features(run.target.model, run.train)
        labels = run.train.labels
        weight, bias = logistic_head(features, labels, last.out_features, self.strength, run.class_weights)
        names = {id(parameter): name for name, parameter in run.target.model.named_parameters()}
        outcome.tensors = {**outcome.tensors, names[id(last.weight)]: weight, names[id(last.bias)]: bias}
