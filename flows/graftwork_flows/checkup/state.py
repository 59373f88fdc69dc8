"""Are git, DVC, Prefect's server and the locks as a run needs them?"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from graftwork.errors import StateError
from graftwork.layout import Layout
from graftwork.secrets import without_secrets
from graftwork_flows import server
from graftwork_flows.doctor import Check, Line, is_workspace
from graftwork_flows.version_control import knows_no_git


def git(root: Path) -> Iterator[Line]:
    """Tell whether git is there, and the folder in a repository with a commit."""
    if not shutil.which("git"):
        text = "isn't installed: no runs with other settings (--set), no experiments"
        yield Line("warning", "git", text, "install git")
        return
    if not is_workspace(root):
        yield Line("ok", "git", _said(root, "--version"))
        return
    try:
        head = _said(root, "rev-parse", "--short", "HEAD")
    except StateError as error:
        yield Line(
            "warning", "git", f"{error.what}: no runs with other settings (--set)", "git init; git add; git commit"
        )
        return
    changed = len(_said(root, "status", "--porcelain", "-uno").splitlines())
    yield Line("ok", "git", f"commit {head}, {changed} changed files")
    if knows_no_git(root):
        text = "was set up before git (core.no_scm), so it refuses experiments until the first run with --set"
        yield Line("warning", "dvc", text, "dvc config --local core.no_scm false")


def _said(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise StateError((done.stderr.strip().splitlines() or ["git failed"])[-1])
    return done.stdout.strip()


def dvc(root: Path) -> Iterator[Line]:
    """Open DVC's repository, read its stages, and look at its cache and locks."""
    if not is_workspace(root):
        return
    from graftwork_flows.pipeline import Pipeline

    pipeline = Pipeline(root)
    cache = pipeline.cache
    yield Line("ok", "dvc", f"{len(pipeline.nodes())} stages; cache {cache}")
    if cache.exists() and not os.access(cache, os.W_OK):
        yield Line("broken", "dvc", f"the cache {cache} can't be written", f"chmod -R u+w {cache}")
    site = Path(os.environ["DVC_SITE_CACHE_DIR"])
    if site.exists() and site.stat().st_mode & stat.S_IWOTH:
        text = f"{site} can be written by anyone, and DVC unpickles what is in it"
        yield Line("warning", "dvc", text, f"chmod o-w {site}, or unset DVC_SITE_CACHE_DIR")
    yield from _blocked(root)


def _blocked(root: Path) -> Iterator[Line]:
    """Tell of processes that hold files for DVC; it forgets dead ones by itself."""
    try:
        holders = json.loads((root / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8"))
        pids = {entry["write"]["pid"] for entry in holders.values() if entry.get("write")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    alive = sorted(pid for pid in pids if Path(f"/proc/{pid}").exists())
    if alive:
        yield Line("warning", "dvc", f"process {', '.join(map(str, alive))} is computing", "wait for it")


def remote(root: Path) -> Iterator[Line]:
    """Tell which remote results are exchanged with; it isn't asked: `graftwork verify --remote` does."""
    if not is_workspace(root):
        return
    from graftwork.params_file import load_settings
    from graftwork.workspace import PARAMS
    from graftwork_flows.pipeline import Pipeline

    wanted = load_settings(root / PARAMS).remote
    if wanted.used:
        doing = " and ".join(name for name in ("pull", "push") if getattr(wanted, name))
        yield Line("ok", "remote", f"{doing}: {Pipeline(root, wanted.name).remote()}")


def prefect(root: Path) -> Iterator[Line]:
    """Tell whether a server runs, and whose."""
    own = os.environ.get("PREFECT_API_URL")
    if own:
        up = server.healthy(own)
        told = "answers" if up else "is silent"
        fix = "" if up else "start it, or unset the variable; graftwork run --without-prefect needs none"
        yield Line("ok" if up else "broken", "prefect", f"PREFECT_API_URL={without_secrets(own)} {told}", fix)
    elif not is_workspace(root):
        yield Line("ok", "prefect", "a server is started for each workspace by graftwork run")
    elif found := server.running_server(root):
        yield Line("ok", "prefect", f"server {found.ui}, process {found.pid}")
    elif (pid := server.silent_process(root)) is not None:
        text = f"process {pid} should be the server, and doesn't answer"
        yield Line("warning", "prefect", text, "graftwork server stop; .prefect/server.log tells more")
    else:
        yield Line("ok", "prefect", "no server runs; graftwork run starts it")


def runs(root: Path) -> Iterator[Line]:
    """Tell whether a run is going on."""
    if not is_workspace(root):
        return
    from graftwork_flows.run_lock import require_free

    private = Layout(root).private
    if not (private / "run.lock").exists():
        yield Line("ok", "runs", "none was started here yet")
        return
    try:
        require_free(private)
        yield Line("ok", "runs", "none is going on")
    except StateError as error:
        yield Line("ok", "runs", error.what)


CHECKS: tuple[Check, ...] = (git, dvc, remote, prefect, runs)
