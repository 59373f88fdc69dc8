"""Lay a strategy's phases out epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graftwork.strategy import Phase


@dataclass(frozen=True)
class PlannedEpoch:
    """One epoch, and where it stands in its course: the phases from one restart of the learning rate to the next."""

    phase: Phase
    begins_phase: bool
    begins_course: bool
    ends_course: bool
    done: int  # epochs of the course before this one
    course_epochs: int


def plan(phases: Sequence[Phase]) -> list[PlannedEpoch]:
    """Return all epochs of a training in order. Phases without epochs are left out."""
    courses: list[list[Phase]] = []
    for phase in (phase for phase in phases if phase.epochs > 0):
        if phase.restarts or phase.from_start or not courses:
            courses.append([])
        courses[-1].append(phase)
    return [epoch for course in courses for epoch in _course(course)]


def _course(phases: list[Phase]) -> list[PlannedEpoch]:
    total = sum(phase.epochs for phase in phases)
    order = [(phase, index == 0) for phase in phases for index in range(phase.epochs)]
    return [
        PlannedEpoch(phase, first, done == 0, done == total - 1, done, total)
        for done, (phase, first) in enumerate(order)
    ]
