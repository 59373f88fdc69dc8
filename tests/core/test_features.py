"""What a model makes of images is computed batch by batch, and leaves the model as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graftwork.engine import Normalise, predict
from graftwork.features import extract
from tests.core.tiny import CONTRACT, MACHINE, copied, different, stripes, tiny_net

NORMALISE = Normalise(CONTRACT, MACHINE)


def test_features_are_what_the_head_gets_and_probabilities_what_it_makes_of_them() -> None:
    model, data = tiny_net(), stripes(10)
    found = extract(model, data, NORMALISE, MACHINE)
    assert found.features.shape == (10, 96) and found.probabilities.shape == (10, 3)
    assert found.features.dtype == found.probabilities.dtype == torch.float32
    torch.testing.assert_close(model.head(found.features).softmax(dim=1), found.probabilities)
    torch.testing.assert_close(found.probabilities, predict(model, data, NORMALISE, MACHINE).float())
    assert not found.features.requires_grad


@pytest.mark.parametrize("batch_size", [1, 3, 10, 11])
def test_batches_change_nothing(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes(10)
    whole = extract(tiny_net(), data, NORMALISE, MACHINE)
    monkeypatch.setattr("graftwork.features.at_once", lambda _: batch_size)
    parts = extract(tiny_net(), data, NORMALISE, MACHINE)
    torch.testing.assert_close(parts.features, whole.features)
    torch.testing.assert_close(parts.probabilities, whole.probabilities)


def test_the_models_weights_statistics_modes_and_hooks_are_left_as_they_were() -> None:
    model = tiny_net().train()
    model.norm.eval()
    before = copied(model)
    first, second = (extract(model, stripes(10), NORMALISE, MACHINE) for _ in range(2))
    assert torch.equal(first.features, second.features), "dropout is off"
    assert different(model.state_dict(), before) == []
    assert {name for name, module in model.named_modules() if not module.training} == {"norm"}
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_that_is_half_precision_gives_single_precision() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = tiny_net().bfloat16()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(images.bfloat16())
            return logits

        def get_classifier(self) -> nn.Module:
            return self.model.head

    found = extract(Half(), stripes(4), NORMALISE, MACHINE)
    assert found.features.dtype == found.probabilities.dtype == torch.float32
