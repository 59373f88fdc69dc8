"""Training is deterministic, resumable to the bit, and stops at a loss that isn't finite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from graftwork import checkpoints
from graftwork.checkpoints import Checkpoints
from graftwork.choice import default_choice
from graftwork.engine import Normalise, prepare
from graftwork.errors import Interrupted, TrainingError
from graftwork.job import Job
from graftwork.labelled_arrays import LabelledArrays
from graftwork.models import build_model, head_tensors
from graftwork.optimization import build_optimizer, set_learning_rate
from graftwork.progress import Quiet
from graftwork.strategy import Strategy, TargetModel
from graftwork.training import train
from graftwork_plugins.augmentations import Flip, Shift
from tests.core import tiny
from tests.core.progresses import Stopping
from tests.core.small import CONTRACT, REGISTRY, SETTINGS, data


def job(folder: Path, *, seed: int = 0, model: str = "mlp", **changes: object) -> Job:
    settings = SETTINGS.model_copy(update={"model": SETTINGS.model.model_copy(update={"name": model, "settings": {}})})
    machine = prepare(default_choice(settings.engine))
    built = build_model(settings, REGISTRY, 2, seed)
    target = TargetModel(machine.place(built), head_tensors(built), frozenset())
    made = Job(
        target, Strategy("test", []), data(40, 1), data(20, 2), [Flip(), Shift(1)], Normalise(CONTRACT, machine),
        settings.finetune, machine, seed, Quiet(), Checkpoints(folder, "x" * 16),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("model", ["mlp", "timm"])
def test_equal_seeds_give_equal_bits_and_others_do_not(model: str, tmp_path: Path) -> None:
    one, two, other = (train(job(tmp_path / str(n), seed=s, model=model)) for n, s in enumerate((0, 0, 1)))
    assert same(one.tensors, two.tensors)
    assert not same(one.tensors, other.tensors)


@pytest.mark.parametrize("stop_at", [1, 5, 9, 14])
def test_an_interrupted_training_ends_with_the_same_bits(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)

    whole = train(job(tmp_path / "whole"))
    with pytest.raises(Interrupted):
        train(job(tmp_path / "parts", progress=Stopping(stop_at)))
    resumed = train(job(tmp_path / "parts"))
    assert same(whole.tensors, resumed.tensors)
    assert whole.history == resumed.history


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    first = train(job(tmp_path))
    file = next(tmp_path.rglob("model.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    assert same(train(job(tmp_path)).tensors, first.tensors)


def test_a_loss_that_is_not_finite_stops_with_step_rate_and_the_last_good_weights(tmp_path: Path) -> None:
    class Exploding:
        calls = 0

        def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            self.calls += 1
            return images.float() * torch.nan if self.calls > 5 else images

    with pytest.raises(TrainingError, match=r"not finite at step 5 .*last good weights: .*last-good") as caught:
        train(job(tmp_path, augmentation=[Exploding()]))
    assert "lower lr" in caught.value.fix
    assert next(tmp_path.rglob("last-good.safetensors")).stat().st_size > 0


def test_the_epoch_that_validated_best_is_kept(tmp_path: Path) -> None:
    trained = train(job(tmp_path))
    best = max(row["validation_accuracy"] for row in trained.history)
    chosen = next(row for row in trained.history if row["epoch"] == trained.best_epoch)
    assert chosen["validation_accuracy"] == best


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    training = SETTINGS.finetune.model_copy(update={"lr": 1.0, "warmup_fraction": 0.25, "optimizer": "sgd"})
    optimizer = build_optimizer([{"params": [torch.nn.Parameter(torch.zeros(1))]}], training)
    rates = []
    for progress in (0.0, 0.125, 0.25, 0.625, 1.0):
        set_learning_rate(optimizer, training, progress)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_training_moves_nothing_but_what_is_trainable(tmp_path: Path) -> None:
    made = job(tmp_path)
    made.target.model.trunk.requires_grad_(False)  # type: ignore[union-attr, operator]
    before = {name: p.clone() for name, p in made.target.model.named_parameters()}
    train(made)
    moved = {name for name, p in made.target.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"head.weight", "head.bias"}


def test_labels_and_images_stay_as_they_are(tmp_path: Path) -> None:
    made = job(tmp_path)
    before = LabelledArrays(made.train.images.clone(), made.train.labels.clone())
    train(made)
    assert torch.equal(before.images, made.train.images) and torch.equal(before.labels, made.train.labels)


def uneven() -> LabelledArrays:
    """Return images of three classes, of which the first has 16, the second 8 and the third 4."""
    kept = torch.cat([torch.arange(label, 48, 3)[: 16 >> label] for label in range(3)])
    return tiny.stripes(48, seed=1).take(kept)


@pytest.mark.parametrize("change", [{"class_weights": "balanced"}, {"sampling": "balanced"}])
def test_a_balanced_training_repeats_resumes_and_differs_from_a_plain_one(
    change: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)

    def mine(folder: str, **changes: object) -> Job:
        return tiny.job(tmp_path / folder, train=uneven(), batch_size=7, **changes)

    whole, plain = train(mine("whole", **change)), train(mine("plain"))
    with pytest.raises(Interrupted):
        train(mine("parts", progress=Stopping(5), **change))
    assert same(whole.tensors, train(mine("parts", **change)).tensors)
    assert not same(whole.tensors, plain.tensors)


def test_weights_of_equal_classes_change_no_more_than_rounding(tmp_path: Path) -> None:
    weighted, plain = (train(tiny.job(tmp_path / how, class_weights=how)) for how in ("balanced", "none"))
    assert all(torch.allclose(weighted.tensors[name], tensor, atol=1e-5) for name, tensor in plain.tensors.items())


def test_a_compiled_forward_pass_is_that_of_the_model_and_a_watched_model_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def pretend(model: torch.nn.Module, dynamic: bool) -> object:
        def forward(images: torch.Tensor) -> object:
            calls.append("compiled")
            return model(images)

        return forward

    monkeypatch.setattr(torch, "compile", pretend)
    machine = replace(job(tmp_path).machine, compile=True)
    plain = train(job(tmp_path / "plain"))
    with_it = train(job(tmp_path / "compiled", machine=machine))
    assert calls == ["compiled"] * 16  # four epochs of four steps
    assert same(plain.tensors, with_it.tensors)
    watching = job(tmp_path / "watched", machine=machine)
    watching.target.taps.watch_features(watching.target.model)
    train(watching)
    assert len(calls) == 16
