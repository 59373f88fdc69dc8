"""Records of who computed which weights, when and on what: one small file for each training, in .graftwork/runs.

The weights don't hold this, so that equal trainings give equal files. A record names the files that it made by their
sha256, so it is found from the file, wherever that is by then.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from graftwork.files import make_folder, sha256_of_file, write_json
from graftwork.layout import Layout
from graftwork.provenance import provenance


@dataclass(frozen=True)
class RunRecord:
    """One stage that made weights."""

    stage: str  # with its item
    asked_by: str  # a Prefect flow run with its id, `graftwork run`, DVC with the experiment's name
    began: str  # ISO 8601, UTC
    seconds: float
    machine: str
    commit: str  # of git, with "+ changes" where the tree wasn't clean
    versions: dict[str, str]
    files: dict[str, str]  # path in the workspace → sha256


@contextmanager
def recorded(layout: Layout, name: str, item: str, asked_by: str) -> Iterator[None]:
    """Note what weights the stage makes in this block, if it makes any and ends well."""
    began, clock = datetime.now(UTC), time.monotonic()
    yield
    files = [path for path in _weights_of(layout, name, item) if path.is_file()]
    if not files:
        return
    told = provenance(layout.root)
    record = RunRecord(
        stage=f"{name}@{item}", asked_by=asked_by, began=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3), machine=told.machine, commit=told.commit, versions=told.versions,
        files={path.relative_to(layout.root).as_posix(): sha256_of_file(path) for path in files},
    )  # fmt: skip
    make_folder(layout.runs)
    write_json(
        layout.runs / f"{began:%Y%m%dT%H%M%S%f}-{re.sub(r'[^a-z0-9_-]', '-', f'{name}-{item}')}.json", asdict(record)
    )


def _weights_of(layout: Layout, name: str, item: str) -> list[Path]:
    """Return the weight files that a stage writes."""
    if name == "import":
        return [layout.imported(item)]
    if name == "pretrain":
        return [layout.source_weights(item) / "model.safetensors"]
    if name == "transfer":
        return sorted(layout.start(item).glob("*.safetensors"))
    return sorted(layout.tuned(item).glob("*.safetensors")) if name == "finetune" else []


def read_records(layout: Layout) -> list[RunRecord]:
    """Return all records, the oldest first; damaged ones are left out."""
    found = []
    for path in sorted(layout.runs.glob("*.json")):
        try:
            found.append(RunRecord(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    return found
