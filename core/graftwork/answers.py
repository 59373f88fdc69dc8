"""Take a server's answer into a partial file: what was missing, or all of it anew; refuse what isn't the file."""

from __future__ import annotations

import re
import shutil
import time

import httpx

from graftwork.connections import opened
from graftwork.errors import DataError, StateError
from graftwork.partial_files import Partial
from graftwork.remote import Errand, Remote

TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
LEAST_BYTES = 1024  # in `stall_seconds`
TELL_SECONDS = 0.5


class TryAgainError(Exception):
    """What went wrong may pass."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def receive(errand: Errand, partial: Partial) -> int:
    """Ask for what is missing and append it; return how many bytes were there before.

    What is there is resumed only if the server can tell that it is the same file, by an ETag or a date, or if a
    checksum will tell. Raises TryAgainError and httpx.TransportError for what may pass.
    """
    sign, start = partial.sign, partial.size
    if sign is None and not errand.remote.checksums.known:
        start = 0
    asked = {"Range": f"bytes={start}-", **({"If-Range": sign} if sign else {})} if start else {}
    with opened(errand, asked) as response:
        if start and response.status_code == 416:
            return _at_the_end(partial, response, start)
        _refuse_errors(response, errand.remote)
        _refuse_page(response, errand.remote, start)
        if response.status_code == 206:
            whole = _rest(partial, response, start, sign)
        else:
            start, whole = 0, _length(response)
            partial.begin(_sign_of(response))
        _check_room(errand, partial, whole, start)
        _append(errand, partial, response, whole)
    if whole is not None and partial.size != whole:
        raise _short_or_long(partial, whole)
    return start


def _at_the_end(partial: Partial, response: httpx.Response, start: int) -> int:
    """Take "nothing after that" for the end of the file, if that is where it ends."""
    if response.headers.get("content-range", "").strip() == f"bytes */{start}":
        return start
    partial.drop()
    raise TryAgainError("the server's file is shorter than what had come of it; starting over")


def _refuse_errors(response: httpx.Response, remote: Remote) -> None:
    status = response.status_code
    said = f"{status} {response.reason_phrase}".strip()
    if status in TRY_AGAIN or status >= 500:
        wait = response.headers.get("retry-after", "")
        raise TryAgainError(f"the server answers {said}", float(wait) if re.fullmatch(r"\d{1,6}", wait) else 0.0)
    if status not in (200, 206):
        raise DataError(
            f"The server answers {said}", where=remote.shown, expected="200 OK",
            fix="it may need a login or a token" if status in (401, 403) else "correct the URL: open it in a browser",
        )  # fmt: skip


def _refuse_page(response: httpx.Response, remote: Remote, start: int) -> None:
    """Raise for an HTML page where none was asked for; and where a checksum will tell, only if there is
    a part to lose."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    page = kind in ("text/html", "application/xhtml+xml") and not remote.asks_for_a_page
    if page and (start or not remote.checksums.known):
        raise DataError(
            "An HTML page came in place of the file", where=remote.shown, expected="the file itself",
            fix="open the URL in a browser: it may want a login, or have moved",
        )  # fmt: skip


def _rest(partial: Partial, response: httpx.Response, start: int, sign: str | None) -> int | None:
    """Check that the rest is the rest of this very file; return the whole's size where the server tells it."""
    given = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", "").strip())
    other = sign is not None and _sign_of(response) not in (None, sign)
    if not start or given is None or int(given[1]) != start or other:
        partial.drop()
        raise TryAgainError("the server sent another part than was asked for; starting over")
    return None if given[2] == "*" else int(given[2])


def _length(response: httpx.Response) -> int | None:
    given = response.headers.get("content-length", "")
    return int(given) if re.fullmatch(r"\d{1,18}", given) else None


def _sign_of(response: httpx.Response) -> str | None:
    """Return a strong ETag, else the date; a weak ETag doesn't vouch for single bytes."""
    tag: str = response.headers.get("etag", "")
    if re.fullmatch(r'"[^"]*"', tag):
        return tag
    date: str | None = response.headers.get("last-modified")
    return date


def _check_room(errand: Errand, partial: Partial, whole: int | None, start: int) -> None:
    if whole is None:
        return
    _check_cap(errand, partial, whole)
    free = shutil.disk_usage(partial.path.parent).free
    if whole - start > free:
        raise StateError(
            f"The disk has no room: {whole - start:,} bytes are to come, {free:,} are free",
            where=str(partial.path.parent), fix="free some, and run again",
        )  # fmt: skip


def _check_cap(errand: Errand, partial: Partial, size: int) -> None:
    if size > errand.most_bytes:
        partial.drop()
        raise DataError(
            f"The file has {size:,} bytes or more", where=errand.remote.shown,
            expected=f"{errand.most_bytes:,} at most", fix="look whether it is the file that you want",
        )  # fmt: skip


def _append(errand: Errand, partial: Partial, response: httpx.Response, whole: int | None) -> None:
    """Write what comes, as it comes: counted, told, and stopped when asked to, when stalled, when too large."""
    name, progress = errand.remote.shown.rpartition("/")[2], errand.desk.progress
    pace, told = _Pace(errand.patience.stall_seconds), 0.0
    with partial.path.open("ab") as file:
        size = file.tell()
        for chunk in response.iter_raw():
            progress.check()
            size += len(chunk)
            _check_cap(errand, partial, size)
            file.write(chunk)
            pace.count(len(chunk))
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                progress.advance(size / whole if whole else 0.0, _told(name, size, whole))
    progress.advance(1.0, _told(name, size, whole))


class _Pace:
    """Notice a server that sends a byte now and then, which no time-out of a read does."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.since, self.bytes = seconds, time.monotonic(), 0

    def count(self, came: int) -> None:
        """Count bytes; raise TryAgainError when hardly any came for long."""
        self.bytes += came
        now = time.monotonic()
        if now - self.since < self.seconds:
            return
        if self.bytes < LEAST_BYTES:
            raise TryAgainError(f"only {self.bytes} bytes came in {now - self.since:.0f} s")
        self.since, self.bytes = now, 0


def _told(name: str, size: int, whole: int | None) -> str:
    return f"{name}: {size / 1e6:,.1f}{f' of {whole / 1e6:,.1f}' if whole else ''} MB"


def _short_or_long(partial: Partial, whole: int) -> TryAgainError:
    size = partial.size
    if size > whole:
        partial.drop()
    return TryAgainError(f"{size:,} of {whole:,} bytes came")
