"""Turn SIGINT and SIGTERM into a wish that training notices between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from graftwork.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the run shall end, and by which signal."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.signal: signal.Signals = signal.SIGINT

    @property
    def wanted(self) -> bool:
        """Tell whether the run shall end."""
        return self._event.is_set()

    def error(self) -> Interrupted:
        """Return what a stopped run ends in; its exit code is the shell's: 128 and the signal's number."""
        return stopped_by(self.signal)

    def check(self) -> None:
        """Raise Interrupted when the run shall end."""
        if self.wanted:
            raise self.error()

    def want(self, by: signal.Signals) -> None:
        """Ask the run to end."""
        self.signal = by
        self._event.set()


def stopped_by(number: signal.Signals) -> Interrupted:
    """Return the error of a run that a signal stopped."""
    error = Interrupted(
        f"Stopped by {number.name}; finished stages and checkpoints are kept", fix="graftwork run goes on from there"
    )
    error.exit_code = 128 + number
    return error


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set `stop`; the second does what it always does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    former = {number: signal.getsignal(number) for number in STOPPING}

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.want(signal.Signals(number))
        for each, handler in former.items():
            signal.signal(each, handler)

    for number in former:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def stop_at_once(stop: Stop) -> Iterator[None]:
    """Let SIGINT or SIGTERM raise Interrupted in this block, which is at work in a library that looks at no `stop`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.want(signal.Signals(number))
        raise stop.error()

    former = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
