"""DVC in process: which stages there are, whether they changed, and the record of what they made.

DVC's public interface has no `repro` and no `commit`; the calls here are its internals. This is the only module
that knows them, and `tests/flows/test_pipeline.py` pins what we rely on. Tried with DVC 3.67.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graftwork.disk import disk_full, means_full
from graftwork.errors import GraftworkError, StateError
from graftwork_flows.lock_files import kept_whole, sweep_cache, sweep_outputs

Outcome = Literal["computed", "unchanged", "restored"]
RUN, SWEEP = "dvc.yaml", "sweep/dvc.yaml"  # the stage graphs of a workspace; the second hangs on the first


@dataclass(frozen=True)
class Node:
    """A stage: its name, what it runs, the stages that come before it, and the file that it stands in."""

    name: str
    command: tuple[str, ...]
    upstream: tuple[str, ...]
    file: str = RUN

    @property
    def own(self) -> tuple[str, str] | None:
        """Name and item, where the command is `graftwork stage NAME [ITEM]`; None for a user's own commands."""
        if self.command[:2] != ("graftwork", "stage") or not 3 <= len(self.command) <= 4:
            return None
        return self.command[2], self.command[3] if len(self.command) == 4 else ""


class Pipeline:
    """The stage graph of one workspace. Its methods may be called from several threads."""

    def __init__(self, root: Path) -> None:
        """Open the workspace's DVC repository; raises StateError where there is none."""
        os.environ.setdefault("DVC_SITE_CACHE_DIR", str(root / ".dvc" / "tmp" / "site"))  # DVC's is world-writable
        from dvc.exceptions import NotDvcRepoError
        from dvc.repo import Repo

        logging.getLogger("dvc").setLevel(logging.ERROR)  # its own remarks would stand between the run's lines
        self.root = root
        self._lock = threading.RLock()
        self._began_with = self._definition()
        self._loaded: dict[str, Any] = {}  # DVC's own stages by name, as `nodes` read them
        self._settled = False
        try:
            self._repo = Repo(str(root))
        except NotDvcRepoError:
            raise StateError(
                "DVC is not set up here",
                where=str(root),
                fix="dvc init (in a folder without git: dvc init --no-scm)",
            ) from None

    def sweep(self) -> None:
        """Remove what killed runs of DVC's left half-written, in its cache and beside outputs.

        To be called by who holds the workspace.
        """
        sweep_cache(Path(self._repo.cache.legacy.path), Path(self._repo.cache.local.path))
        with self._dvc():
            sweep_outputs(Path(out.fs_path) for stage in self._repo.index.stages for out in stage.outs)

    def nodes(self, goals: Collection[str] = ()) -> list[Node]:
        """Return stages in an order in which they can run: all of dvc.yaml, or the goals and what they hang on.

        A goal is a stage's name without its item, of either file.
        """
        with self._dvc():
            graph = self._repo.index.graph
            self._loaded = {stage.name: stage for stage in self._repo.index.stages if _file(stage)}
            found = {
                name: Node(
                    name,
                    tuple(shlex.split(stage.cmd)),
                    tuple(sorted(up.name for up in graph.successors(stage) if _file(up))),
                    _file(stage),
                )
                for name, stage in self._loaded.items()
            }
        wanted = [n for n in found.values() if (n.name.partition("@")[0] in goals if goals else n.file == RUN)]
        return _ordered(found, wanted)

    def changed(self, nodes: list[Node]) -> bool:
        """Tell whether any stage's settings, inputs or outputs differ from what is recorded.

        Where none does, that holds for the whole run, as nobody computes: `run` then asks DVC no more.
        """
        with self._dvc():
            self._settled = not any(self._loaded[node.name].changed() for node in nodes)
        return not self._settled

    def look_again(self) -> None:
        """Let DVC be asked of each stage, as a file was changed since `changed` looked."""
        self._settled = False

    def run(self, node: Node, compute: Callable[[], None], *, force: bool = False) -> Outcome:
        """Bring one stage up to date: leave it, restore it from DVC's cache, or compute and record it."""
        if self._settled and not force:
            return "unchanged"
        with self._dvc():
            stage = self._stage(node)
            if not force:
                if not stage.changed():
                    return "unchanged"
                if self._restored(node, stage):
                    return "restored"
            own = node.own is not None
            guard = self._guard(stage)
        if not own:
            with self._dvc(), kept_whole(self.root, _lock(node)):  # a user's own command: DVC runs and records it
                self._repo.reproduce(self._target(node), single_item=True, force=force)
            return "computed"
        with guard:
            compute()
        with self._dvc():
            self._check_definition()
            self._record(node)
        return "computed"

    def _record(self, node: Node) -> None:
        """Write what a stage made of what into DVC's cache and dvc.lock."""
        with kept_whole(self.root, _lock(node)):
            self._repo.commit(self._target(node), force=True)

    def _restored(self, node: Node, stage: Any) -> bool:
        """Check the outputs out of DVC's run cache, if they are there, and record them.

        Nothing may call `save_deps` before this: it would bless the outputs of other settings. Where somebody changed
        an output by hand, DVC would ask before it writes over it: then it is computed anew.
        """
        from dvc.exceptions import CheckoutError, ConfirmRemoveError
        from dvc.stage.cache import RunCacheNotFoundError

        try:
            self._repo.stage_cache.restore(stage)
        except (RunCacheNotFoundError, ConfirmRemoveError, CheckoutError):
            return False
        self._record(node)
        return True

    def _target(self, node: Node) -> str:
        """Name a stage so that the current folder doesn't matter, to which DVC takes a bare name."""
        return f"{self.root / node.file}:{node.name}"

    def _stage(self, node: Node) -> Any:
        (stage,) = self._repo.stage.collect(self._target(node))
        return stage

    @contextmanager
    def _guard(self, stage: Any) -> Iterator[None]:
        """Hold DVC's own lock on the stage's files while computing, so that `dvc repro` elsewhere says busy."""
        from dvc.rwlock import rwlock

        paths = [
            [entry.fs_path for entry in entries if entry.fs.protocol == "local"] for entries in (stage.deps, stage.outs)
        ]
        with self._translated():
            held = rwlock(self._repo.tmp_dir, self._repo.fs, f"graftwork run: {stage.name}", *paths, False)
            held.__enter__()
        try:
            yield
        finally:
            held.__exit__(None, None, None)

    @contextmanager
    def _dvc(self) -> Iterator[None]:
        """Call DVC: one thread at a time, under its repository lock, its errors translated."""
        from dvc.repo import lock_repo

        with self._lock, self._translated(), lock_repo(self._repo):
            yield

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from dvc.exceptions import DvcException
        from dvc.lock import LockError

        try:
            yield
        except GraftworkError:
            raise
        except LockError as error:
            raise StateError(
                f"DVC is busy: {error}", where=str(self.root), fix="wait for the other run, or end it"
            ) from None
        except DvcException as error:
            if means_full(error):
                raise disk_full(self.root, error) from error
            cause = f": {error.__cause__}" if error.__cause__ else ""
            torn = "dvc.lock" in str(error)  # by a kill, or a full disk, while `dvc repro` wrote it
            raise StateError(
                f"DVC refuses: {error}{cause}", where=str(self.root),
                fix="git checkout dvc.lock, or rm dvc.lock: stages come back from DVC's cache" if torn
                else "dvc status -v",
            ) from error  # fmt: skip

    def _definition(self) -> dict[str, str]:
        """Return the digests of the files that decide what a stage is."""
        files = (self.root / name for name in ("params.yaml", RUN, SWEEP))
        return {
            str(file.relative_to(self.root)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.is_file()
        }

    def _check_definition(self) -> None:
        now = self._definition()
        changed = [name for name, digest in self._began_with.items() if now.get(name) != digest]
        if changed:
            raise StateError(
                f"{' and '.join(changed)} changed while the run was going on; its results are not recorded",
                where=str(self.root), fix="graftwork run: it starts from the new settings",
            )  # fmt: skip


def _file(stage: Any) -> str:
    """Return which of the workspace's own files a stage stands in; nothing for another's."""
    path = Path(stage.path_in_repo).as_posix()
    return path if path in (RUN, SWEEP) else ""


def _lock(node: Node) -> str:
    """Return the lock file that a stage is recorded in."""
    return Path(node.file).with_suffix(".lock").as_posix()


def _ordered(nodes: dict[str, Node], wanted: Iterable[Node]) -> list[Node]:
    """Return the wanted nodes and all before them, by the number of steps from the beginning.

    So what is wrong with any data shows before a training starts.
    """
    steps: dict[str, int] = {}

    def count(name: str) -> int:
        if name not in steps:
            steps[name] = 1 + max((count(before) for before in nodes[name].upstream), default=0)
        return steps[name]

    for node in wanted:
        count(node.name)
    return sorted((node for node in nodes.values() if node.name in steps), key=lambda node: steps[node.name])
