"""The stages: settings and files in, files out. They know neither Prefect nor DVC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from graftwork.choice import Choice, recorded_choice
from graftwork.layout import Layout
from graftwork.progress import Progress
from graftwork.registry import Registry
from graftwork.settings import Settings
from graftwork.side_by_side import Compute, here
from graftwork.team import ALONE, Team

if TYPE_CHECKING:
    from graftwork.engine import Machine


@dataclass(frozen=True)
class Context:
    """What every stage gets: its settings, plugins, files, and whom to tell."""

    settings: Settings
    registry: Registry
    layout: Layout
    progress: Progress
    compute: Compute = here  # where torch's work is done: a run has one thread for it
    asked_by: str = "Python"  # for the records of who computed what
    team: Team = ALONE  # the processes that share its trainings

    def choice(self, data: str) -> Choice:
        """Return what was chosen to train on a data set with. Raises StateError where nothing was, yet."""
        return recorded_choice(self.settings, self.layout, data).shared_by(self.team.size)

    def machine(self, data: str) -> Machine:
        """Prepare what was chosen to train on a data set with."""
        from graftwork.engine import prepare

        return prepare(self.choice(data))


Stage = Callable[[Context, str], None]
SHARED = {"pretrain", "finetune", "cells"}  # stages whose trainings several processes may share
WAITING = {"finetune", "cells"}  # stages that wait for processes, and leave the computing thread to others meanwhile


def stages() -> dict[str, Stage]:
    """Return the stages by name; the second argument of each is its item: a data set, a strategy, or empty.

    A stage's module is imported when the stage is called: no stage waits for what another one needs.
    """
    return {
        "obtain": _later("obtain", "obtain"),
        "import": _later("importing", "import_weights"),
        "fetch": _later("fetch", "fetch"),
        "augment": _later("augment", "augment"),
        "measure": _later("measure", "measure"),
        "pretrain": _later("pretrain", "pretrain"),
        "features": _later("features", "features"),
        "score": _later("score", "score"),
        "recommend": _later("recommend", "recommend"),
        "transfer": _later("transfer", "transfer"),
        "finetune": _later("finetune", "finetune"),
        "report": _later("report", "report"),
        "cells": _later("cells", "cells"),
        "sweep": _later("sweep", "sweep"),
    }


def _later(module: str, function: str) -> Stage:
    def stage(context: Context, item: str) -> None:
        getattr(import_module(f"graftwork.stages.{module}"), function)(context, item)

    return stage
