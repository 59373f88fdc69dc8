"""List what a workspace can do without, and remove it: caches, left-overs, old reports. DVC's outputs stay."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from graftwork.errors import StateError
from graftwork.layout import Layout
from graftwork.params_file import load_settings
from graftwork.settings import Settings
from graftwork.temporaries import remove
from graftwork.workspace import PARAMS
from graftwork_flows import server
from graftwork_flows.console import say
from graftwork_flows.doctor import amount, size_of
from graftwork_flows.pipeline import Pipeline
from graftwork_flows.run_lock import run_lock
from graftwork_flows.sandbox import in_use, orphans, remove_worktree

HOUR_SECONDS, DAY_SECONDS = 3_600.0, 86_400.0
KEPT_REPORTS = 20  # of runs with other settings, the newest
SKIPPED = {".git", ".dvc", ".venv", "node_modules"}  # not looked through for half-written files


@dataclass(frozen=True)
class Rubbish:
    """Something that can go, why, and how many bytes it takes."""

    path: str
    size: int
    why: str


def print_cleaning(root: Path, *, yes: bool, history: bool, cache: bool, as_json: bool) -> None:
    """List what can go, or remove it. Raises StateError where a run is going on, or Prefect's server uses its history.

    A workspace that no settings can be read of is left alone: what is stale can't be told.
    """
    if not yes:
        found = list(rubbish(root, history=history))
        _tell(found, as_json, removed=False)
        if not as_json:
            _tell_more(root, history=history, cache=cache)
        return
    layout = Layout(root)
    if history and (server.running_server(root) or server.silent_process(root)):
        raise StateError(
            "Prefect's history is in use by its server", where=str(root / ".prefect"), fix="graftwork server stop"
        )
    if cache and (trees := in_use(root)):
        raise StateError(
            "DVC's cache is in use by a run with other settings", where=str(min(trees)), fix="wait for it, or end it"
        )
    with run_lock(layout.private, "graftwork clean"):
        found = list(rubbish(root, history=history))
        for one in found:
            _remove(root, root / one.path)
        _tell(found, as_json, removed=True)
        if cache:
            _collect_garbage(root)


def rubbish(root: Path, *, history: bool = False) -> Iterator[Rubbish]:
    """Yield what can go, the largest kinds first. Raises SettingsError outside of a workspace."""
    settings, layout = load_settings(root / PARAMS), Layout(root)
    for path, why in (
        *((path, "kept activations: computed again where needed") for path in _children(layout.features)),
        *_checkpoints(root, layout, settings),
        *((path, "a worktree that a killed run left") for path in sorted(orphans(root))),
        *((path, "a download that broke off") for path in _older(_children(layout.downloads), DAY_SECONDS)),
        *((path, "an old report") for path in _old_reports(layout)),
        *((path, "half-written, by a run that was killed") for path in _half_written(root)),
        *((path, "Prefect's history of runs") for path in (_history(root) if history else ())),
    ):
        yield Rubbish(path.relative_to(root).as_posix(), size_of(path), why)


def _children(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != "lock") if folder.is_dir() else []


def _older(paths: list[Path], seconds: float) -> Iterator[Path]:
    for path in paths:
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > seconds:
                yield path


def _checkpoints(root: Path, layout: Layout, settings: Settings) -> Iterator[tuple[Path, str]]:
    """Yield checkpoints of what is no longer in params.yaml, and of trainings that are done with other settings.

    A training removes its own when it is done, so what is left beside one that is up to date is of former settings; or
    of a run with other settings that goes on.
    """
    if in_use(root):
        return
    stages = {f"source-{name}": f"pretrain@{name}" for name in settings.sources}
    stages |= {name: f"finetune@{name}" for name in settings.strategies}
    folders = [folder for folder in _children(layout.checkpoints()) if size_of(folder)]
    changed = Pipeline(root).changed_stages() if folders else set()
    for folder in folders:
        if folder.name not in stages:
            yield folder, "checkpoints of what is no longer in params.yaml"
        elif stages[folder.name] not in changed:
            yield folder, "checkpoints of former settings"


def _old_reports(layout: Layout) -> list[Path]:
    reports = [path for path in _children(layout.kept_reports) if path.is_file()]
    return sorted(reports, key=lambda path: path.stat().st_mtime)[:-KEPT_REPORTS]


def _half_written(root: Path) -> Iterator[Path]:
    """Yield temporary files and folders that are no longer written to."""
    yield from _older(sorted(root.glob(".*.tmp")), HOUR_SECONDS)
    for path in _children(root):
        if path.name not in SKIPPED and path.is_dir() and not path.is_symlink():
            found = (one for one in path.rglob(".*.tmp") if "worktrees" not in one.parts)
            yield from _older(sorted(found), HOUR_SECONDS)


def _history(root: Path) -> list[Path]:
    return sorted((root / ".prefect").glob("prefect.db*"))


def _remove(root: Path, path: Path) -> None:
    if path.parent == Layout(root).worktrees:
        remove_worktree(root, path)
    else:
        remove(path)


def _tell(found: list[Rubbish], as_json: bool, *, removed: bool) -> None:
    if as_json:
        say(json.dumps([asdict(one) for one in found], indent=2))
        return
    for one in found:
        say(f"{amount(one.size):>10}  {one.path}: {one.why}")
    total = amount(sum(one.size for one in found))
    say(f"{total} {'removed' if removed else 'can go: graftwork clean --yes'}" if found else "nothing can go")


def _tell_more(root: Path, *, history: bool, cache: bool) -> None:
    """Say what goes on request only."""
    prefect, kept = sum(size_of(path) for path in _history(root)), size_of(root / ".dvc" / "cache")
    if prefect and not history:
        say(f"{amount(prefect):>10}  Prefect's history of runs: goes with --history, while its server is stopped")
    if kept:
        when = "is asked (--cache)" if cache else "goes with --cache: dvc gc"
        say(f"{amount(kept):>10}  DVC's cache; what no branch, tag or experiment names {when}")


def _collect_garbage(root: Path) -> None:
    """Let DVC remove from its cache what neither the workspace nor any branch, tag or experiment names."""
    kept = ["--workspace"]
    with suppress(OSError):
        done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, check=False)
        kept += ["--all-branches", "--all-tags", "--all-experiments"] if done.returncode == 0 else []
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "gc", "--force", *kept], cwd=root, capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise StateError(f"dvc gc failed: {said[-1] if said else done.returncode}", where=str(root), fix="dvc gc -w -v")
    say(f"DVC's cache: {amount(size_of(root / '.dvc' / 'cache'))} left")
