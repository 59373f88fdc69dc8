"""What a task shows of its progress, and how often it asks the server to."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from graftwork_flows import tasks
from graftwork_flows.tasks import UPDATE_SECONDS, TaskProgress


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The percentages of which the server was told."""
    told: list[float] = []

    def create(percent: float, **_: Any) -> str:
        told.append(percent)
        return "an id"

    monkeypatch.setattr(tasks, "create_progress_artifact", create)
    monkeypatch.setattr(tasks, "update_progress_artifact", lambda _, percent: told.append(percent))
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logging.getLogger("test"))
    return told


def train(clock: Clock, progress: list[TaskProgress], seconds: float) -> None:
    """Let stages train side by side, each telling of every tenth of a second."""
    for step in range(round(10 * seconds)):
        clock.now += 0.1
        for one in progress:
            one.advance(step / (10 * seconds), "so far")


@pytest.mark.parametrize("stages", [1, 4])
def test_all_stages_together_make_at_most_one_request_in_two_seconds(
    stages: int, requests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, shown = Clock(), set[str]()
    monkeypatch.setattr(tasks, "time", clock)
    run: Any = None
    progress = [TaskProgress(run, f"finetune@{number}", shown) for number in range(stages)]
    train(clock, progress, 60)
    assert 60 / UPDATE_SECONDS * 0.8 <= len(requests) <= 60 / UPDATE_SECONDS + stages
    assert requests == sorted(requests) and requests[-1] > 80


def test_a_stage_that_showed_nothing_makes_no_request_when_it_is_done(requests: list[float]) -> None:
    run: Any = None
    TaskProgress(run, "fetch@target", set()).finish()
    assert requests == []
