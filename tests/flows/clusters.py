"""Dask clusters of real processes: a scheduler, and workers each in a clone of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.flows.conftest import call, environment


@contextmanager
def background(command: list[str], folder: Path, log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command while the block lasts, its output in a file."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**environment(), **variables}, stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def clone(workspace: Path, to: Path) -> Path:
    """Clone a workspace's repository: settings and stage graph, none of the data."""
    call(workspace, "git", "clone", "--quiet", str(workspace), str(to))
    shutil.rmtree(to / ".graftwork", ignore_errors=True)
    return to


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")


@contextmanager
def cluster(
    workspace: Path, folder: Path, url: str, workers: int = 2, **variables: str
) -> Iterator[tuple[str, Mapping[Path, subprocess.Popen[bytes]]]]:
    """Yield a scheduler's address, and the workers by their clones; `url` is the Prefect server's."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        scheduler = ["dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        stack.enter_context(background(scheduler, folder, folder / "scheduler.log"))
        wait_for_port(port)
        found = {}
        for number in range(1, workers + 1):
            home = clone(workspace, folder / f"clone-{number}")
            command = [
                "dask",
                "worker",
                address,
                "--nthreads",
                "1",
                "--no-dashboard",
                "--no-nanny",
                "--name",
                str(number),
            ]
            own = {"GRAFTWORK_WORKSPACE": str(home), "PREFECT_API_URL": url, "PREFECT_HOME": str(home / ".prefect")}
            log = folder / f"worker-{number}.log"
            found[home] = stack.enter_context(background(command, home, log, **{**own, **variables}))
        yield address, found
