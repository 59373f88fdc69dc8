"""On a GPU: our training loop against a bare loop on synthetic images, and what share of the GPU's arithmetic it uses.

bfloat16 autocast, channels_last, torch.compile. Images are uint8 in GPU memory: ours normalises and flips them, the
bare loop has one finished batch. Seconds are those of a long training less those of a short one, so that building the
optimizer, the first copies and the last checkpoint don't count. About 5 minutes; most of it compiles.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from benchmarks.gpu_loops import Loop, Model, bare, bare_as_graph, ours
from benchmarks.measuring import Row, Section, interleaved, ratios, spread

AIM = 0.95
DATA_SHEET = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}
# dense bfloat16 with float32 accumulation, FLOP/s, from NVIDIA's data sheets


@dataclass(frozen=True)
class Scale:
    """What is trained, where, and how long."""

    device: torch.device
    large: tuple[str, ...] = ("resnet50", "vit_small_patch16_224")
    size: int = 224
    batch: int = 256
    small: str = "test_resnet"
    small_size: int = 32
    small_batch: int = 512
    images: int = 50_000  # of the small ones: as many as CIFAR has
    steps: int = 40  # of the short training; the long one has three times as many
    small_steps: int = 194  # likewise; two epochs of 50,000 images
    compile: bool = True


def gpu_part() -> Section | list[Row]:
    """Return the rows, or why there are none."""
    if not torch.cuda.is_available():
        return Section("No GPU here.")
    return gpu_rows(Scale(torch.device("cuda")))


def gpu_rows(scale: Scale, rounds: int = 3) -> list[Row]:
    """Measure the large models, then a small one whose images all lie in the device's memory."""
    rows = [row for name in scale.large for row in _large_rows(scale, name, rounds)]
    return [*rows, *_small_rows(scale, rounds)]


def _large_rows(scale: Scale, name: str, rounds: int) -> list[Row]:
    model = Model.build(name, scale.size, scale.device, "default" if scale.compile else None)
    images = 4 * scale.batch
    speed = _speeds(
        {"ours": ours(model, images, scale.batch), "bare": bare(model, scale.batch)}, scale.steps, scale.batch, rounds
    )
    flops = [value * model.flops_per_image for value in speed["ours"]]
    nominal = next((peak for gpu, peak in DATA_SHEET.items() if gpu in _device_name(scale.device)), None)
    product = matrix_product_flops(scale.device)
    found = ratios(speed["ours"], speed["bare"])
    what = f"{name}, {scale.size} px, batch {scale.batch}"
    rows = [
        Row(f"{what}: ours, images/s", "–", *spread(speed["ours"], 0)),
        Row(f"{what}: ours / bare synthetic loop", f"≥ {AIM}", *spread(found, 3), statistics.median(found) >= AIM),
        Row(f"{what}: share of a bfloat16 matrix product's FLOP/s", "–", *spread([f / product for f in flops])),
    ]
    if nominal is not None:
        rows.append(Row(f"{what}: share of the data sheet's FLOP/s", "–", *spread([f / nominal for f in flops])))
    return rows


def _small_rows(scale: Scale, rounds: int) -> list[Row]:
    """Return images/s where a step is so short that the processor may be what is waited for."""
    batch = scale.small_batch
    eager = Model.build(scale.small, scale.small_size, scale.device, None)
    loops = {
        "ours": ours(eager, scale.images, batch),
        "bare": bare(eager, batch),
        "bare, as a CUDA graph": bare_as_graph(Model.build(scale.small, scale.small_size, scale.device, None), batch),
    }
    if scale.compile:
        compiled = Model.build(scale.small, scale.small_size, scale.device, "reduce-overhead")
        loops["ours, compiled to CUDA graphs"] = ours(compiled, scale.images, batch)
    speed = _speeds(loops, scale.small_steps, batch, rounds)
    what = f"{scale.small}, {scale.small_size} px, batch {batch}, {scale.images:,} images in the device's memory"
    return [Row(f"{what}: {name}, images/s", "–", *spread(found, 0)) for name, found in speed.items()]


def _speeds(loops: dict[str, Loop], steps: int, batch: int, rounds: int) -> dict[str, list[float]]:
    """Return the images/s of each loop in each round: those of a long training less those of a short one."""
    long = {name: (lambda run=run: run(3 * steps)) for name, run in loops.items()}
    short = {f"short {name}": (lambda run=run: run(steps)) for name, run in loops.items()}
    seconds = interleaved({**long, **short}, rounds)
    return {
        name: [
            2 * steps * batch / max(whole - part, 1e-9)
            for whole, part in zip(seconds[name], seconds[f"short {name}"], strict=True)
        ]
        for name in loops
    }


def matrix_product_flops(device: torch.device, repeats: int = 20) -> float:
    """Return the FLOP/s of a large bfloat16 matrix product: about what this device can do at all."""
    size = 8192 if device.type == "cuda" else 64
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(2):  # the first time chooses a kernel
        _wait(device)
        started = time.perf_counter()
        for _ in range(repeats):
            one @ other
        _wait(device)
    return repeats * 2 * size**3 / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
