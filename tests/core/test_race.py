"""The race between ways of training: who is timed, who is left out, who wins. Seconds are made up."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from graftwork.race import AHEAD, BEHIND, ROUNDS, Unfit, choose, race

SECONDS = st.floats(min_value=1e-6, max_value=1e3)
FIGURES = st.dictionaries(st.sampled_from("abcdefgh"), SECONDS, min_size=1)


class Clock:
    """Time that passes only in bouts."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def bout(self, name: str, seconds: float) -> Callable[[], float]:
        def fight() -> float:
            self.now += seconds
            self.order.append(name)
            return seconds

        return fight


@given(FIGURES, st.sampled_from("abcdefgh"))
def test_the_usual_one_stays_unless_another_is_clearly_ahead(seconds: dict[str, float], usual: str) -> None:
    chosen, fastest = choose(seconds, usual), min(seconds.values())
    if usual in seconds and fastest > AHEAD * seconds[usual]:
        assert chosen == usual
    else:
        assert seconds[chosen] == fastest


@given(FIGURES)
def test_who_is_left_is_near_the_best_and_was_timed_in_every_round(seconds: dict[str, float]) -> None:
    clock = Clock()
    found = race({name: clock.bout(name, s) for name, s in seconds.items()}, 1e9, clock=lambda: clock.now)
    best = min(seconds.values())
    assert set(found.left) == {name for name, s in seconds.items() if s <= BEHIND * best}
    assert {len(found.seconds[name]) for name in found.left} == {1 + ROUNDS}
    assert set(found.left) | set(found.dropped) == set(seconds)


def test_rounds_go_in_turn_and_end_with_the_budget() -> None:
    clock = Clock()
    race({name: clock.bout(name, 1.0) for name in "ab"}, 5.0, clock=lambda: clock.now)
    assert clock.order == [*"aabb", *"ab"]


def test_each_group_keeps_its_best() -> None:
    clock = Clock()
    seconds = {("many", 1): 1.0, ("many", 2): 9.0, ("one", 1): 2.0, ("one", 2): 2.1}
    bouts = {name: clock.bout(str(name), s) for name, s in seconds.items()}
    found = race(bouts, 1e9, group=lambda way: way[0], clock=lambda: clock.now)
    assert found.left == [("many", 1), ("one", 1), ("one", 2)]


def test_what_can_not_run_in_a_later_round_is_left_out_and_the_race_goes_on() -> None:
    clock, seconds = Clock(), iter([1.0, 1.0, 1.0])

    def failing() -> float:
        for one in seconds:
            return one
        raise Unfit("memory ran out")

    found = race({"usual": clock.bout("usual", 1.0), "failing": failing}, 1e9, clock=lambda: clock.now)
    assert found.dropped == {"failing": "memory ran out"} and found.left == ["usual"]
    assert found.seconds.keys() == {"usual"} and len(found.seconds["usual"]) == 1 + ROUNDS


def test_what_is_far_behind_is_tried_once_and_what_can_not_run_tells_why() -> None:
    clock = Clock()

    def broken() -> float:
        raise Unfit("the loss isn't finite")

    bouts = {"usual": clock.bout("usual", 1.0), "slow": clock.bout("slow", 9.0), "broken": broken}
    found = race(bouts, 1e9, clock=lambda: clock.now)
    assert clock.order.count("slow") == 1
    assert found.dropped == {"slow": "9.0 times the seconds of the fastest", "broken": "the loss isn't finite"}
    assert found.left == ["usual"]
