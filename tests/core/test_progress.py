"""A part's progress is its share of the whole, under its own name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graftwork.errors import Interrupted
from graftwork.progress import parts


class Heard:
    """Remembers what it is told, and stops at once."""

    def __init__(self) -> None:
        self.logs: list[str] = []
        self.steps: list[tuple[float, str]] = []

    def log(self, message: str) -> None:
        self.logs.append(message)

    def advance(self, fraction: float, message: str) -> None:
        self.steps.append((fraction, message))

    def check(self) -> None:
        raise Interrupted("stop")


@given(st.integers(1, 50), st.lists(st.floats(0, 1), min_size=1, max_size=4).map(sorted))
def test_parts_one_after_the_other_run_from_nought_to_one(count: int, fractions: list[float]) -> None:
    heard = Heard()
    for part in parts(heard, map(str, range(count))).values():
        for fraction in [0.0, *fractions, 1.0]:
            part.advance(fraction, "")
    told = [fraction for fraction, _ in heard.steps]
    assert told == sorted(told) and (told[0], told[-1]) == (0.0, 1.0)


def test_what_is_said_stands_behind_the_prefix_of_every_part_around_it() -> None:
    heard = Heard()
    outer = parts(heard, ["seed 2", "seed 3"])
    outer["seed 2"].finish()
    inner = parts(outer["seed 3"], ["fold 1", "fold 2", "fold 3", "fold 4"])["fold 1"]
    inner.log("done")
    inner.advance(0.5, "epoch 1")
    assert heard.logs == ["seed 3: fold 1: done"]
    assert heard.steps == [((1 + 0.5 / 4) / 2, "seed 3: fold 1: epoch 1")]


def test_a_part_is_stopped_with_the_whole() -> None:
    with pytest.raises(Interrupted):
        parts(Heard(), ["all"])["all"].check()
