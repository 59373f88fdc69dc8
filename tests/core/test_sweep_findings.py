"""A sweep's cells become points: each transfer against scratch with the same labels and seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from graftwork import label_curves
from graftwork.errors import SettingsError, StateError
from graftwork.evidence import judge, student_interval
from graftwork.files import write_json
from graftwork.layout import Layout
from graftwork.ledger import Ledger, Trial
from graftwork.sweep_findings import SweepFindings, find_sweep
from tests.core.sweeps import CELLS, SEEDS, cell_key, sweep_settings, write_cells


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(label_curves, "REPEATS", 100)
    layout = Layout(tmp_path)
    write_cells(layout, ("source",))
    return layout


def find(layout: Layout, **changes: Any) -> SweepFindings:
    return find_sweep(sweep_settings(**changes), layout)


def test_points_stand_in_the_order_of_params_yaml(layout: Layout) -> None:
    found = find(layout)
    expected = [("source", name, budget) for name in ("scratch", "better", "worse") for budget in (5, 10, 20)]
    assert [(one.source, one.strategy, one.labels_per_class) for one in found.points] == expected
    assert [one.labels_per_class for one in found.curve("source", "better")] == [5, 10, 20]
    assert [one.strategy for one in found.with_labels(10)] == ["scratch", "better", "worse"]
    assert (found.sources, found.budgets, found.seeds) == (("source",), (5, 10, 20), len(SEEDS))


def test_accuracies_gains_and_verdicts_are_those_of_the_cells_corrected_for_all_of_them(layout: Layout) -> None:
    found = find(layout)
    pairs = [(CELLS[name, budget], CELLS["scratch", budget]) for name in ("better", "worse") for budget in (5, 10, 20)]
    judged = judge(pairs, 0.95, 0.01)
    assert [one.judgement for one in found.points if one.strategy != "scratch"] == judged
    for one in found.points:
        reached = CELLS[one.strategy, one.labels_per_class]
        assert one.per_seed == tuple(reached)
        assert one.accuracy == student_interval(reached, 0.95).within(0.0, 1.0)
        assert (one.judgement is None) == (one.equivalent is None) == (one.strategy == "scratch")


def test_an_accuracys_interval_ends_where_accuracies_end(layout: Layout) -> None:
    write_cells(layout, ("source",), {("better", 20): [0.99, 1.0, 0.9]})
    one = find(layout).curve("source", "better")[-1]
    assert one.accuracy.high == 1.0 and one.judgement and one.judgement.gain.high > 0.2, "gains may go further"


def test_a_transfer_is_worth_the_labels_with_which_scratch_gets_as_far(layout: Layout) -> None:
    found = {one.labels_per_class: one.equivalent for one in find(layout).curve("source", "better")}
    assert found[5] and found[10] and found[20]
    assert found[5].labels == pytest.approx(10.0), "better with 5 does what scratch does with 10"
    assert found[10].labels == pytest.approx(10 * math.sqrt(2))
    assert found[20].labels == found[20].high == math.inf
    worse = find(layout).curve("source", "worse")[0].equivalent
    assert worse and worse.labels == 0.0


def test_each_source_is_compared_with_its_own_scratch(layout: Layout) -> None:
    write_cells(layout, ("source",))
    write_cells(layout, ("other",), {("scratch", budget): CELLS["better", budget] for budget in (5, 10, 20)})
    found = find(layout, sources=("source", "other"))
    gains = [one.judgement.gain.mean for source in found.sources for one in found.curve(source, "better")
             if one.judgement]  # fmt: skip
    assert gains[:3] == pytest.approx([0.1, 0.05, 0.15]) and gains[3:] == pytest.approx([0.0, 0.0, 0.0])


def test_a_sources_name_stands_by_a_strategy_only_where_there_are_several(layout: Layout) -> None:
    one = find(layout)
    assert {one.name(point) for point in one.points} == {"scratch", "better", "worse"}
    write_cells(layout, ("other",))
    two = find(layout, sources=("source", "other"))
    names = {two.name(point) for point in two.points}
    assert names == {"scratch"} | {f"{name} from {at}" for name in ("better", "worse") for at in ("source", "other")}


def test_the_choice_goes_by_validation_and_never_falls_on_scratch(layout: Layout) -> None:
    assert find(layout).chosen(5).strategy == "better"
    write_cells(layout, ("source",), validation={"scratch": 0.99, "worse": 0.9, "better": 0.2})
    assert find(layout).chosen(5).strategy == "worse", "though it does worse on the test images"


def test_seconds_are_told_where_this_machine_knows_them_all(layout: Layout) -> None:
    ledger = Ledger(layout.ledger)
    keys = [cell_key("source", "better", 5, seed) for seed in SEEDS]
    for seconds, key in enumerate(keys):
        assert find(layout).curve("source", "better")[0].seconds is None
        ledger.add(Trial(key, "t", "source", "better", "[]", 10, 5.0, 0, 0.5, 1.0 + seconds, 1, 1))
    found = find(layout)
    assert [one.seconds for one in found.curve("source", "better")] == [2.0, None, None]
    assert "second" not in json.dumps(found.metrics())


def test_metrics_are_valid_json_without_infinity_and_say_all_of_each_point(layout: Layout) -> None:
    found = find(layout).metrics()
    told = json.loads(json.dumps(found, allow_nan=False))["sources"]["source"]
    assert told["scratch"].keys() == told["better"].keys() == {"5 labels", "10 labels", "20 labels"}
    assert "gain" not in told["scratch"]["5 labels"]
    best = told["better"]["20 labels"]
    assert best["label_equivalent"] == {"labels": None, "low": None, "high": None}
    assert best["gain"].keys() == {"mean", "low", "high", "verdict", "p"}
    assert best["accuracy"]["per_seed"] == CELLS["better", 20]
    assert (best["trainable_parameters"], best["stored_bytes"]) == (100, 402)


def test_cells_that_are_missing_or_damaged_are_told_with_their_path(layout: Layout) -> None:
    path = layout.cells("source", "worse")
    path.write_text("[")
    with pytest.raises(StateError, match="valid JSON") as raised:
        find(layout)
    assert raised.value.where == str(path)
    path.unlink()
    with pytest.raises(StateError, match="missing"):
        find(layout)


def test_without_a_sweep_in_params_yaml_there_is_none(layout: Layout) -> None:
    with pytest.raises(SettingsError, match="nothing to sweep"):
        find_sweep(sweep_settings().model_copy(update={"sweep": None}), layout)


def test_one_budget_is_a_sweep_too(layout: Layout) -> None:
    rows = [{"key": f"k{seed}", "labels": 10, "labels_per_class": 5.0, "seed": seed, "validation_accuracy": 0.5,
             "test_accuracy": 0.5 + seed / 10, "trainable": 1, "stored_bytes": 1} for seed in SEEDS]  # fmt: skip
    for name in ("scratch", "better"):
        write_json(layout.cells("source", name), rows)
    found = find(layout, sweep={"strategies": ("scratch", "better"), "labels_per_class": (5,), "minimum_steps": 1})
    one = found.chosen(5)
    assert one.judgement and one.judgement.gain.mean == 0.0
    assert one.equivalent and one.equivalent.labels == one.equivalent.low == one.equivalent.high == 5.0
