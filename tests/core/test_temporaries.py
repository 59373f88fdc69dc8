"""What takes another's place does so whole; what dead processes left half-written is swept, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graftwork import temporaries
from graftwork.layout import Layout
from graftwork.processes import Process, process_of, this_process
from graftwork.temporaries import FOREIGN_SECONDS, TEMPORARY, settle, swap, sweep, temporary_beside
from graftwork.workspace import sweep_leftovers


def folder(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(text)
    return path


def dead() -> Process:
    """Return a process that has just ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        found = Process(this_process().machine, child.pid, int(stat[19]))
        assert not found.dead
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert found.dead  # a zombie holds nothing any more
    return found


def test_a_process_is_told_from_a_dead_one_and_from_one_that_got_its_number() -> None:
    mine = this_process()
    assert not mine.dead and process_of(str(mine)) == mine
    assert Process(mine.machine, mine.pid, mine.started + 1).dead
    assert dead().dead
    assert not Process("0a1b2c", 2**22 + 1, 1).dead  # of another machine nothing can be told


@given(st.text(max_size=30))
def test_any_text_is_a_process_or_none(text: str) -> None:
    found = process_of(text)
    assert found is None or found.pid >= 0


@given(st.text(min_size=1, max_size=120).filter(lambda name: not set(name) & set("/\0")))
def test_the_name_of_a_temporary_fits_tells_its_owner_and_is_known_again(name: str) -> None:
    made = temporary_beside(Path("/x") / name) if name not in (".", "..") else temporary_beside(Path("/x/y"))
    assert len(os.fsencode(made.name)) <= 255
    found = TEMPORARY.fullmatch(made.name)
    assert found is not None and process_of(found[1]) == this_process()


@pytest.mark.parametrize("exchanging", [True, False])
def test_a_folder_takes_the_place_of_whatever_is_there(
    exchanging: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanging:
        monkeypatch.setattr(temporaries, "_renameat2", lambda: None)
    path = tmp_path / "path"
    swap(folder(tmp_path / "one", "one"), path)
    swap(folder(tmp_path / "two", "two"), path)
    assert (path / "file").read_text() == "two"
    (tmp_path / "link").symlink_to(path)
    swap(folder(tmp_path / "three", "three"), tmp_path / "link")
    assert (tmp_path / "link" / "file").read_text() == "three" and not (tmp_path / "link").is_symlink()
    assert (path / "file").read_text() == "two"


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_here_the_old_one_is_there_until_the_new_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path / "path", "old")
    monkeypatch.setattr(Path, "rename", lambda *_: pytest.fail("moved aside"))
    swap(folder(tmp_path / "new", "new"), path)
    assert (path / "file").read_text() == "new" and (tmp_path / "new" / "file").read_text() == "old"


@pytest.mark.parametrize("died_after", ["aside", "placed"])
def test_where_there_is_no_exchange_a_kill_in_between_is_settled(died_after: str, tmp_path: Path) -> None:
    path = tmp_path / "path"
    folder(tmp_path / ".path.former", "old")
    if died_after == "placed":
        folder(path, "new")
    settle(path)
    assert (path / "file").read_text() == ("old" if died_after == "aside" else "new")
    assert os.listdir(tmp_path) == ["path"]


def test_temporaries_of_the_dead_are_swept_and_those_of_the_living_and_of_others_stay(tmp_path: Path) -> None:
    mine = temporary_beside(tmp_path / "file")
    mine.write_text("mine")
    gone = tmp_path / "deep" / f".folder.{dead()}.0123abcd.tmp"
    folder(gone, "half")
    foreign = tmp_path / ".file.0a1b2c-7-7.0123abcd.tmp"
    foreign.write_text("another machine's")
    for kept in ("notes.tmp", ".cache.tmp", "x.0123abcd.tmp"):
        (tmp_path / kept).write_text("a user's own")
    assert sweep([(tmp_path, 1)]) == [gone]
    assert sweep([(tmp_path, 1), (tmp_path / "missing", 3)]) == []
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["deep", mine.name, foreign.name, "notes.tmp", ".cache.tmp", "x.0123abcd.tmp"]
    )
    old = time.time() - FOREIGN_SECONDS - 1
    os.utime(foreign, (old, old))
    assert sweep([(tmp_path, 0)]) == [foreign]


def test_what_is_deeper_than_asked_for_or_behind_a_link_is_not_looked_at(tmp_path: Path) -> None:
    name = f".file.{dead()}.0123abcd.tmp"
    for place in (tmp_path / "top" / "one" / "two", tmp_path / "elsewhere"):
        place.mkdir(parents=True)
        (place / name).write_text("half")
    (tmp_path / "top" / "link").symlink_to(tmp_path / "elsewhere")
    assert sweep([(tmp_path / "top", 1)]) == []
    assert sweep([(tmp_path / "top", 2)]) == [tmp_path / "top" / "one" / "two" / name]


def test_a_killed_writer_leaves_the_old_folder_and_what_the_sweep_finds(tmp_path: Path) -> None:
    from graftwork.files import atomic_folder

    path = folder(tmp_path / "path", "old")
    pid = os.fork()
    if pid == 0:
        with atomic_folder(path) as temporary:
            (temporary / "file").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (path / "file").read_text() == "old" and len(os.listdir(tmp_path)) == 2
    assert len(sweep([(tmp_path, 0)])) == 1
    assert os.listdir(tmp_path) == ["path"]


def test_what_was_being_written_anywhere_among_a_workspaces_own_files_is_swept_and_other_workspaces_are_not(
    tmp_path: Path,
) -> None:
    private, name = Layout(tmp_path).private, f".file.{dead()}.0123abcd.tmp"
    ours = [private / place / name for place in ("", "before", "before/sweep", "checkpoints/1/2/3", "pictures")]
    theirs = [folder / "some" / name for folder in (Layout(tmp_path).worktrees, Layout(tmp_path).away)]
    for path in (*ours, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    assert sorted(sweep_leftovers(Layout(tmp_path))) == sorted(ours)
    assert all(path.exists() for path in theirs)
