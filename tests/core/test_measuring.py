"""What is measured, and what is chosen from the figures; the probe's seconds are made up."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from graftwork import measuring
from graftwork.choice import Choice, default_choice
from graftwork.measuring import candidates, measure_choice, repays, workers
from graftwork.race import Unfit
from graftwork.settings import Engine

AUTO = dict.fromkeys(("device", "threads", "precision", "memory_format", "compile", "side_by_side"), "auto")
PINNED: dict[str, Any] = {
    "device": "cpu", "threads": 1, "precision": "bfloat16", "memory_format": "contiguous", "compile": False,
    "side_by_side": 1,
}  # fmt: skip


class Figures:
    """A probe that tells made-up seconds."""

    batch, share = 10, 1.0

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds_of = seconds

    def fit_batch(self, usual: Choice) -> None: ...

    def bout(self, choice: Choice) -> float:
        parts = (choice.precision, choice.memory_format, f"{choice.threads} threads")
        seconds = 1.0
        for part in parts:
            seconds *= self.seconds_of.get(part, 1.0)
        if seconds < 0:
            raise Unfit("the loss isn't finite")
        return seconds


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graftwork.choice.usable_cores", lambda: 4)
    monkeypatch.setattr(measuring, "usable_cores", lambda: 4)


def engine(**changes: Any) -> Engine:
    return Engine.model_validate({**AUTO, "device": "cpu", **changes})


def measured(seconds: dict[str, float], steps: int = 10, **changes: Any) -> measuring.Measured:
    return measure_choice(engine(**changes), Figures(seconds), steps, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", list(product((True, False), repeat=3)))
def test_a_pinned_value_restricts_the_candidates(keys: tuple[bool, ...]) -> None:
    names = ("threads", "precision", "memory_format")
    pinned = {name: PINNED[name] for name, pin in zip(names, keys, strict=True) if pin}
    ways = candidates(engine(**pinned, side_by_side=1))
    assert len(set(ways)) == len(ways) == 2 ** (3 - len(pinned))
    assert all(getattr(way, name) == value for way in ways for name, value in pinned.items())
    assert ways[0] == default_choice(engine(**pinned))


def test_what_is_pinned_wholly_is_not_measured() -> None:
    pinned = Engine.model_validate(PINNED)
    assert pinned.open == ()
    assert default_choice(pinned).recorded() == PINNED
    assert measure_choice(pinned, None, 1, print).choice == default_choice(pinned)  # type: ignore[arg-type]


def test_the_fastest_is_chosen_with_its_reason() -> None:
    found = measured({"bfloat16": 0.5, "contiguous": 1.2}, side_by_side=1)
    assert (found.choice.precision, found.choice.memory_format) == ("bfloat16", "channels_last")
    assert "2.00 times as fast as 4 threads, float32, channels_last" in found.reasons[0]


def test_the_usual_way_stays_where_nothing_is_ahead_by_five_percent() -> None:
    found = measured({"bfloat16": 0.98, "contiguous": 0.99, "1 threads": 0.999}, side_by_side=1)
    assert found.choice == default_choice(engine())


def test_what_has_no_finite_loss_is_left_out_with_the_reason() -> None:
    found = measured({"bfloat16": -1.0}, side_by_side=1)
    assert found.choice.precision == "float32"
    dropped = [row["dropped"] for row in found.figures["candidates"] if row["precision"] == "bfloat16"]
    assert set(dropped) == {"the loss isn't finite"}


@pytest.mark.parametrize(("gain", "threads", "at_once"), [(1.4, 1, 4), (1.04, 4, 1), (0.8, 4, 1)])
def test_trainings_at_once_have_one_thread_each_and_must_get_more_done(
    gain: float, threads: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "side_by_side_gain", lambda *_: gain)
    monkeypatch.setattr(measuring, "can_fork", lambda: True)
    found = measured({"1 threads": 2.0})
    assert (found.choice.threads, found.choice.side_by_side) == (threads, at_once)
    assert f"{gain:.2f} times" in found.reasons[1]


def test_trainings_at_once_are_tried_only_on_single_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "can_fork", lambda: True)
    assert [workers(engine(threads=threads)) for threads in ("auto", 1, 2)] == [4, 4, 1]
    assert default_choice(engine(side_by_side=2)).threads == 1
    monkeypatch.setattr(measuring, "can_fork", lambda: False)
    assert workers(engine()) == 1
    with pytest.raises(ValueError, match="one thread each"):
        engine(side_by_side=2, threads=2)


def test_compiling_is_tried_only_for_a_long_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "compiled_gain", lambda *_: (30.0, 0.2))
    short, long = (measured({}, steps, side_by_side=1) for steps in (200, 1000))
    assert not short.choice.compile and "doesn't repay" in short.reasons[-1]
    assert long.choice.compile and "30 s of compiling, 200 s saved" in long.reasons[-1]


def test_where_there_is_no_compiler_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> tuple[float, float]:
        raise Unfit("it can't be compiled here: no g++")

    monkeypatch.setattr(measuring, "compiled_gain", fail)
    found = measured({}, 10_000, side_by_side=1)
    assert not found.choice.compile and found.reasons[-1] == "not compiled: it can't be compiled here: no g++"


def test_compiling_must_repay_half_as_much_again() -> None:
    assert repays(10, 0.16, 100) and not repays(10, 0.14, 100) and not repays(10, -1.0, 100)
