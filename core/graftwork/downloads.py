"""Get one file over HTTP: verified, resumed after a break or a kill, tried again, placed whole."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import httpx

from graftwork.addresses import UnresolvedError
from graftwork.answers import TryAgainError, receive
from graftwork.desk import Desk
from graftwork.digests import digests_of, looks_like_a_page
from graftwork.errors import DataError
from graftwork.files import atomic_file
from graftwork.mirror import all_in_mirror, find_in_mirror, require_online
from graftwork.partial_files import Partial, partial_file, writing
from graftwork.progress import Progress
from graftwork.remote import Errand, Patience, Remote

__all__ = ["Patience", "Remote", "download", "find_in_mirror"]

MOST_BYTES = 200 * 10**9  # ImageNet-1k's archive has 148 GB


def download(
    remote: Remote,
    target: Path,
    desk: Desk,
    *,
    allow_private: bool = False,
    most_bytes: int = MOST_BYTES,
    patience: Patience = Patience(),  # noqa: B008  # frozen
) -> str:
    """Place the file at `target`, from the mirror or from the network, and return its sha256.

    Raises DataError for what can't be had or isn't what was published, StateError for a full disk, Interrupted when
    asked to stop; then an old file at `target` stays as it was, and the next call goes on where this one ended.
    `allow_private` lets the URL, and its redirects, lead to addresses that aren't public.
    """
    remote.checksums.check_form(remote.shown)
    digest, refused = _from_mirror(remote, target, desk)
    if digest is not None:
        return digest
    require_online(desk, remote.mirror_names, remote.shown, refused)
    with partial_file(remote.url, desk) as partial:
        digest = _tried(Errand(remote, desk, patience, allow_private, most_bytes), partial)
        with atomic_file(target) as temporary:
            _second_name(partial.path, temporary)
        partial.drop()  # only now: a kill before leaves what came
    return digest


def _second_name(path: Path, other: Path) -> None:
    """Let a file be at another place, too: by a link, or, where there is none to be had, as a copy."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def _from_mirror(remote: Remote, target: Path, desk: Desk) -> tuple[str | None, list[str]]:
    """Copy the file from the mirror; return its sha256, or None, and what was refused.

    A file of the right name with another checksum is another file: two data sets may both be named train.zip.
    """
    refused: list[str] = []
    for path in all_in_mirror(desk, remote.mirror_names):
        digest, wrong = digests_of(path, remote.checksums, desk.progress)
        if wrong is None:
            with writing(target.parent), atomic_file(target) as temporary:
                shutil.copyfile(path, temporary)
            desk.progress.log(f"{path.name}: from the mirror")
            return digest, refused
        refused.append(f"{path} is another file: {wrong}")
        desk.progress.log(refused[-1])
    return None, refused


def _tried(errand: Errand, partial: Partial) -> str:
    """Try until the file is there, or until so many tries in a row brought nothing new; return its sha256."""
    failures, most = 0, 0
    while True:
        try:
            started_at = receive(errand, partial)
            return _verified(errand, partial, started_at)
        except (TryAgainError, UnresolvedError, httpx.TransportError) as error:
            failures = 1 if partial.size > most else failures + 1
            most = max(most, partial.size)
            reason = str(error) or type(error).__name__
            if failures >= errand.patience.tries:
                raise _gave_up(errand.remote, failures, reason) from None
            seconds = _wait_seconds(error, failures, errand.patience)
        errand.desk.progress.log(f"{errand.remote.shown}: {reason}; trying again in {seconds:.0f} s")
        _wait(seconds, errand.desk.progress)


def _verified(errand: Errand, partial: Partial, started_at: int) -> str:
    """Return the sha256; drop what came and raise DataError when it isn't the file that was published."""
    checksums = errand.remote.checksums
    digest, wrong = digests_of(partial.path, checksums, errand.desk.progress)
    page = looks_like_a_page(partial.path) and not errand.remote.asks_for_a_page
    if wrong is None and (checksums.known or not page):
        return digest
    partial.drop()
    if wrong is not None and started_at > 0:  # its first part may be of an older file
        raise TryAgainError(f"what was resumed has {wrong}; starting over")
    raise _not_the_file(errand.remote, wrong, page)


def _wait_seconds(error: Exception, failures: int, patience: Patience) -> float:
    asked = error.wait_seconds if isinstance(error, TryAgainError) else 0.0
    return min(max(patience.wait_seconds * 2.0 ** (failures - 1), asked), patience.most_wait_seconds)


def _wait(seconds: float, progress: Progress) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        progress.check()
        time.sleep(min(left, 0.2))


def _not_the_file(remote: Remote, wrong: str | None, page: bool) -> DataError:
    what = "An HTML page came in place of the file" if page else "The file isn't the one that was published"
    return DataError(
        f"{what}: {wrong}" if wrong else what, where=remote.shown,
        fix="open the URL in a browser: it may want a login, or have moved" if page
        else "compare the checksum with its publisher's; if the file was replaced on purpose, put the new one there",
    )  # fmt: skip


def _gave_up(remote: Remote, tries: int, reason: str) -> DataError:
    return DataError(
        f"The download failed {tries} times without getting further: {reason}", where=remote.shown,
        fix="look at the network and run again: it goes on where it stopped; or put the file into the mirror",
    )  # fmt: skip
