"""One Prefect server a workspace, in the background: started when first needed, reused ever after, also the UI."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from graftwork.errors import StateError
from graftwork.files import make_folder, write_json, write_text
from graftwork.processes import Process, process_numbered, process_of
from graftwork_flows.run_lock import run_lock

USUAL_PORT = 4200
# Leases in memory go with the server, and the slots that they hold are never free again.
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
ANSWER_SECONDS = 10  # where nobody listens it is told at once; a busy server needs more than two
START_SECONDS = 180  # 7 to 10 on an idle machine; a busy one has needed 112
KEPT_LOGS = 3  # of servers that ended

TOML = """\
# Written by Graftwork for `prefect` commands in this folder; not for git, as it holds this machine's paths.
home = {home}

[api]
url = {url}

[server]
analytics_enabled = false

[server.api]
port = {port}

[server.database]
timeout = 60

[server.concurrency]
lease_storage = "{leases}"

[server.ui]
show_promotional_content = false

[client]
server_version_check_enabled = false

[results]
default_serializer = "json"

[flows]
heartbeat_frequency = 30
"""


@dataclass(frozen=True)
class Server:
    """A server of ours: where it answers, and its process."""

    port: int
    process: Process

    @property
    def pid(self) -> int:
        """The number of its process, which is that of its group too."""
        return self.process.pid

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def ui(self) -> str:
        """The address of the UI."""
        return f"http://127.0.0.1:{self.port}"


def running_server(root: Path) -> Server | None:
    """Return the workspace's server, if it is up."""
    server = _living(root)
    return server if server and healthy(server.url) else None


def is_own(root: Path) -> bool:
    """Tell whether Prefect's calls go to the workspace's own server, not to one that others may share."""
    own = running_server(root)
    return own is not None and own.url == os.environ.get("PREFECT_API_URL")


def launch(root: Path) -> Server:
    """Start a server without waiting for it, or return the one that lives: two must not share one database."""
    with run_lock(root / ".prefect", "starting the Prefect server", wait_seconds=30):
        server = _living(root)
        if server is None:
            server = _spawn(root, _free_port(_last_port(root)))
            write_json(_state_file(root), {"port": server.port, "process": str(server.process)})
        write_text(root / "prefect.toml", _toml(root, server))
    return server


def wait_until_ready(root: Path, server: Server) -> None:
    """Wait until the server answers; raise StateError when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not healthy(server.url):
        if server.process.dead or time.monotonic() > deadline:
            what = "ended" if server.process.dead else f"doesn't answer, process {server.pid}"
            raise StateError(
                f"The Prefect server {what}", where=str(_log_file(root)),
                fix=f"tail {_log_file(root)}; graftwork server stop; graftwork run --without-prefect needs none",
            )  # fmt: skip
        time.sleep(0.25)


def stop_server(root: Path) -> bool:
    """End the workspace's server; return whether there was one."""
    server = _living(root)
    if server is None:
        return False
    os.killpg(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + 15
    while not server.process.dead and time.monotonic() < deadline:
        time.sleep(0.1)
    if not server.process.dead:
        os.killpg(server.pid, signal.SIGKILL)
    _state_file(root).unlink(missing_ok=True)
    return True


def prefect_environment(root: Path, url: str | None) -> dict[str, str]:
    """Return the variables that keep Prefect quiet, offline and inside the workspace."""
    settings = {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(root / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }
    return settings | ({"PREFECT_API_URL": url} if url else {})


def healthy(url: str) -> bool:
    """Tell whether a Prefect API answers at `url`."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never ask a proxy for the loopback
    try:
        with opener.open(f"{url}/health", timeout=ANSWER_SECONDS) as answer:
            return bool(answer.read(16).strip() == b"true")
    except (OSError, urllib.error.URLError, ValueError):
        return False


def silent_process(root: Path) -> int | None:
    """Return the process that was started as the workspace's server and lives, but doesn't answer."""
    server = _living(root)
    return server.pid if server and not healthy(server.url) else None


def require_reachable() -> None:
    """Raise OSError where nobody listens at PREFECT_API_URL: Prefect itself would try again for a minute.

    Behind a proxy that can't be told.
    """
    url = urllib.parse.urlsplit(os.environ.get("PREFECT_API_URL", ""))
    if url.hostname and not (urllib.request.getproxies() and not url.hostname.startswith("127.")):
        with socket.create_connection((url.hostname, url.port or (443 if url.scheme == "https" else 80)), timeout=2):
            pass


def _spawn(root: Path, port: int) -> Server:
    make_folder(root / ".prefect")
    own = {
        "PREFECT_SERVER_API_PORT": str(port),
        # Who can start runs can run code: no page of another site may ask for it through the user's browser.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
    }
    environment = {**os.environ, **prefect_environment(root, None), **own}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    _rotate(_log_file(root))
    with _log_file(root).open("w") as log:
        process = subprocess.Popen(
            command, cwd=root / ".prefect", env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    return Server(port, process_numbered(process.pid))


def _living(root: Path) -> Server | None:
    """Return the server that was started last, if its process lives, whether it answers or not."""
    server = _stored(root)
    return server if server and not server.process.dead else None


def _stored(root: Path) -> Server | None:
    """Return the server that was started last, alive or not."""
    try:
        stored = json.loads(_state_file(root).read_text(encoding="utf-8"))
        process = process_of(stored["process"])
        return Server(int(stored["port"]), process) if process else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _last_port(root: Path) -> int:
    """Return the port of a server that died: runs and workers still ask for it there."""
    server = _stored(root)
    return server.port if server else USUAL_PORT


def _free_port(wanted_most: int) -> int:
    """Return the wanted port; where that is taken, Prefect's usual one, or any free one."""
    for wanted in (wanted_most, USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StateError("No port is free on 127.0.0.1", fix="graftwork run --without-prefect")


def _toml(root: Path, server: Server) -> str:
    home = json.dumps(str(root / ".prefect"))
    return TOML.format(home=home, url=json.dumps(server.url), port=server.port, leases=LEASES)


def _state_file(root: Path) -> Path:
    return root / ".prefect" / "graftwork-server.json"


def _rotate(log: Path) -> None:
    """Keep the logs of the servers before, the newest as .1."""
    for number in range(KEPT_LOGS, 0, -1):
        older = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))


def _log_file(root: Path) -> Path:
    return root / ".prefect" / "server.log"
