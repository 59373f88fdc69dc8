"""Set up a workspace in a user's own folder: settings, stage graph, data to begin with, git and DVC."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from graftwork.errors import StateError
from graftwork.files import require_writable, write_text
from graftwork.schema import schema_text
from graftwork_flows.console import say

EMBEDDED = "fashion_mnist.npz"


def initialise(folder: Path) -> None:
    """Write a workspace that runs as it is; raise StateError, before anything is written, if a file is there."""
    require_writable(folder)
    there = [name for name in ("params.yaml", "dvc.yaml", f"data/{EMBEDDED}") if (folder / name).exists()]
    if there:
        raise StateError(
            f"There is a {' and a '.join(there)} already; nothing was written", where=str(folder),
            fix="graftwork init in another folder, or move it away",
        )  # fmt: skip
    for name in ("params.yaml", "dvc.yaml"):
        write_text(folder / name, _template(name))
    write_text(folder / "strategies" / "centre_logits.py", _template("centre_logits.py"))
    for name in ("gitignore", "dvcignore"):
        _append(folder / f".{name}", _template(name))
    data = folder / "data" / EMBEDDED
    data.parent.mkdir(exist_ok=True)
    source = files("graftwork_plugins") / "data"
    data.write_bytes((source / EMBEDDED).read_bytes())
    write_text(folder / "data" / "LICENSE.fashion-mnist", (source / "LICENSE.fashion-mnist").read_text("utf-8"))
    from graftwork_flows.listing import registry_at

    write_text(folder / "params.schema.json", schema_text(registry_at(folder)))
    _version_control(folder)
    write_text(folder / ".dvc" / "plots" / "strategies.json", _template("plot.json"))
    say(f"A workspace is in {folder}. Next: graftwork run -C {folder}")


def _template(name: str) -> str:
    return (files("graftwork_flows") / "templates" / f"{name}.template").read_text("utf-8")


def _append(path: Path, lines: str) -> None:
    """Add the lines that a file doesn't hold yet."""
    present = path.read_text("utf-8").splitlines() if path.is_file() else []
    wanted = [line for line in lines.splitlines() if line not in present]
    write_text(path, "\n".join([*present, *wanted]) + "\n")


def _version_control(folder: Path) -> None:
    """Set up git and DVC where they are missing."""
    inside = subprocess.run(["git", "rev-parse", "--git-dir"], cwd=folder, capture_output=True, check=False)
    if inside.returncode and shutil.which("git"):
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    if (folder / ".dvc").is_dir():
        return
    git_root = subprocess.run(
        ["git", "rev-parse", "--show-cdup"], cwd=folder, capture_output=True, text=True, check=False
    )
    kind = ["--no-scm"] if git_root.returncode else ["--subdir"] if git_root.stdout.strip() else []
    for arguments in (["init", "--quiet", *kind], ["config", "core.analytics", "false"]):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StateError(
                f"dvc {' '.join(arguments)} failed: {done.stderr.strip()}",
                where=str(folder),
                fix="run it by hand",
            )
