"""Files that DVC writes in place: dvc.lock is written whole, or is whole again after a kill in the middle.

DVC's run cache knows a stage before dvc.lock does, so that the one that was being recorded is restored, not computed.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from graftwork.dvc_lock import LOCKS
from graftwork.files import atomic_file, write_text
from graftwork.layout import Layout
from graftwork.temporaries import remove

DVC_TEMPORARY = re.compile(r"\.[A-Za-z0-9_-]{22}\.tmp")
AGAIN_SECONDS = 0.2  # another process may be writing
RUNS_SECONDS, FILES_SECONDS = 1.0, 60.0  # without a byte, after which a temporary of DVC's is nobody's


@contextmanager
def kept_whole(root: Path, name: str) -> Iterator[None]:
    """Keep a copy of a lock file while DVC writes it; put it back where that fails. No copy is of no file."""
    lock, copy = root / name, _copy(Layout(root), name)
    with atomic_file(copy) as temporary:
        temporary.write_bytes(lock.read_bytes() if lock.is_file() else b"")
    try:
        yield
    except BaseException:
        _put_back(copy, lock)
        raise
    copy.unlink()


def put_entry(lock: Path, entry: Mapping[str, Any]) -> None:
    """Put a stage's entry, by its name, into a lock file as DVC would, whole or not at all.

    DVC itself would read the file with every mark of its text, of which it has none: ten times as long, for each stage.
    """
    from dvc.utils.serialize import dumps_yaml

    found = YAML(typ="safe").load(lock.read_text(encoding="utf-8")) if lock.is_file() else None
    record = found or {"schema": "2.0"}
    stages = record.setdefault("stages", {})
    ((name, made),) = entry.items()
    if stages.get(name) != made:
        stages[name] = made
        write_text(lock, dumps_yaml(record))


def mend(layout: Layout) -> list[str]:
    """Put back what a killed run was writing; return its names. To be called by who holds the workspace."""
    mended = []
    for name in LOCKS:
        copy = _copy(layout, name)
        if copy.is_file():
            _put_back(copy, layout.root / name)
            mended.append(name)
    if _is_torn(layout.root / ".dvc" / "tmp" / "rwlock"):
        (layout.root / ".dvc" / "tmp" / "rwlock").unlink()
        mended.append("DVC's lock")
    return mended


def sweep_cache(cache: Path, files: Path) -> None:
    """Remove what killed processes left half-written in DVC's cache, of which others may be writing other parts.

    DVC takes the newest file of a stage's folder for what the stage made, half of one too, and dies of a folder without
    any: so both are waited for until they are surely nobody's. Elsewhere a leftover only takes room, and may stay for a
    minute.
    """
    for torn in cache.glob("runs/*/*/.*.tmp"):
        _await_the_writer(torn)
        torn.unlink(missing_ok=True)
    for folder in cache.glob("runs/*/*"):
        if folder.is_dir() and not any(folder.iterdir()):
            _await_the_writer(folder)
            with suppress(OSError):  # it has something in it by now
                folder.rmdir()
    for torn in (*files.glob(".*.tmp"), *files.glob("??/.*.tmp")):
        if _age_seconds(torn) > FILES_SECONDS:
            torn.unlink(missing_ok=True)


def sweep_outputs(outputs: Iterable[Path]) -> None:
    """Remove DVC's temporaries beside and in outputs. To be called under DVC's lock, so that nobody is writing one."""
    for folder in {place for output in outputs for place in (output, output.parent) if place.is_dir()}:
        for entry in folder.iterdir():
            if DVC_TEMPORARY.fullmatch(entry.name):
                remove(entry)


def _await_the_writer(path: Path) -> None:
    """Wait until nobody has written to a file or folder for a while; a clock that was set back holds up nobody."""
    while 0 <= _age_seconds(path) < RUNS_SECONDS:
        time.sleep(0.05)


def _age_seconds(path: Path) -> float:
    """Return for how long nobody wrote to a file; for ever where there is none."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _put_back(copy: Path, lock: Path) -> None:
    if copy.stat().st_size:
        copy.replace(lock)
    else:
        lock.unlink(missing_ok=True)
        copy.unlink()


def _copy(layout: Layout, name: str) -> Path:
    return layout.private / "before" / name


def _is_torn(path: Path) -> bool:
    """Tell whether a file is there and not JSON, also when one looks again."""
    for _ in range(2):
        try:
            json.loads(path.read_text(encoding="utf-8"))
            return False
        except FileNotFoundError:
            return False
        except ValueError:
            time.sleep(AGAIN_SECONDS)
    return True
