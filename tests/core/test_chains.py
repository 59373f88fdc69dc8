"""A chain of layers finds its counterparts by order, and equal answers are computed, not believed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graftwork.chains import Chain, Layer, names_by_order, parity, with_own_epsilon
from graftwork.errors import WeightsError
from graftwork.settings import ImageFormat

IMAGE = ImageFormat(size=4, channels=1)
LAYERS = (Layer("convolution", "0"), Layer("norm", "1", epsilon=1e-3), Layer("linear", "4"))


def model(epsilon: float = 1e-3, outputs: int = 3, groups: int = 1) -> nn.Sequential:
    """Return a net whose own names differ from the chain's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = nn.Sequential(
            nn.Identity(), nn.Conv2d(1, 2, 3, groups=groups), nn.ReLU(), nn.BatchNorm2d(2, eps=epsilon), nn.Flatten(),
            nn.Linear(8, outputs),
        )  # fmt: skip
        nn.init.uniform_(found[3].running_var, 1e-4, 1e-3)
    return found


def tensors(net: nn.Sequential) -> dict[str, Tensor]:
    own = {"1": "0", "3": "1", "5": "4"}
    return {f"{own[name[0]]}{name[1:]}": tensor.clone() for name, tensor in net.state_dict().items()}


def chain(net: nn.Sequential) -> Chain:
    def answer(images: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.inference_mode():
            return net.eval()(torch.from_numpy(images)).double().numpy()  # type: ignore[no-any-return]

    return Chain(LAYERS, answer, cautions=("the stride",))


def test_layers_find_their_counterparts_by_order() -> None:
    names = names_by_order(chain(model()), tensors(model()), model(), "here")
    assert names["0.weight"] == "1.weight" and names["1.running_var"] == "3.running_var" and names["4.bias"] == "5.bias"


@pytest.mark.parametrize("other", [model(outputs=4), nn.Sequential(*reversed(model())), nn.Sequential(nn.ReLU())])
def test_other_layers_are_refused_with_both_chains_in_full(other: nn.Module) -> None:
    with pytest.raises(WeightsError, match=r"In the file: convolution 2×1×3×3, norm 2, linear 3×8\. In the model: "):
        names_by_order(chain(model()), tensors(model()), other, "here")


def test_another_epsilon_goes_into_the_variance_and_answers_stay_equal() -> None:
    there, here = model(epsilon=1e-3), model(epsilon=1e-5)
    names = names_by_order(chain(there), tensors(there), here, "here")
    here.load_state_dict(with_own_epsilon(chain(there), tensors(there), names, here))
    assert parity(chain(there), here, IMAGE, "here")["greatest_difference"] == pytest.approx(0, abs=1e-6)
    here.load_state_dict(there.state_dict())
    with pytest.raises(WeightsError, match="differ by up to"):
        parity(chain(there), here, IMAGE, "here")


def test_a_model_that_answers_otherwise_is_refused_with_what_to_look_at() -> None:
    there, here = model(), model()
    here[2] = nn.Identity()
    with pytest.raises(WeightsError, match="What to look at: the stride"):
        parity(chain(there), here, IMAGE, "here")


def test_answers_of_another_shape_or_nan_are_refused() -> None:
    with pytest.raises(WeightsError, match="its answers are 8×4, the file's 8×3"):
        parity(chain(model()), model(outputs=4), IMAGE, "here")
    broken = model()
    nn.init.constant_(broken[5].bias, torch.nan)
    with pytest.raises(WeightsError):
        parity(chain(model()), broken, IMAGE, "here")
