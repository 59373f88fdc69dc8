"""Stacks and recommendations become plain values, and stacks come back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graftwork.search import Recommendation, Stack, Tried, plain, stack_from, stack_text
from graftwork.settings import Use

VALUES = st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | st.text(max_size=5) | st.lists(
    st.integers(0, 9), max_size=3
)  # fmt: skip
SETTINGS = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)
STACKS = st.lists(st.tuples(st.text(min_size=1, max_size=9), SETTINGS), max_size=3).map(
    lambda uses: tuple(Use.model_validate({name: settings}) for name, settings in uses)
)


@given(STACKS)
def test_a_stack_comes_back_from_plain_values_and_from_text(stack: Stack) -> None:
    assert stack_from(plain(stack)) == stack
    assert stack_from(json.loads(stack_text(stack))) == stack
    assert stack_text(stack_from(json.loads(stack_text(stack)))) == stack_text(stack)


@given(STACKS, STACKS)
def test_stacks_have_one_text_just_when_they_are_equal(one: Stack, other: Stack) -> None:
    same_types = json.dumps(plain(one), sort_keys=True) == json.dumps(plain(other), sort_keys=True)
    assert (stack_text(one) == stack_text(other)) == same_types


def test_the_order_in_which_settings_are_written_does_not_matter_but_that_of_plugins_does() -> None:
    def stack(*uses: Any) -> Stack:
        return tuple(Use.model_validate(use) for use in uses)

    assert stack_text(stack({"a": {"x": 1, "y": 2}})) == stack_text(stack({"a": {"y": 2, "x": 1}}))
    assert stack_text(stack("a", "b")) != stack_text(stack("b", "a"))
    assert stack_text(stack("a")) == stack_text(stack({"a": None})) == stack_text(stack({"a": {}}))


def test_a_recommendation_is_told_without_seconds() -> None:
    stack = (Use.model_validate({"freeze": {"until": 1}}),)
    tried = (Tried("frozen", stack, (0.5, 0.75), 12.5, "chosen"), Tried("scratch", (), (0.25,), 9.0, "out"))
    found = Recommendation("frozen", stack, ("It did best.",), tried, {"lora": "too dear"})
    freeze = [{"name": "freeze", "settings": {"until": 1}}]
    assert json.loads(json.dumps(found.as_json())) == {
        "name": "frozen", "stack": freeze, "reasons": ["It did best."], "left_out": {"lora": "too dear"},
        "tried": [
            {"name": "frozen", "stack": freeze, "accuracies": [0.5, 0.75], "fate": "chosen"},
            {"name": "scratch", "stack": [], "accuracies": [0.25], "fate": "out"},
        ],
    }  # fmt: skip
    assert found.tried[0].seconds == 12.5, "it isn't changed by telling it"
