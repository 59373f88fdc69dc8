"""The errors that Graftwork raises for what a user can mend.

GraftworkError
├── SettingsError        2  params.yaml, an option, a strategy's stack
│   └── PluginError      2  a plugin that can't be loaded or used
├── DataError            3  images, labels, archives
│   └── WeightsError     3  weight files and what must fit them
│       └── MisfitError  3  weights that don't fit, with an account of every tensor
├── StateError           4  the workspace, its lock, its folders
│   └── DiskFullError    5  no room for what is to be written
├── TrainingError        5  what goes wrong while computing
└── Interrupted        130  the user or the system asked to stop
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

FEW = 5  # tensors of a kind that a message names, where an account lists all


class GraftworkError(Exception):
    """Say what was found, where, what was expected, and what to do next."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", expected: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.expected, self.fix = what, where, expected, fix

    def __str__(self) -> str:
        lines = [self.what]
        for label in ("where", "expected", "fix"):
            text = getattr(self, label)
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling, which keyword-only arguments otherwise break."""
        return _bare, (type(self), self.what), vars(self)


def _bare(kind: type[GraftworkError], what: str) -> GraftworkError:
    return kind.__new__(kind, what)


class SettingsError(GraftworkError):
    """Settings that can't be read or can't work."""

    exit_code = 2


class PluginError(SettingsError):
    """A plugin that is missing, broken or registered twice."""


class DataError(GraftworkError):
    """Images or labels that can't be used."""

    exit_code = 3


class WeightsError(DataError):
    """Weights that are damaged or don't fit the model."""


class MisfitError(WeightsError):
    """Weights that don't fit; the message names a few tensors, `account` tells, as JSON, of every one."""

    def __init__(self, what: str, account: Mapping[str, Any], *, where: str = "", expected: str = "", fix: str = ""):
        super().__init__(what, where=where, expected=expected, fix=fix)
        self.account = account


class StateError(GraftworkError):
    """A workspace that is busy, incomplete or can't be written."""

    exit_code = 4


class DiskFullError(StateError):
    """A disk, or a share of one, that has no room left while a run goes on."""

    exit_code = 5


class TrainingError(GraftworkError):
    """A computation that went wrong."""

    exit_code = 5


class Interrupted(GraftworkError):  # noqa: N818  # it is none
    """The run was asked to stop, and did."""

    exit_code = 130


def did_you_mean(found: str, choices: Iterable[str]) -> str:
    """Return `Did you mean x?` for the nearest choice, or an empty string."""
    near = difflib.get_close_matches(found, list(choices), n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else ""


def first_line(error: BaseException) -> str:
    """Return an error's first line, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def listed(names: Iterable[str], most: int = 12) -> str:
    """Return names joined by commas, the tail counted when there are more than `most`."""
    names = list(names)
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"
