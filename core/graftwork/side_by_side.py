"""Do several pieces of work at once, each in a forked process of its own: small trainings leave most cores idle.

A forked process has the data already, by the system's copy-on-write, so that starting one takes milliseconds. It
computes on one thread, as OpenMP's other threads don't survive a fork; so results are those of one thread alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Generic, TypeVar

from graftwork.errors import GraftworkError, Interrupted, TrainingError
from graftwork.faults import as_told
from graftwork.progress import Part, Progress, parts

T = TypeVar("T")
Task = Callable[[Progress], T]
Compute = Callable[[Callable[[], Any]], Any]


POLL_SECONDS, GRACE_SECONDS = 0.1, 5.0
PR_SET_PDEATHSIG = 1  # of prctl(2)


def here(work: Callable[[], Any]) -> Any:
    """Do work on the caller's thread."""
    return work()


def can_fork() -> bool:
    """Tell whether processes can be forked here: elsewhere than on Linux system libraries don't stand it."""
    return sys.platform == "linux"


@dataclass
class _Child:
    name: str
    process: ForkProcess
    receiver: Connection
    progress: Part
    computing: bool = False  # holds one of the slots
    done: bool = False
    result: Any = None


@dataclass
class Started(Generic[T]):
    """Work that has begun; leave it by `results` or `stop`."""

    _children: list[_Child]
    _stopping: Any  # a flag in shared memory
    _slots: Any
    _progress: Progress = field(repr=False)

    def results(self) -> list[T]:
        """Wait for all, handing on their progress, and return what they return, in order.

        The first error is raised here after the others were stopped; so is Interrupted.
        """
        try:
            while not all(child.done for child in self._children):
                self._progress.check()
                self._listen()
        except BaseException:
            self.stop()
            raise
        for child in self._children:
            child.process.join()
        return [child.result for child in self._children]

    def stop(self) -> None:
        """Ask those that are still at it to stop, and end them when they don't."""
        self._stopping.value = True
        until = time.monotonic() + GRACE_SECONDS
        for child in self._children:
            child.process.join(max(0.0, until - time.monotonic()))
            if child.process.is_alive():
                child.process.kill()
                child.process.join()
            self._free(child)

    def _listen(self) -> None:
        waiting = {child.receiver: child for child in self._children if not child.done}
        for receiver in wait(list(waiting), timeout=POLL_SECONDS):
            child = waiting[receiver]  # type: ignore[index]  # wait also takes sockets
            try:
                what, told = pickle.loads(child.receiver.recv_bytes())  # by this very program
            except EOFError:
                raise self._killed(child) from None
            self._heed(child, what, told)

    def _heed(self, child: _Child, what: str, told: Any) -> None:
        if what == "computing":
            child.computing = told
        elif what == "error":
            raise told
        elif what == "result":
            child.done, child.result = True, told
            child.progress.finish()
        else:
            getattr(child.progress, what)(*told)

    def _killed(self, child: _Child) -> TrainingError:
        child.process.join()
        code = child.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return TrainingError(
            f"The process of a training ended by {how}",
            where=f"{child.name}, one of {len(self._children)} side by side",
            expected="that it goes on until it returns its weights",
            fix="SIGKILL most often means that the system's memory ran out: set engine.side_by_side: 1 in params.yaml; "
            "start again: it goes on where it was",
        )

    def _free(self, child: _Child) -> None:
        """Give back the slot of a process that couldn't do so itself, as far as is known from what it told last."""
        with contextlib.suppress(EOFError, OSError):  # the end, or half a message
            while child.receiver.poll():
                what, told = pickle.loads(child.receiver.recv_bytes())
                child.computing = told if what == "computing" else child.computing
        if child.computing and child.process.exitcode:
            child.computing = False
            self._slots.release()


def start(tasks: Mapping[str, Task[T]], workers: int, progress: Progress) -> Started[T]:
    """Fork a process for each named task; `workers` of them compute at once, all groups of this process together.

    What a task tells reaches `progress` here, as its share of the whole. Nothing else may compute on other threads of
    this process while it forks.
    """
    context = multiprocessing.get_context("fork")
    slots, stopping = _slots(workers), context.RawValue("b", False)
    told = parts(progress, tasks)
    children = []
    for name, task in tasks.items():
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(task, sender, slots, stopping, os.getpid()), daemon=True)
        with warnings.catch_warnings():  # from Python 3.12 on it warns of threads, which hold no lock that we take
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        sender.close()
        children.append(_Child(name, process, receiver, told[name]))
    return Started(children, stopping, slots, progress)


def side_by_side(
    tasks: Mapping[str, Task[T]], workers: int, progress: Progress, compute: Compute = here
) -> list[T]:  # fmt: skip
    """Return what the named tasks return, in order, `workers` of them at once; with one worker here, in turn.

    `compute` does what mustn't happen while another thread of this process computes, as `Context.compute` does.
    """
    if workers == 1 or not can_fork():
        done: list[T] = compute(lambda: [_in_turn(tasks[name], part) for name, part in parts(progress, tasks).items()])
        return done
    started: Started[T] = compute(lambda: start(tasks, workers, progress))
    return started.results()


def _in_turn(task: Task[T], part: Part) -> T:
    result = task(part)
    part.finish()
    return result


@cache
def _slots(workers: int) -> Any:
    return multiprocessing.get_context("fork").Semaphore(workers)


def _work(task: Task[Any], sender: Connection, slots: Any, stopping: Any, parent: int) -> None:
    """Do one task in a forked process, and send what comes of it."""
    import torch  # here, as it takes seconds: a run that finds nothing to do needs none

    _die_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides, and tells by the flag
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    told = _Told(sender, stopping, parent)
    try:
        with _slot(slots, told):
            result = task(told)
        told.send("result", result)
    except GraftworkError as error:
        told.send("error", error)
    except Exception as error:
        told.send("error", as_told(error, "a training's process"))


def _die_with(parent: int) -> None:
    """Let the system end this process with the thread that forked it: so nothing lives on, and holds the lock."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died in between
        os._exit(1)


@contextlib.contextmanager
def _slot(slots: Any, told: _Told) -> Iterator[None]:
    while not slots.acquire(timeout=1.0):
        told.check()
    told.send("computing", True)
    try:
        yield
    finally:
        told.send("computing", False)
        slots.release()


@dataclass(frozen=True)
class _Told:
    """Progress of a forked process, sent to the one that forked it."""

    sender: Connection
    stopping: Any
    parent: int

    def send(self, what: str, told: Any) -> None:
        # By plain pickle: torch's own way of sending tensors keeps a file open for each.
        with contextlib.suppress(BrokenPipeError):  # the parent is gone: `check` ends this
            self.sender.send_bytes(pickle.dumps((what, told)))

    def log(self, message: str) -> None:
        """Send the message."""
        self.send("log", (message,))

    def advance(self, fraction: float, message: str) -> None:
        """Send the fraction."""
        self.send("advance", (fraction, message))

    def check(self) -> None:
        """Raise Interrupted when the parent asks for it, or is no more."""
        if self.stopping.value or os.getppid() != self.parent:
            raise Interrupted("stopped", where="a training's process", fix="start again: it goes on where it was")
