"""What a person sees in the terminal: progress lines, one error block, the verdict."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable

from graftwork.errors import GraftworkError
from graftwork_flows.stopping import Stop

said = logging.getLogger("graftwork.said")  # written to the run's log, see run_log.py
PREFECTS_OWN = (
    "Beginning flow run",
    "View at",
    "Finished in state",
    "Created task run",
    "Submitted task run",
)


def say(message: str = "") -> None:
    """Print a line to standard output at once, and into the log of the run."""
    print(message, flush=True)
    said.info(message)


def teller(quiet: bool) -> Callable[[str], None]:
    """Return what prints lines, or warnings alone; these to standard error."""

    def tell(line: str) -> None:
        if line.startswith("warning: "):
            print(line, file=sys.stderr, flush=True)
            said.info(line)
        elif not quiet:
            say(line)

    return tell


def asked_by_dvc() -> str:
    """Return who calls `graftwork stage`: DVC, perhaps for one of its experiments, or somebody by hand."""
    experiment = os.environ.get("DVC_EXP_NAME")
    if experiment:
        return f"dvc exp run, experiment {experiment}"
    return "dvc repro" if os.environ.get("DVC_STAGE") else "graftwork stage"


def print_error(error: GraftworkError) -> None:
    """Print what, where, expected and fix as one block to standard error."""
    print(f"error: {error}", file=sys.stderr, flush=True)


class LineProgress:
    """A stage's progress as plain lines, at most one in two seconds while it trains."""

    def __init__(self, stage: str, stop: Stop | None = None, quiet: bool = False) -> None:
        self._stage, self._stop, self._quiet = stage, stop, quiet
        self._told_at = time.monotonic()

    def log(self, message: str) -> None:
        """Print a line."""
        if not self._quiet:
            say(f"{self._stage:<22} {message}")

    def advance(self, fraction: float, message: str) -> None:
        """Print where it is, now and then."""
        if time.monotonic() - self._told_at >= 2:
            self._told_at = time.monotonic()
            self.log(f"{100 * fraction:.0f} %, {message}")

    def check(self) -> None:
        """Raise Interrupted when the run shall stop."""
        if self._stop is not None:
            self._stop.check()


class StageLines(logging.Handler):
    """Print the flow's log records like LineProgress does, without Prefect's prefixes and remarks."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record under its stage's name; of Prefect's own remarks none."""
        message = record.getMessage()
        stage = getattr(record, "task_run_name", "") or ""
        if record.levelno >= logging.ERROR:
            return  # the error is printed once, at the end
        if message.startswith("warning: "):
            teller(quiet=True)(message)
        elif self.level <= logging.INFO and not message.startswith(PREFECTS_OWN):
            say(f"{stage:<22} {message.removeprefix(f'{stage}: ')}" if stage else message)


def listen_to_flow(quiet: bool) -> None:
    """Let StageLines print the records of flow and task runs, and nothing else do so."""
    handler = StageLines(level=logging.WARNING if quiet else logging.INFO)
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logger = logging.getLogger(name)
        logger.handlers = [h for h in logger.handlers if type(h).__name__ == "APILogHandler"] + [handler]
        logger.propagate = False
