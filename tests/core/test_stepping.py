"""Where memory runs out, batches go on in parts whose gradients add up to the batch's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graftwork import checkpoints
from graftwork.errors import Interrupted, TrainingError
from graftwork.faults import as_told
from graftwork.hookspecs import hookimpl
from graftwork.job import Job, Trained
from graftwork.memory import in_portions, ran_out
from graftwork.progress import Progress
from graftwork.side_by_side import can_fork, side_by_side
from graftwork.strategy import Step, Strategy
from graftwork.training import train
from graftwork_plugins.augmentations import Flip, MixUp
from graftwork_plugins.strategies.auto_rgn import AutoRGN
from graftwork_plugins.strategies.freeze import Freeze
from graftwork_plugins.strategies.full_copy import FullCopy
from graftwork_plugins.strategies.l2_sp import L2SP
from tests.core import tiny
from tests.core.progresses import Heard, Stopping
from tests.core.test_training import uneven

CPU_RAN_OUT = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")


@dataclass(frozen=True)
class Centre:
    """A term on the images of a step."""

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        assert len(step.images) == len(step.labels) == len(step.logits)
        assert step.loss is not None
        return 0.3 * step.logits.mean(dim=1).square().mean() + 0.1 * step.loss


@dataclass(frozen=True)
class Whole:
    """Sees whole steps, once each."""

    seen: list[int]

    @hookimpl
    def gradients_ready(self, step: Step) -> None:
        assert step.loss is not None and step.numbers is not None
        assert len(step.images) == len(step.labels) == len(step.logits) == len(step.numbers)
        self.seen.append(len(step.images))

    @hookimpl
    def step_ended(self, step: Step, optimizer: torch.optim.Optimizer) -> None:
        self.seen.append(-len(step.images))


def limited(model: nn.Module, most: int, error: Exception | None = None) -> None:
    """Let a model run out of memory on more images than this, in training."""

    def check(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training and len(inputs[0]) > most:
            raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    model.get_submodule("stem").register_forward_pre_hook(check)


def plain_job(folder: Path, *plugins: object, most: int = 10**6, **changes: Any) -> Job:
    """Return a training without what sees a batch as a whole: batch norm, dropout."""
    strategy, (source, model) = Strategy("plain", [FullCopy(), *plugins]), (tiny.tiny_net(seed=seed) for seed in (1, 0))
    for net in (source, model):
        net.norm, net.drop.p = nn.Identity(), 0.0  # type: ignore[assignment]
    limited(model, most)
    return tiny.job(folder, strategy=strategy, target=tiny.graft(strategy, source, model), **changes)


def close(one: Trained, other: Trained) -> bool:
    return all(torch.allclose(one.tensors[name], other.tensors[name], atol=2e-5) for name in one.tensors)


@pytest.mark.parametrize("most", [8, 5, 1])
@pytest.mark.parametrize(
    ("plugins", "changes"),
    [
        ((), {}),
        ((Centre(), L2SP(alpha=0.1, beta=0.01)), {"label_smoothing": 0.1}),
        ((Centre(),), {"class_weights": "balanced", "train": uneven()}),
        ((Centre(),), {"augmentation": (Flip(), MixUp()), "class_weights": "balanced"}),
        ((AutoRGN(),), {"optimizer": "adamw", "lr": 0.01}),
    ],
)  # fmt: skip
def test_parts_come_to_the_whole_batch_but_for_rounding(
    most: int, plugins: tuple[object, ...], changes: dict[str, Any], tmp_path: Path
) -> None:
    whole = train(plain_job(tmp_path / "whole", *plugins, batch_size=16, **changes))
    heard = Heard()
    parted = train(plain_job(tmp_path / "parted", *plugins, batch_size=16, most=most, progress=heard, **changes))
    assert close(whole, parted)
    assert whole.mishaps == () and len(parted.mishaps) == {8: 1, 5: 2, 1: 4}[most]
    assert parted.mishaps[-1] in heard.logs[-1] and f"of {min(most, 4) if most == 5 else most}" in parted.mishaps[-1]
    for one, other in zip(whole.history, parted.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_the_stack_sees_each_step_once_and_whole(tmp_path: Path) -> None:
    seen: list[int] = []
    train(plain_job(tmp_path, Whole(seen), batch_size=16, epochs=1, most=4))
    assert seen == [16, -16] * 3


@pytest.mark.parametrize("error", [CPU_RAN_OUT, MemoryError(), RuntimeError("std::bad_alloc"), None])
def test_memory_runs_out_in_many_words(error: Exception | None, tmp_path: Path) -> None:
    made = tiny.job(tmp_path, batch_size=16, epochs=1)
    limited(made.target.model, 8, error)
    assert len(train(made).mishaps) == 1


def test_other_errors_are_no_reason_to_go_on(tmp_path: Path) -> None:
    made = tiny.job(tmp_path)
    limited(made.target.model, 8, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        train(made)


@pytest.mark.parametrize("norm", [True, False])
def test_at_one_image_or_two_where_a_batch_norm_learns_it_ends(norm: bool, tmp_path: Path) -> None:
    made = tiny.job(tmp_path, batch_size=16) if norm else plain_job(tmp_path, batch_size=16)
    limited(made.target.model, 1 if norm else 0)
    with pytest.raises(TrainingError, match="Memory ran out") as caught:
        train(made)
    assert caught.value.exit_code == 5 and "side_by_side" in caught.value.fix


def test_memory_that_runs_out_without_a_word_is_told_too(tmp_path: Path) -> None:
    made = plain_job(tmp_path, batch_size=16)
    limited(made.target.model, 0, MemoryError())
    with pytest.raises(TrainingError, match="Memory ran out.*: MemoryError"):
        train(made)


def test_a_training_in_parts_resumes_in_parts_and_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)

    def mine(folder: str, **changes: Any) -> Job:
        made = tiny.job(tmp_path / folder, batch_size=16, **changes)
        limited(made.target.model, 7)
        return made

    whole = train(mine("whole"))
    with pytest.raises(Interrupted):
        train(mine("parts", progress=Stopping(6)))
    resumed = train(mine("parts"))
    assert not tiny.different(whole.tensors, resumed.tensors)
    assert whole.mishaps == resumed.mishaps and len(whole.mishaps) == 2


@pytest.mark.skipif(not can_fork(), reason="processes are forked on Linux only")
def test_it_happens_in_forked_trainings_too_and_is_told(tmp_path: Path) -> None:
    heard = Heard()

    def one(seed: int) -> Any:
        def task(progress: Progress) -> Trained:
            made = tiny.job(tmp_path / str(seed), batch_size=16, seed=seed, progress=progress)
            limited(made.target.model, 8)
            return train(made)

        return task

    trained = side_by_side({f"seed {seed}": one(seed) for seed in (0, 1)}, 2, heard)
    assert all(len(found.mishaps) == 1 for found in trained)
    assert sum("memory ran out" in line for line in heard.logs) == 2


def test_activations_that_were_kept_go_in_parts_too(tmp_path: Path) -> None:
    from tests.core.test_frozen import job

    def mine(folder: str, most: int) -> Job:
        made = job(tmp_path / folder, "mlp", Freeze(), kept=tmp_path / "kept")
        head = made.target.classifier()

        def check(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if made.target.model.training and len(inputs[0]) > most:
                raise CPU_RAN_OUT

        head.register_forward_pre_hook(check)
        return made

    whole, parted = train(mine("whole", 10**6)), train(mine("parted", 4))
    assert parted.mishaps and close(whole, parted)


@pytest.mark.parametrize("error", [CPU_RAN_OUT, MemoryError(), torch.OutOfMemoryError("HIP out of memory. Tried …")])
def test_memory_that_runs_out_in_any_stage_is_no_defect_to_be_reported(error: Exception) -> None:
    told = as_told(error, "stage features@source")
    assert told.what == "Memory ran out" and "report it" not in told.fix
    assert "report it" in as_told(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "").fix


def test_work_is_done_in_smaller_portions_until_it_fits() -> None:
    tried: list[int] = []

    def work(size: int) -> int:
        tried.append(size)
        if size > 3:
            raise CPU_RAN_OUT
        return size

    assert in_portions(16, work) == 2 and tried == [16, 8, 4, 2]
    with pytest.raises(RuntimeError):
        in_portions(1, lambda _: exec("raise error", {"error": CPU_RAN_OUT}))
    with pytest.raises(ValueError):
        in_portions(4, lambda _: int("x"))
    assert not ran_out(ValueError("DefaultCPUAllocator"))


def test_validation_asks_for_fewer_images_at_once_where_memory_runs_out(tmp_path: Path) -> None:
    made = tiny.job(tmp_path)
    sizes: list[int] = []

    def check(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 16:
            raise CPU_RAN_OUT

    made.target.model.get_submodule("stem").register_forward_pre_hook(check)
    assert train(made).mishaps == () and max(sizes) == 48


@pytest.fixture(autouse=True)
def quick_tidying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Collecting garbage takes longer than these trainings."""
    monkeypatch.setattr("graftwork.memory.gc.collect", lambda: 0)
    yield
