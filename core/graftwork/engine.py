"""On what a model runs: device, threads, precision and memory format."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graftwork.choice import Choice
from graftwork.errors import StateError
from graftwork.images import LabelledImages
from graftwork.memory import in_portions
from graftwork.weights import InputContract

PIXELS_AT_ONCE, LEAST_AT_ONCE, MOST_AT_ONCE = 2**21, 16, 256  # so that asking takes less memory than training


@dataclass(frozen=True)
class Machine:
    """A device with its arithmetic; made by `prepare`."""

    device: torch.device
    autocast: bool
    memory_format: torch.memory_format
    compile: bool = False  # the forward pass of training
    side_by_side: int = 1  # trainings that go on at once, each on as many threads as set

    def place(self, model: nn.Module) -> nn.Module:
        """Move a model to the device, in the memory format."""
        return model.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload,no-any-return]

    def precision(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which a model is called."""
        if not self.autocast:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def compiled(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return what answers as the model does in training, compiled at its first call where that was chosen."""
        return torch.compile(model, dynamic=False) if self.compile else model


def prepare(choice: Choice) -> Machine:
    """Set threads and determinism as was chosen, and return the machine. Raises StateError where it isn't here.

    The number of threads decides the bits of the results on a CPU: it is recorded, and kept on other machines.
    """
    if choice.device == "cuda" and not torch.cuda.is_available():
        raise StateError(
            "A GPU was chosen to train on, but torch sees none here", expected="the kind of machine of the choice",
            fix="graftwork measure, which chooses anew: trainings start over",
        )  # fmt: skip
    torch.set_num_threads(choice.threads)
    torch.backends.cudnn.deterministic = True
    channels_last = choice.memory_format == "channels_last"
    return Machine(
        torch.device(choice.device),
        autocast=choice.precision == "bfloat16",
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
        compile=choice.compile,
        side_by_side=choice.side_by_side,
    )


def watched(model: nn.Module) -> bool:
    """Tell whether somebody sees what flows through a model; hooks that came later a compiled one doesn't call."""
    return any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


class Normalise:
    """Turn images or vectors (N, C, H, W), uint8 or float32, into what the contract says the model expects."""

    def __init__(self, contract: InputContract, machine: Machine) -> None:
        shape = (1, -1, 1, 1)
        mean = torch.tensor(contract.mean, device=machine.device).view(shape)
        std = torch.tensor(contract.std, device=machine.device).view(shape)
        self._scale, self._offset = 1 / (255 * std), mean / std
        self._memory_format = machine.memory_format

    def __call__(self, images: Tensor) -> Tensor:
        """Return (images / 255 − mean) / std as float32, in the machine's memory format."""
        scaled = images.to(torch.float32, memory_format=self._memory_format, copy=True).mul_(self._scale)
        return scaled.sub_(self._offset)


def at_once(shape: tuple[int, ...]) -> int:
    """Return of how many images (C, H, W) a model is asked at once where nothing is learned: fewer of larger ones."""
    return max(LEAST_AT_ONCE, min(MOST_AT_ONCE, PIXELS_AT_ONCE // math.prod(shape[1:])))


def predict(model: nn.Module, data: LabelledImages, normalise: Normalise, machine: Machine) -> Tensor:
    """Return class probabilities (images, classes) as float32 on the CPU; the model stays in evaluation mode."""
    model.eval()
    return probabilities(
        model, lambda size: (normalise(images.to(machine.device)) for images, _ in data.batches(size)), machine,
        at_once(data.shape),
    )  # fmt: skip


@torch.inference_mode()
def probabilities(
    answer: Callable[[Tensor], Tensor], shown: Callable[[int], Iterator[Tensor]], machine: Machine, size: int
) -> Tensor:
    """Return those of the logits that `answer` gives to the batches of `shown`, float32 (images, classes), on the CPU.

    Where memory runs out it is asked of less than `size` images at once.
    """

    def asked(size: int) -> Tensor:
        parts = []
        for inputs in shown(size):
            with machine.precision():
                logits = answer(inputs)
            parts.append(logits.float().softmax(dim=1).cpu())
        return torch.cat(parts)

    return in_portions(size, asked)


def share_correct(probabilities: Tensor, labels: Tensor) -> float:
    """Return the share of images whose label has the highest probability: (images, classes) on the CPU, (images,)."""
    return float((probabilities.argmax(dim=1) == labels.cpu()).double().mean())
