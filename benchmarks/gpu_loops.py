"""Training loops for a GPU: ours, a bare one, and a bare one recorded once as a CUDA graph and replayed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from graftwork.checkpoints import Checkpoints
from graftwork.engine import Machine, Normalise
from graftwork.job import Job
from graftwork.labelled_arrays import LabelledArrays
from graftwork.models import head_tensors
from graftwork.progress import Quiet
from graftwork.settings import Training
from graftwork.strategy import Strategy, TargetModel
from graftwork.torchvision_operators import define_missing
from graftwork.training import train
from graftwork.weights import InputContract
from graftwork_plugins.augmentations import Flip

CLASSES, LR, MOMENTUM = 100, 0.01, 0.9
Loop = Callable[[int], None]  # trains for so many steps, to the end: the GPU has nothing left to do


@dataclass(frozen=True)
class Model:
    """One of timm's models on a device, channels_last, and what a step of it costs."""

    net: nn.Module
    machine: Machine
    size: int
    flops_per_image: float  # forward and backward; a multiplication with its addition counts as two

    @classmethod
    def build(cls, name: str, size: int, device: torch.device, compile_mode: str | None) -> Model:
        """Return it; `compile_mode` is torch.compile's, None: not compiled."""
        define_missing()
        import timm

        torch._dynamo.reset()
        machine = Machine(device, autocast=True, memory_format=torch.channels_last)
        net = machine.place(timm.create_model(name, num_classes=CLASSES))
        flops = flops_per_image(net, size, machine)
        if compile_mode is not None:
            net.compile(mode=compile_mode)  # in place: names and hooks stay as they are
        return cls(net, machine, size, flops)

    def step(self, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Train on one finished batch."""
        with self.machine.precision():
            logits = self.net(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()


@contextmanager
def convolutions(*, repeatable: bool) -> Iterator[None]:
    """Let cuDNN give the same bits each time, as our runs do, or try which of its ways is fastest."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = repeatable, not repeatable
    yield
    cudnn.deterministic, cudnn.benchmark = before


def flops_per_image(net: nn.Module, size: int, machine: Machine) -> float:
    """Count the floating-point operations of a forward and a backward pass."""
    images = torch.randn(2, 3, size, size, device=machine.device)
    with FlopCounterMode(display=False) as counter, machine.precision():
        net(images).float().sum().backward()
    net.zero_grad()
    return float(counter.get_total_flops()) / 2


def ours(model: Model, images: int, batch: int) -> Loop:
    """Return our loop: uint8 images in the device's memory, flipped at random, normalised; SGD."""
    device, contract = model.machine.device, _contract(model.size)
    pixels = torch.randint(0, 256, (images, 3, model.size, model.size), dtype=torch.uint8, device=device)
    data = LabelledArrays(pixels, torch.arange(images, device=device) % CLASSES)
    few = LabelledArrays(pixels[:batch].cpu(), data.labels[:batch].cpu())
    target = TargetModel(model.net, head_tensors(model.net), frozenset())

    def run(steps: int) -> None:
        epochs = max(1, steps // (images // batch))
        training = Training(
            epochs=epochs, batch_size=batch, optimizer="sgd", lr=LR, momentum=MOMENTUM, validate_every_epochs=epochs
        )
        with tempfile.TemporaryDirectory() as folder, convolutions(repeatable=True):
            train(
                Job(
                    target, Strategy("none", []), data, few, [Flip()], Normalise(contract, model.machine), training,
                    model.machine, 0, Quiet(), Checkpoints(Path(folder), "x"),
                )
            )  # fmt: skip

    return run


def bare(model: Model, batch: int) -> Loop:
    """Return the loop that does nothing but train, on one batch of noise, with the fastest convolutions there are."""
    images, labels, optimizer = _given(model, batch)

    def run(steps: int) -> None:
        model.net.train()
        with convolutions(repeatable=False):
            for _ in range(steps):
                model.step(images, labels, optimizer)
            _finish(model)

    return run


def bare_as_graph(model: Model, batch: int) -> Loop:
    """Return the same, its step recorded and replayed, so that nothing but the GPU is waited for; plain on a CPU."""
    if model.machine.device.type != "cuda":
        return bare(model, batch)
    images, labels, optimizer = _given(model, batch)
    model.net.train()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), convolutions(repeatable=False):  # some steps before recording, as torch asks for
        for _ in range(3):
            model.step(images, labels, optimizer)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), convolutions(repeatable=False):
        model.step(images, labels, optimizer)

    def run(steps: int) -> None:
        for _ in range(steps):
            graph.replay()
        _finish(model)

    return run


def _given(model: Model, batch: int) -> tuple[Tensor, Tensor, torch.optim.Optimizer]:
    """Return a finished batch of noise and the optimizer; SGD has nothing on the CPU that recording would forbid."""
    device = model.machine.device
    images = torch.randn(batch, 3, model.size, model.size, device=device).to(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % CLASSES
    return images, labels, torch.optim.SGD(model.net.parameters(), lr=LR, momentum=MOMENTUM, fused=True)


def _finish(model: Model) -> None:
    if model.machine.device.type == "cuda":
        torch.cuda.synchronize()


def _contract(size: int) -> InputContract:
    return InputContract(
        model={}, classes=tuple(map(str, range(CLASSES))), mean=(0.5,) * 3, std=(0.25,) * 3, size=size, channels=3,
        head=(), provenance={},
    )  # fmt: skip
