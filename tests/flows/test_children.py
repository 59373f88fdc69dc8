"""Commands of ours in processes of their own: what they say, and how they end, reaches the one that started them."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from graftwork.errors import DataError, GraftworkError, Interrupted, SettingsError, StateError, TrainingError
from graftwork.progress import Quiet
from graftwork_flows.children import _Child, _error, _tell, run_together


def ended(code: int, said: str) -> GraftworkError:
    process: Any = SimpleNamespace(returncode=code)
    return _error(_Child("process 1 of 2", process, [said], code=code))


@pytest.mark.parametrize("error", [SettingsError, DataError, StateError, TrainingError])
def test_an_error_comes_back_as_what_it_was(error: type[GraftworkError]) -> None:
    sent = error("It went wrong", where="here", expected="better", fix="try again")
    found = ended(error.exit_code, f"a warning\nerror: {sent}\n")
    assert type(found) is error and str(found) == str(sent)


def test_a_killed_process_is_told_with_its_signal_and_name() -> None:
    found = ended(-signal.SIGKILL, "")
    assert isinstance(found, TrainingError) and "SIGKILL" in found.what and found.where == "process 1 of 2"


def test_a_process_that_says_no_error_is_told_with_its_last_line() -> None:
    found = ended(1, "Traceback (most recent call last):\nValueError: odd\n")
    assert isinstance(found, TrainingError) and "exit code 1: ValueError: odd" in found.what


def test_lines_become_progress() -> None:
    told: list[tuple[Any, ...]] = []
    progress: Any = SimpleNamespace(log=lambda *a: told.append(a), advance=lambda *a: told.append(a))
    for line in ("pretrain@source        40 %, epoch 2, loss 0.5", "finetune@full_copy_long seed 0: done", ""):
        _tell(line, progress)
    assert told == [(0.4, "epoch 2, loss 0.5"), ("seed 0: done",)]


def test_a_command_that_fails_raises_its_error_and_ends_the_others(tmp_path: Path) -> None:
    commands = {"one": ["stage", "fetch", "-C", str(tmp_path)], "other": ["stage", "fetch", "-C", str(tmp_path)]}
    with pytest.raises(SettingsError, match=r"params\.yaml"):
        run_together(commands, {}, tmp_path, Quiet())


def test_a_stop_ends_the_commands(tmp_path: Path) -> None:
    class Stopping(Quiet):
        def check(self) -> None:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        run_together({"one": ["plugins"]}, {}, tmp_path, Stopping())
