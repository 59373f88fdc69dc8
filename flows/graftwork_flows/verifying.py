"""Prove that a workspace is what its dvc.lock says: hash every file anew, compare every setting and command.

DVC itself looks at files' times and sizes, and hashes what seems changed; here every byte is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from graftwork.choice import read_choice
from graftwork.dvc_lock import LockedStage, files_of, listing_in_cache, md5_of, read_locks
from graftwork.errors import FEW, GraftworkError, StateError, listed
from graftwork.files import sha256_of_file
from graftwork.layout import Layout
from graftwork.params_file import load_settings
from graftwork.workspace import PARAMS
from graftwork.yaml_source import read_yaml
from graftwork_flows.console import say
from graftwork_flows.pipeline import RUN, Declared, Pipeline

MISSING = object()


@dataclass(frozen=True)
class Finding:
    """What became of one stage, or one kind of private file."""

    name: str
    state: Literal["ok", "differs", "not run"]
    looked_at: str
    differences: tuple[str, ...] = ()


def print_verification(root: Path, *, remote: bool, as_json: bool) -> None:
    """Print a line for each stage, and what differs. Raises StateError where anything does."""
    found = verify(root, remote=remote)
    if as_json:
        say(json.dumps([asdict(one) for one in found], indent=2))
    for one in () if as_json else found:
        say(f"{one.name:<24} {one.state:<8} {one.looked_at}")
        for line in one.differences:
            say(f"{'':<24}   {line}")
    different = [one.name for one in found if one.state == "differs"]
    if different:
        raise StateError(
            f"{len(different)} of {len(found)} differ from what is recorded: {listed(different, FEW)}", where=str(root),
            fix="dvc checkout brings recorded outputs back; graftwork run makes the record anew",
        )  # fmt: skip


def verify(root: Path, *, remote: bool = False) -> list[Finding]:
    """Look at every stage of dvc.yaml, the sweep's too if it was run, and at what .graftwork keeps."""
    pipeline, locks = Pipeline(root, load_settings(root / PARAMS).remote.name), read_locks(root)
    declared = pipeline.declared()
    swept = any(stage.name in locks for stage in declared if stage.file != RUN)
    look = _Look(pipeline, root)
    found = [look.at(stage, locks.get(stage.name)) for stage in declared if stage.file == RUN or swept]
    layout = Layout(root)
    found += [_checkpoints(layout), _features(layout), _engines(layout)]
    return [*found, look.at_remote(declared, locks)] if remote else found


@dataclass
class _Look:
    """Hash and compare, each path once."""

    pipeline: Pipeline
    root: Path
    _hashes: dict[Path, str | None] = field(default_factory=dict)
    _values: dict[Path, Mapping[str, Any]] = field(default_factory=dict)

    def at(self, stage: Declared, locked: LockedStage | None) -> Finding:
        """Compare a stage, as it stands and as its files are, with its record."""
        keys = sum(len(keys) for keys in stage.parameters.values())
        looked_at = f"{len(stage.dependencies)} dependencies, {keys} settings, {len(stage.outputs)} outputs"
        if locked is None:
            return Finding(stage.name, "differs" if stage.file == RUN else "not run", looked_at, ("not recorded",))
        differences = [
            *self._definition(stage, locked),
            *self._files("dependency", stage.dependencies, locked.dependencies),
            *self._settings(stage, locked),
            *self._files("output", stage.outputs, locked.outputs),
        ]
        return Finding(stage.name, "differs" if differences else "ok", looked_at, tuple(differences))

    def _definition(self, stage: Declared, locked: LockedStage) -> Iterator[str]:
        if stage.command != locked.command:
            yield f"command: {stage.command!r}, recorded {locked.command!r}"
        for kind, now, then in (
            ("dependency", stage.dependencies, locked.dependencies), ("output", stage.outputs, locked.outputs),
        ):  # fmt: skip
            for path in sorted(now.keys() ^ then.keys()):
                yield f"{kind} {path}: {'not in the record' if path in now else 'in the record alone'}"

    def _files(self, kind: str, now: Mapping[str, Path], then: Mapping[str, str]) -> Iterator[str]:
        for path in (path for path in now if path in then):
            found = self._md5(now[path])
            if found is None:
                yield f"{kind} {path}: missing"
            elif found != then[path]:
                yield f"{kind} {path}: {found}, recorded {then[path]}{self._which(now[path], then[path])}"

    def _which(self, folder: Path, recorded: str) -> str:
        """Name the files of a folder that differ, where DVC's cache knows what they were."""
        then = listing_in_cache(self.pipeline.cache, recorded)
        if then is None or not folder.is_dir():
            return ""
        now = files_of(folder, self.pipeline.ignored)
        names = [name for name in sorted(now.keys() | then.keys()) if now.get(name) != then.get(name)]
        return f" ({listed(names, FEW)})"

    def _settings(self, stage: Declared, locked: LockedStage) -> Iterator[str]:
        for file, keys in stage.parameters.items():
            recorded = locked.parameters.get(file, {})
            for key in keys:
                now, then = self._value(file, key), recorded.get(key, MISSING)
                if now is MISSING or then is MISSING or now != then:
                    yield f"setting {key}: {_text(now)}, recorded {_text(then)}"

    def _value(self, file: str, key: str) -> Any:
        path = self.root / file
        if path not in self._values:
            self._values[path] = read_yaml(path).values
        found: Any = self._values[path]
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return MISSING
            found = found[part]
        return found

    def _md5(self, path: Path) -> str | None:
        if path not in self._hashes:
            self._hashes[path] = md5_of(path, self.pipeline.ignored)
        return self._hashes[path]

    def at_remote(self, declared: list[Declared], locks: Mapping[str, LockedStage]) -> Finding:
        """Ask the remote for every recorded output, and every file of those that are folders."""
        name, wanted = self.pipeline.remote(), dict[str, str]()
        for stage in (stage for stage in declared if stage.name in locks):
            for path in stage.cached & locks[stage.name].outputs.keys():
                md5 = locks[stage.name].outputs[path]
                wanted[md5] = path
                listing = listing_in_cache(self.pipeline.cache, md5) or {}
                if md5.endswith(".dir") and self._md5(stage.outputs[path]) == md5:
                    listing = files_of(stage.outputs[path], self.pipeline.ignored)
                wanted |= {found: f"{path}/{file}" for file, found in listing.items()}
        missing = sorted(wanted[md5] for md5 in self.pipeline.not_at_remote(wanted))
        differences = tuple(f"not at the remote: {path}" for path in missing)
        return Finding(f"remote {name}", "differs" if missing else "ok", f"{len(wanted)} files", differences)


def _text(value: object) -> str:
    return "missing" if value is MISSING else json.dumps(value, default=str)


def _checkpoints(layout: Layout) -> Finding:
    """Compare what unfinished trainings left with their manifests."""
    folders = sorted(path.parent for path in layout.checkpoints().rglob("manifest.json"))
    return _private("checkpoints", layout, folders, "manifest.json", lambda sums: sums)


def _features(layout: Layout) -> Finding:
    """Compare cached activations with their entries."""
    folders = sorted(path.parent for path in layout.features.rglob("entry.json"))
    return _private("features", layout, folders, "entry.json", lambda entry: {"activations.npy": entry["sha256"]})


def _private(name: str, layout: Layout, folders: list[Path], manifest: str, sums: Any) -> Finding:
    differences = []
    for folder in folders:
        try:
            expected = sums(json.loads((folder / manifest).read_text(encoding="utf-8"))).items()
            wrong = [file for file, sha in expected if sha256_of_file(folder / file) != sha]
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            wrong = [f"{manifest}: {error}"]
        differences += [f"{folder.relative_to(layout.root)}: {file} isn't what was written" for file in wrong]
    return Finding(name, "differs" if differences else "ok", f"{len(folders)} in .graftwork", tuple(differences))


def _engines(layout: Layout) -> Finding:
    """Read every recorded choice of what is trained on."""
    names = sorted(path.stem for path in layout.engine("x").parent.glob("*.json"))
    differences = []
    for name in names:
        try:
            read_choice(layout, name)
        except GraftworkError as error:
            differences.append(f"{name}: {error.what}")
    return Finding("engine", "differs" if differences else "ok", f"{len(names)} in weights/engine", tuple(differences))
