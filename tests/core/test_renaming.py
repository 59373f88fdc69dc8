"""Rules rename tensors in order, and a rule that can't be meant so is an error."""

from __future__ import annotations

import pytest

from graftwork.errors import SettingsError
from graftwork.renaming import renamed
from graftwork.settings import Rename

NAMES = ("module.layer1.0.conv1.weight", "module.fc.weight", "module.fc.bias")


def rules(*pairs: tuple[str, str | None]) -> list[Rename]:
    return [Rename(pattern=pattern, to=to) for pattern, to in pairs]


def test_without_rules_names_stay() -> None:
    assert renamed(NAMES, []) == dict(zip(NAMES, NAMES, strict=True))


def test_rules_apply_in_order_each_to_what_those_before_it_made() -> None:
    found = renamed(NAMES, rules((r"^module\.", ""), ("^fc", "head"), (r"layer(\d+)", r"stages.\1"), ("head", "top")))
    assert list(found.values()) == ["stages.1.0.conv1.weight", "top.weight", "top.bias"]


def test_a_rule_without_a_replacement_leaves_tensors_out() -> None:
    assert list(renamed(NAMES, rules(("fc", None)))) == ["module.layer1.0.conv1.weight"]


def test_two_tensors_of_one_name_are_both_named() -> None:
    with pytest.raises(SettingsError, match=r"both be called 'x': 'module\.fc\.weight' and 'module\.fc\.bias'"):
        renamed(NAMES, rules((r"module\.fc\..*", "x")))


def test_a_rule_that_finds_nothing_tells_the_nearest_names() -> None:
    with pytest.raises(SettingsError, match="finds nothing") as raised:
        renamed(NAMES, rules((r"^modul\.fc", "")))
    assert "module.fc" in raised.value.expected.removeprefix("a pattern that occurs in a name, such as ").split(",")[0]
    assert "rule 1" in raised.value.where


@pytest.mark.parametrize(("pattern", "to"), [("(", ""), ("fc", r"\1"), ("*", "")])
def test_what_is_no_pattern_is_refused(pattern: str, to: str) -> None:
    with pytest.raises(SettingsError, match="can't be used"):
        renamed(NAMES, rules((pattern, to)))
