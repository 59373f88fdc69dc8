"""A run's exchange with a DVC remote: what is missing here comes before it, what it recorded goes after it.

A remote that fails is a warning: results stay here, and go with the next run. One that has all isn't asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from graftwork.dvc_lock import LOCKS
from graftwork.errors import FEW, StateError, listed
from graftwork.files import write_text
from graftwork.layout import Layout
from graftwork_flows.pipeline import Node, Pipeline


def pull_before(pipeline: Pipeline, nodes: list[Node], tell: Callable[[str], None]) -> None:
    """Bring what is missing here from the remote; one that fails is no reason not to compute."""
    try:
        found = pipeline.pull(nodes)
    except StateError as error:
        tell(f"warning: {error.what}. Going on with what is here")
        return
    if found.outputs:
        tell(f"pulled {found.outputs} outputs from {pipeline.remote()}")
    if found.missing:
        tell(f"not at the remote: {listed(found.missing, FEW)}")


def push_after(pipeline: Pipeline, layout: Layout, tell: Callable[[str], None]) -> None:
    """Bring what is recorded to the remote, unless it was; finished stages also where others failed."""
    remote = pipeline.remote()
    if _pushed(layout, remote):
        return
    try:
        found = pipeline.push()
    except StateError as error:
        tell(f"warning: {error.what}. The results are kept here; the next run pushes them")
        return
    _note(layout, remote)
    tell(f"pushed {found.outputs} files to {remote}")


def _pushed(layout: Layout, remote: str) -> bool:
    """Tell whether all that is recorded now was pushed to this remote before."""
    return layout.pushed.is_file() and layout.pushed.read_text("utf-8").strip() == _state(layout, remote)


def _note(layout: Layout, remote: str) -> None:
    """Remember that all that is recorded now is at this remote."""
    write_text(layout.pushed, _state(layout, remote) + "\n")


def _state(layout: Layout, remote: str) -> str:
    """Return a digest of the remote and DVC's records; those of `dvc add` are among what the stages depend on."""
    digest = hashlib.sha256(remote.encode())
    for name in LOCKS:
        file = layout.root / name
        digest.update(file.read_bytes() if file.is_file() else b"-")
    return digest.hexdigest()
