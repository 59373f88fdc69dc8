"""A web server on this machine, with the faults of real ones."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """One file, and how it is served. Lists are used up, an entry a request."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)  # answered before the file itself is
    cut_after: list[int] = field(default_factory=list)  # bytes, then the connection drops
    ranges: bool = True
    length: bool = True  # whether Content-Length is told
    location: str | None = None  # where it redirects to
    wait_seconds: float = 0.0  # between the pieces of its body
    piece_bytes: int = 1 << 16


@dataclass
class Server:
    """Files by path, and the requests that came."""

    address: str
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str) -> str:
        """Return a file's URL."""
        return self.address + path

    def asked(self, header: str) -> list[str | None]:
        """Return what each request said in a header."""
        return [headers.get(header.lower()) for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        site: Server = self.server.site
        site.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        file = site.files.get(self.path) or site.files.get(self.path.partition("?")[0])
        self.close_connection = True
        if file is None:
            self._answer(404, b"nothing here", {})
        elif file.statuses:
            self._answer(file.statuses.pop(0), b"not now", {"Retry-After": "0"})
        elif file.location is not None:
            self._answer(302, b"", {"Location": file.location})
        else:
            self._send(file)

    def _send(self, file: Served) -> None:
        start = self._start(file)
        if start and start >= len(file.body):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(file.body)}"})
            return
        headers = {"Content-Type": "application/octet-stream", **file.headers}
        rest = file.body[start:]
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(file.body) - 1}/{len(file.body)}"
        self._answer(206 if start else 200, rest, headers, file)

    def _start(self, file: Served) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        known = condition in (None, file.headers.get("ETag"), file.headers.get("Last-Modified"))
        return int(found[1]) if found and file.ranges and known else 0

    def _answer(self, status: int, body: bytes, headers: dict[str, str], file: Served | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if file is None or file.length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if file is None:
            self.wfile.write(body)
            return
        until = file.cut_after.pop(0) if file.cut_after else len(body)
        for first in range(0, until, file.piece_bytes):
            self.wfile.write(body[first : min(until, first + file.piece_bytes)])
            self.wfile.flush()
            time.sleep(file.wait_seconds)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what some tests are about."""


@contextmanager
def serving(wrap: Any = None) -> Iterator[Server]:
    """Yield a running server; `wrap` makes its socket a TLS one."""
    with QuietServer(("127.0.0.1", 0), Handler) as running:
        scheme = "http"
        if wrap is not None:
            running.socket, scheme = wrap(running.socket), "https"
        site = Server(f"{scheme}://127.0.0.1:{running.server_address[1]}")
        running.site = site  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield site
        running.shutdown()
        thread.join()
