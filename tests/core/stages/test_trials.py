"""A stack is trained once for all that decides its weights; the ledger knows the rest, and no test image is seen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from graftwork.errors import Interrupted, TrainingError
from graftwork.images import LabelledImages
from graftwork.job import Job, Trained
from graftwork.labelled_arrays import LabelledArrays
from graftwork.ledger import Ledger, Trial
from graftwork.progress import Quiet
from graftwork.settings import ImageFormat, Use
from graftwork.stages import Context, trials
from graftwork.stages.finetune import load_fitting
from graftwork.stages.grafting import load_source_weights
from graftwork.stages.trials import Trials, trial_key
from graftwork.storage import load_split
from graftwork.training import train
from tests.core.tiny_workspace import STRATEGIES, run, tiny_settings, workspace


@dataclass
class Counter:
    """Trains, and remembers what was trained on."""

    jobs: list[Job] = field(default_factory=list)

    def __call__(self, job: Job) -> Trained:
        self.jobs.append(job)
        return train(job)

    def during(self, act: Callable[[], object]) -> int:
        """Return the number of trainings that something takes."""
        before = len(self.jobs)
        act()
        return len(self.jobs) - before


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    found = Counter()
    monkeypatch.setattr(trials, "train", found)
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return workspace(tmp_path_factory.mktemp("trials"), tiny_settings(("source", "other")))


@pytest.fixture
def context(prepared: Context) -> Context:
    prepared.layout.ledger.unlink(missing_ok=True)
    return prepared


def part(context: Context, name: str) -> LabelledImages:
    return load_split(context.layout.split("target", name))


def make(context: Context, source: str = "source", *, tested: bool = False, **changes: Any) -> Trials:
    usual = Trials(
        context, load_source_weights(context, source), part(context, "train"), part(context, "validation"),
        context.settings.finetune, part(context, "test") if tested else None,
    )  # fmt: skip
    return replace(usual, **changes, _fittings={})


def stack(name: str) -> tuple[Use, ...]:
    return tuple(Use.model_validate(use) for use in STRATEGIES[name])


def one(found: Trials, name: str = "full_copy", seed: int = 0) -> Trial:
    return found.run(name, stack(name), seed, Quiet())


def test_the_same_is_not_trained_again_by_the_same_or_by_another(context: Context, counter: Counter) -> None:
    mine = make(context)
    first = one(mine)
    assert counter.during(lambda: one(mine)) == 0
    assert counter.during(lambda: one(make(context))) == 0
    assert one(make(context)) == first
    assert len(counter.jobs) == 1 and Ledger(context.layout.ledger).all() == [first]


def test_a_name_decides_nothing(context: Context, counter: Counter) -> None:
    one(make(context))
    assert counter.during(lambda: make(context).run("renamed", stack("full_copy"), 0, Quiet())) == 0


def altered(data: LabelledImages, *, label: bool = False) -> LabelledImages:
    """Return a copy with one pixel, or one label, changed."""
    images, labels = data.images.clone(), data.labels.clone()
    if label:
        labels[0] = 1 - labels[0]
    else:
        images[0, 0, 0, 0] ^= 1
    return LabelledArrays(images, labels)


def variants(context: Context) -> dict[str, Callable[[], Trial]]:
    held, chosen = part(context, "train"), part(context, "validation")
    fewer = LabelledArrays(held.images[:-1], held.labels[:-1])
    training = context.settings.finetune.model_copy(update={"lr": 0.02})
    return {
        "seed": lambda: one(make(context), seed=1),
        "stack": lambda: one(make(context), "freeze"),
        "training": lambda: one(make(context, training=training)),
        "labels": lambda: one(make(context, train=fewer)),
        "image": lambda: one(make(context, train=altered(held))),
        "label": lambda: one(make(context, train=altered(held, label=True))),
        "validation": lambda: one(make(context, validation=altered(chosen))),
        "source": lambda: one(make(context, "other")),
        "settings of a plugin": lambda: make(context).run(
            "full_copy", (*stack("full_copy"), Use.model_validate({"l2_sp": {"alpha": 0.2}})), 0, Quiet()
        ),
    }


@pytest.mark.parametrize(
    "what",
    ["seed", "stack", "training", "labels", "image", "label", "validation", "source", "settings of a plugin"],
)
def test_what_decides_the_weights_is_trained_anew_when_it_changes(
    context: Context, counter: Counter, what: str
) -> None:
    first = one(make(context))
    changed = variants(context)[what]
    assert counter.during(changed) == 1
    assert changed().key != first.key
    assert counter.during(changed) == 0 and counter.during(lambda: one(make(context))) == 0
    assert len(Ledger(context.layout.ledger).all()) == 2


def test_from_scratch_no_source_matters(context: Context, counter: Counter) -> None:
    one(make(context), "scratch")
    assert counter.during(lambda: one(make(context, "other"), "scratch")) == 0


class Waiting(Quiet):
    """Lets another go on as soon as this one waits, or computes; may stop then."""

    def __init__(self, goes_on: Event, *, stops: bool = False) -> None:
        self.goes_on, self.stops = goes_on, stops

    def check(self) -> None:
        self.goes_on.set()
        if self.stops:
            raise Interrupted("stop")


def at_once(context: Context, monkeypatch: pytest.MonkeyPatch, *, stops: bool = False) -> tuple[int, list[Trial]]:
    """Train from scratch for two sources, the second when the first is at it; return how often, and the trials."""
    began, goes_on, jobs = Event(), Event(), []

    def slow(job: Job) -> Trained:
        jobs.append(job)
        began.set()
        if len(jobs) > 1:
            goes_on.set()
        assert goes_on.wait(30)
        return train(job)

    def second() -> Trial:
        assert began.wait(30)
        return make(context, "other").run("scratch", stack("scratch"), 0, Waiting(goes_on, stops=stops))

    monkeypatch.setattr(trials, "train", slow)
    with ThreadPoolExecutor(2) as pool:
        started = pool.submit(one, make(context), "scratch"), pool.submit(second)
        if stops:
            with pytest.raises(Interrupted):
                started[1].result(60)
        found = [future.result(60) for future in (started[:1] if stops else started)]
    return len(jobs), found


def test_two_sources_that_train_the_same_at_the_same_time_train_it_once(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings, found = at_once(context, monkeypatch)
    assert trainings == 1 and found[0] == found[1]
    assert Ledger(context.layout.ledger).all() == found[:1]
    assert not [path for path in context.layout.checkpoints().rglob("*") if path.is_file()], "nor is a lock left"


def test_who_waits_for_the_same_training_can_be_stopped(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_once(context, monkeypatch, stops=True)[0] == 1


def test_a_trial_that_nobody_ended_is_trained_by_who_waited(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job: Job) -> Trained:
        raise TrainingError("no")

    with monkeypatch.context() as patched, pytest.raises(TrainingError):
        patched.setattr(trials, "train", broken)
        one(make(context), "scratch")
    assert one(make(context, "other"), "scratch").source == "other"


def test_what_was_tried_without_a_test_is_trained_for_one_and_then_serves_both(
    context: Context, counter: Counter
) -> None:
    plain = one(make(context))
    assert plain.test_accuracy is None
    tested = one(make(context, tested=True))
    assert counter.during(lambda: one(make(context, tested=True))) == 0
    assert counter.during(lambda: one(make(context))) == 0
    assert tested.test_accuracy is not None and 0 <= tested.test_accuracy <= 1
    assert replace(tested, test_accuracy=None, test_sha256=None, seconds=plain.seconds) == plain, (
        "the test has no part in the training"
    )


def test_what_was_tried_is_evaluated_anew_where_the_test_images_changed_and_trained_as_before(
    context: Context, counter: Counter
) -> None:
    first = one(make(context, tested=True))
    relabelled = part(context, "test")
    relabelled = LabelledArrays(relabelled.images, 1 - relabelled.labels)
    found = one(make(context, test=relabelled))
    assert found.test_accuracy == pytest.approx(1 - (first.test_accuracy or 0.0))
    assert replace(found, seconds=0, test_accuracy=0, test_sha256="") == replace(
        first, seconds=0, test_accuracy=0, test_sha256=""
    )
    assert counter.during(lambda: one(make(context, test=relabelled))) == 0 and len(counter.jobs) == 2
    assert Ledger(context.layout.ledger).all() == [found]


def test_no_test_image_reaches_a_training(context: Context, counter: Counter) -> None:
    own = make(context, tested=True)
    assert own.test is not None
    hidden = {image.numpy().tobytes() for image in own.test.images}
    for name in ("full_copy", "joint", "lwf"):
        one(own, name)
    assert len(counter.jobs) == 3
    for job in counter.jobs:
        held = [job.train, job.validation, job.run.train, job.run.validation]
        held += [job.target.source.images] if job.target.source and job.target.source.images else []
        assert not any(image.numpy().tobytes() in hidden for data in held for image in data.images)


def test_the_weights_that_are_evaluated_are_the_ones_that_validated_best(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(job: Job) -> Trained:
        found = train(job)
        for tensor in job.target.model.state_dict().values():
            tensor.zero_()
        return found

    expected = one(make(context, tested=True)).test_accuracy
    context.layout.ledger.unlink()
    monkeypatch.setattr(trials, "train", spoilt)
    assert one(make(context, tested=True)).test_accuracy == expected


def test_a_trial_tells_what_was_done(context: Context) -> None:
    found, frozen = one(make(context), "full_copy", seed=1), one(make(context), "freeze", seed=1)
    held = part(context, "train")
    assert (found.source, found.strategy, found.seed) == ("source", "full_copy", 1)
    assert (found.labels, found.labels_per_class) == (len(held), len(held) / 2)
    assert found.seconds > 0 and 0 <= found.validation_accuracy <= 1
    assert frozen.task == found.task and frozen.trainable < found.trainable
    assert frozen.stored_bytes < found.stored_bytes
    fewer = LabelledArrays(held.images[1:], held.labels[1:])
    assert one(make(context, train=fewer)).task != found.task


def test_after_a_training_no_checkpoint_is_left(context: Context) -> None:
    one(make(context))
    assert not [path for path in (context.layout.private / "checkpoints").rglob("*") if path.is_file()]


def test_fine_tuning_and_trials_know_each_other_by_the_same_keys(context: Context, counter: Counter) -> None:
    for name in STRATEGIES:
        run(context, ("transfer", name), ("finetune", name))
    recorded = {trial.key: trial for trial in Ledger(context.layout.ledger).all()}
    assert len(recorded) == len(STRATEGIES) * len(context.settings.seeds)
    mine = make(context)
    for name in STRATEGIES:
        for seed in context.settings.seeds:
            found = one(mine, name, seed)
            assert found.key == trial_key(load_fitting(context, name), seed)
            assert found == recorded[found.key] and found.strategy == name
    assert counter.jobs == [] and len(Ledger(context.layout.ledger).all()) == len(recorded)


def test_training_again_for_a_test_gives_what_fine_tuning_gave(context: Context, counter: Counter) -> None:
    run(context, ("transfer", "full_copy"), ("finetune", "full_copy"))
    before = {trial.key: trial for trial in Ledger(context.layout.ledger).all()}
    again = one(make(context, tested=True))
    assert len(counter.jobs) == 1
    assert again.validation_accuracy == before[again.key].validation_accuracy
    run(context, ("finetune", "full_copy"))
    kept = Ledger(context.layout.ledger).find(again.key)
    assert kept is not None and kept.test_accuracy == again.test_accuracy, "recorded again without one, it stays"


def test_keys_agree_where_source_images_are_of_another_format(tmp_path: Path, counter: Counter) -> None:
    plain = tiny_settings(image={"size": 32, "channels": 1}, model={"timm": {"name": "test_resnet"}})
    colour = plain.data["source"].model_copy(update={"image": ImageFormat(size=32, channels=3)})
    context = workspace(tmp_path, plain.model_copy(update={"data": {**plain.data, "source": colour}}))
    run(context, ("transfer", "joint"), ("finetune", "joint"))
    assert one(make(context), "joint") in Ledger(context.layout.ledger).all()
    assert counter.jobs == []


def test_images_reach_the_training_as_they_are(context: Context, counter: Counter) -> None:
    one(make(context))
    assert torch.equal(counter.jobs[0].train.images, part(context, "train").images)
