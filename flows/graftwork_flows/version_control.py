"""How DVC and git are set up in a workspace, and told of each other where git came later."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from graftwork.disk import room_for
from graftwork.errors import StateError

PRIVATE = "/config.local\n/tmp\n/cache\n"  # below .dvc: DVC itself has git ignore them, but only where git is there


def set_up(folder: Path, git: bool) -> None:
    """Set up DVC where it is missing; git too, where it is missing and asked for. Raises StateError."""
    if git and _depth_in_git(folder) is None:
        call(folder, "git", "init")
    depth = _depth_in_git(folder)
    if (folder / ".dvc").is_dir():
        if depth is not None:
            introduce_git(folder)
        return
    kind = ["--no-scm"] if depth is None else ["--subdir"] if depth else []
    for arguments in (["init", *kind], ["config", "core.analytics", "false"]):
        call_dvc(folder, *arguments)
    add_lines(folder / ".dvc" / ".gitignore", PRIVATE)  # git may come, and `git add -A` would take the cache along


def knows_no_git(root: Path) -> bool:
    """Tell whether DVC was set up where there was no git: it then refuses experiments. Raises StateError."""
    from dvc.config import Config, ConfigError

    try:
        return bool(Config(str(root / ".dvc"))["core"].get("no_scm"))
    except ConfigError as error:
        raise StateError(
            f"DVC's settings can't be read: {error}", where=str(root / ".dvc"), fix="mend .dvc/config, or config.local"
        ) from None


def introduce_git(root: Path) -> None:
    """Let DVC use the git that came after it: on this machine, as what git has of its settings stays as it is."""
    if knows_no_git(root):
        add_lines(root / ".dvc" / ".gitignore", PRIVATE)
        call_dvc(root, "config", "--local", "core.no_scm", "false")


def missing_lines(path: Path, lines: str) -> bytes:
    """Return what a file of patterns lacks of these lines, to be appended, with line ends like its own.

    Raises StateError for one that can't be read, or, where DVC reads it, isn't UTF-8.
    """
    try:
        old = path.read_bytes() if path.exists() else b""
        if path.name == ".dvcignore":
            old.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(
            f"The file can't be read: {getattr(error, 'strerror', None) or error}", where=str(path),
            expected="a text file in UTF-8, or none", fix="mend it, or move it away",
        ) from None  # fmt: skip
    end, present = b"\r\n" if b"\r\n" in old else b"\n", old.splitlines()
    wanted = [line + end for line in lines.encode().splitlines() if line not in present]
    unended = bool(wanted and old) and not old.endswith((b"\n", b"\r"))
    return (end if unended else b"") + b"".join(wanted)


def add_lines(path: Path, lines: str) -> None:
    """Append the lines that a file doesn't hold yet: what it holds, or that it is a link, stays as it is."""
    missing = missing_lines(path, lines)
    if missing:
        with room_for(path), path.open("ab") as file:
            file.write(missing)


def call_dvc(folder: Path, *arguments: str) -> str:
    """Run DVC in a folder, not its quiet way, which hides why it failed. Returns and raises as `call` does."""
    return call(folder, sys.executable, "-m", "dvc", *arguments)


def call(folder: Path, *command: str) -> str:
    """Run a command in a folder and return what it said. Raises StateError, with its reason, where it fails."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()
        reasons = [line for line in said if line.startswith(("ERROR", "error", "fatal"))]
        shown = [part for part in command if part not in (sys.executable, "-m")]
        raise StateError(
            f"{' '.join(shown[:6])} failed: {(reasons or said or [str(result.returncode)])[-1]}", where=str(folder),
            fix="run it by hand to see more",
        )  # fmt: skip
    return result.stdout


def _depth_in_git(folder: Path) -> str | None:
    """Return `../` for each folder up to the top of a git repository; None outside of any, and without git."""
    if not shutil.which("git"):
        return None
    found = subprocess.run(["git", "rev-parse", "--show-cdup"], cwd=folder, capture_output=True, text=True, check=False)
    return None if found.returncode else found.stdout.strip()
