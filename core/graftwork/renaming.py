"""Rename tensors by rules, so that those of another code base find their places here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from graftwork.errors import SettingsError, listed
from graftwork.settings import Rename


def renamed(names: Iterable[str], rules: Sequence[Rename]) -> dict[str, str]:
    r"""Return the new name of each name: what a rule's pattern finds becomes its `to`, where `\1` is the first group.

    Rules apply in order, each to what those before it made. Names that a rule without `to` finds are left out, and
    missing from the answer. Raises SettingsError for a pattern that isn't one, for a rule that finds nothing, and for
    two names that become one.
    """
    current = {name: name for name in names}
    for number, rule in enumerate(rules):
        current = _applied(current, rule, f"rename, rule {number + 1}: {rule.pattern!r}")
    _refuse_clashes(current)
    return current


def _applied(current: Mapping[str, str], rule: Rename, where: str) -> dict[str, str]:
    try:
        pattern = re.compile(rule.pattern)
        if not any(pattern.search(name) for name in current.values()):
            raise _finds_nothing(rule.pattern, list(current.values()), where)
        if rule.to is None:
            return {old: new for old, new in current.items() if not pattern.search(new)}
        return {old: pattern.sub(rule.to, new) for old, new in current.items()}
    except (re.error, IndexError) as error:
        raise SettingsError(
            f"The pattern or its replacement can't be used: {error}", where=where,
            expected="a regular expression of Python's re", fix=r"a dot is written \., the first group \1",
        ) from None  # fmt: skip


def _finds_nothing(pattern: str, names: list[str], where: str) -> SettingsError:
    """Tell the names whose beginnings, or ends, are most like the pattern's letters."""
    letters = re.sub(r"\\[dwsDWSbBAZ]|[^\w.]", "", pattern)
    long = max(len(letters), 1)

    def likeness(name: str) -> float:
        return max(difflib.SequenceMatcher(None, letters, part).ratio() for part in (name[:long], name[-long:]))

    return SettingsError(
        "The rule finds nothing", where=where, fix="correct the pattern, or remove the rule",
        expected=f"a pattern that occurs in a name, such as {listed(sorted(names, key=likeness, reverse=True)[:3])}",
    )  # fmt: skip


def _refuse_clashes(current: Mapping[str, str]) -> None:
    owners: dict[str, str] = {}
    for old, new in current.items():
        if new in owners:
            raise SettingsError(
                f"Two tensors would both be called {new!r}: {owners[new]!r} and {old!r}", where="rename",
                expected="a name for each", fix="make a pattern narrower, or leave one out with to: null",
            )  # fmt: skip
        owners[new] = old
