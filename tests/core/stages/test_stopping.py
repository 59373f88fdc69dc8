"""A wish to stop is heeded all through fetch and augment, and what was there before stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graftwork.errors import Interrupted
from graftwork.images import RawImages
from graftwork.layout import Layout
from graftwork.progress import Progress, Quiet, Tally
from graftwork.registry import Registry
from graftwork.settings import ImageFormat
from graftwork.stages import Context
from tests.core.pictures import folders
from tests.core.progresses import Stopping
from tests.core.small import REGISTRY
from tests.core.tiny_workspace import run, tiny_settings

PICTURES = 40


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("storage", ["arrays", "encoded"])
def test_fetch_and_augment_stop_wherever_they_are_and_leave_what_was_there(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graftwork.labelled_arrays.CHUNK_BYTES", 1)
    monkeypatch.setattr("graftwork.inspection.AT_ONCE", 7)
    folders(tmp_path / "photos", PICTURES, 16)
    target: dict[str, Any] = {"path": "photos", "dataset": {"image_folder": {}}, "storage": storage}
    context = Context(tiny_settings(target=target), REGISTRY, Layout(tmp_path), Quiet())
    steps = {
        "fetch": PICTURES + (PICTURES if storage == "encoded" else 3),
        "augment": 3 + (PICTURES if storage == "encoded" else 3) + 2,
    }
    for stage, least in steps.items():
        whole = Stopping(10**9)
        run(replace(context, progress=whole), (stage, "target"))
        assert whole.steps >= least
        before = contents(tmp_path)
        for stop_at in (1, whole.steps // 2, whole.steps):
            with pytest.raises(Interrupted):
                run(replace(context, progress=Stopping(stop_at)), (stage, "target"))
        assert contents(tmp_path) == before


@dataclass(frozen=True)
class Slow:
    """Read ten pictures, and ask after each whether to stop."""

    def load(self, path: Path, image: ImageFormat, progress: Progress) -> RawImages:
        for _ in range(10):
            progress.check()
        return RawImages(np.zeros((10, 1, 8, 8), np.uint8), np.arange(10) % 2, ("a", "b"))


def test_a_dataset_plugin_that_wants_the_progress_gets_it(tmp_path: Path) -> None:
    registry = Registry()
    registry.dataset("slow", Slow)
    settings = tiny_settings(target={"path": "somewhere", "dataset": "slow"})
    progress = Stopping(10**9)
    context = Context(settings, registry, Layout(tmp_path), progress)
    run(context, ("fetch", "target"))
    assert progress.steps == 11
    with pytest.raises(Interrupted):
        run(replace(context, progress=Stopping(7)), ("fetch", "target"))


def test_only_what_takes_long_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[float, str]] = []

    class Heard(Quiet):
        def advance(self, fraction: float, message: str) -> None:
            told.append((fraction, message))

    times = iter([0.0, 1.9, 2.0, 2.0, 3.0, 4.5, 4.5])
    monkeypatch.setattr("graftwork.progress.time.monotonic", lambda: next(times))
    tally = Tally(Heard(), 4000, "pictures")
    for more in (1000, 1000, 500, 1500):
        tally.count(more)
    assert told == [(0.5, "2,000 of 4,000 pictures"), (1.0, "4,000 of 4,000 pictures")]
