"""What a user is told of an error that isn't one of ours: a full disk, memory that ran out, or a defect."""

from __future__ import annotations

from graftwork.disk import disk_full, means_full
from graftwork.errors import GraftworkError, TrainingError
from graftwork.memory import ran_out


def as_told(error: Exception, where: str) -> GraftworkError:
    """Return an error of any kind as one of ours, with what can be done."""
    if isinstance(error, GraftworkError):
        return error
    if means_full(error):
        return disk_full(where, error)
    if ran_out(error):
        return TrainingError(
            "Memory ran out", where=where, expected="room for what is computed",
            fix="close what else runs, set engine.side_by_side: 1, or data.<name>.storage: encoded, in params.yaml",
        )  # fmt: skip
    return TrainingError(
        f"{type(error).__name__}: {error}", where=where,
        fix="graftwork run --debug shows where; if it isn't your plugin, please report it",
    )  # fmt: skip
