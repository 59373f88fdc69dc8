"""A loss that isn't finite is told with step, rate and layer; where that is set, half the rate mends it, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from graftwork import checkpoints
from graftwork.divergence import MOST_HALVINGS, all_finite
from graftwork.errors import Interrupted, TrainingError
from graftwork.hookspecs import hookimpl
from graftwork.job import Job, Trained
from graftwork.strategy import Phase, Step, TargetModel
from graftwork.training import train
from tests.core import tiny
from tests.core.progresses import Heard, Stopping


@dataclass(frozen=True)
class Breaking:
    """Breaks something once the rate is above a bound, from a step of the first group's count on."""

    bound: float
    what: str = "gradient"
    calls: Any = None  # a list that grows by an entry a step

    @hookimpl
    def step_ended(self, step: Step, optimizer: torch.optim.Optimizer) -> None:
        if self.calls is not None:
            self.calls.append(optimizer.param_groups[0]["lr"])
        if optimizer.param_groups[0]["lr"] > self.bound and self.what == "weight":
            with torch.no_grad():
                step.target.model.get_submodule("stem").weight[0, 0, 0, 0] = torch.inf  # type: ignore[index, operator]

    @hookimpl
    def gradients_ready(self, step: Step) -> None:
        classifier = step.target.classifier()
        step.target.notes["Breaking"] = True
        if self.what == "gradient" and _rate(step) > self.bound:
            assert classifier.weight.grad is not None
            classifier.weight.grad[0, 0] = torch.nan

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        return step.logits.sum() * (torch.nan if self.what == "term" and _rate(step) > self.bound else 0.0)

    @hookimpl
    def epoch_started(self, target: TargetModel, optimizer: torch.optim.Optimizer) -> None:
        target.notes["optimizer"] = optimizer


@dataclass(frozen=True)
class Rising:
    """Makes an epoch's loss rise before it breaks, as a loss that explodes does."""

    added: Callable[[Step, int], float]  # to the loss, by the step and its epoch

    @hookimpl
    def epoch_started(self, target: TargetModel, epoch: int) -> None:
        target.notes["epoch"] = epoch

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        return step.logits.sum() * 0 + self.added(step, step.target.notes["epoch"])


def _rate(step: Step) -> float:
    return float(step.target.notes["optimizer"].param_groups[0]["lr"])


def job(folder: Path, bound: float = 0.04, what: str = "gradient", **changes: Any) -> Job:
    """Return a training of 6 epochs of 3 steps, whose rate rises to .05 in its first half."""
    usual = {"epochs": 6, "batch_size": 16, "warmup_fraction": 0.5, "lr": 0.05, "on_divergence": "halve"}
    return tiny.job(folder, Breaking(bound, what, changes.pop("calls", None)), **usual | changes)


@pytest.mark.parametrize(
    ("what", "first"),
    [
        ("gradient", "the gradient of `head.weight` at step 7"),
        ("weight", "what `norm` is given at step 8|the output of `stem` at step 8"),
        ("term", "the gradient of `head"),
    ],
)
def test_the_diagnosis_names_step_rate_and_what_broke_first(what: str, first: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=first) as caught:
        train(job(tmp_path, what=what, on_divergence="stop"))
    assert "learning rate 0.04" in caught.value.what and "at step" in caught.value.what
    assert "on_divergence: halve" in caught.value.fix and caught.value.exit_code == 5


@pytest.mark.parametrize("every", [0.0, 1000.0])
def test_the_diagnosis_is_the_same_from_a_checkpoint_and_from_the_start(
    every: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", every)
    with pytest.raises(TrainingError, match="not finite at step 8 .*the gradient of `head.weight` at step 7"):
        train(job(tmp_path, on_divergence="stop"))


def test_weights_that_break_in_the_last_step_of_an_epoch_never_become_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    made = job(tmp_path, what="weight", bound=0.045, on_divergence="stop", validate_every_epochs=6)
    with pytest.raises(TrainingError, match="weights are not finite after the epoch's last step"):
        train(made)
    saved = made.checkpoints.newest()
    assert saved is not None and all(torch.isfinite(t).all() for t in saved.tensors["model"].values())


@pytest.mark.parametrize("writes", [True, False])
def test_broken_weights_are_told_after_their_epoch_by_who_saves_none_and_by_who_only_reads_checkpoints(
    writes: bool, tmp_path: Path
) -> None:
    made = job(tmp_path, what="weight", bound=0.045, on_divergence="stop", validate_every_epochs=6)
    made.checkpoints._writes = writes
    with pytest.raises(TrainingError, match="weights are not finite after the epoch's last step"):
        train(made)


def test_what_is_noted_of_broken_weights_is_the_same_however_often_a_checkpoint_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(every: float) -> Trained:
        monkeypatch.setattr(checkpoints, "EVERY_SECONDS", every)
        settings = {"epochs": 6, "batch_size": 16, "lr": 0.05, "on_divergence": "halve", "warmup_fraction": 0.5}
        plugins = (Breaking(0.045, "weight"), Rising(lambda _, epoch: epoch))  # the first epoch stays the good one
        return train(tiny.job(tmp_path / str(every), *plugins, validate_every_epochs=6, **settings))

    often, never = trained(0.0), trained(1000.0)
    assert often.mishaps == never.mishaps and "after the epoch's last step" in never.mishaps[0]
    assert not tiny.different(often.tensors, never.tensors)


def test_weights_are_finite_up_to_the_largest_number_whatever_their_kind_and_size() -> None:
    largest = torch.tensor([torch.finfo(torch.float32).max, -torch.finfo(torch.float32).max])
    sound = [largest, torch.ones(3, dtype=torch.bfloat16), torch.empty(0), torch.arange(3), torch.nn.Parameter(largest)]
    assert all_finite(sound) and all_finite([])
    for value in (torch.nan, torch.inf, -torch.inf):
        assert not all_finite([*sound, torch.tensor([0.0, value], dtype=torch.bfloat16)])


def test_half_the_rate_mends_it_and_the_record_says_so(tmp_path: Path) -> None:
    calls: list[float] = []
    trained = train(job(tmp_path, calls=calls))
    assert len(trained.mishaps) == 1
    assert "not finite at step" in trained.mishaps[0] and "head.weight" in trained.mishaps[0]
    assert "with the rate times 0.5" in trained.mishaps[0]
    assert max(calls[-9:]) < 0.025  # half of the highest
    assert [row["epoch"] for row in trained.history] == [1, 2, 3, 4, 5, 6]
    assert all(torch.isfinite(tensor).all() for tensor in trained.tensors.values())


def test_a_training_that_never_diverges_has_the_same_bits_under_both_settings(tmp_path: Path) -> None:
    stop, halve = (train(job(tmp_path / how, bound=1.0, on_divergence=how)) for how in ("stop", "halve"))
    assert not tiny.different(stop.tensors, halve.tensors) and stop.history == halve.history
    assert halve.mishaps == ()


def test_it_gives_up_after_so_many_halvings_and_keeps_the_last_good_weights(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"{MOST_HALVINGS} times half the learning rate didn't help") as caught:
        train(job(tmp_path, bound=0.003))
    assert "lower lr" in caught.value.fix and "halve" not in caught.value.fix, "that is what was tried"
    assert list(tmp_path.rglob("last-good.safetensors"))


def test_it_goes_back_to_the_epoch_with_the_lowest_loss_of_the_phase(tmp_path: Path) -> None:
    def added(step: Step, epoch: int) -> float:
        halved = _rate(step) < 0.75 * 0.05 * (1 - (3 * epoch + 3) / 25)
        return 0.0 if halved else {3: 100.0, 4: 1000.0, 5: torch.inf}.get(epoch, 0.0)

    heard = Heard()
    settings = {"epochs": 8, "batch_size": 16, "lr": 0.05, "on_divergence": "halve", "warmup_fraction": 0.0}
    plugins = (Breaking(9.0), Rising(added))
    trained = train(tiny.job(tmp_path, *plugins, progress=heard, **settings))
    assert "went back to the end of epoch 3" in trained.mishaps[0] and "epoch 6" in trained.mishaps[0]
    assert trained.mishaps[0] in heard.logs


@pytest.mark.parametrize("stop_at", [5, 8, 12, 16])
def test_a_halved_training_resumes_and_ends_with_the_same_bits(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)

    whole = train(job(tmp_path / "whole"))
    with pytest.raises(Interrupted):
        train(job(tmp_path / "parts", progress=Stopping(stop_at)))
    resumed = train(job(tmp_path / "parts"))
    assert not tiny.different(whole.tensors, resumed.tensors)
    assert whole.history == resumed.history and whole.mishaps == resumed.mishaps


def test_phases_are_mended_within_themselves(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Probe:
        @hookimpl
        def phases(self, target: TargetModel, epochs: int) -> list[Phase]:
            return [Phase("head", 2, trains=target.head), Phase("all", 4, restarts=True)]

    calls: list[float] = []
    settings = {"batch_size": 16, "lr": 0.05, "on_divergence": "halve", "warmup_fraction": 0.5}
    trained = train(tiny.job(tmp_path, Probe(), Breaking(0.045, calls=calls), **settings))
    assert len(trained.mishaps) == 1 and len(trained.history) == 6
    assert all(torch.isfinite(tensor).all() for tensor in trained.tensors.values())


def test_what_is_decided_is_the_same_as_before_the_key_was_there_and_another_where_it_is_used() -> None:
    assert "on_divergence" not in tiny.training().deciding()
    assert tiny.training(on_divergence="halve").deciding()["on_divergence"] == "halve"
