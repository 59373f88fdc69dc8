"""DVC in process: which stages there are, whether they changed, and the record of what they made.

DVC's public interface has no `repro` and no `commit`; the calls here are its internals. This, exchange.py and
parcels.py are the only modules that know them; `tests/flows/test_pipeline.py` pins what we rely on. Tried with
DVC 3.67.
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
from graftwork.layout import Layout
from graftwork_flows import exchange, parcels
from graftwork_flows.exchange import Exchanged
from graftwork_flows.lock_files import kept_whole, put_entry, sweep_cache, sweep_outputs

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


@dataclass(frozen=True)
class Declared:
    """A stage as its file has it now: what it depends on and makes, by the paths that DVC's record uses."""

    name: str
    file: str
    command: str
    dependencies: dict[str, Path]
    outputs: dict[str, Path]
    cached: frozenset[str]  # of the outputs: those that DVC's cache keeps, not git
    parameters: dict[str, tuple[str, ...]]  # file → keys


class Pipeline:
    """The stage graph of one workspace. Its methods may be called from several threads."""

    def __init__(self, root: Path, remote: str | None = None) -> None:
        """Open the workspace's DVC repository; raises StateError where there is none.

        `remote` is the one of DVC's remotes that results are exchanged with; None is its default one.
        """
        _keep_site_cache_private(root)
        from dvc.exceptions import NotDvcRepoError
        from dvc.repo import Repo

        logging.getLogger("dvc").setLevel(logging.ERROR)  # its own remarks would stand between the run's lines
        self.root, self._private = root, Layout(root).private
        self._lock = threading.RLock()
        self._began_with = self._definition()
        self._loaded: dict[str, Any] = {}  # DVC's own stages by name, as `nodes` read them
        self._settled = False
        self._pulls = False
        try:
            self._repo = Repo(str(root), config={"core": {"remote": remote}} if remote else None)
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
        sweep_cache(self.cache_root, self.cache)
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

    def changed_stages(self) -> set[str]:
        """Return the stages of both files that differ from what is recorded, by name."""
        with self._dvc():
            return {stage.name for stage in self._repo.index.stages if _file(stage) and stage.changed()}

    def look_again(self) -> None:
        """Let DVC be asked of each stage, as a file was changed since `changed` looked."""
        self._settled = False

    @property
    def cache(self) -> Path:
        """The folder of DVC's cache in which a file with md5 abc… is ab/c…"""
        return Path(self._repo.cache.local.path)

    @property
    def cache_root(self) -> Path:
        """The folder of DVC's whole cache, as `dvc cache dir` names it."""
        return Path(self._repo.cache.legacy.path)

    def declared(self) -> list[Declared]:
        """Return every stage of both files as it stands there, filled in from params.yaml."""
        with self._dvc():
            return [_declared(stage) for stage in self._repo.index.stages if _file(stage)]

    def ignored(self, path: Path) -> bool:
        """Tell whether .dvcignore leaves a file or folder out."""
        ignore = self._repo.dvcignore
        return bool(ignore.is_ignored_dir(str(path)) if path.is_dir() else ignore.is_ignored_file(str(path)))

    def not_at_remote(self, md5s: Collection[str]) -> set[str]:
        """Return which of these the remote hasn't; it is asked for each. Raises StateError where it fails."""
        with self._dvc(), exchange.explained("The remote couldn't be asked"):
            return set(md5s) - set(self._repo.cloud.get_remote_odb().oids_exist(sorted(md5s)))

    def remote(self) -> str:
        """Return the name and place of the remote, without asking it. Raises StateError where none is set up."""
        with self._dvc():
            return exchange.require_remote(self._repo)

    def pull(self, nodes: Collection[Node]) -> Exchanged:
        """Bring from the remote what is missing here: outputs, what `dvc add` tracks, the run cache.

        From then on `run` fetches, too, what the run cache names. Raises StateError where the remote fails; what came
        until then stays.
        """
        with self._dvc(), exchange.explained("Not everything could be pulled"):
            found = exchange.pull_missing(self._repo, ((node.file, node.name) for node in nodes), self._private)
        self._pulls, self._settled = True, False
        return found

    def push(self) -> Exchanged:
        """Bring to the remote what dvc.lock and the run cache name. Raises StateError where the remote fails."""
        with self._dvc(), exchange.explained("Not everything could be pushed"):
            return exchange.push_all(self._repo, self._private)

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
            self._record(node, stage)
        return "computed"

    def _record(self, node: Node, stage: Any) -> None:
        """Write what a stage made of what into DVC's cache and dvc.lock, as `dvc commit --force` does."""
        from dvc.stage.serialize import to_lockfile

        stage.save()
        stage.commit()
        put_entry(self.root / _lock(node), to_lockfile(stage))

    def default_remote(self) -> tuple[str, dict[str, str]]:
        """Return the default remote's name, or nothing, and its settings without secrets."""
        with self._dvc():
            return parcels.remote_of(self._repo)

    def inputs(self, node: Node) -> tuple[list[Path], list[Path]]:
        """Return the paths of what a stage needs: what DVC's cache holds, and what it doesn't."""
        with self._dvc():
            return parcels.inputs(self._repo, self._stage(node))

    def send(self, paths: Iterable[Path]) -> None:
        """Bring what outputs hold to the default remote, if there is one. Raises StateError."""
        with self._dvc(), exchange.explained("Inputs couldn't be sent to the remote"):
            parcels.send(self._repo, paths)

    def receive(self, paths: Iterable[Path]) -> None:
        """Put outputs in place as dvc.lock names them, from the default remote if need be. Raises StateError."""
        with self._dvc(), exchange.explained("Inputs couldn't be had"):
            parcels.receive(self._repo, paths)

    def send_outputs(self, node: Node) -> parcels.Entry:
        """Bring what a stage made to the default remote, if there is one; return what dvc.lock says of it."""
        with self._dvc(), exchange.explained("Outputs couldn't be sent to the remote"):
            stage = self._stage(node)
            parcels.send(self._repo, [Path(out.fs_path) for out in stage.outs if out.use_cache])
            return parcels.entry(stage)

    def accept(self, node: Node, done: parcels.Entry) -> None:
        """Put in place what was made of a stage elsewhere; `run` records it. Raises StateError."""
        with self._dvc(), exchange.explained("Outputs couldn't be had from the remote"):
            parcels.accept(self._repo, self._stage(node), done)

    def _restored(self, node: Node, stage: Any) -> bool:
        """Check the outputs out of DVC's run cache, if they are there, and record them.

        Nothing may call `save_deps` before this: it would bless the outputs of other settings. Where somebody changed
        an output by hand, DVC would ask before it writes over it: then it is computed anew.
        """
        from dvc.exceptions import CheckoutError, ConfirmRemoveError
        from dvc.stage.cache import RunCacheNotFoundError

        try:
            with exchange.listening():
                self._repo.stage_cache.restore(stage, pull=self._pulls)
        except (RunCacheNotFoundError, ConfirmRemoveError, CheckoutError):
            return False
        except Exception:
            if not self._pulls:
                raise
            self._pulls = False  # the remote failed: what is left is computed here
            return False
        self._record(node, self._stage(node))
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


def _keep_site_cache_private(root: Path) -> None:
    """Give DVC a site cache that no other user may write into: it holds pickles, and DVC's own is open to all."""
    folder = root / ".dvc" / "tmp" / "site"
    if (root / ".dvc").is_dir() and "DVC_SITE_CACHE_DIR" not in os.environ:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        os.environ["DVC_SITE_CACHE_DIR"] = str(folder)


def _declared(stage: Any) -> Declared:
    files = [entry for entry in stage.deps if entry.hash_name != "params"]
    return Declared(
        stage.name, _file(stage), stage.cmd,
        {entry.def_path: Path(entry.fs_path) for entry in files},
        {entry.def_path: Path(entry.fs_path) for entry in stage.outs},
        frozenset(entry.def_path for entry in stage.outs if entry.use_cache),
        {entry.def_path: tuple(entry.params) for entry in stage.deps if entry.hash_name == "params"},
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
