"""Read dvc.lock, DVC's record of what every stage was made of and made, and hash files anew as it does.

The format is DVC's documented one (dvc.org/doc/user-guide/project-structure/dvcyaml-files#dvclock-file). Nothing here
asks DVC, or trusts what it remembers of files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from graftwork.errors import StateError

LOCKS = LOCK, SWEEP_LOCK = "dvc.lock", "sweep/dvc.lock"
Ignored = Callable[[Path], bool]


@dataclass(frozen=True)
class LockedStage:
    """One stage as it was run last; paths are relative to the workspace."""

    name: str
    command: str
    dependencies: Mapping[str, str]  # path → md5, of a folder with `.dir` at its end
    outputs: Mapping[str, str]
    parameters: Mapping[str, Mapping[str, Any]]  # file → key, as `finetune.lr`, → value


def read_locks(root: Path) -> dict[str, LockedStage]:
    """Return every recorded stage of a workspace by name. Raises StateError for a record that can't be read.

    The sweep's stages work in the workspace's folder (`wdir: ..`), so their paths are relative to it, too.
    """
    found: dict[str, LockedStage] = {}
    for name in LOCKS:
        if (root / name).is_file():
            found |= read_lock(root / name)
    return found


def read_lock(path: Path) -> dict[str, LockedStage]:
    """Return the stages that one record has, by name. Raises StateError where it can't be read."""
    try:
        stages = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["stages"]
        return {name: _stage(name, found) for name, found in stages.items()}
    except (OSError, UnicodeDecodeError, YAMLError, KeyError, TypeError, AttributeError) as error:
        raise StateError(
            f"DVC's record can't be read: {error}", where=str(path), fix=f"git checkout {path.name}, or dvc repro"
        ) from None


def _stage(name: str, found: Mapping[str, Any]) -> LockedStage:
    def hashes(kind: str) -> dict[str, str]:
        return {entry["path"]: str(entry.get("md5", "")) for entry in found.get(kind, ())}

    return LockedStage(name, str(found["cmd"]), hashes("deps"), hashes("outs"), found.get("params", {}))


def usually_ignored(path: Path) -> bool:
    """Tell what the .dvcignore of a workspace leaves out."""
    return path.name == "__pycache__" or path.suffix == ".tmp"


def md5_of(path: Path, ignored: Ignored = usually_ignored) -> str | None:
    """Hash the bytes of a file, or of all files of a folder, as DVC does; None where there is nothing."""
    if path.is_dir():
        listing = [{"md5": md5, "relpath": name} for name, md5 in files_of(path, ignored).items()]
        return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
    return _md5_of_file(path) if path.is_file() else None


def files_of(folder: Path, ignored: Ignored = usually_ignored) -> dict[str, str]:
    """Return the md5 of every file below a folder by its relative path, in DVC's order."""
    found: dict[str, str] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not ignored(Path(place, name))]
        for path in (Path(place, name) for name in files):
            if not ignored(path):
                found[path.relative_to(folder).as_posix()] = _md5_of_file(path)
    return dict(sorted(found.items()))


def listing_in_cache(cache: Path, md5: str) -> dict[str, str] | None:
    """Return what a folder held when it was recorded, by relative path; None where DVC's cache doesn't have it."""
    try:
        entries = json.loads((cache / md5[:2] / md5[2:]).read_text(encoding="utf-8"))
        return {entry["relpath"]: entry["md5"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _md5_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
