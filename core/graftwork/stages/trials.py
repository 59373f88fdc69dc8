"""Try strategies on one task, each training once: what the ledger knows isn't trained again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from graftwork.channel_statistics import statistics
from graftwork.cost import cost
from graftwork.engine import at_once, predict, share_correct
from graftwork.file_locks import held
from graftwork.files import read_json
from graftwork.images import LabelledImages
from graftwork.job import Job, Trained
from graftwork.ledger import Ledger, Trial
from graftwork.progress import Progress, Quiet
from graftwork.search import stack_text
from graftwork.settings import Training, Use
from graftwork.stages import Context
from graftwork.stages.fitting import Fitting
from graftwork.stages.grafting import SourceWeights, graft
from graftwork.training import train


@dataclass
class Trials:
    """Trainings of any stack on the same images with the same budget."""

    context: Context
    source: SourceWeights
    train: LabelledImages
    validation: LabelledImages
    training: Training
    test: LabelledImages | None = None  # for the evaluation that follows a training, and sees nothing of it
    _fittings: dict[str, Fitting] = field(default_factory=dict)

    def run(self, name: str, stack: tuple[Use, ...], seed: int, progress: Progress) -> Trial:
        """Return the trial of one stack and seed, from the ledger or trained now. Raises what training raises.

        Where another process is at the same one – scratch is the same from every source – it is waited for.
        """
        fitting = self._fitting(name, stack)
        known = self._known(fitting, seed)
        if known is not None:
            return known
        with self._alone(trial_key(fitting, seed), progress):
            return self._known(fitting, seed) or self._trained(fitting, seed, progress)

    def ready(self, name: str, stack: tuple[Use, ...]) -> None:
        """Do what all seeds of a stack share, so that processes forked from this one have it."""
        self._fitting(name, stack).job(0, Quiet())
        if self.test is not None:
            self.test.sha256()  # which it then remembers

    def _known(self, fitting: Fitting, seed: int) -> Trial | None:
        """Return what the ledger knows, if that is enough here."""
        known = Ledger(self.context.layout.ledger).find(trial_key(fitting, seed))
        evaluated = known is not None and (self.test is None or known.test_sha256 == self.test.sha256())
        return known if evaluated else None

    def _alone(self, key: str, progress: Progress) -> AbstractContextManager[None]:
        if self.context.team.size > 1:  # of whose processes each does its share of the training
            return nullcontext()
        path = self.context.layout.checkpoints("trials", f"{key}.lock")
        return held(path, progress, "another process trains the same: waiting for it")

    def _trained(self, fitting: Fitting, seed: int, progress: Progress) -> Trial:
        job = fitting.job(seed, progress)
        trained = train(job)
        trial = trial_of(fitting, seed, trained, self.source.name)
        if self.test is not None:
            accuracy = _accuracy(job, trained, self.test)
            trial = replace(trial, test_accuracy=accuracy, test_sha256=self.test.sha256())
        if self.context.team.leads:
            Ledger(self.context.layout.ledger).add(trial)
        job.checkpoints.remove()
        return trial

    def _fitting(self, name: str, stack: tuple[Use, ...]) -> Fitting:
        text = stack_text(stack)
        if text not in self._fittings:
            found = graft(self.context, name, stack, self.source, self._card())
            kit = found.kit.source(self.context, self.context.machine("target")) if found.kit else None
            self._fittings[text] = Fitting(
                self.context, name, found.manifest.as_json(), found.start, found.contract, kit, self.train,
                self.validation, self.training,
            )  # fmt: skip
        return self._fittings[text]

    def _card(self) -> dict[str, Any]:
        """Return the card of these images: the target's, with their own counts and statistics."""
        card = read_json(self.context.layout.card("target"))
        mean, std = statistics(images.numpy() for images, _ in self.train.batches(at_once(self.train.shape)))
        counts = self.train.labels.bincount(minlength=len(card["classes"])).tolist()
        return {**card, "splits": {**card["splits"], "train": counts}, "mean": mean, "std": std}


def trial_key(fitting: Fitting, seed: int) -> str:
    """Return the key that the trial of one seed has in the ledger."""
    return f"{fitting.key}-{seed}"


def trial_of(fitting: Fitting, seed: int, trained: Trained, source: str) -> Trial:
    """Return what the ledger keeps of a training."""
    spent = cost(fitting.manifest, trained.tensors, fitting.start)
    return Trial(
        key=trial_key(fitting, seed),
        task=fitting.task,
        source=source,
        strategy=fitting.name,
        stack=stack_text(fitting.stack),
        labels=len(fitting.train),
        labels_per_class=len(fitting.train) / len(fitting.contract.classes),
        seed=seed,
        validation_accuracy=trained.validation_accuracy,
        seconds=trained.seconds,
        trainable=spent.trainable_parameters,
        stored_bytes=spent.stored_bytes,
    )


def _accuracy(job: Job, trained: Trained, test: LabelledImages) -> float:
    """Return the share of the test images that the delivered weights get right."""
    model = job.target.model
    model.load_state_dict(trained.tensors)
    return share_correct(predict(model, test, job.normalise, job.machine), test.labels)
