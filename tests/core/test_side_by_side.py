"""Work side by side comes to what it comes to in turn, stops when asked, and leaves no process behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest
import torch

from graftwork.errors import Interrupted, SettingsError, TrainingError
from graftwork.progress import Progress, Quiet
from graftwork.side_by_side import can_fork, side_by_side, start

pytestmark = pytest.mark.skipif(not can_fork(), reason="processes are forked on Linux only")


class Heard(Quiet):
    """Remembers what it is told; stops after some checks."""

    def __init__(self, checks: int = 10**9) -> None:
        self.logs: list[str] = []
        self.fractions: list[float] = []
        self.checks = checks

    def log(self, message: str) -> None:
        self.logs.append(message)

    def advance(self, fraction: float, message: str) -> None:
        self.fractions.append(fraction)

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise Interrupted("stop")


def descend(seed: int, progress: Progress) -> torch.Tensor:
    """Take some steps that need autograd, from a seed."""
    torch.manual_seed(seed)
    weight = torch.randn(40, 40, requires_grad=True)
    for step in range(5):
        loss = (weight @ weight).square().sum()
        loss.backward()
        with torch.no_grad():
            weight -= 1e-4 * weight.grad
        progress.advance((step + 1) / 5, "")
    progress.log("done")
    return weight.detach()


def wait_for_ever(progress: Progress) -> None:
    while True:
        progress.check()
        time.sleep(0.01)


def fail(_: Progress) -> None:
    raise SettingsError("wrong", fix="mend it")


def kill_oneself(_: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def tasks_of(*work: Callable[[Progress], object]) -> dict[str, Callable[[Progress], object]]:
    return {f"task {index}": each for index, each in enumerate(work)}


def test_results_are_those_of_one_after_the_other_to_the_bit_and_in_order() -> None:
    threads = torch.get_num_threads()
    torch.ones(300, 300).requires_grad_().square().sum().backward()  # on all threads
    tasks = {f"seed {seed}": partial(descend, seed) for seed in range(5)}
    together = side_by_side(tasks, 2, Quiet())
    torch.set_num_threads(1)
    alone = side_by_side(tasks, 1, Quiet())
    torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_of_all_grows_to_the_whole_and_says_of_which(workers: int) -> None:
    heard = Heard()
    side_by_side({f"seed {seed}": partial(descend, seed) for seed in range(3)}, workers, heard)
    assert heard.fractions == sorted(heard.fractions)
    assert heard.fractions[-1] == pytest.approx(1)
    assert sorted(heard.logs) == [f"seed {seed}: done" for seed in range(3)]


def test_no_more_than_the_workers_compute_at_once() -> None:
    meeting = multiprocessing.get_context("fork").Barrier(2, timeout=60)

    def note(progress: Progress) -> tuple[float, float]:
        began = time.monotonic()
        meeting.wait()  # for another that computes at once, however busy the machine is
        return began, time.monotonic()

    log = side_by_side(tasks_of(*[note] * 6), 2, Quiet())
    moments = sorted(began for began, _ in log)
    assert max(sum(began <= moment < ended for began, ended in log) for moment in moments) == 2


def test_an_error_reaches_the_caller_as_it_was_and_ends_the_others() -> None:
    started = start(tasks_of(wait_for_ever, fail), 2, Quiet())
    with pytest.raises(SettingsError, match="mend it"):
        started.results()
    assert not any(child.process.is_alive() for child in started._children)


def test_asked_to_stop_all_stop() -> None:
    started = start(tasks_of(*[wait_for_ever] * 3), 2, Heard(checks=3))
    with pytest.raises(Interrupted):
        started.results()
    assert not any(child.process.is_alive() for child in started._children)


def test_a_killed_process_is_told_of_and_its_place_is_free_again() -> None:
    for _ in range(3):
        with pytest.raises(TrainingError, match="SIGKILL"):
            side_by_side(tasks_of(kill_oneself), 2, Quiet())
    assert len(side_by_side(tasks_of(*[partial(descend, 0)] * 2), 2, Quiet())) == 2


def test_the_place_of_a_process_that_is_ended_before_it_was_heard_is_free_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("graftwork.side_by_side.GRACE_SECONDS", 0.1)
    computing = multiprocessing.get_context("fork").Event()

    def hear_nothing(_: Progress) -> None:
        computing.set()
        time.sleep(60)

    started = start(tasks_of(hear_nothing), 1, Quiet())
    assert computing.wait(60)
    started.stop()
    assert started._slots.acquire(timeout=1)
    started._slots.release()


def test_what_isn_t_our_own_error_names_its_kind() -> None:
    def divide(_: Progress) -> float:
        return 1 / 0

    with pytest.raises(TrainingError, match="ZeroDivisionError"):
        side_by_side(tasks_of(divide), 2, Quiet())
