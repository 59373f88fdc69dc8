"""Run with other settings in a git worktree of its own, so that the workspace stays as it is.

The worktree shares DVC's cache; the outcome is kept as a DVC experiment, the worktree is removed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from graftwork.errors import StateError
from graftwork.files import make_folder, write_text
from graftwork.layout import Layout
from graftwork.params_file import apply_overrides, load_settings
from graftwork.processes import process_of, this_process
from graftwork.temporaries import remove
from graftwork.workspace import PARAMS
from graftwork.yaml_source import read_yaml
from graftwork_flows.version_control import call, call_dvc, introduce_git

OWNER = ".owner"


@dataclass(frozen=True)
class Sandbox:
    """A worktree for one run."""

    root: Path
    workspace: Path
    name: str

    def keep(self) -> str:
        """Copy the report home, save the outcome as an experiment, and say where both are.

        Raises StateError where DVC doesn't save it: the report is at home by then.
        """
        home = Layout(self.workspace).kept_report(self.name)
        make_folder(home.parent)
        shutil.copyfile(Layout(self.root).report / "report.html", home)
        try:
            call_dvc(self.root, "exp", "save", "--force", "--name", self.name)
        except StateError as error:
            raise StateError(
                f"The outcome isn't kept as an experiment: {error.what}",
                where=f"{self.workspace}; the report is kept: {home}",
                fix="mend that, and run again: what was trained isn't trained again",
            ) from None  # fmt: skip
        return f"{home}; experiment {self.name} (dvc exp show, dvc exp apply {self.name})"


@contextmanager
def sandbox(workspace: Path, overrides: Sequence[str], name: str) -> Iterator[Sandbox]:
    """Yield a worktree that holds the workspace as it is, with `overrides` in its params.yaml."""
    settings = load_settings(workspace / PARAMS, overrides=overrides)  # wrong ones: say so before anything is made
    if settings.mirror:  # which may be named as seen from the workspace
        overrides = [*overrides, f"mirror={json.dumps(str(workspace / Path(settings.mirror).expanduser()))}"]
    top = _repository(workspace)
    introduce_git(workspace)
    tree = Layout(workspace).worktrees / name
    make_folder(tree.parent)
    for orphan in orphans(workspace):
        remove_worktree(workspace, orphan)
    write_text(_owner(tree), str(this_process()))
    call(workspace, "git", "worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
    try:
        root = tree / workspace.relative_to(top)
        _share_private(workspace, root)
        _copy_changes(workspace, root)
        _write_params(root / PARAMS, overrides)
        cache = call_dvc(workspace, "cache", "dir").strip()
        absolute = (workspace / ".dvc" / cache).resolve() if not Path(cache).is_absolute() else Path(cache)
        _share_remotes(workspace, root)
        call_dvc(root, "config", "--local", "cache.dir", str(absolute))
        if not settings.remote.pull:  # a run that pulls brings it
            _check_out_data(root)
        yield Sandbox(root, workspace, name)
    finally:
        remove_worktree(workspace, tree)


def remove_worktree(workspace: Path, tree: Path) -> None:
    """Remove a worktree, and the note of whose it is."""
    subprocess.run(
        ["git", "-C", str(workspace), "worktree", "remove", "--force", str(tree)], capture_output=True, check=False
    )
    remove(tree)  # of what git knows nothing
    _owner(tree).unlink(missing_ok=True)


def orphans(workspace: Path) -> set[Path]:
    """Return the worktrees of runs that were killed: what they finished is in DVC's cache."""
    return {tree for tree in _trees(workspace) if _forsaken(tree)}


def in_use(workspace: Path) -> set[Path]:
    """Return the worktrees of runs that go on."""
    return {tree for tree in _trees(workspace) if not _forsaken(tree)}


def _trees(workspace: Path) -> set[Path]:
    """Return all worktrees, and what shall become one, or was."""
    folder = Layout(workspace).worktrees
    found = folder.iterdir() if folder.is_dir() else ()
    return {path.with_suffix("") if path.suffix == OWNER else path for path in found}


def _forsaken(tree: Path) -> bool:
    """Tell whether a worktree's run is no more. The note of whose it is is there before the tree, and after it."""
    try:
        process = process_of(_owner(tree).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    return process is None or process.dead


def _owner(tree: Path) -> Path:
    """Return the file that says whose a worktree is."""
    return tree.with_name(f"{tree.name}{OWNER}")


def _repository(workspace: Path) -> Path:
    try:
        call(workspace, "git", "rev-parse", "--verify", "--quiet", "HEAD")
        return Path(call(workspace, "git", "rev-parse", "--show-toplevel").strip())
    except StateError:
        raise StateError(
            "A run with other settings than params.yaml's needs a git repository with a commit",
            where=str(workspace), fix="git init && git add -A && git commit -m start; or edit params.yaml",
        ) from None  # fmt: skip


def _share_private(workspace: Path, root: Path) -> None:
    """Let what must stay when the worktree goes be written at home.

    Accounts of weights that don't fit; records of runs; and checkpoints, from which the same settings go on: they are
    found by all that decides the weights.
    """
    for find in (lambda layout: layout.misfits, lambda layout: layout.runs, Layout.checkpoints):
        home, there = (find(Layout(folder)) for folder in (workspace, root))
        for folder in (home, there.parent):
            make_folder(folder)
        there.symlink_to(home)


def _share_remotes(workspace: Path, root: Path) -> None:
    """Bring this machine's own settings of DVC, which git ignores: remotes, and the keys to them."""
    own = workspace / ".dvc" / "config.local"
    if own.is_file():
        shutil.copy(own, root / ".dvc" / own.name)


def _copy_changes(workspace: Path, root: Path) -> None:
    """Bring what isn't committed over: changed, new and deleted files, but nothing that git ignores."""
    listed = call(workspace, "git", "ls-files", "-z", "--modified", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        here, there = workspace / name, root / name
        if here.is_file():
            make_folder(there.parent)
            shutil.copyfile(here, there)
        else:
            there.unlink(missing_ok=True)


def _check_out_data(root: Path) -> None:
    """Bring the user's own data, which git ignores where `dvc add` tracks it."""
    added = call(root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.dvc")
    if names := list(filter(None, added.split("\0"))):
        call_dvc(root, "checkout", *names)


def _write_params(path: Path, overrides: Sequence[str]) -> None:
    """Set the overrides in params.yaml, its comments kept."""
    from io import StringIO

    from ruamel.yaml import YAML

    changed = apply_overrides(read_yaml(path).values, overrides)
    yaml = YAML()
    document = yaml.load(path.read_text(encoding="utf-8"))
    _merge(document, changed)
    text = StringIO()
    yaml.dump(document, text)
    write_text(path, text.getvalue())


def _merge(document: dict[str, object], wanted: dict[str, object]) -> None:
    for key in [key for key in document if key not in wanted]:
        del document[key]
    for key, value in wanted.items():
        old = document.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif old != value:
            document[key] = value
