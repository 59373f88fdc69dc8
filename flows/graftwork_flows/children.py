"""Run commands of ours in processes of their own, as one: their lines are heard, and they end together.

They never outlive this process: each is in a session of its own, asks the system to be killed with its parent, and
holds none of its pipes but those that are read here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from graftwork.errors import DataError, GraftworkError, SettingsError, StateError, TrainingError
from graftwork.progress import Progress

PARENT = "GRAFTWORK_PARENT"  # the process that a command of ours must not outlive
POLL_SECONDS, GRACE_SECONDS = 0.1, 5.0
SETTLING_SECONDS = 2.0  # in which the others end by themselves, and say why, after one has failed
PERCENT = re.compile(r"(\d+) %, (.*)")
KINDS = {kind.exit_code: kind for kind in (SettingsError, DataError, StateError, TrainingError)}
PR_SET_PDEATHSIG = 1


@dataclass
class _Child:
    name: str
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)  # on standard error
    ears: list[threading.Thread] = field(default_factory=list)
    code: int | None = None


def run_together(
    commands: Mapping[str, Sequence[str]], environments: Mapping[str, Mapping[str, str]], folder: Path,
    progress: Progress, consequence: str = "",
) -> None:  # fmt: skip
    """Run `graftwork` commands by name, all at once, until all have ended well; what the first prints is progress.

    Where one fails the others are ended, and its error is raised, as the kind that its exit code tells; one that begins
    with `consequence` only where none says more. Raises Interrupted when `progress` does.
    """
    lines: queue.Queue[str] = queue.Queue()
    children = [
        _start(name, command, environments.get(name, {}), folder, lines, heard=place == 0)
        for place, (name, command) in enumerate(commands.items())
    ]
    try:
        _wait(children, lines, progress)
    finally:
        _end(children)
    failed = [child for child in children if child.code]
    if failed:
        errors = [_error(child) for child in failed]
        raise next((e for e in errors if not consequence or not e.what.startswith(consequence)), errors[0])


def die_with_parent() -> None:
    """Let the system kill this process when the one that started it is gone, if that one asked for it."""
    parent = os.environ.pop(PARENT, "")
    if not parent:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it went before that was asked
        sys.exit(1)


def _start(
    name: str, command: Sequence[str], own: Mapping[str, str], folder: Path, lines: queue.Queue[str], *, heard: bool
) -> _Child:  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", PARENT: str(os.getpid()), **own}
    process = subprocess.Popen(
        [sys.executable, "-m", "graftwork_flows", *command], cwd=folder, env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if heard else subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, errors="replace",
    )  # fmt: skip
    child = _Child(name, process)

    takers = ((process.stdout, lines.put), (process.stderr, child.said.append))
    child.ears = [threading.Thread(target=_listen, args=taker, daemon=True) for taker in takers]
    for ear in child.ears:
        ear.start()
    return child


def _listen(stream: IO[str] | None, take: Callable[[str], None]) -> None:
    if stream is not None:
        with stream:
            for line in stream:
                take(line)


def _wait(children: list[_Child], lines: queue.Queue[str], progress: Progress) -> None:
    """Hand on what is said until all have ended, or one has failed and the others had time to say more."""
    until = float("inf")
    while time.monotonic() < until:
        with contextlib.suppress(queue.Empty):
            _tell(lines.get(timeout=POLL_SECONDS), progress)
            continue
        progress.check()
        for child in children:
            child.code = child.process.poll()
        if all(child.code is not None for child in children):
            return
        if until == float("inf") and any(child.code for child in children):
            until = time.monotonic() + SETTLING_SECONDS


def _tell(line: str, progress: Progress) -> None:
    """Hand on a line of LineProgress: the stage's name, then a message, or a percentage and one."""
    message = line.partition(" ")[2].strip()
    found = PERCENT.fullmatch(message)
    if found:
        progress.advance(int(found[1]) / 100, found[2])
    elif message:
        progress.log(message)


def _end(children: list[_Child]) -> None:
    """Ask those that are still there to end, and kill those, with all they started, that don't."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            if child.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.process.pid, number)
        until = time.monotonic() + GRACE_SECONDS
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, until - time.monotonic()))
    for child in children:
        for ear in child.ears:
            ear.join(GRACE_SECONDS)


def _error(child: _Child) -> GraftworkError:
    """Return the error that a command printed as one block, or how it ended without one."""
    text = "".join(child.said)
    code = child.code or 0
    if code < 0:
        return TrainingError(
            f"The process ended by {signal.Signals(-code).name}", where=child.name,
            expected="that it goes on to its end",
            fix="if memory ran out, lower batch_size or the number of processes; the next run goes on where it was",
        )  # fmt: skip
    start = text.rfind("error: ")
    if start < 0 or code not in KINDS:
        last = (text.strip().splitlines() or ["it said nothing"])[-1]
        return TrainingError(f"The process failed with exit code {code}: {last}", where=child.name)
    what, *rest = text[start + len("error: ") :].splitlines()
    told = dict(re.findall(r"^  (where|expected|fix): (.*)$", "\n".join(rest), re.MULTILINE))
    return KINDS[code](what, **{**told, "where": told.get("where", child.name)})
