"""Files of patterns are added to and stay what they are; DVC uses the git that came after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.errors import StateError
from graftwork_flows import version_control
from graftwork_flows.checkup import state
from graftwork_flows.initialise import initialise
from graftwork_flows.version_control import add_lines, knows_no_git
from tests.flows.conftest import call, commit


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"one\ntwo\n"),
        (b"mine\n", b"mine\none\ntwo\n"),
        (b"mine", b"mine\none\ntwo\n"),
        (b"caf\xe9\r\ntwo\r\n", b"caf\xe9\r\ntwo\r\none\r\n"),
        (b"two\r\none", b"two\r\none"),
    ],
)
def test_lines_are_appended_and_nothing_else_changes(before: bytes, after: bytes, tmp_path: Path) -> None:
    (tmp_path / "shared").write_bytes(before)
    file = tmp_path / ".gitignore"
    file.symlink_to("shared")
    add_lines(file, "one\ntwo\n")
    assert file.is_symlink() and file.read_bytes() == after


def test_a_gitignore_that_is_not_utf_8_is_added_to_all_the_same(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"caf\xe9\r\n")
    initialise(tmp_path, git=True)
    found = (tmp_path / ".gitignore").read_bytes()
    assert found.startswith(b"caf\xe9\r\n") and b"\r\n/weights/*\r\n" in found


def test_git_that_came_later_leaves_the_cache_out_and_the_doctor_tells_of_it(tmp_path: Path) -> None:
    initialise(tmp_path)
    assert knows_no_git(tmp_path)
    (tmp_path / ".dvc" / "cache").mkdir()
    (tmp_path / ".dvc" / "cache" / "large").touch()
    call(tmp_path, "git", "init", "-q")
    commit(tmp_path)
    tracked = call(tmp_path, "git", "ls-files", ".dvc").split()
    assert tracked == [".dvc/.gitignore", ".dvc/config", ".dvc/plots/strategies.json"]
    warned = [line for line in state.git(tmp_path) if line.level == "warning"]
    assert [line.fix for line in warned] == ["dvc config --local core.no_scm false"]


def test_init_with_git_in_a_workspace_without_introduces_them(tmp_path: Path) -> None:
    initialise(tmp_path)
    initialise(tmp_path, git=True, overwrite=True)
    assert not knows_no_git(tmp_path)
    assert "config.local" not in call(tmp_path, "git", "status", "--porcelain", "-uall", ".dvc")


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="git rev-parse HEAD failed: fatal: not a git repository"):
        version_control.call(tmp_path, "git", "rev-parse", "HEAD")
