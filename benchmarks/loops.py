"""Our training loop against the tutorials' loop on a DataLoader, and against a bare loop on tensors.

All train test_resnet on the embedded source images (28 px, grey): the same batch size, number of steps, kinds of
augmentation (flip, shift by 2), optimizer and learning rate. Validation is left out of all, but for ours, which
validates once at the end as it must.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import Row, interleaved, ratios, spread
from graftwork.checkpoints import Checkpoints
from graftwork.choice import default_choice
from graftwork.contracts import contract_for
from graftwork.engine import Machine, Normalise, prepare
from graftwork.images import LabelledImages
from graftwork.job import Job
from graftwork.labelled_arrays import LabelledArrays
from graftwork.models import build_model, head_tensors
from graftwork.params_file import load_settings
from graftwork.progress import Quiet
from graftwork.registry import load_plugins
from graftwork.seeds import generator
from graftwork.settings import Training
from graftwork.strategy import Strategy, TargetModel
from graftwork.torchvision_operators import define_missing
from graftwork.training import train
from graftwork_plugins.augmentations import Flip, Shift
from graftwork_plugins.fashion_mnist import EMBEDDED, FashionMNIST

ROOT = Path(__file__).parents[1]
IMAGES, BATCH, LR, EPOCHS = 5120, 256, 0.05, 2
TRAINING = Training(epochs=EPOCHS, batch_size=BATCH, optimizer="sgd", lr=LR, validate_every_epochs=EPOCHS)


class Setting:
    """What the contenders share."""

    def __init__(self) -> None:
        define_missing()
        self.registry = load_plugins()
        self.settings = load_settings(ROOT / "params.yaml")
        raw = FashionMNIST(keep=(0, 2, 5, 8, 9)).load(EMBEDDED, self.settings.image_of("source"))
        images, labels = torch.from_numpy(raw.images[:IMAGES].copy()), torch.from_numpy(raw.labels[:IMAGES])
        self.train = LabelledArrays(images, labels)
        self.few = LabelledArrays(images[:2], labels[:2])
        card = {"classes": raw.classes, "mean": [0.35], "std": [0.35], "dataset": "x", "splits": {"train": [IMAGES]}}
        self.contract = contract_for(self.settings, "source", card, frozenset())
        self.machine: Machine = prepare(default_choice(self.settings.engine))

    def model(self) -> torch.nn.Module:
        return self.machine.place(build_model(self.settings, self.registry, 5, seed=0, images="source"))

    def ours(self) -> None:
        model = self.model()
        everything = frozenset(model.state_dict()) - head_tensors(model)
        target = TargetModel(model, head_tensors(model), everything)
        strategy = Strategy("none", [])
        strategy.prepare_model(target)
        with tempfile.TemporaryDirectory() as folder:
            train(
                Job(
                    target, strategy, self.train, self.few, [Flip(), Shift(2)], Normalise(self.contract, self.machine),
                    TRAINING, self.machine, 0, Quiet(), Checkpoints(Path(folder), "x"),
                )
            )  # fmt: skip

    def bare(self) -> None:
        """The same steps written down by hand: no strategy, no checks, no checkpoint."""
        model, normalise, flip, shift = self.model(), Normalise(self.contract, self.machine), Flip(), Shift(2)
        optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True, fused=True)
        draws = generator(self.machine.device, 0)
        orders = [torch.randperm(IMAGES, generator=draws) for _ in range(EPOCHS)]
        model.train()
        for chosen in torch.cat(orders).split(BATCH):
            images = normalise(shift(flip(self.train.images[chosen], draws), draws))
            F.cross_entropy(model(images), self.train.labels[chosen]).backward()
            optimizer.step()
            optimizer.zero_grad()

    def flops_per_image(self) -> float:
        """Return the floating-point operations of a forward and a backward pass."""
        model, images = self.model(), torch.randn(BATCH, 1, 28, 28)
        with FlopCounterMode(display=False) as counter:
            model(images).sum().backward()
        return float(counter.get_total_flops()) / BATCH

    def tutorial(self, workers: int) -> None:
        """PIL images, torchvision's transforms, a DataLoader, `.item()` at every step."""
        from torch.utils.data import DataLoader
        from torchvision import transforms as T

        transform = T.Compose(
            [T.RandomHorizontalFlip(), T.RandomCrop(28, padding=2), T.ToTensor(), T.Normalize((0.35,), (0.35,))]
        )
        loader = DataLoader(Pictures(self.train, transform), BATCH, shuffle=True, num_workers=workers)
        model = build_model(self.settings, self.registry, 5, seed=0, images="source")
        optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True)
        model.train()
        total = 0.0
        for images, labels in (batch for _ in range(EPOCHS) for batch in loader):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()


class Pictures(torch.utils.data.Dataset):
    def __init__(self, data: LabelledImages, transform: object) -> None:
        from PIL import Image

        self.pictures = [Image.fromarray(image[0].numpy()) for image in data.images]
        self.labels = data.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def loop_rows(rounds: int = 7) -> list[Row]:
    """Compare two epochs of 5,120 images: 40 steps of 256."""
    setting = Setting()
    seconds = interleaved(
        {
            "ours": setting.ours,
            "bare": setting.bare,
            "tutorial, 0 workers": lambda: setting.tutorial(0),
            "tutorial, 2 workers": lambda: setting.tutorial(2),
        },
        rounds,
    )
    rows = []
    for name in ("tutorial, 0 workers", "tutorial, 2 workers"):
        found = ratios(seconds[name], seconds["ours"])
        rows.append(Row(f"{name}: seconds / ours", "≥ 5", *spread(found), statistics.median(found) >= 5))
    found = ratios(seconds["ours"], seconds["bare"])
    rows.append(Row("our loop / a bare loop on tensors", "≤ 1.05", *spread(found, 3), statistics.median(found) <= 1.05))
    images = [EPOCHS * IMAGES / value for value in seconds["ours"]]
    rows.append(Row("our loop, images/s", "–", *spread(images, 0)))
    share = [value * setting.flops_per_image() / matrix_product_flops() for value in images]
    rows.append(Row("our loop, share of a plain matrix product's FLOP/s", "–", *spread(share)))
    return rows


def matrix_product_flops(size: int = 2048, repeats: int = 5) -> float:
    """Return the FLOP/s of a large float32 matrix product: about what this processor can do at all."""
    one, other = torch.randn(size, size), torch.randn(size, size)
    started = time.perf_counter()
    for _ in range(repeats):
        one @ other
    return repeats * 2 * size**3 / (time.perf_counter() - started)
