"""Trainings whose memory is measured, one a process: `python -m benchmarks.memory_cases FOLDER MODEL CASE`.

Prints by how many bytes the process's resident size grew at the most, counted from when everything was imported and a
first small training had run.
"""

from __future__ import annotations

import io
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.embedded import workspace
from graftwork.encoded_images import EncodedImages
from graftwork.engine import Normalise
from graftwork.images import LabelledImages
from graftwork.labelled_arrays import LabelledArrays
from graftwork.labelled_encoded import LabelledEncoded
from graftwork.layout import Layout
from graftwork.progress import Quiet
from graftwork.settings import ImageFormat, Training
from graftwork.stages import Context
from graftwork.stages.finetune import load_fitting
from graftwork.stages.fitting import Fitting
from graftwork.training import train
from graftwork.weights import InputContract
from graftwork.workspace import run_stage

STRATEGY = "full_copy"
JPEGS, SIDE, SHARE, BATCH = 12_000, 192, 0.25, 32
DECODED_BYTES = JPEGS * 3 * SIDE**2
Case = Callable[[], object]


def context_of(root: Path, model: str) -> Context:
    """Return the workspace with one of timm's models and short trainings of full batches."""
    return workspace(
        root, model=f"{{timm: {{name: {model}}}}}", pretrain__epochs="1", finetune__epochs="5",
        data__source__labels="2048",
    )  # fmt: skip


def ours_pretrain(root: Path, model: str) -> Case:
    context = context_of(root, model)
    return lambda: run_stage(context, "pretrain", "source")


def bare_pretrain(root: Path, model: str) -> Case:
    fitting = _fitting(root, model)
    data = LabelledArrays.load(fitting.context.layout.split("source", "train"))
    return lambda: _bare(fitting, data, fitting.context.settings.pretrain)


def ours_finetune(root: Path, model: str) -> Case:
    fitting = _fitting(root, model)
    return lambda: _train(fitting)


def bare_finetune(root: Path, model: str) -> Case:
    fitting = _fitting(root, model)
    return lambda: _bare(fitting, fitting.train, fitting.training)


def encoded(root: Path, model: str) -> Case:
    """Train on pictures that are decoded as they are needed."""
    return lambda: _train(_on_pictures(root, LabelledEncoded.load(root)))


def arrays(root: Path, model: str) -> Case:
    """Train on the same pictures, all decoded before."""
    data = LabelledEncoded.load(root)
    decoded = lambda: LabelledArrays(data.batch(torch.arange(len(data))), data.labels)  # noqa: E731
    return lambda: _train(_on_pictures(root, decoded()))


def draw_pictures(root: Path) -> None:
    """Write made-up JPEGs, bright ones and dark ones, as the augment stage would store them."""
    from PIL import Image

    draws, sources = np.random.default_rng(0), []
    for number in range(JPEGS):
        small = draws.integers(0, 128, (12, 12, 3)) + 127 * (number % 2)
        text = io.BytesIO()
        Image.fromarray(small.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(text, "jpeg")
        sources.append(text.getvalue())
    images = EncodedImages(sources, ImageFormat(size=SIDE, channels=3))
    LabelledEncoded(images, torch.arange(JPEGS) % 2).save(root)


def _on_pictures(root: Path, data: LabelledImages) -> Fitting:
    """Return a training of a small net, one epoch, from no weights."""
    image = f"{{size: {SIDE}, channels: 3}}"
    whole = workspace(root, model="{mlp: {hidden: [4]}}", image=image, data__target__augmentation="[]")
    contract = InputContract(
        model=whole.settings.model.model_dump(), classes=("dark", "bright"), mean=(0.5,) * 3, std=(0.25,) * 3,
        size=SIDE, channels=3, head=(), provenance={},
    )  # fmt: skip
    short = whole.settings.finetune.model_copy(update={"epochs": 1, "batch_size": BATCH})
    few = data.take(torch.arange(BATCH))
    return Fitting(whole, "scratch", {"stack": []}, {}, contract, None, data, few, short)


def _fitting(root: Path, model: str) -> Fitting:
    return load_fitting(context_of(root, model), STRATEGY)


def _train(fitting: Fitting) -> None:
    job = fitting.job(0, Quiet())
    train(job)
    job.checkpoints.remove()  # else the next round's process would find the work done


def _bare(fitting: Fitting, data: LabelledImages, training: Training) -> None:
    """Train with nothing around it: no validation, no weights kept, no checkpoint."""
    model, normalise = fitting.target(0).model, Normalise(fitting.contract, fitting.machine)
    kind, more = torch.optim.AdamW, {}
    if training.optimizer == "sgd":
        kind, more = torch.optim.SGD, {"momentum": training.momentum}
    optimizer = kind(model.parameters(), lr=training.lr, weight_decay=training.weight_decay, fused=True, **more)
    model.train()
    whole = len(data) // training.batch_size * training.batch_size
    for _ in range(training.epochs):
        for images, labels in data.stream(torch.randperm(len(data))[:whole], training.batch_size):
            F.cross_entropy(model(normalise(images)), labels).backward()
            optimizer.step()
            optimizer.zero_grad()


def _warm_up(root: Path, model: str) -> None:
    """Train for a step or two, so that nothing is imported or set up later."""
    if model:
        fitting = _fitting(root, model)
        data: LabelledImages = LabelledArrays(fitting.train.batch(torch.arange(4)), torch.arange(4) % 2)
        fitting = replace(fitting, train=data, validation=data)
    else:
        fitting = _on_pictures(root, LabelledEncoded.load(root).take(torch.arange(2 * BATCH)))
    short = fitting.training.model_copy(update={"epochs": 1, "batch_size": 2 if model else BATCH})
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = replace(fitting.context, layout=Layout(Path(folder)))
        train(replace(fitting, context=elsewhere, training=short).job(0, Quiet()))


def _kibibytes(key: str) -> int:
    """Return one of the kernel's figures of this process, in bytes."""
    return 1024 * int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0])


def _grown(run: Case) -> int:
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size begins anew
    before = _kibibytes("VmRSS")
    run()
    return _kibibytes("VmHWM") - before


def _forbid_more(least_bytes: int) -> None:
    """Let this process have so many more bytes of its own; files that it maps don't count."""
    most = _kibibytes("VmData") + least_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main() -> None:
    root, model, case = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.manual_seed(0)
    _warm_up(root, model)
    run = CASES[case](root, model)
    if not model:
        _forbid_more(round(SHARE * DECODED_BYTES))
    try:
        print(_grown(run))
    except (MemoryError, RuntimeError) as error:
        if "alloc" not in str(error):
            raise
        print("no memory:", error)


CASES = {case.__name__: case for case in (ours_pretrain, bare_pretrain, ours_finetune, bare_finetune, encoded, arrays)}

if __name__ == "__main__":
    main()
