"""The search for a strategy: what wins it, what is left out and why, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from graftwork.errors import SettingsError
from graftwork.evidence import Interval
from graftwork.ledger import Trial
from graftwork.registry import load_plugins
from graftwork.scoring import TITLES, SourceScores
from graftwork.search import Recommendation, Search, Stack, stack_text
from graftwork.settings import Use
from graftwork.strategy import build_strategy
from graftwork_plugins.strategies.auto import MOST_REPEATS, Auto
from graftwork_plugins.strategies.shortlist import REFERENCE, SHELF

NOISE = (0.004, -0.004, 0.002, -0.002, 0.003, -0.003, 0.001, -0.001)
FROZEN = ("feature_extract", "lora")


def stack(name: str) -> Stack:
    return tuple(Use.model_validate(use) for use in SHELF[name])


def trial(used: Stack, accuracy: float, repeat: int, task: str = "here", labels: float = 20.0, **more: Any) -> Trial:
    usual: dict[str, Any] = {"seconds": 1.0, "strategy": "x"}
    return Trial(
        key=f"{task}-{stack_text(used)}-{repeat}", task=task, source="source", stack=stack_text(used), labels=100,
        labels_per_class=labels, seed=repeat, validation_accuracy=accuracy, trainable=1, stored_bytes=1,
        **usual | more,
    )  # fmt: skip


class World:
    """Strategies of known worth, paired noise, and a count of what was trained."""

    def __init__(self, probe: float = 0.9, past: Sequence[Trial] = (), **worth: float) -> None:
        self.worth, self.probe, self.past = {REFERENCE: 0.80, "scratch": 0.70} | worth, probe, past
        self.trained: list[tuple[str, int]] = []
        self.own: dict[str, Stack] = {}
        self.impossible: Callable[[Stack], bool] = lambda used: False

    def search(self) -> Search:
        scores: dict[str, Interval | None] = dict.fromkeys(TITLES)
        scores["linear_probe_accuracy"] = Interval(self.probe, self.probe - 0.02, self.probe + 0.02)
        return Search(
            strategies=self.own, scores=SourceScores("source", 100, scores, {}, None), labels_per_class=20.0,
            past=self.past, trainable_share=self._share, train=self._train, tell=lambda message: None,
        )  # fmt: skip

    def recommend(self, **settings: Any) -> Recommendation:
        return Auto(**{"trainings": 200} | settings).recommend(self.search())

    def _share(self, used: Stack) -> float:
        if self.impossible(used):
            raise SettingsError("no batch normalisation here")
        return 0.01 if used and used[-1].name in FROZEN else 1.0

    def _train(self, name: str, used: Stack, repeat: int) -> Trial:
        assert (name, repeat) not in self.trained, "a training is asked for once"
        self.trained.append((name, repeat))
        phase = sum(map(ord, name))  # each strategy's noise is its own
        accuracy = self.worth.get(name, 0.75) + NOISE[repeat] + 0.001 * ((phase + repeat) % 3)
        return trial(used, accuracy, repeat)


def test_the_best_on_validation_wins_with_its_reasons() -> None:
    found = World(lwf=0.85).recommend()
    assert found.name == "lwf" and found.stack == stack("lwf")
    assert "lwf reached 85" in found.reasons[0] and "more than a standard error" in found.reasons[0]
    assert found.tried[0].name == "lwf" and found.tried[0].fate == "chosen"


def test_within_the_noise_the_plain_copy_stays() -> None:
    found = World(lwf=0.8001).recommend()
    assert found.name == REFERENCE
    assert "not more than a standard error" in found.reasons[0]


def test_where_transfer_hurts_scratch_wins() -> None:
    assert World(scratch=0.9).recommend().name == "scratch"


def test_the_finalists_are_trained_most_and_the_copy_goes_with_them_to_the_end() -> None:
    world = World(lwf=0.9, stochnorm=0.89, wise_ft=0.88, full_copy=0.5)
    found = world.recommend()
    repeats = {one.name: len(one.accuracies) for one in found.tried}
    assert repeats["lwf"] == repeats[REFERENCE] == MOST_REPEATS
    assert repeats["scratch"] == 1
    assert all(count in (1, 2, 4, 8) for count in repeats.values())
    assert {name: fate for name, fate in ((one.name, one.fate) for one in found.tried) if fate.startswith("out")}


def test_every_candidate_is_accounted_for() -> None:
    found = World().recommend(trainings=14)
    assert {one.name for one in found.tried} | set(found.left_out) == set(SHELF)
    assert not {one.name for one in found.tried} & set(found.left_out)


@pytest.mark.parametrize("trainings", [2, 6, 14, 30, 200])
def test_a_number_of_trainings_is_kept_to_but_for_the_fewest_that_a_comparison_takes(trainings: int) -> None:
    world = World()
    world.recommend(trainings=trainings)
    assert len(world.trained) <= max(trainings, 3)


def test_seconds_are_kept_to_as_well() -> None:
    world = World()
    found = world.recommend(trainings=None, seconds=20.0)  # a training takes one
    assert len(world.trained) <= 20
    assert "the budget is too small to try it" in found.left_out.values()


def test_what_rests_on_frozen_features_is_tried_only_where_a_probe_of_them_is_near() -> None:
    hopeless = World(probe=0.6).recommend()
    assert set(FROZEN) <= set(hopeless.left_out)
    assert "a linear probe of the source's features is expected to reach 62.0% at most" in hopeless.left_out["lora"]
    assert not set(FROZEN) & set(World(probe=0.85).recommend().left_out)


def test_what_can_not_be_trained_here_is_left_out_with_the_reason() -> None:
    world = World()
    world.impossible = lambda used: any(use.name == "stochnorm" for use in used)
    assert world.recommend().left_out["stochnorm"] == "can't be trained here: no batch normalisation here"


def test_the_strategies_of_params_yaml_are_candidates_and_equal_ones_are_tried_once() -> None:
    world = World(mine=0.95)
    world.own = {"mine": (*stack(REFERENCE), Use.model_validate({"l2_sp": {"alpha": 0.5}})), "copy": stack(REFERENCE)}
    found = world.recommend()
    assert found.name == "mine"
    assert "copy" not in {one.name for one in found.tried}


def test_a_strategy_that_is_only_called_full_copy_is_not_the_one_to_beat() -> None:
    world = World()
    world.own = {REFERENCE: (*stack(REFERENCE), Use.model_validate("l2_sp"), Use.model_validate("bss"))}
    found = world.recommend()
    assert found.name == REFERENCE and found.stack == stack(REFERENCE)
    assert "full_copy of params.yaml" in {one.name for one in found.tried} | set(found.left_out)


def past(name: str, gain: float, tasks: int, labels: float = 20.0) -> list[Trial]:
    """Return what the ledger would hold of earlier tasks in which a strategy gained over the plain copy."""
    return [
        entry
        for task in range(tasks)
        for entry in (
            trial(stack(REFERENCE), 0.8, 1, f"task {task}", labels),
            trial(stack(name), 0.8 + gain + 0.001 * task, 1, f"task {task}", labels),
        )
    ]


def test_the_ledger_decides_what_is_tried_first() -> None:
    assert "lora" in World().recommend(trainings=10).left_out
    assert "lora" not in World(past=past("lora", +0.05, 4)).recommend(trainings=10).left_out
    assert "lora" in World(past=past("lora", +0.05, 4)).recommend(trainings=10, ledger=False).left_out


def test_the_ledger_rules_out_what_always_fell_behind() -> None:
    found = World(past=past("lwf", -0.05, 4)).recommend()
    assert found.left_out["lwf"] == "in 4 earlier tasks it fell 4.9% behind full_copy"
    assert "lwf" not in World(past=past("lwf", -0.05, 2)).recommend().left_out, "two tasks are too few"
    assert "lwf" not in World(past=past("lwf", -0.05, 4, labels=500.0)).recommend().left_out, "other label budgets"


def test_equal_worlds_give_equal_recommendations() -> None:
    assert World(lwf=0.85).recommend().as_json() == World(lwf=0.85).recommend().as_json()


def test_auto_stands_alone_in_its_stack() -> None:
    registry = load_plugins()
    assert build_strategy("auto", [Use.model_validate("auto")], registry).chooses
    assert not build_strategy("copy", stack(REFERENCE), registry).chooses
    with pytest.raises(SettingsError, match="chooses a whole stack"):
        build_strategy("both", [Use.model_validate("auto"), *stack(REFERENCE)], registry)
