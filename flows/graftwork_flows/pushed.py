"""What was pushed to a remote last, so that a run with nothing new doesn't ask it."""

from __future__ import annotations

import hashlib

from graftwork.files import write_text
from graftwork.layout import Layout
from graftwork_flows.pipeline import LOCKS


def already_pushed(layout: Layout, remote: str) -> bool:
    """Tell whether all that is recorded now was pushed to this remote before."""
    return layout.pushed.is_file() and layout.pushed.read_text("utf-8").strip() == _state(layout, remote)


def note_pushed(layout: Layout, remote: str) -> None:
    """Remember that all that is recorded now is at this remote."""
    write_text(layout.pushed, _state(layout, remote) + "\n")


def _state(layout: Layout, remote: str) -> str:
    """Return a digest of the remote and DVC's records; those of `dvc add` are among what the stages depend on."""
    digest = hashlib.sha256(remote.encode())
    for name in LOCKS:
        file = layout.root / name
        digest.update(file.read_bytes() if file.is_file() else b"-")
    return digest.hexdigest()
