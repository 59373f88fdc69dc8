"""Set up a workspace in a user's own folder: settings, stage graph, DVC, and git where it is asked for."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from graftwork.errors import SettingsError, StateError, did_you_mean
from graftwork.files import atomic_file, require_writable, write_text
from graftwork.schema import schema_text
from graftwork_flows.console import say
from graftwork_flows.own_params import EMBEDDED, Wish, own_params

OWN = {  # never written over unasked
    "params.yaml": "the settings, each with a comment",
    "dvc.yaml": "the stages",
    "prefect.yaml": "deployments, for a schedule with a worker",
}
OTHERS = {
    "params.schema.json": "by which editors complete params.yaml",
    "strategies/centre_logits.py": "a strategy of your own, as an example",
    ".gitignore": "",
    ".dvcignore": "",
    ".dvc/": "",
}


def initialise(
    folder: Path, wish: Wish | None = None, *, recipe: str | None = None, git: bool = False, overwrite: bool = False
) -> None:
    """Write a workspace that runs as it is: a recipe's, the user's own data's, or the embedded data's.

    Everything is looked at before anything is written. Raises StateError where a file is there already and the user
    doesn't want it written over; it is then kept beside the new one, with `.old` at the end of its name.
    """
    if git and not shutil.which("git"):
        raise StateError("git isn't installed", where=str(folder), fix="install it, or leave --git out")
    from graftwork_flows.listing import registry_at

    found: list[str] = []
    params = _template("params.yaml")
    if recipe is not None:
        params = _recipe(recipe).joinpath("params.yaml").read_text("utf-8")
    elif wish is not None:
        params, found = own_params(params, folder, wish, registry_at(folder))
    require_writable(folder)
    kept = _clear(folder, overwrite)
    write_text(folder / "params.yaml", params)
    for name in ("dvc.yaml", "prefect.yaml"):
        write_text(folder / name, _template(name))
    _write_missing(folder / "strategies" / "centre_logits.py", _template("centre_logits.py"))
    for name in ("gitignore", "dvcignore"):
        _append(folder / f".{name}", _template(name))
    data = _write_data(folder, params, recipe)
    write_text(folder / "params.schema.json", schema_text(registry_at(folder)))
    _version_control(folder, git)
    _write_missing(folder / ".dvc" / "plots" / "strategies.json", _template("plot.json"))
    for line in found:
        say(f"found: {line}")
    _tell(folder, data, kept)


def _tell(folder: Path, data: list[str], kept: list[str]) -> None:
    """Say what was written, and what comes next."""
    say(f"A workspace is in {folder}:")
    for name, what in (OWN | OTHERS | dict.fromkeys(data, "data") | dict.fromkeys(kept, "as it was before")).items():
        say(f"  {name:<28} {what}".rstrip())
    say(f"Next:{'' if folder == Path.cwd() else f' cd {shlex.quote(str(folder))}, then'}")
    say("  graftwork run                train, compare, report")
    say("  graftwork sweep              the same with fewer and more labels")


def recipes() -> dict[str, str]:
    """Return the recipes by name, each with the first line of its header."""
    folders = [entry for entry in _recipes().iterdir() if entry.joinpath("params.yaml").is_file()]
    first = {entry.name: entry.joinpath("params.yaml").read_text("utf-8").partition("\n")[0] for entry in folders}
    return {name: first[name].lstrip("# ") for name in sorted(first)}


def _recipes() -> Traversable:
    return files("graftwork_flows") / "recipes"


def _recipe(name: str) -> Traversable:
    known = recipes()
    if name not in known:
        raise SettingsError(
            f"There is no recipe {name!r}", expected=", ".join(known),
            fix=did_you_mean(name, known) or "graftwork init --recipes lists them",
        )  # fmt: skip
    return _recipes() / name


def _clear(folder: Path, overwrite: bool) -> list[str]:
    """Put aside files that would be written over, where the user wants that; return their new names."""
    there = [name for name in OWN if (folder / name).exists()]
    if there and not overwrite and not _agreed(there):
        raise StateError(
            f"There is {_several(there)} already; nothing was written", where=str(folder),
            fix="graftwork init in another folder, or --overwrite, which keeps them as *.old",
        )  # fmt: skip
    kept = []
    for name in there:
        names = (f"{name}.old{number or ''}" for number in range(1000))
        kept.append(next(old for old in names if not (folder / old).exists()))
        (folder / name).replace(folder / kept[-1])
    return kept


def _several(names: list[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1))


def _agreed(there: list[str]) -> bool:
    """Ask, where there is somebody to answer."""
    if not sys.stdin.isatty():
        return False
    import typer

    return typer.confirm(f"Write over {_several(there)}? The old ones are kept as *.old")


def _write_data(folder: Path, params: str, recipe: str | None) -> list[str]:
    """Put the embedded data, and a recipe's own files, where the settings name them; return their paths."""
    written = []
    if EMBEDDED in params:
        source = files("graftwork_plugins") / "data"
        _copy(source / Path(EMBEDDED).name, folder / EMBEDDED)
        write_text(folder / "data" / "LICENSE.fashion-mnist", (source / "LICENSE.fashion-mnist").read_text("utf-8"))
        written += [EMBEDDED, "data/LICENSE.fashion-mnist"]
    for file in _recipe(recipe).iterdir() if recipe else ():
        if file.name != "params.yaml" and file.is_file():
            _copy(file, folder / "data" / file.name)
            written.append(f"data/{file.name}")
    return written


def _copy(source: Traversable, target: Path) -> None:
    if target.is_file():
        return
    with atomic_file(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def _write_missing(path: Path, text: str) -> None:
    if not path.exists():
        write_text(path, text)


def _template(name: str) -> str:
    return (files("graftwork_flows") / "templates" / f"{name}.template").read_text("utf-8")


def _append(path: Path, lines: str) -> None:
    """Add the lines that a file doesn't hold yet."""
    present = path.read_text("utf-8").splitlines() if path.is_file() else []
    wanted = [line for line in lines.splitlines() if line not in present]
    write_text(path, "\n".join([*present, *wanted]) + "\n")


def _version_control(folder: Path, git: bool) -> None:
    """Set up DVC where it is missing; git too, where it is missing and asked for."""
    if git and _depth_in_git(folder) is None:
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    if (folder / ".dvc").is_dir():
        return
    depth = _depth_in_git(folder)
    kind = ["--no-scm"] if depth is None else ["--subdir"] if depth else []
    for arguments in (["init", "--quiet", *kind], ["config", "core.analytics", "false"]):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StateError(
                f"dvc {' '.join(arguments)} failed: {done.stderr.strip()}",
                where=str(folder),
                fix="run it by hand",
            )


def _depth_in_git(folder: Path) -> str | None:
    """Return `../` for each folder up to the top of a git repository; None outside of any, and without git."""
    if not shutil.which("git"):
        return None
    found = subprocess.run(["git", "rev-parse", "--show-cdup"], cwd=folder, capture_output=True, text=True, check=False)
    return None if found.returncode else found.stdout.strip()
