"""One at a time holds the lock of a path, though its file goes each time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graftwork import file_locks
from graftwork.file_locks import held
from graftwork.progress import Quiet


def test_one_at_a_time_holds_a_lock_whose_file_goes_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_locks, "POLL_SECONDS", 0.0005)
    inside: list[int] = []
    most: list[int] = []

    def often(number: int) -> None:
        for _ in range(25):
            with held(tmp_path / "locks" / "one", Quiet(), ""):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(often, range(6)))
    assert most == [1] * 150 and os.listdir(tmp_path / "locks") == []


def test_what_goes_wrong_inside_releases_it_and_what_a_kill_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.touch()
    with pytest.raises(ValueError), held(path, Quiet(), ""):
        raise ValueError
    with held(path, Quiet(), ""):
        assert path.exists()
    assert not path.exists()
