"""Flow runs from the command line: a Prefect server first, then the flow in this process, now or on a schedule."""

from __future__ import annotations

import os
import signal
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from graftwork.errors import GraftworkError, SettingsError, StateError, TrainingError
from graftwork.secrets import without_secrets
from graftwork.workspace import open_workspace
from graftwork_flows import server
from graftwork_flows.console import listen_to_flow, say
from graftwork_flows.stopping import stopped_by


def serve_flow(root: Path, name: str, cron: str) -> None:
    """Serve the flow on a schedule until interrupted. Raises SettingsError for a schedule that isn't one."""
    open_workspace(root)  # data may come later; names that are wrong stay wrong
    ui = require_server(root)
    os.chdir(root)  # Prefect reads its settings, and its runs start, in the current folder
    from prefect.schedules import Cron
    from pydantic import ValidationError

    from graftwork_flows.transfer import transfer

    try:
        schedule = Cron(cron, timezone="UTC")
    except (ValidationError, ValueError):
        raise SettingsError(
            f"{cron!r} is no cron schedule",
            expected="minute hour day month weekday",
            fix='--cron "0 2 * * *"',
        ) from None
    say(f"serving transfer/{name}, {cron!r} UTC, in {root}; UI {ui}; Ctrl-C ends it")
    transfer.serve(
        name=name, schedule=schedule, parameters={"workspace": str(root)}, limit=1, global_limit=1,
        description="Does transferring help on this data? Runs when scheduled, or from this form.",
    )  # fmt: skip


def require_server(root: Path) -> str:
    """Point Prefect at a server that answers, and return the UI's address. Raises StateError where there is none."""
    ui = connect(root, quiet=True)
    if not ui:
        raise StateError("No Prefect server could be reached", fix="graftwork server start")
    return ui


def connect(root: Path, quiet: bool) -> str:
    """Point Prefect at the user's own server, or at the workspace's; return the UI's address or nothing."""
    own = os.environ.get("PREFECT_API_URL")
    if own:
        if server.healthy(own):
            os.environ.update({k: v for k, v in server.prefect_environment(root, own).items() if k not in os.environ})
            return without_secrets(own.removesuffix("/api"))
        raise StateError(
            "The Prefect server doesn't answer", where=f"PREFECT_API_URL={without_secrets(own)}",
            fix="start it, unset the variable, or graftwork run --without-prefect",
        )  # fmt: skip
    try:
        found = server.launch(root)
        if not quiet:
            say(f"Prefect {found.ui}")
        if not server.healthy(found.url):
            _import_meanwhile()
        server.wait_until_ready(root, found)
    except (GraftworkError, OSError) as error:
        say(f"warning: going on without Prefect. {error}")
        return ""
    for key, value in server.prefect_environment(root, found.url).items():
        os.environ.setdefault(key, value)
    return found.ui


def _import_meanwhile() -> None:
    """Import DVC, then torch, in the background while the server comes up."""

    def load() -> None:
        import dvc.repo  # noqa: F401
        import torch  # noqa: F401

    threading.Thread(target=load, daemon=True).start()


def run_flow(root: Path, flow: str, parameters: dict[str, Any], quiet: bool) -> bool:
    """Run a flow; tell whether Prefect's server was there to the end. Raises what the flow ended with."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    os.chdir(root)  # Prefect reads its settings in the current folder
    started = getattr(import_module(f"graftwork_flows.{flow}"), flow)
    listen_to_flow(quiet)
    try:
        state = started(**parameters, return_state=True)
    except GraftworkError:
        raise
    except Exception as error:
        if _is_the_servers(error):
            return False
        raise
    if state.is_completed():
        if quiet:
            say(state.message or "")
        return True
    if isinstance(state.data, GraftworkError):
        raise state.data
    if not state.is_cancelled() and _is_the_servers(state.data):
        return False
    if state.is_cancelled():  # Prefect keeps a cancelled state's message, and drops its data
        raise stopped_by(signal.Signals[(state.message or "").rpartition(" ")[2] or "SIGTERM"])
    raise TrainingError(state.message or "The flow run failed")


def _is_the_servers(error: object) -> bool:
    """Tell whether a run ended because its server is gone, or couldn't be reached for a moment."""
    from httpx import TransportError

    return isinstance(error, TransportError) or not server.healthy(os.environ["PREFECT_API_URL"])
