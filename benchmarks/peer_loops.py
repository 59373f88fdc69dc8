"""The peers' job as each library's own examples write it down; every function returns the trained model.

Pictures are PIL images, as libraries have them from files; transforms and collation are the library's own.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.loops import Pictures
from benchmarks.peer_job import (
    BATCH,
    DECAY,
    FULL_EPOCHS,
    HEAD_EPOCHS,
    LR,
    WARMUP,
    PeerJob,
    freeze_trunk,
    head_of,
    rates,
    set_rate,
    trainable,
    trunk_of,
)

PHASES = ((HEAD_EPOCHS, True), (FULL_EPOCHS, False))  # epochs, whether the trunk is frozen


def pictures(job: PeerJob) -> Pictures:
    """Return the training images with torchvision's transforms."""
    from torchvision import transforms as T

    steps = [T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(job.mean, job.std)]
    return Pictures(job.fitting.train, T.Compose(steps))


def tutorial(job: PeerJob, seed: int, workers: int = 0) -> nn.Module:
    """Train as torchvision's tutorial on transfer learning does, `.item()` at every step included."""
    torch.manual_seed(seed)
    model = job.model(seed)
    loader = DataLoader(pictures(job), BATCH, shuffle=True, drop_last=True, num_workers=workers)
    for epochs, frozen in PHASES:
        freeze_trunk(model, frozen=frozen)
        optimizer = torch.optim.AdamW(trainable(model), lr=LR, weight_decay=DECAY)
        course = rates(epochs * job.steps)
        for _ in range(epochs):
            model.train()
            running_loss, running_corrects = 0.0, 0
            for images, labels in loader:
                set_rate(optimizer, next(course))
                optimizer.zero_grad()
                outputs = model(images)
                loss = F.cross_entropy(outputs, labels)
                loss.backward()
                optimizer.step()
                running_loss += loss.item() * len(images)
                running_corrects += int((outputs.argmax(1) == labels).sum())
    return model


def timm_recipe(job: PeerJob, seed: int) -> nn.Module:
    """Train with timm's loader, optimizer and scheduler as its train.py does, cosine as it prefers."""
    from timm.data import create_loader
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import AverageMeter

    torch.manual_seed(seed)
    model, losses = job.model(seed), AverageMeter()
    loader = create_loader(
        Pictures(job.fitting.train, None), (1, 28, 28), BATCH, is_training=True, scale=(1, 1), ratio=(1, 1),
        color_jitter=None, mean=job.mean, std=job.std, num_workers=0, persistent_workers=False,
        use_prefetcher=False, device=torch.device("cpu"),
    )  # fmt: skip
    for epochs, frozen in PHASES:
        freeze_trunk(model, frozen=frozen)
        optimizer = create_optimizer_v2(model, opt="adamw", lr=LR, weight_decay=DECAY)
        scheduler, _ = create_scheduler_v2(
            optimizer, num_epochs=epochs, warmup_epochs=epochs * WARMUP, step_on_epochs=False,
            updates_per_epoch=job.steps,
        )  # fmt: skip
        updates = 0
        for _ in range(epochs):
            model.train()
            for images, labels in loader:
                loss = F.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                updates += 1
                scheduler.step_update(updates)
                losses.update(loss.item(), len(images))
    return model


def fastai(job: PeerJob, seed: int) -> nn.Module:
    """Call `fine_tune`, whose own halving of the rate and smaller rates for lower layers are undone."""
    from fastai.losses import CrossEntropyLossFlat
    from fastai.vision import all as vision

    vision.set_seed(seed)
    model, data = job.model(seed), job.fitting.train
    arrays, labels = data.images[:, 0].numpy(), data.labels.tolist()
    block = vision.DataBlock(
        blocks=(vision.ImageBlock(vision.PILImageBW), vision.CategoryBlock(vocab=list(range(5)))),
        get_x=lambda number: arrays[number], get_y=lambda number: labels[number],
        splitter=vision.IndexSplitter(range(2)),  # two to validate on, as fastai must
        batch_tfms=[vision.Flip(), vision.Normalize.from_stats(job.mean, job.std, cuda=False)],
    )  # fmt: skip
    learner = vision.Learner(
        block.dataloaders(range(len(labels)), bs=BATCH, num_workers=0, device=torch.device("cpu")), model,
        loss_func=CrossEntropyLossFlat(), wd=DECAY, opt_func=partial(vision.OptimWrapper, opt=torch.optim.AdamW),
        splitter=lambda whole: [vision.params(nn.ModuleList(trunk_of(whole))), vision.params(head_of(whole))],
    )  # fmt: skip
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(FULL_EPOCHS, base_lr=2 * LR, freeze_epochs=HEAD_EPOCHS, lr_mult=1, pct_start=WARMUP)
    return model


def lightning(job: PeerJob, seed: int) -> nn.Module:
    """Train with Lightning, its BaseFinetuning holding and freeing the trunk."""
    import lightning as L
    from lightning.pytorch.callbacks import BaseFinetuning

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = job.model(seed)
            self.course = [rate for epochs, _ in PHASES for rate in rates(epochs * job.steps)]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(trainable(self.model), lr=LR, weight_decay=DECAY)

        def on_train_batch_start(self, batch: Any, number: int) -> None:
            set_rate(self.optimizers().optimizer, self.course[self.global_step])

        def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
            images, labels = batch
            loss = F.cross_entropy(self.model(images), labels)
            self.log("loss", loss)
            return loss

    class Finetuning(BaseFinetuning):
        def freeze_before_training(self, module: L.LightningModule) -> None:
            self.freeze(trunk_of(module.model))

        def finetune_function(self, module: L.LightningModule, epoch: int, optimizer: torch.optim.Optimizer) -> None:
            if epoch == HEAD_EPOCHS:
                self.unfreeze_and_add_param_group(trunk_of(module.model), optimizer, lr=LR, initial_denom_lr=1)

    torch.manual_seed(seed)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = Module()
    trainer = L.Trainer(
        max_epochs=HEAD_EPOCHS + FULL_EPOCHS, accelerator="cpu", callbacks=[Finetuning()], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no workers is meant
        trainer.fit(module, DataLoader(pictures(job), BATCH, shuffle=True, drop_last=True))
    return module.model


def transformers(job: PeerJob, seed: int) -> nn.Module:
    """Train with the Hugging Face Trainer, one for each phase."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class Answering(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.model(pixel_values)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    def collate(batch: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
        images, labels = zip(*batch, strict=True)
        return {"pixel_values": torch.stack(images), "labels": torch.tensor(labels)}

    model, data = job.model(seed), pictures(job)
    for epochs, frozen in PHASES:
        freeze_trunk(model, frozen=frozen)
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, num_train_epochs=epochs, per_device_train_batch_size=BATCH, learning_rate=LR, seed=seed,
                weight_decay=DECAY, warmup_steps=round(WARMUP * epochs * job.steps), lr_scheduler_type="linear",
                max_grad_norm=0, dataloader_drop_last=True, use_cpu=True, report_to="none", save_strategy="no",
                logging_strategy="no", disable_tqdm=True,
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pinned memory without a GPU
                trainer = Trainer(Answering(model), arguments, data_collator=collate, train_dataset=data)
                trainer.remove_callback(PrinterCallback)
                trainer.train()
    return model
