"""Whether several small trainings at once, in processes of one thread each, get more done than one on all cores."""

from __future__ import annotations

import multiprocessing
import time
from functools import partial
from multiprocessing.synchronize import Barrier

from graftwork.choice import Choice
from graftwork.errors import TrainingError
from graftwork.probe import Probe
from graftwork.progress import Progress, Quiet
from graftwork.race import Unfit
from graftwork.side_by_side import side_by_side

SECONDS = 0.4  # of each bout
ROUNDS = 3
PATIENCE_SECONDS = 60.0  # until all processes are there


def side_by_side_gain(probe: Probe, alone: Choice, together: Choice) -> float:
    """Return how many times the steps of one training `alone` are taken by `together.side_by_side` of them at once.

    The median of some rounds. Raises Unfit where a process fails.
    """
    ratios = sorted(_rate_of_all(probe, together) / _rate(probe, alone) for _ in range(ROUNDS))
    return ratios[ROUNDS // 2]


def _rate_of_all(probe: Probe, choice: Choice) -> float:
    """Return the steps a second of all processes together."""
    barrier = multiprocessing.get_context("fork").Barrier(choice.side_by_side)
    tasks = {f"process {n}": partial(_in_step, probe, choice, barrier) for n in range(choice.side_by_side)}
    try:
        return sum(side_by_side(tasks, choice.side_by_side, Quiet()))
    except TrainingError as error:
        raise Unfit(error.what) from error


def _in_step(probe: Probe, choice: Choice, barrier: Barrier, _progress: Progress) -> float:
    """Begin when all others do."""
    probe.step(choice)
    barrier.wait(PATIENCE_SECONDS)
    return _rate(probe, choice)


def _rate(probe: Probe, choice: Choice) -> float:
    """Return the steps a second of one training."""
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        probe.step(choice)
        steps += 1
    return steps / (time.perf_counter() - started)
