"""A pretraining that was stopped goes on from its own checkpoint, and from no other settings'."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graftwork.errors import Interrupted
from graftwork.files import read_json, write_json
from graftwork.layout import Layout
from graftwork.progress import Quiet
from graftwork.stages import Context
from tests.core.small import DATA, REGISTRY
from tests.core.tiny_workspace import SIZES, archive, run, tiny_settings


class Told(Quiet):
    """Remember what was said, and stop after an epoch if so wanted."""

    def __init__(self, *, stops: bool = False) -> None:
        self.stops = stops
        self.said: list[str] = []

    def log(self, message: str) -> None:
        self.said.append(message)

    def advance(self, fraction: float, message: str) -> None:
        if self.stops:
            raise Interrupted("stopped")


def goes_on(context: Context) -> bool:
    """Pretrain; tell whether it went on from a checkpoint."""
    told = Told()
    run(replace(context, progress=told), ("pretrain", "source"))
    return "going on after epoch 1" in told.said


def source(**changes: Any) -> dict[str, Any]:
    return {"data": {name: {**DATA, "path": f"{name}.npz", **SIZES} | changes for name in ("source", "target")}}


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A workspace whose pretraining was stopped after its first epoch."""
    monkeypatch.setattr("graftwork.checkpoints.EVERY_SECONDS", 0.0)
    archive(tmp_path / "source.npz", seed=0)
    context = Context(tiny_settings(), REGISTRY, Layout(tmp_path), Quiet())
    run(context, ("fetch", "source"), ("augment", "source"))
    with pytest.raises(Interrupted):
        run(replace(context, progress=Told(stops=True)), ("pretrain", "source"))
    return context


def test_with_the_same_settings_it_goes_on(stopped: Context) -> None:
    assert goes_on(stopped)
    assert not goes_on(stopped), "the checkpoint went with the training that ended"


@pytest.mark.parametrize(
    "changes",
    [source(augmentation=("flip",)), source(selection="random"), {"seed": 1}],
    ids=["augmentation", "images", "seed"],
)
def test_with_others_it_begins_anew(stopped: Context, changes: dict[str, Any]) -> None:
    other = replace(stopped, settings=tiny_settings(**changes))
    if "data" in changes and changes["data"]["source"].get("selection"):
        archive(stopped.layout.root / "source.npz", seed=5)
        run(other, ("fetch", "source"))
        kept = read_json(stopped.layout.card("source"))
        run(other, ("augment", "source"))
        write_json(stopped.layout.card("source"), kept)  # so that the images alone differ
    assert not goes_on(other)


def test_with_other_code_of_ones_own_it_begins_anew(stopped: Context) -> None:
    card = read_json(stopped.layout.card("source"))
    write_json(stopped.layout.card("source"), {**card, "local_code": {"mine.py": "0123"}})
    assert not goes_on(stopped)
