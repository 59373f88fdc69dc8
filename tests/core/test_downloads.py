"""A download is the file that was published, whole, or an error that says why; what had come is not lost."""

from __future__ import annotations

import hashlib
import logging
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import pytest

from graftwork.addresses import is_public, parsed, shown
from graftwork.desk import Desk
from graftwork.downloads import Patience, Remote, download, find_in_mirror
from graftwork.errors import DataError, Interrupted, StateError
from graftwork.progress import Quiet
from tests.core.server import Served, Server, serving

BODY = bytes(range(256)) * 2000  # 512,000 bytes
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
HASTY = Patience(tries=3, wait_seconds=0.0, most_wait_seconds=0.01, connect_seconds=1, read_seconds=0.3)
ETAG = {"ETag": '"one"'}


@dataclass
class Heard(Quiet):
    """Remember what was told; stop when told to."""

    logged: list[str] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)
    checks_left: float = float("inf")

    def log(self, message: str) -> None:
        self.logged.append(message)

    def advance(self, fraction: float, message: str) -> None:
        self.fractions.append(fraction)

    def check(self) -> None:
        self.checks_left -= 1
        if self.checks_left < 0:
            raise Interrupted("stop")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(None, tmp_path / "partial", Heard())


@pytest.fixture
def get(desk: Desk, site: Server, tmp_path: Path) -> Callable[..., str]:
    def get(path: str = "/data.bin", **more: object) -> str:
        options = {name: more.pop(name) for name in ("allow_private", "most_bytes", "patience") if name in more}
        remote = Remote(path if "://" in path else site.url(path), **more)  # type: ignore[arg-type]
        return download(remote, tmp_path / "file", desk, **{"allow_private": True, "patience": HASTY, **options})  # type: ignore[arg-type]

    return get


def left(desk: Desk) -> list[str]:
    """The files of a partial download, locks aside."""
    return sorted(file.suffix for file in desk.partial.iterdir() if file.suffix != ".lock")


def test_a_file_comes_whole_and_leaves_nothing_else(
    get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(BODY)
    assert get(sha256=SHA256, md5=MD5) == SHA256
    assert (tmp_path / "file").read_bytes() == BODY
    assert left(desk) == [] and site.asked("Range") == [None]
    assert isinstance(desk.progress, Heard) and desk.progress.fractions[-1] == 1.0
    assert not (tmp_path / "file").stat().st_mode & 0o111


def test_a_checksum_in_capitals_is_the_same(get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY)
    assert get(sha256=SHA256.upper()) == SHA256


@pytest.mark.parametrize("digest", ["", "abc", SHA256[:-1], "x" * 64])
def test_what_cannot_be_a_checksum_is_refused_before_anything_is_fetched(
    digest: str, get: Callable[..., str], site: Server
) -> None:
    with pytest.raises(DataError, match="can't be one"):
        get(sha256=digest)
    assert not site.requests


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_a_wrong_checksum_tells_both_and_keeps_the_old_file(
    wrong: dict[str, str], get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(BODY)
    (tmp_path / "file").write_text("old")
    with pytest.raises(DataError, match=f"({SHA256}|{MD5}), not 0000"):
        get(**wrong)
    assert (tmp_path / "file").read_text() == "old"
    assert left(desk) == [] and len(site.requests) == 1


def test_a_dropped_connection_is_resumed_where_it_broke(get: Callable[..., str], site: Server, tmp_path: Path) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG, cut_after=[100_000, 50_000])
    assert get() == SHA256  # without a checksum: the ETag vouches
    assert site.asked("Range") == [None, "bytes=100000-", "bytes=150000-"]
    assert site.asked("If-Range") == [None, '"one"', '"one"']


def test_a_checksum_vouches_where_the_server_gives_no_sign(get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY, cut_after=[100_000])
    assert get(sha256=SHA256) == SHA256
    assert site.asked("Range") == [None, "bytes=100000-"] and site.asked("If-Range") == [None, None]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}])
def test_without_a_strong_sign_or_checksum_a_download_starts_over(
    headers: dict[str, str], get: Callable[..., str], site: Server
) -> None:
    site.files["/data.bin"] = Served(BODY, headers=headers, cut_after=[100_000])
    assert get() == SHA256
    assert site.asked("Range") == [None, None]


def test_a_date_is_a_sign_too(get: Callable[..., str], site: Server) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    site.files["/data.bin"] = Served(BODY, headers={"Last-Modified": date, "ETag": 'W/"weak"'}, cut_after=[100_000])
    assert get() == SHA256
    assert site.asked("If-Range") == [None, date]


def test_a_server_that_knows_no_ranges_starts_over(get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG, cut_after=[100_000], ranges=False)
    assert get() == SHA256
    assert site.asked("Range") == [None, "bytes=100000-"]


def test_a_file_that_was_replaced_meanwhile_is_fetched_anew(
    get: Callable[..., str], site: Server, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(b"old" * 100_000, headers=ETAG, cut_after=[1000, 0, 0])
    with pytest.raises(DataError, match="failed 3 times"):
        get()
    site.files["/data.bin"] = Served(BODY, headers={"ETag": '"two"'})
    assert get() == SHA256
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_resumed_file_with_a_wrong_checksum_is_fetched_once_more_from_the_start(
    get: Callable[..., str], site: Server, desk: Desk
) -> None:
    site.files["/data.bin"] = Served(b"x" * len(BODY), cut_after=[1000, 0, 0])
    with pytest.raises(DataError):
        get(sha256=SHA256)
    site.files["/data.bin"] = Served(BODY)
    assert get(sha256=SHA256) == SHA256
    assert site.asked("Range")[-2:] == ["bytes=1000-", None]


def test_a_part_that_was_whole_already_is_taken(get: Callable[..., str], site: Server, desk: Desk) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG)
    desk.partial.mkdir()
    name = hashlib.sha256(site.url("/data.bin").encode()).hexdigest()[:32]
    (desk.partial / f"{name}.part").write_bytes(BODY)
    assert get(sha256=SHA256) == SHA256
    (desk.partial / f"{name}.part").write_bytes(BODY + b"more")
    assert get(sha256=SHA256) == SHA256
    assert site.asked("Range") == ["bytes=512000-", "bytes=512004-", None]


def test_a_short_body_never_counts_as_the_file(
    get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG, cut_after=[1000, 0, 0, 0])
    with pytest.raises(DataError, match="failed 3 times without getting further"):
        get()
    assert not (tmp_path / "file").exists()
    assert left(desk) == [".json", ".part"]  # for the next run
    assert len(site.requests) == 3


def test_a_server_that_stops_in_the_middle_is_noticed(get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG, wait_seconds=5)
    with pytest.raises(DataError, match="failed 1 times without"):
        get(patience=Patience(tries=1, read_seconds=0.1))


def test_a_server_that_trickles_is_noticed(get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY, wait_seconds=0.02, piece_bytes=1)
    with pytest.raises(DataError, match="bytes came in"):
        get(patience=Patience(tries=1, stall_seconds=0.2))


def test_a_slow_server_is_waited_for(get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY, wait_seconds=0.02)
    assert get() == SHA256


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(status: int, get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY, statuses=[status, status])
    assert get() == SHA256
    assert len(site.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_will_not_pass_is_not_asked_again(status: int, get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY, statuses=[status] * 9)
    with pytest.raises(DataError, match=f"answers {status}"):
        get()
    assert len(site.requests) == 1


def test_the_server_says_how_long_to_wait_and_we_say_how_long_at_most(get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY, statuses=[503])
    start = time.monotonic()
    get(patience=Patience(wait_seconds=0.3))
    assert time.monotonic() - start >= 0.3


def test_nobody_at_home_is_told_after_the_tries(get: Callable[..., str], desk: Desk) -> None:
    with pytest.raises(DataError, match="failed 3 times.*[Rr]efused"):
        get("http://127.0.0.1:9/data.bin")
    assert isinstance(desk.progress, Heard) and len(desk.progress.logged) == 2


def test_a_name_that_does_not_resolve_is_told(get: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr("graftwork.addresses.socket.getaddrinfo", fail)
    with pytest.raises(DataError, match="failed 3 times.*nowhere.example can't be resolved"):
        get("http://nowhere.example/data.bin")


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><p>log in", b"\n <HTML>", b"\xef\xbb\xbf<!-- x --><html>"])
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/zip"])
def test_a_page_in_place_of_the_file_is_refused(
    body: bytes, kind: str, get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(body, headers={"Content-Type": kind})
    for checksum in (None, SHA256):
        with pytest.raises(DataError, match="HTML page"):
            get(sha256=checksum)
    assert not (tmp_path / "file").exists() and left(desk) == [] and len(site.requests) == 2


def test_a_page_that_was_asked_for_comes(get: Callable[..., str], site: Server) -> None:
    page = b"<!doctype html>"
    site.files["/page.html"] = site.files["/data.bin"] = Served(page, headers={"Content-Type": "text/html"})
    get("/page.html")
    assert get(sha256=hashlib.sha256(page).hexdigest())


def test_a_page_does_not_cost_what_had_come(get: Callable[..., str], site: Server, desk: Desk) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG, cut_after=[1000, 0])
    with pytest.raises(DataError):
        get(sha256=SHA256, patience=Patience(tries=1, wait_seconds=0))
    site.files["/data.bin"] = Served(b"<html>log in", headers={"Content-Type": "text/html"}, ranges=False)
    with pytest.raises(DataError, match="HTML page"):
        get(sha256=SHA256)
    site.files["/data.bin"] = Served(BODY, headers=ETAG)
    assert get(sha256=SHA256) == SHA256
    assert site.asked("Range")[-1] == "bytes=1000-"


def test_too_many_bytes_are_refused_told_or_not(get: Callable[..., str], site: Server, desk: Desk) -> None:
    for length in (True, False):
        site.files["/data.bin"] = Served(BODY, length=length)
        with pytest.raises(DataError, match="1,000 at most"):
            get(most_bytes=1000)
        assert left(desk) == []


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(
    get: Callable[..., str], site: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(BODY)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(StateError, match="no room"):
        get()


def test_a_disk_that_fills_up_leaves_the_old_file(
    get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG)
    (tmp_path / "file").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StateError, match="disk is full"):
            get()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "file").read_text() == "old"
    assert get() == SHA256  # and what had come is used
    assert site.asked("Range")[-1] is not None


def test_a_download_stops_when_asked_to_and_goes_on_later(
    get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG)
    assert isinstance(desk.progress, Heard)
    desk.progress.checks_left = 2
    with pytest.raises(Interrupted):
        get()
    assert not (tmp_path / "file").exists()
    desk.progress.checks_left = float("inf")
    assert get() == SHA256
    assert site.asked("Range")[-1] is not None


def test_a_killed_download_goes_on_in_the_next_process(
    get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path
) -> None:
    site.files["/data.bin"] = Served(BODY, headers=ETAG, wait_seconds=0.05, piece_bytes=20_000)
    code = (
        "import sys; from pathlib import Path; from graftwork.downloads import *; from graftwork.desk import Desk\n"
        "from graftwork.progress import Quiet\n"
        "desk = Desk(None, Path(sys.argv[2]), Quiet())\n"
        "download(Remote(sys.argv[1]), Path(sys.argv[3]), desk, allow_private=True)\n"
    )
    arguments = [site.url("/data.bin"), str(desk.partial), str(tmp_path / "file")]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    part = desk.partial / f"{hashlib.sha256(arguments[0].encode()).hexdigest()[:32]}.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > 60_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    site.files["/data.bin"].wait_seconds = 0
    came = part.stat().st_size
    assert not (tmp_path / "file").exists()
    assert get() == SHA256
    assert site.asked("Range") == [None, f"bytes={came}-"]


def test_two_downloads_of_one_file_take_turns(site: Server, desk: Desk, tmp_path: Path) -> None:
    site.files["/data.bin"] = Served(BODY, wait_seconds=0.02)
    remote, found = Remote(site.url("/data.bin"), SHA256), []

    def fetch(name: str) -> None:
        found.append(download(remote, tmp_path / name, desk, allow_private=True))

    threads = [threading.Thread(target=fetch, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SHA256] * 2
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == BODY


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "gopher://x", "data.bin", "http://", "http://[::1"])
def test_nothing_but_http_is_fetched(url: str, desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        download(Remote(url), tmp_path / "file", desk, allow_private=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "10.0.0.1", "[::1]", "169.254.169.254"]
)
def test_private_addresses_are_refused(host: str, get: Callable[..., str], site: Server) -> None:
    port = site.address.rpartition(":")[2]
    with pytest.raises(DataError, match="isn't public"):
        get(f"http://{host}:{port}/data.bin", allow_private=False)
    assert not site.requests


PUBLIC = ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"]
PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "198.18.0.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "fe80::1%eth0", "fc00::1", "fec0::1", "2001:db8::1", "ff02::1", "4000::1",
]  # fmt: skip


def test_what_is_public_and_what_is_not() -> None:
    assert [address for address in PUBLIC if not is_public(address)] == []
    assert [address for address in PRIVATE if is_public(address)] == []


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let names resolve to these addresses, one answer after another."""
    left = list(answers)

    monkeypatch.setattr("graftwork.addresses.resolved", lambda host: left.pop(0) if len(left) > 1 else left[0])


def test_one_private_address_among_public_ones_is_enough(
    get: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(DataError, match=r"10\.0\.0\.1, which isn't public"):
        get("http://example.org/data.bin", allow_private=False)


def test_a_redirect_to_this_machine_is_refused(
    get: Callable[..., str], site: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/secret"] = Served(b"secret")
    port = site.address.rpartition(":")[2]
    site.files["/data.bin"] = Served(b"", location=f"http://inside.example:{port}/secret")
    # As if the first host were public: the server of this test can't be.
    monkeypatch.setattr("graftwork.addresses.is_public", lambda address: address != "127.0.0.2")
    resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    with pytest.raises(DataError, match=r"inside\.example has the address 127\.0\.0\.2"):
        get(f"http://outside.example:{port}/data.bin", allow_private=False)
    assert [path for path, _ in site.requests] == ["/data.bin"]


def test_a_name_is_resolved_once_and_that_address_used(
    get: Callable[..., str], site: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/data.bin"] = Served(BODY)
    port = site.address.rpartition(":")[2]
    resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.99"])  # rebinding
    assert get(f"http://data.example:{port}/data.bin") == SHA256
    assert site.asked("Host") == [f"data.example:{port}"]


def test_the_other_family_is_tried_where_one_is_not_reached(
    get: Callable[..., str], site: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/data.bin"] = Served(BODY)
    port = site.address.rpartition(":")[2]
    resolve_to(monkeypatch, ["::1", "127.0.0.1"])
    assert get(f"http://data.example:{port}/data.bin", patience=Patience(tries=1)) == SHA256


def test_redirects_are_followed_and_relative_ones_too(get: Callable[..., str], site: Server) -> None:
    site.files["/a"] = Served(b"", location="/b/c")
    site.files["/b/c"] = Served(b"", location="../data.bin")
    site.files["/data.bin"] = Served(BODY)
    assert get("/a") == SHA256


def test_a_circle_of_redirects_is_named(get: Callable[..., str], site: Server) -> None:
    site.files["/a"], site.files["/b"] = Served(b"", location="/b?t=secret"), Served(b"", location="/a")
    with pytest.raises(DataError, match=r"circle\n.*/a → .*/b\?… → .*/a") as raised:
        get("/a")
    assert "secret" not in str(raised.value) and len(site.requests) == 2


def test_more_than_five_redirects_are_too_many(get: Callable[..., str], site: Server) -> None:
    site.files |= {f"/{n}": Served(b"", location=f"/{n + 1}") for n in range(9)}
    with pytest.raises(DataError, match="more than 5 redirects"):
        get("/0")
    assert len(site.requests) == 6


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://x/y", "http://[::1", "http://h:99999/"])
def test_a_redirect_leads_to_http_or_nowhere(location: str, get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(b"", location=location)
    with pytest.raises(DataError):
        get()


def test_secrets_of_a_url_are_sent_but_never_told(
    get: Callable[..., str], site: Server, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = site.url("/data.bin?token=TOKEN").replace("//", "//user:PASSWORD@")
    for file in (Served(BODY, statuses=[503, 404]), Served(BODY, cut_after=[0] * 9), Served(b"<html>")):
        site.files["/data.bin"] = file
        with pytest.raises(DataError) as raised:
            get(url)
        told = str(raised.value) + caplog.text + "".join(desk.progress.logged)  # type: ignore[attr-defined]
        assert "TOKEN" not in told and "PASSWORD" not in told
    assert site.requests[0][0] == "/data.bin?token=TOKEN"
    assert site.asked("Authorization")[0] == "Basic dXNlcjpQQVNTV09SRA=="
    assert not [name for name in os.listdir(desk.partial) if "TOKEN" in name]


def test_named_secrets_of_a_path_and_a_host_are_sent_but_never_told(
    get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "S3cr3t/value")
    monkeypatch.setenv("HOST", "S3cr3t-host")
    url = "/${TOKEN}/data.bin"
    answers = {"busy": Served(b"", statuses=[503] * 3), "astray": Served(b"", location="ftp://other/S3cr3t%2Fvalue")}
    told = []
    for sent in (None, *answers.values()):
        site.files = {"/S3cr3t%2Fvalue/data.bin": sent} if sent else {}
        with pytest.raises(DataError) as raised:
            get(url, names_secrets=True)
        told.append(str(raised.value))
    for answer in (socket.gaierror("unknown"), [(0, 0, 0, "", ("10.0.0.1", 0))]):
        monkeypatch.setattr("graftwork.addresses.socket.getaddrinfo", Mock(side_effect=[answer] * 3))
        with pytest.raises(DataError) as raised:
            get("https://${HOST}.example/x", names_secrets=True, allow_private=False)
        told.append(str(raised.value))
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "1")
    with pytest.raises(DataError) as raised:
        get(url, names_secrets=True)
    told.append(str(raised.value))
    logged = desk.progress.logged  # type: ignore[attr-defined]
    assert "s3cr3t" not in "".join(told + logged).casefold()
    assert {path for path, _ in site.requests} == {"/S3cr3t%2Fvalue/data.bin"}
    assert all("${TOKEN}" in text for text in (*told[:3], told[-1]))


def test_only_where_a_url_names_secrets_is_the_environment_looked_into(get: Callable[..., str], site: Server) -> None:
    with pytest.raises(DataError, match="404"):
        get("/${HOME}/data.bin")
    assert os.environ["HOME"] not in site.requests[0][0]


def test_a_file_of_the_mirror_needs_no_secret(get: Callable[..., str], desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(BODY)
    remote = Remote("https://${NOT_SET}@example.org/${NOT_SET}/data.bin", SHA256, names_secrets=True)
    assert download(remote, tmp_path / "file", Desk(tmp_path, desk.partial, desk.progress)) == SHA256


def test_how_a_url_is_shown() -> None:
    assert shown("https://user:pass@host:8443/a/b.zip?token=x#y") == "https://host:8443/a/b.zip?…"
    assert shown("http://[::1]/x") == "http://[::1]/x"
    assert shown("http://h/\x1b[31m") == "http://h/�[31m"
    assert len(shown("http://h/" + "x" * 9999)) < 250
    assert parsed("https://bücher.example/x").raw_host == b"xn--bcher-kva.example"


def test_a_bearer_token_does_not_travel_in_clear(get: Callable[..., str], site: Server) -> None:
    site.files["/data.bin"] = Served(BODY)
    get(token="TOKEN")
    assert site.asked("Authorization") == [None]
    assert "TOKEN" not in repr(Remote("https://x", token="TOKEN"))


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """A function that makes a socket a TLS one for localhost, with a certificate that is trusted in this test."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path / "tls.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(pem))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return lambda socket: context.wrap_socket(socket, server_side=True)


def test_a_certificate_is_checked_by_name_though_an_address_is_called(
    tls: Callable[..., object], get: Callable[..., str], site: Server
) -> None:
    with serving(tls) as safe:
        safe.files["/data.bin"] = Served(BODY)
        safe.files["/down"] = Served(b"", location=site.url("/data.bin"))
        safe.files["/off"] = Served(b"", location=safe.url("/data.bin"))
        named = safe.address.replace("127.0.0.1", "localhost")
        assert get(f"{named}/data.bin", token="TOKEN") == SHA256
        with pytest.raises(DataError, match="from https to http"):
            get(f"{named}/down")
        with pytest.raises(DataError, match="IP address mismatch|certificate"):
            get(f"{named}/off", patience=Patience(tries=1), token="TOKEN")
        assert safe.asked("Authorization") == ["Bearer TOKEN", None, "Bearer TOKEN"]
    assert not site.requests


def test_the_mirror_comes_before_the_network(get: Callable[..., str], site: Server, desk: Desk, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    with_mirror = Desk(mirror, desk.partial, desk.progress)
    (mirror / "sets").mkdir(parents=True)
    remote = Remote("https://example.org/a/data.bin?x=1", SHA256, names=("sets/d.bin",))
    assert remote.mirror_names == ("sets/d.bin", "example.org/a/data.bin", "data.bin")
    (mirror / "sets" / "d.bin").write_bytes(b"another file of that name")
    (mirror / "data.bin").write_bytes(BODY)
    assert download(remote, tmp_path / "file", with_mirror) == SHA256
    assert (tmp_path / "file").read_bytes() == BODY and (mirror / "data.bin").exists()
    assert "another file" in desk.progress.logged[0]  # type: ignore[attr-defined]


def test_names_never_lead_out_of_the_mirror(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "in").write_text("x")
    with_mirror = Desk(tmp_path / "mirror", desk.partial, desk.progress)
    names = ["", "../outside", str(tmp_path / "outside"), "a/../../outside", "x\0", "y" * 5000]
    assert find_in_mirror(with_mirror, names) is None
    assert find_in_mirror(with_mirror, [*names, "in"]) == tmp_path / "mirror" / "in"
    assert find_in_mirror(desk, ["in"]) is None


def test_offline_the_file_and_the_folder_wanted_are_named(
    desk: Desk, site: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "1")
    remote = Remote(site.url("/sub/data.bin"), SHA256)
    with pytest.raises(DataError, match=r"sub/data\.bin or data\.bin in a folder that GRAFTWORK_MIRROR"):
        download(remote, tmp_path / "file", desk, allow_private=True)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "data.bin").write_bytes(b"damaged")
    with_mirror = Desk(tmp_path / "mirror", desk.partial, desk.progress)
    with pytest.raises(DataError, match=f"another file: sha256 .*, not {SHA256}") as raised:
        download(remote, tmp_path / "file", with_mirror, allow_private=True)
    assert str(tmp_path / "mirror") in str(raised.value) and not site.requests


def test_a_proxy_resolves_names_but_private_addresses_stay_refused(
    get: Callable[..., str], site: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", site.address)
    site.files["http://data.example/data.bin"] = Served(BODY)
    assert get("http://data.example/data.bin", allow_private=False) == SHA256
    with pytest.raises(DataError, match="isn't public"):
        get("http://10.0.0.1/data.bin", allow_private=False)
    assert len(site.requests) == 1
