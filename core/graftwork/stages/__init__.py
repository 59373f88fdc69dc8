"""The stages: settings and files in, files out. They know neither Prefect nor DVC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graftwork.layout import Layout
from graftwork.progress import Progress
from graftwork.registry import Registry
from graftwork.settings import Settings


@dataclass(frozen=True)
class Context:
    """What every stage gets: its settings, plugins, files, and whom to tell."""

    settings: Settings
    registry: Registry
    layout: Layout
    progress: Progress


Stage = Callable[[Context, str], None]


def stages() -> dict[str, Stage]:
    """Return the stages by name; the second argument of each is its item: a data set, a strategy, or empty."""
    from graftwork.stages import (
        augment,
        cells,
        features,
        fetch,
        finetune,
        importing,
        obtain,
        pretrain,
        recommend,
        report,
        score,
        sweep,
        transfer,
    )

    return {
        "obtain": obtain.obtain,
        "import": importing.import_weights,
        "fetch": fetch.fetch,
        "augment": augment.augment,
        "pretrain": pretrain.pretrain,
        "features": features.features,
        "score": score.score,
        "recommend": recommend.recommend,
        "transfer": transfer.transfer,
        "finetune": finetune.finetune,
        "report": report.report,
        "cells": cells.cells,
        "sweep": sweep.sweep,
    }
