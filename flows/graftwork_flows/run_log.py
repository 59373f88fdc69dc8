"""A log file for each run, in .graftwork/logs: what a person saw, and the tracebacks that they didn't."""

from __future__ import annotations

import logging
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from graftwork import __version__
from graftwork.layout import Layout

KEPT_FILES, KEPT_BYTES = 20, 50_000_000  # all together; the oldest go first
LOGGERS = ("graftwork", "prefect.task_runs", "prefect.flow_runs")  # the latter of a run that a worker started
log = logging.getLogger("graftwork.runs")


class RunLog(logging.FileHandler):
    """Writes one run's log. Where it can't – a full disk – the run goes on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setLevel(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Say nothing: logging would print a traceback for each line."""


@contextmanager
def run_log(layout: Layout, what: str) -> Iterator[None]:
    """Keep a log of what is said and raised in this block; inside of such a block, do nothing.

    Nor is it an error where none can be written.
    """
    ours = logging.getLogger("graftwork")
    handler = None if any(isinstance(one, RunLog) for one in ours.handlers) else _opened(layout.logs, what)
    if handler is None:
        yield
        return
    loggers = [logging.getLogger(name) for name in LOGGERS]
    level, propagate = ours.level, ours.propagate
    ours.setLevel(logging.DEBUG)
    ours.propagate = False  # it was said already
    for logger in loggers:
        logger.addHandler(handler)
    log.debug("%s; graftwork %s, Python %s, in %s", what, __version__, platform.python_version(), layout.root)
    try:
        yield
        log.debug("ended well")
    except BaseException as error:
        log.debug("ended with %s", type(error).__name__, exc_info=error)
        raise
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        ours.setLevel(level)
        ours.propagate = propagate
        with suppress(OSError):
            handler.close()


def _opened(folder: Path, what: str) -> RunLog | None:
    """Open a new log, after the oldest were removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_oldest(folder)
        name = re.sub(r"[^a-z0-9]+", "-", what.removeprefix("graftwork ").lower()).strip("-")[:60]
        return RunLog(folder / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}-{name}.log")
    except OSError:
        return None


def _remove_oldest(folder: Path) -> None:
    """Keep the newest logs, but one fewer than may be: one more is begun now."""
    size = 0
    for number, path in enumerate(sorted(folder.glob("*.log"), reverse=True)):
        size += path.stat().st_size
        if number >= KEPT_FILES - 1 or size > KEPT_BYTES:
            path.unlink(missing_ok=True)
