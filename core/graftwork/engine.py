"""On what a model runs: device, threads, precision and memory format."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graftwork.errors import SettingsError
from graftwork.images import LabelledImages
from graftwork.settings import Engine
from graftwork.weights import InputContract


@dataclass(frozen=True)
class Machine:
    """A device with its arithmetic; made by `prepare`."""

    device: torch.device
    autocast: bool
    memory_format: torch.memory_format
    side_by_side: int = 1  # trainings that go on at once, each on as many threads as set

    def place(self, model: nn.Module) -> nn.Module:
        """Move a model to the device, in the memory format."""
        return model.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload,no-any-return]

    def precision(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which a model is called."""
        if not self.autocast:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def prepare(engine: Engine) -> Machine:
    """Set threads and determinism as the settings say, and return the machine.

    The number of threads decides the bits of the results on a CPU: it is a setting, not a guess.
    """
    if engine.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            "engine.device is cuda, but torch sees no GPU", where="params.yaml, key engine.device",
            fix="set it to auto or cpu, or install a CUDA build of torch",
        )  # fmt: skip
    name = engine.device if engine.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(engine.threads)
    torch.backends.cudnn.deterministic = True
    channels_last = engine.memory_format == "channels_last"
    return Machine(
        torch.device(name),
        autocast=engine.precision == "bfloat16",
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )


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


@torch.inference_mode()
def predict(
    model: nn.Module, data: LabelledImages, normalise: Normalise, machine: Machine, batch_size: int = 512
) -> Tensor:
    """Return class probabilities (images, classes) as float32 on the CPU; the model stays in evaluation mode."""
    model.eval()
    parts = []
    for images, _ in data.batches(batch_size):
        with machine.precision():
            logits = model(normalise(images.to(machine.device)))
        parts.append(logits.float().softmax(dim=1).cpu())
    return torch.cat(parts)
