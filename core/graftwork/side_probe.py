"""Whether several small trainings at once, in processes of one thread each, get more done than one on all cores."""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

from graftwork.choice import Choice
from graftwork.probe import Probe
from graftwork.race import Unfit

SECONDS = 0.5  # of each bout
ROUNDS = 3
PATIENCE_SECONDS = 60.0


def can_fork() -> bool:
    """Tell whether trainings can be forked here; elsewhere than on Linux libraries don't survive it."""
    return sys.platform == "linux"


def side_by_side_gain(probe: Probe, alone: Choice, together: Choice) -> float:
    """Return how many times the steps of one training `alone` are taken by `together.side_by_side` of them at once.

    The median of some rounds. Raises Unfit where a process fails.
    """
    ratios = []
    for _ in range(ROUNDS):
        one = 1 / min(probe.seconds(alone, max(1, round(SECONDS / probe.bout(alone)))), probe.bout(alone))
        ratios.append(_rate(probe, together) / one)
    return sorted(ratios)[ROUNDS // 2]


def _rate(probe: Probe, choice: Choice) -> float:
    """Return the steps a second of all processes together."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(choice.side_by_side)
    pipes, processes = [], []
    for _ in range(choice.side_by_side):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(probe, choice, barrier, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        return sum(_received(pipe) for pipe in pipes)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _received(pipe: Connection) -> float:
    if not pipe.poll(PATIENCE_SECONDS):
        raise Unfit("a forked process doesn't answer")
    try:
        found: float = pipe.recv()
    except EOFError:
        raise Unfit("a forked process ended early") from None
    return found


def _work(probe: Probe, choice: Choice, barrier: Barrier, answer: Connection) -> None:
    """Take steps for a while, together with the others, and tell how many a second it were."""
    probe.step(choice)
    barrier.wait(PATIENCE_SECONDS)
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        probe.step(choice)
        steps += 1
    answer.send(steps / (time.perf_counter() - started))
