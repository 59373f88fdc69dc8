"""The ledger: every fine-tuning that was ever done on this machine in this workspace, and what came out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from graftwork.errors import StateError
from graftwork.files import make_folder

WAIT_SECONDS = 30.0  # for another process that is writing


@dataclass(frozen=True)
class Trial:
    """One fine-tuning: a strategy, some labels, a seed. Accuracies are fractions of 1."""

    key: str  # of all that decides the weights: two trials of one key are the same
    task: str  # of all that strategies are compared on: images, model, budget
    source: str  # the data set's name
    strategy: str
    stack: str  # as JSON
    labels: int
    labels_per_class: float
    seed: int
    validation_accuracy: float
    seconds: float
    trainable: int  # parameters
    stored_bytes: int  # of the tensors that aren't bit-equal to the source's
    test_accuracy: float | None = None  # where a sweep evaluated it
    test_sha256: str | None = None  # of the images and labels that it was evaluated on


COLUMNS = tuple(field.name for field in fields(Trial))
TESTED = ("test_accuracy", "test_sha256")


class Ledger:
    """Trials in an SQLite file, which is made by the first of them. Several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, trial: Trial) -> None:
        """Keep a trial; one of the same key is replaced, but its test accuracy stays where the new one has none."""
        marks = ", ".join("?" * len(COLUMNS))
        changes = [f"{name} = excluded.{name}" for name in COLUMNS if name not in TESTED]
        unless = "CASE WHEN excluded.test_accuracy IS NULL THEN"
        changes += [f"{name} = {unless} {name} ELSE excluded.{name} END" for name in TESTED]
        make_folder(self.path.parent)
        with self._open() as connection:  # one statement, so that no other process writes in between
            connection.execute(
                f"INSERT INTO trials ({', '.join(COLUMNS)}) VALUES ({marks}) "
                f"ON CONFLICT (key) DO UPDATE SET {', '.join(changes)}",
                astuple(trial),
            )

    def find(self, key: str) -> Trial | None:
        """Return the trial of a key, if there is one."""
        return next(iter(self._select("WHERE key = ?", key)), None)

    def all(self) -> list[Trial]:
        """Return every trial, the oldest first."""
        return self._select("ORDER BY rowid")

    def _select(self, clause: str, *values: str) -> list[Trial]:
        if not self.path.is_file():
            return []
        with self._open() as connection:
            found = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM trials {clause}", values)
            return [Trial(*row) for row in found]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose changes are committed when the block ends well."""
        columns = ", ".join(name + " PRIMARY KEY" * (name == "key") for name in COLUMNS)
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS)) as connection, connection:
                connection.execute(f"CREATE TABLE IF NOT EXISTS trials ({columns})")
                _widen(connection)
                yield connection
        except sqlite3.Error as error:
            raise StateError(
                f"The ledger of trials can't be used: {error}", where=str(self.path),
                fix="move the file away: a new one is begun, and cells of sweeps are trained again",
            ) from None  # fmt: skip


def _widen(connection: sqlite3.Connection) -> None:
    """Add the newest column to a ledger that was begun without it; one of another form stays as it is."""
    if _columns(connection) == COLUMNS[:-1]:
        connection.execute("BEGIN IMMEDIATE")
        if _columns(connection) == COLUMNS[:-1]:  # nor has another process added it meanwhile
            connection.execute(f"ALTER TABLE trials ADD COLUMN {COLUMNS[-1]}")


def _columns(connection: sqlite3.Connection) -> tuple[str, ...]:
    return tuple(name for _, name, *_ in connection.execute("PRAGMA table_info(trials)"))
