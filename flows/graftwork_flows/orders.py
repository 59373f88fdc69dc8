"""A stage to be run on another machine, and what comes back: small JSON. What weighs more goes by DVC, by hash.

An order carries whatever of the workspace DVC's cache doesn't hold – settings, the stage graph, hashes of inputs, the
engine's choice, local plugins – so that a worker needs no git, and computes what would be computed here.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from graftwork import __version__
from graftwork.dvc_lock import LOCKS
from graftwork.errors import StateError
from graftwork.files import make_folder, read_json, write_json, write_text
from graftwork.layout import Layout
from graftwork.ledger import Ledger, Trial
from graftwork.params_file import local_plugins_of
from graftwork.provenance import provenance
from graftwork.workspace import PARAMS
from graftwork_flows.pipeline import RUN, SWEEP, Node, Pipeline

DEFINITIONS = (PARAMS, RUN, SWEEP, *LOCKS, ".dvcignore")
MOST_BYTES = 400_000  # of texts: Prefect's server takes no parameters beyond 512 KiB
BESIDE = ("__pycache__", ".git")


@dataclass(frozen=True)
class Order:
    """What a worker needs to run one stage as it would run here."""

    stage: str  # as dvc.yaml names it
    project: str  # a name for the workspace, so that a worker keeps a folder for each
    texts: dict[str, str]  # files by their path in the workspace
    inputs: list[str]  # paths of outputs in dvc.lock, which come by DVC
    remote: str
    remote_settings: dict[str, str]  # without secrets
    cache: str  # DVC's cache, for workers on the same disk; empty where results go by the remote
    proof: str  # a file and its text: who reads them so is on the same disk
    versions: dict[str, str]
    asked_by: str  # for the record of who computed what
    trials: list[dict[str, Any]] = field(default_factory=list)  # what a sweep's cells needn't train again
    force: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as a task's parameter."""
        return asdict(self)

    @property
    def shares_disk(self) -> bool:
        """Whether this process reaches the cache of the workspace that the order came from."""
        path, _, text = self.proof.partition("\n")
        try:
            return bool(self.cache) and Path(path).read_text(encoding="utf-8") == text and Path(self.cache).is_dir()
        except OSError:
            return False

    def check_versions(self) -> None:
        """Raise StateError where other code would compute other bits."""
        mine = versions()
        other = [f"{name} {mine[name]}" for name in mine if mine[name] != self.versions.get(name)]
        if other:
            wanted = ", ".join(f"{name} {self.versions.get(name)}" for name in mine)
            raise StateError(
                f"This worker has {' and '.join(other)}", where=os.uname().nodename if hasattr(os, "uname") else "",
                expected=f"{wanted}, as where the run is", fix="install the same, or use the same image",
            )  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What came of an order."""

    outcome: str  # of Pipeline.run, there
    entry: dict[str, Any]  # of dvc.lock
    timings: dict[str, str]  # files by name
    records: dict[str, dict[str, Any]]  # of who computed what, by their files' names
    trials: list[dict[str, Any]]


def versions() -> dict[str, str]:
    """Return those that decide the bits of what is computed."""
    return {"graftwork": __version__, "torch": version("torch").partition("+")[0]}


def order(
    root: Path, pipeline: Pipeline, node: Node, *, force: bool, near: bool, asked_by: str
) -> tuple[Order, list[Path]]:  # fmt: skip
    """Return the order for a stage, and the inputs that must be at the remote before it is given.

    Workers that are `near`, on this disk, take them from the cache; so does everyone where there is no remote.
    """
    from graftwork.checkpoints import fingerprint  # which brings torch along

    assert node.own is not None
    cached, plain = pipeline.inputs(node)
    local = local_plugins_of(root / PARAMS, ())
    files = [*(root / name for name in DEFINITIONS), *_files(plain), *_files([root / local] if local else [])]
    remote, settings = pipeline.default_remote()
    made = Order(
        stage=node.name,
        project=f"{root.name}-{fingerprint(str(root), os.uname().nodename)[:12]}",
        texts=_texts(root, files),
        inputs=[path.relative_to(root).as_posix() for path in cached],
        remote=remote,
        remote_settings=settings,
        cache=str(pipeline.cache_root) if near or not remote else "",
        proof=_proof(Layout(root)),
        versions=versions(),
        asked_by=asked_by,
        trials=[asdict(trial) for trial in _known(Layout(root), *node.own)],
        force=force,
    )
    return made, [] if near else cached


def unpack(order: Order, root: Path) -> None:
    """Write an order's files into a worker's folder, where those of the order before go, and what its ledger lacks."""
    paths = {name: _inside(root, name, order.stage) for name in order.texts}
    note = Layout(root).private / "ordered.json"
    for name in set(read_json(note) if note.is_file() else ()) - paths.keys():
        _inside(root, name, order.stage).unlink(missing_ok=True)
    write_json(note, sorted(paths))
    for name, text in order.texts.items():
        make_folder(paths[name].parent)
        write_text(paths[name], text)
    ledger = Ledger(Layout(root).ledger)
    for row in order.trials:
        ledger.add(Trial(**row))


def _inside(root: Path, name: str, stage: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise StateError(f"An order names a file outside of its folder: {name!r}", where=stage)
    return path


def known(root: Path) -> set[str]:
    """Return a ledger's trials, and the names of the records of who computed what."""
    layout = Layout(root)
    return {str(trial) for trial in Ledger(layout.ledger).all()} | {path.name for path in layout.runs.glob("*.json")}


def done(root: Path, node: Node, outcome: str, entry: dict[str, Any], before: set[str]) -> Done:
    """Return what a worker made of an order; `before` is what was `known` before it."""
    assert node.own is not None
    layout, (stage, item) = Layout(root), node.own
    timing = layout.timings(f"source-{item}" if stage == "pretrain" else item)
    timings = {timing.name: timing.read_text("utf-8")} if outcome == "computed" and timing.is_file() else {}
    trials = [asdict(trial) for trial in Ledger(layout.ledger).all() if str(trial) not in before]
    made = {path.name: read_json(path) for path in sorted(layout.runs.glob("*.json")) if path.name not in before}
    return Done(outcome, entry, timings, made, trials)


def keep(root: Path, found: Done) -> None:
    """Keep what came back beside a stage's outputs: seconds, who computed it, and trials for the ledger."""
    layout = Layout(root)
    for name, text in found.timings.items():
        make_folder(layout.timings("x").parent)
        write_text(layout.timings("x").parent / Path(name).name, text)
    for name, record in found.records.items():  # a worker's folder isn't the git repository that it worked for
        make_folder(layout.runs)
        write_json(layout.runs / Path(name).name, {**record, "commit": provenance(root).commit})
    ledger = Ledger(layout.ledger)
    for row in found.trials:
        ledger.add(Trial(**row))


def _known(layout: Layout, stage: str, item: str) -> list[Trial]:
    if stage != "cells":
        return []
    return [trial for trial in Ledger(layout.ledger).all() if f"{trial.source}-{trial.strategy}" == item]


def _proof(layout: Layout) -> str:
    path = layout.private / "same-disk"
    if not path.is_file():
        make_folder(path.parent)
        write_text(path, secrets.token_hex(16))
    return f"{path}\n{path.read_text(encoding='utf-8')}"


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in inside if not set(BESIDE) & set(file.parts))


def _texts(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Read files. Raises StateError for one that is no text, and where they are too much."""
    texts: dict[str, str] = {}
    for file in files:
        if not file.is_file():
            continue
        name = file.relative_to(root).as_posix()
        try:
            texts[name] = file.read_bytes().decode("utf-8")  # ends of lines as they are
        except UnicodeDecodeError:
            raise _unfit(f"{name} is no text") from None
    size = sum(len(text.encode()) for text in texts.values())
    if size > MOST_BYTES:
        largest = max(texts, key=lambda name: len(texts[name]))
        raise _unfit(f"the texts are {size:,} bytes, {largest} the largest of them")
    return texts


def _unfit(what: str) -> StateError:
    return StateError(
        f"What stands outside of DVC's cache can't be sent to another machine: {what}",
        expected=f"settings, stage graphs and local plugins, together below {MOST_BYTES:,} bytes",
        fix="keep other files out of local_plugins, or run without --runner",
    )
