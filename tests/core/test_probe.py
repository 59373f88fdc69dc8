"""Steps that are timed are real ones, and what they are taken on is thrown away."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch
from torch import Tensor, nn

from graftwork.choice import Choice
from graftwork.probe import Probe, compiled_gain
from graftwork.progress import Quiet
from graftwork.race import Unfit
from graftwork.side_by_side import can_fork
from graftwork.side_probe import side_by_side_gain
from tests.core.tiny import CONTRACT, TinyNet, copied, different, training

CHOICE = Choice(
    device="cpu", threads=1, precision="float32", memory_format="contiguous", compile=False, side_by_side=1
)  # fmt: skip


class Exploding(TinyNet):
    """Answer with infinity where the arithmetic is bfloat16."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits * (torch.inf if logits.dtype == torch.bfloat16 else 1)


class Large(TinyNet):
    """Have no room for more than five images, in bfloat16 for none."""

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 5 or torch.is_autocast_enabled("cpu"):
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")
        return super().forward(images)


def probe(model: nn.Module | None = None) -> Probe:
    found = Probe(model or TinyNet(), CONTRACT, training(batch_size=16), Quiet())
    found.fit_batch(CHOICE)
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_the_model_that_is_shown_stays_as_it_is(precision: str, memory_format: str) -> None:
    model = TinyNet()
    before = copied(model)
    way = CHOICE.model_copy(update={"precision": precision, "memory_format": memory_format})
    assert probe(model).bout(way) > 0
    assert different(before, copied(model)) == []


def test_the_batch_is_the_trainings_unless_a_step_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe().batch == 16 and probe().share == 1
    monkeypatch.setattr("graftwork.probe.STEP_SECONDS", 1e-9)
    assert probe().batch == 2 and probe().share == 8


def test_a_loss_that_is_not_finite_is_a_finding() -> None:
    exploding = probe(Exploding())
    assert exploding.bout(CHOICE) > 0
    with pytest.raises(Unfit, match="isn't finite"):
        exploding.bout(CHOICE.model_copy(update={"precision": "bfloat16"}))


def test_where_memory_runs_out_a_step_has_fewer_images_and_a_way_that_has_no_room_is_a_finding() -> None:
    large = probe(Large())
    assert large.batch == 4 and large.share == 4
    with pytest.raises(Unfit, match="^memory ran out$"):
        large.bout(CHOICE.model_copy(update={"precision": "bfloat16"}))
    assert large.bout(CHOICE) > 0


def test_a_compiler_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler\nat all")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(Unfit, match="^it can't be compiled here: no C\\+\\+ compiler$"):
        compiled_gain(probe(), CHOICE)


@pytest.mark.skipif(not can_fork(), reason="processes can't be forked here")
def test_steps_are_counted_in_processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graftwork.side_probe.SECONDS", 0.02)
    assert side_by_side_gain(probe(), CHOICE, CHOICE.model_copy(update={"side_by_side": 2})) > 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler here")
def test_compiling_really_works_here() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler tells of its own ways
        spent, _ = compiled_gain(probe(), CHOICE)
    assert spent > 0
