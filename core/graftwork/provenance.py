"""Where a run's results come from: code, versions, machine, and the hashes of what it was made of."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from graftwork.dvc_lock import read_lock
from graftwork.errors import StateError

PACKAGES = ("graftwork", "torch", "timm", "numpy", "prefect", "dvc", "pluggy")


@dataclass(frozen=True)
class Provenance:
    """What a stranger needs to repeat the run."""

    commit: str  # of git, with "+ changes" where the tree wasn't clean; or why there is none
    machine: str
    versions: dict[str, str]
    hashes: dict[str, str]  # of the outputs that dvc.lock holds, by path
    local_plugins: Mapping[str, str] = field(default_factory=dict)  # sha256 of the user's own files, by name


def provenance(root: Path, local_plugins: Mapping[str, str] | None = None) -> Provenance:
    """Collect it; nothing here fails, what can't be told is said to be unknown."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return Provenance(_commit(root), machine_name(), versions, locked_hashes(root / "dvc.lock"), local_plugins or {})


def _commit(root: Path) -> str:
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return f"{head} + changes" if _git(root, "status", "--porcelain", "-uno", "--", ":!dvc.lock") else head
    except (OSError, subprocess.SubprocessError):
        return "none: not a git repository, or nothing committed"


def _git(root: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return result.stdout.strip()


def machine_name() -> str:
    """Return system, cores and processor in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cores} cores, {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def locked_hashes(lock: Path) -> dict[str, str]:
    """Return the md5 of the outputs that a dvc.lock holds, by path, but for reports; none where it can't be read."""
    try:
        stages = sorted(read_lock(lock).items())
    except StateError:
        return {}
    return {path: md5 for name, stage in stages if not name.startswith("report") for path, md5 in stage.outputs.items()}
