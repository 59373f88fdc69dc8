"""The ledger keeps a trial once, loses no test accuracy, and never overwrites what it can't read."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graftwork.errors import StateError
from graftwork.ledger import COLUMNS, Ledger, Trial

TRIAL = Trial(
    key="k", task="t", source="source", strategy="full_copy", stack='[{"name": "full_copy", "settings": {}}]',
    labels=20, labels_per_class=10.0, seed=3, validation_accuracy=0.75, seconds=1.5, trainable=100, stored_bytes=400,
)  # fmt: skip
WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from graftwork.ledger import Ledger, Trial
known = {known!r}
for number in range(10):
    trial = Trial(**{{**known, "key": f"shared-{{number}}", "test_accuracy": 0.5 if sys.argv[1] == "0" else None}})
    Ledger(Path({path!r})).add(trial)
    Ledger(Path({path!r})).add(replace(trial, key=f"{{sys.argv[1]}}-{{number}}"))
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "private" / "ledger.sqlite")


def test_where_there_is_no_file_nothing_is_known_and_asking_makes_none(ledger: Ledger) -> None:
    assert ledger.all() == [] and ledger.find("k") is None
    assert not ledger.path.parent.exists()


@given(
    st.integers(0, 2**31 - 1), st.floats(0, 1), st.floats(0, 1) | st.none(),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)  # fmt: skip
@settings(max_examples=6, deadline=None)
def test_a_trial_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, seed: int, accuracy: float, test: float | None, text: str
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
    trial = replace(TRIAL, key=text, stack=text, seed=seed, validation_accuracy=accuracy, test_accuracy=test)
    ledger.add(trial)
    assert ledger.find(text) == trial and ledger.all() == [trial]


def test_a_trial_of_one_key_is_kept_once_the_newest_of_them(ledger: Ledger) -> None:
    for seconds in (1.0, 2.0, 3.0):
        ledger.add(replace(TRIAL, seconds=seconds))
    assert ledger.all() == [replace(TRIAL, seconds=3.0)]


def test_trials_come_in_the_order_in_which_they_were_first_done(ledger: Ledger) -> None:
    for key in ("b", "a", "c", "b"):
        ledger.add(replace(TRIAL, key=key))
    assert [trial.key for trial in ledger.all()] == ["b", "a", "c"]
    assert ledger.find("missing") is None


def test_a_test_accuracy_stays_where_the_same_training_is_recorded_without_one(ledger: Ledger) -> None:
    ledger.add(replace(TRIAL, test_accuracy=0.5))
    ledger.add(replace(TRIAL, seconds=9.0))
    assert ledger.find("k") == replace(TRIAL, seconds=9.0, test_accuracy=0.5)
    ledger.add(replace(TRIAL, test_accuracy=0.0))
    assert ledger.find("k") == replace(TRIAL, test_accuracy=0.0), "nought is an accuracy too"


def test_a_test_accuracy_and_what_it_was_reached_on_stay_or_go_together(ledger: Ledger) -> None:
    ledger.add(replace(TRIAL, test_accuracy=0.5, test_sha256="one"))
    ledger.add(TRIAL)
    assert ledger.find("k") == replace(TRIAL, test_accuracy=0.5, test_sha256="one")
    ledger.add(replace(TRIAL, test_accuracy=0.25, test_sha256="other"))
    assert ledger.find("k") == replace(TRIAL, test_accuracy=0.25, test_sha256="other")


def test_a_ledger_that_was_begun_before_test_images_were_noted_is_read_and_added_to(ledger: Ledger) -> None:
    ledger.path.parent.mkdir()
    old = replace(TRIAL, test_accuracy=0.5)
    with closing(sqlite3.connect(ledger.path)) as connection, connection:
        held = COLUMNS[:-1]
        connection.execute(f"CREATE TABLE trials ({', '.join(held).replace('key', 'key PRIMARY KEY')})")
        connection.execute(
            f"INSERT INTO trials VALUES ({', '.join('?' * len(held))})", [getattr(old, name) for name in held]
        )
    assert ledger.find("k") == old and Ledger(ledger.path).all() == [old]
    ledger.add(replace(old, test_sha256="x"))
    assert ledger.all() == [replace(old, test_sha256="x")]


def test_several_processes_write_at_once_and_nothing_is_lost(ledger: Ledger) -> None:
    code = WRITER.format(known=vars(TRIAL), path=str(ledger.path))
    writers = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    found = {trial.key: trial for trial in ledger.all()}
    assert len(found) == 4 * 10
    assert all(found[f"shared-{number}"].test_accuracy == 0.5 for number in range(10))


def other_columns() -> bytes:
    """Return a sound SQLite file whose trials are of another form."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE trials (key PRIMARY KEY, loss)")
        connection.execute("INSERT INTO trials VALUES ('k', 0.5)")
        connection.commit()
        return connection.serialize()


def cut_short(ledger: Ledger) -> bytes:
    """Return the first part of a ledger, as of a disk that was full."""
    ledger.add(replace(TRIAL, stack="x" * 20_000))
    return ledger.path.read_bytes()[:10_000]


@pytest.mark.parametrize("damage", ["no database", "cut short", "other columns"])
def test_a_file_that_can_not_be_read_says_what_to_do_and_is_left_as_it_is(ledger: Ledger, damage: str) -> None:
    ledger.path.parent.mkdir()
    content = {"no database": b"not SQLite " * 100, "other columns": other_columns()}.get(damage) or cut_short(ledger)
    ledger.path.write_bytes(content)
    for use in (ledger.all, lambda: ledger.find("k"), lambda: ledger.add(TRIAL)):
        with pytest.raises(StateError, match="The ledger of trials can't be used") as raised:
            use()
        assert raised.value.where == str(ledger.path)
        assert "move the file away" in raised.value.fix
    assert ledger.path.read_bytes() == content


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("a file")
    with pytest.raises(StateError):
        Ledger(tmp_path / "private" / "ledger.sqlite").add(TRIAL)
