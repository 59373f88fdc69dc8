"""Finetune: train every seed of one strategy on the target's labels, choosing on validation alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from graftwork.checkpoints import Checkpoints, fingerprint
from graftwork.engine import Machine, Normalise, prepare
from graftwork.files import atomic_folder, write_json, write_text
from graftwork.histories import history_csv
from graftwork.images import LabelledImages, load_split
from graftwork.models import build_model, head_tensors
from graftwork.progress import Progress
from graftwork.source import Source
from graftwork.stages import Context
from graftwork.stages.source_kit import load_source
from graftwork.strategy import TargetModel, build_strategy
from graftwork.timings import write_timing
from graftwork.training import Job, Trained, train
from graftwork.weights import InputContract, digest, load_weights, save_weights


def finetune(context: Context, name: str) -> None:
    """Write weights/target/<strategy>: seed-<n>.safetensors, history.csv, selection.json. No test image is read."""
    work = _Work.begin(context, name)
    trained: dict[int, Trained] = {}
    used: list[Checkpoints] = []
    for index, seed in enumerate(context.settings.seeds):
        job = work.job(seed, _Part(context.progress, index, len(context.settings.seeds), f"seed {seed}: "))
        used.append(job.checkpoints)
        trained[seed] = train(job)
        result = trained[seed]
        context.progress.log(f"seed {seed}: {result.validation_accuracy:.1%} on validation in {result.seconds:.1f} s")
    history = history_csv({seed: result.history for seed, result in trained.items()})
    with atomic_folder(context.layout.tuned(name)) as folder:
        for seed, result in trained.items():
            provenance = {**work.contract.provenance, "seed": seed, "best_epoch": result.best_epoch}
            contract = work.contract.model_copy(update={"provenance": provenance})
            save_weights(folder / f"seed-{seed}.safetensors", result.tensors, contract)
        write_text(folder / "history.csv", history)
        write_json(folder / "selection.json", {str(seed): work.selection(trained[seed]) for seed in trained})
    write_timing(context.layout.timings(name), [result.seconds for result in trained.values()], history)
    for checkpoints in used:
        checkpoints.remove()


@dataclass(frozen=True)
class _Work:
    """What the seeds of one strategy share."""

    context: Context
    name: str
    start: dict[str, Tensor]
    contract: InputContract
    machine: Machine
    train: LabelledImages
    validation: LabelledImages
    source: Source | None

    @classmethod
    def begin(cls, context: Context, name: str) -> _Work:
        start, contract = load_weights(context.layout.start(name) / "start.safetensors")
        machine = prepare(context.settings.engine)
        train, validation = (load_split(context.layout.split("target", part)) for part in ("train", "validation"))
        source = load_source(context, context.layout.start(name), machine)
        return cls(context, name, start, contract, machine, train, validation, source)

    def job(self, seed: int, progress: Progress) -> Job:
        """Return the training of one seed: fresh weights from the seed, the transferred ones on top."""
        settings = self.context.settings
        model = build_model(settings, self.context.registry, len(self.contract.classes), seed)
        fresh = model.state_dict()
        assert self.start.keys() <= fresh.keys(), "transfer matched the tensors to this very architecture"
        model.load_state_dict({**fresh, **self.start})
        target = TargetModel(self.machine.place(model), head_tensors(model), frozenset(self.start), source=self.source)
        strategy = build_strategy(self.name, settings.strategies[self.name], self.context.registry)
        strategy.prepare_model(target)
        return Job(
            target=target,
            strategy=strategy,
            train=self.train,
            validation=self.validation,
            augmentation=self.context.registry.augmentations(settings.data.target),
            normalise=Normalise(self.contract, self.machine),
            training=settings.finetune,
            machine=self.machine,
            seed=seed,
            progress=progress,
            checkpoints=Checkpoints(self.context.layout.checkpoints(self.name, f"seed-{seed}"), self._key()),
        )

    def selection(self, trained: Trained) -> dict[str, Any]:
        """Return what validation chose for one seed."""
        chosen = {"epoch": trained.best_epoch, "temperature": trained.temperature, **trained.notes}
        return {"validation_accuracy": trained.validation_accuracy, **chosen}

    def _key(self) -> str:
        settings = self.context.settings
        return fingerprint(
            settings.finetune.model_dump(),
            settings.engine.model_dump(),
            [use.model_dump() for use in settings.strategies[self.name]],
            [use.model_dump() for use in settings.data.target.augmentation],
            self.contract.model_dump(),
            digest(self.start),
            digest(
                {
                    "images": self.train.images,
                    "labels": self.train.labels,
                    "validation": self.validation.images,
                }
            ),
        )


@dataclass(frozen=True)
class _Part:
    """One seed's share of the stage's progress."""

    whole: Progress
    index: int
    count: int
    prefix: str

    def log(self, message: str) -> None:
        self.whole.log(self.prefix + message)

    def advance(self, fraction: float, message: str) -> None:
        self.whole.advance((self.index + fraction) / self.count, self.prefix + message)

    def check(self) -> None:
        self.whole.check()
