"""Fine-tune one stack from its starting weights, on given images, for any seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from graftwork.checkpoints import Checkpoints, fingerprint
from graftwork.engine import Machine, Normalise
from graftwork.images import LabelledImages
from graftwork.job import Job
from graftwork.models import build_model, head_tensors
from graftwork.progress import Progress
from graftwork.search import stack_from
from graftwork.settings import Training, Use
from graftwork.source import Source
from graftwork.stages import Context
from graftwork.stages.reusing import reuse_of
from graftwork.strategy import TargetModel, build_strategy
from graftwork.views import Reuse
from graftwork.weights import InputContract, digest


@dataclass(frozen=True)
class Fitting:
    """What the seeds of one strategy share."""

    context: Context
    name: str
    manifest: Mapping[str, Any]  # as JSON
    start: dict[str, Tensor]
    contract: InputContract
    kit: Source | None
    train: LabelledImages
    validation: LabelledImages
    training: Training

    @cached_property
    def stack(self) -> tuple[Use, ...]:
        """What it is trained by."""
        return stack_from(self.manifest["stack"])

    @property
    def machine(self) -> Machine:
        """Prepare what is trained on: not once for all, as stages in between may have set their own threads."""
        return self.context.machine("target")

    def target(self, seed: int) -> TargetModel:
        """Return a model with fresh weights from the seed, the transferred ones on top; not prepared yet."""
        settings = self.context.settings
        model = build_model(settings, self.context.registry, len(self.contract.classes), seed)
        fresh = model.state_dict()
        assert self.start.keys() <= fresh.keys(), "transfer matched the tensors to this very architecture"
        model.load_state_dict({**fresh, **self.start})
        names, classes = frozenset(self.start), self.contract.classes
        return TargetModel(self.machine.place(model), head_tensors(model), names, self.kit, classes)

    def job(self, seed: int, progress: Progress) -> Job:
        """Return the training of one seed."""
        target = self.target(seed)
        strategy = build_strategy(self.name, self.stack, self.context.registry)
        strategy.prepare_model(target)
        return Job(
            target=target,
            strategy=strategy,
            train=self.train,
            validation=self.validation,
            augmentation=self.context.registry.augmentations(self.context.settings.data["target"]),
            normalise=Normalise(self.contract, self.machine),
            training=self.training,
            machine=self.machine,
            seed=seed,
            progress=progress,
            checkpoints=self.checkpoints(seed),
            reuse=self.reuse,
            team=self.context.team,
        )

    def checkpoints(self, seed: int) -> Checkpoints:
        """Return where the training of one seed keeps how far it is."""
        folder = self.context.layout.checkpoints(self.name, f"seed-{seed}")
        return Checkpoints(folder, self.key, writes=self.context.team.leads)

    @cached_property
    def reuse(self) -> Reuse:
        """Where what frozen parts make of images is kept, for all seeds and strategies."""
        return reuse_of(self.context, self.contract)

    @cached_property
    def key(self) -> str:
        """What decides the weights of every seed, as a fingerprint."""
        return fingerprint(
            self.task,
            [use.model_dump() for use in self.stack],
            self.contract.model_dump(exclude={"provenance"}),
            digest(self.start),
            self.kit.sha256 if self.kit else "",
            self.kit.images.sha256() if self.kit and self.kit.images else "",
            self.context.registry.local_code(("strategy", use) for use in self.stack),
        )

    @cached_property
    def task(self) -> str:
        """What every strategy is compared on – the images, the model, the budget – as a fingerprint."""
        settings = self.context.settings
        augmentation = settings.data["target"].augmentation
        draws_views = augmentation and self.training.cached_views
        return fingerprint(
            settings.versions,
            settings.model.model_dump(),
            settings.image.model_dump(),
            self.training.deciding(),
            self.context.choice("target").deciding(),
            [use.model_dump() for use in augmentation],
            self.context.registry.local_code([("model", settings.model), *(("augmentation", u) for u in augmentation)]),
            self.train.sha256(),
            self.validation.sha256(),
            *([settings.seed] if draws_views else []),  # `Reuse.seed`, that of every training's views
        )


def with_steps(training: Training, images: int, least: int) -> Training:
    """Return the training with as many epochs as give it `least` steps; a longer one stays as it is."""
    a_round = max(1, images // training.batch_size)
    return training.model_copy(update={"epochs": max(training.epochs, -(-least // a_round))})
