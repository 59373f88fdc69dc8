"""Bring outputs, and the run cache by which stages are skipped, to a DVC remote and back.

Called by pipeline.py; beside it the only module that knows DVC's internals. Tried with DVC 3.67.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.errors import GraftworkError, StateError

RUN_CACHE_ENTRY = re.compile(r"runs/[0-9a-f]{2}/([0-9a-f]{64})/([0-9a-f]{64})")  # others are half-written
RECORD = re.compile(r"runs/[0-9A-Za-z_-]+\.json")  # of who computed what


@dataclass(frozen=True)
class Exchanged:
    """What went over: entries of the run cache, outputs, and what should have come but isn't at the remote."""

    entries: int = 0
    outputs: int = 0
    missing: tuple[str, ...] = ()


def require_remote(repo: Any) -> str:
    """Return the remote's name and place; nothing is asked of it. Raises StateError where none is set up."""
    from dvc.config import RemoteConfigError
    from dvc.fs import RemoteMissingDepsError

    name = repo.config["core"].get("remote") or ""
    try:
        remote = repo.cloud.get_remote()
    except RemoteMissingDepsError as error:
        raise StateError(
            f"The remote {name!r} can't be used: {str(error).partition('.')[0]}", where=".dvc/config",
            fix="pip install 'graftwork[s3]'; for others see dvc.org/doc/user-guide/data-management/remote-storage",
        ) from None  # fmt: skip
    except RemoteConfigError as error:
        raise StateError(
            f"There is no remote to exchange with: {str(error).partition('. ')[0]}",
            where="params.yaml, key remote", expected="the name of one of DVC's remotes, or a default one",
            fix="dvc remote add -d store /mnt/store, and git add .dvc/config; or set pull and push to false",
        ) from None  # fmt: skip
    return f"{name} ({remote.fs.unstrip_protocol(remote.path)})"


def pull_missing(repo: Any, names: Iterable[tuple[str, str]], private: Path) -> Exchanged:
    """Bring the outputs of these stages (file, name) and of `dvc add` that aren't there, and the run cache.

    From DVC's cache first, so that what is in it comes also where the remote fails. What is there is left as it is,
    changed by hand or not. Into the folder `private` come the records of who computed what.
    """
    wanted = set(names)
    missing = [
        out
        for stage in repo.index.stages
        if stage.is_data_source or (stage.path_in_repo, stage.name) in wanted
        for out in stage.outs
        if out.use_cache and out.hash_info and not out.exists
    ]
    if missing:
        repo.checkout(targets=[out.fs_path for out in missing], allow_missing=True)
    entries = _bring(_remote(repo), _cache(repo), RUN_CACHE_ENTRY)
    _bring(_remote(repo, "graftwork"), _local(repo, private), RECORD)
    missing = [out for out in missing if not out.exists]
    if missing:
        repo.pull(targets=[out.fs_path for out in missing], allow_missing=True)
    still = [str(out) for out in missing if not out.exists]
    return Exchanged(entries, len(missing) - len(still), tuple(still))


def push_all(repo: Any, private: Path) -> Exchanged:
    """Bring everything that dvc.lock and *.dvc name to the remote, and the run cache with what it names.

    Entries go last: who finds one there finds its outputs, too. Beside them, in a folder `graftwork`, go the records.
    """
    outputs = repo.push()
    new = _new(_cache(repo), _remote(repo), RUN_CACHE_ENTRY)
    named = [match.groups() for match in map(RUN_CACHE_ENTRY.fullmatch, new) if match]
    for objects in repo.stage_cache.get_used_objs(named).values():
        outputs += len(repo.cloud.push(objects).transferred)
    _bring(_local(repo, private), _remote(repo, "graftwork"), RECORD)
    return Exchanged(_copy(_cache(repo), _remote(repo), new), outputs)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever a remote's own library raises into a StateError that begins with `what`."""
    with listening() as reasons:
        try:
            yield
        except GraftworkError:
            raise
        except Exception as error:  # an S3 client, a file system …
            why = reasons.first or f"{type(error).__name__}: {error}"
            raise StateError(
                f"{what}: {why}", where="the remote", fix="dvc push -v, or dvc pull -v, tells more"
            ) from error


@contextmanager
def listening() -> Iterator[_Reasons]:
    """Keep DVC's parts from printing tracebacks of transfers that fail, and remember the first reason."""
    reasons = _Reasons()
    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [reasons], False
    try:
        yield reasons
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


class _Reasons(logging.Handler):
    """Keep the first error that is logged: DVC counts transfers that failed, and says why in its log alone."""

    first = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it if it is the first."""
        cause = record.exc_info[1] if record.exc_info else None
        if not self.first and record.levelno >= logging.ERROR:
            self.first = f"{type(cause).__name__}: {cause}" if cause else record.getMessage()


@dataclass(frozen=True)
class _Store:
    """A folder, here or at the remote, whose files go to the same places in another."""

    fs: Any  # DVC's
    path: str


def _cache(repo: Any) -> _Store:
    return _Store(repo.cache.legacy.fs, repo.cache.legacy.path)


def _local(repo: Any, folder: Path) -> _Store:
    return _Store(repo.cache.legacy.fs, str(folder))


def _remote(repo: Any, folder: str = "") -> _Store:
    remote = repo.cloud.get_remote()
    return _Store(remote.fs, remote.fs.join(remote.path, folder) if folder else remote.path)


def _bring(source: _Store, target: _Store, pattern: re.Pattern[str]) -> int:
    return _copy(source, target, _new(source, target, pattern))


def _new(source: _Store, target: _Store, pattern: re.Pattern[str]) -> list[str]:
    """Return the files that one store has and the other hasn't."""
    return sorted(_files(source, pattern) - _files(target, pattern))


def _files(store: _Store, pattern: re.Pattern[str]) -> set[str]:
    runs = store.fs.join(store.path, "runs")
    if store.fs.protocol in ("http", "https") or not store.fs.exists(runs):  # which can't be listed
        return set()
    names = (store.fs.as_posix(store.fs.relpath(path, store.path)) for path in store.fs.find(runs))
    return {name for name in names if pattern.fullmatch(name)}


def _copy(source: _Store, target: _Store, names: list[str]) -> int:
    """Copy files to the same places in another store; a file comes whole or not at all."""
    from dvc.fs import generic

    if names:
        places = [[store.fs.join(store.path, *name.split("/")) for name in names] for store in (source, target)]
        generic.copy(source.fs, places[0], target.fs, places[1])
    return len(names)
