"""A choice is made once, kept anywhere, shared by this machine's workspaces, and made anew on request."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from graftwork import probe, side_probe
from graftwork.choice import Choice, recorded_choice, usable_choice
from graftwork.engine_record import Record
from graftwork.errors import StateError
from graftwork.files import read_json, write_json
from graftwork.layout import Layout
from graftwork.progress import Quiet
from graftwork.stages import Context
from graftwork.stages import measure as stage
from graftwork.stages.measure import forget_choice, measure
from tests.core.small import REGISTRY
from tests.core.tiny_workspace import archive, run, tiny_settings, workspace

AUTO = {"device": "cpu", "threads": "auto", "precision": "auto", "memory_format": "auto", "compile": "auto"}


class Told(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probe, "BOUT_SECONDS", 1e-3)
    monkeypatch.setattr(side_probe, "SECONDS", 0.01)


def prepared(root: Path, **engine: Any) -> Context:
    """Return a workspace with its data prepared, and nothing trained."""
    root.mkdir()
    settings = tiny_settings(engine={**AUTO, "side_by_side": "auto", **engine})
    for seed, name in enumerate(settings.data):
        archive(root / f"{name}.npz", seed)
    context = Context(settings, REGISTRY, Layout(root), Told())
    run(context, *((name, data) for data in settings.data for name in ("fetch", "augment")))
    return replace(context, progress=Told())


@pytest.fixture
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing is to be measured")

    monkeypatch.setattr(stage, "measure_choice", refuse)


def lines(context: Context) -> list[str]:
    assert isinstance(context.progress, Told)
    return context.progress.lines


def test_a_real_measurement_chooses_within_what_is_open_and_leaves_no_trace(tmp_path: Path) -> None:
    context = prepared(tmp_path / "one", precision="float32")
    threads, generator = torch.get_num_threads(), torch.get_rng_state()
    measure(context, "target")
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), generator)
    chosen = context.choice("target")
    assert chosen.precision == "float32" and not chosen.compile  # the training takes less than a second
    record = read_json(context.layout.engine_figures("target"))
    assert all(row["seconds_a_step"] > 0 for row in record["figures"]["candidates"])
    assert record["machine"] and record["reasons"]
    assert context.machine("target").side_by_side == chosen.side_by_side


def test_what_was_chosen_is_kept_also_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    context = prepared(tmp_path / "one", threads=1, side_by_side=1)
    measure(context, "source")
    before = {path: path.read_bytes() for path in (tmp_path / "one").glob("*/engine/*.json")}
    assert len(before) == 2
    monkeypatch.setattr(stage, "machine_name", lambda: "another one")
    request.getfixturevalue("no_measuring")
    measure(context, "source")
    assert "kept" in lines(context)[-1] and "measured on Linux" in lines(context)[-1]
    assert {path: path.read_bytes() for path in before} == before


def test_another_workspace_on_this_machine_chooses_the_same_without_measuring(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    one = prepared(tmp_path / "one", threads=1)
    measure(one, "target")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    two = replace(one, layout=Layout(tmp_path / "two"))
    two.layout.engine("target").unlink()
    request.getfixturevalue("no_measuring")
    measure(two, "target")
    for path in (Layout.engine, Layout.engine_figures):
        assert path(two.layout, "target").read_bytes() == path(one.layout, "target").read_bytes()


@pytest.mark.parametrize(
    "change", [{"image": {"size": 6, "channels": 1}}, {"model": {"mlp": {"hidden": (4,)}}}], ids=("image", "model")
)
def test_another_key_is_measured_anew(change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = prepared(tmp_path / "one", threads=1, side_by_side=1)
    measure(context, "target")
    other = replace(context, settings=tiny_settings(engine=context.settings.engine.model_dump(), **change))
    before = Record.load(context.layout, "target")
    measure(other, "target")
    after = Record.load(context.layout, "target")
    assert before and after and before.key != after.key


def test_a_choice_is_made_anew_when_it_was_forgotten(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    context = prepared(tmp_path / "one", threads=1, side_by_side=1)
    measure(context, "target")
    forget_choice(context, "target")
    assert not context.layout.engine("target").exists()
    request.getfixturevalue("no_measuring")
    with pytest.raises(AssertionError, match="nothing is to be measured"):
        measure(context, "target")


@pytest.mark.usefixtures("no_measuring")
def test_pins_are_written_down_without_measuring_and_without_the_machine(tmp_path: Path) -> None:
    context = prepared(tmp_path / "one", threads=1, precision="bfloat16", memory_format="contiguous", compile=False,
                       side_by_side=1)  # fmt: skip
    measure(context, "target")
    assert "pinned" in lines(context)[-1]
    assert read_json(context.layout.engine_figures("target"))["machine"] == ""
    assert context.machine("target").autocast


def test_training_without_a_choice_says_what_to_do_and_predicting_takes_the_default(tmp_path: Path) -> None:
    settings, layout = tiny_settings(engine=AUTO), Layout(tmp_path)
    with pytest.raises(StateError, match="Nothing was chosen yet") as raised:
        recorded_choice(settings, layout, "target")
    assert "graftwork measure" in raised.value.fix
    assert usable_choice(settings, layout, "target").precision == "float32"


def test_several_at_once_are_as_many_as_there_are_cores_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, layout = tiny_settings(engine={**AUTO, "side_by_side": "auto"}), Layout(tmp_path)
    chosen = Choice(
        device="cpu", threads=1, precision="float32", memory_format="contiguous", compile=False, side_by_side=2
    )
    layout.engine("target").parent.mkdir(parents=True)
    write_json(layout.engine("target"), chosen.model_dump())
    monkeypatch.setattr("graftwork.choice.usable_cores", lambda: 12)
    assert recorded_choice(settings, layout, "target").side_by_side == 12
    pinned = settings.model_copy(update={"engine": settings.engine.model_copy(update={"side_by_side": 3})})
    assert recorded_choice(pinned, layout, "target").side_by_side == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpus_choice_is_refused_where_there_is_none_but_one_can_predict(tmp_path: Path) -> None:
    settings, layout = tiny_settings(engine={**AUTO, "device": "auto"}), Layout(tmp_path)
    choice = Choice(device="cuda", threads=1, precision="bfloat16", memory_format="channels_last", compile=False,
                    side_by_side=1)  # fmt: skip
    write_json(layout.engine("target"), choice.model_dump())
    with pytest.raises(StateError, match="torch sees none here"):
        Context(settings, REGISTRY, layout, Quiet()).machine("target")
    assert usable_choice(settings, layout, "target").device == "cpu"


def test_what_decides_the_bits_makes_another_fingerprint_and_trainings_at_once_do_not(tmp_path: Path) -> None:
    one = Choice(device="cpu", threads=1, precision="float32", memory_format="contiguous", compile=False,
                 side_by_side=1)  # fmt: skip
    assert one.model_copy(update={"side_by_side": 4}).deciding() == one.deciding()
    for other in ({"threads": 2}, {"precision": "bfloat16"}, {"memory_format": "channels_last"}, {"compile": True}):
        assert one.model_copy(update=other).deciding() != one.deciding()


def test_a_source_is_trained_in_the_recorded_precision(tmp_path: Path) -> None:
    context = workspace(tmp_path / "pinned", tiny_settings())
    plain = (context.layout.source_weights("source") / "model.safetensors").read_bytes()
    opened = context.settings.engine.model_copy(update={"precision": "auto"})
    other = replace(context, settings=context.settings.model_copy(update={"engine": opened}))
    choice = context.choice("source").model_copy(update={"precision": "bfloat16"})
    write_json(context.layout.engine("source"), choice.model_dump())
    run(other, ("pretrain", "source"))
    assert (context.layout.source_weights("source") / "model.safetensors").read_bytes() != plain
