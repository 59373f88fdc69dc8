"""Set up a workspace in a user's own folder: settings, stage graph, DVC, and git where it is asked for."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from graftwork.errors import SettingsError, StateError, did_you_mean
from graftwork.files import atomic_file, require_writable, write_text
from graftwork.schema import schema_text
from graftwork_flows import own_plugins, version_control
from graftwork_flows.console import say
from graftwork_flows.own_data import path_of, quoted
from graftwork_flows.own_params import EMBEDDED, Wish, own_params
from graftwork_flows.params_text import ParamsText

SCHEMA = "params.schema.json"
OWN = {  # never written over unasked
    "params.yaml": "the settings, each with a comment",
    "dvc.yaml": "the stages",
    "prefect.yaml": "deployments, for a schedule with a worker",
    SCHEMA: "by which editors complete params.yaml",
}
PATTERNS = {".gitignore": "gitignore", ".dvcignore": "dvcignore"}  # added to, from these templates
FOLDERS = ("data", ".dvc", ".dvc/plots")


def initialise(
    folder: Path, wish: Wish | None = None, *, recipe: str | None = None, git: bool = False, overwrite: bool = False
) -> None:
    """Write a workspace that runs as it is: a recipe's, the user's own data's, or the embedded data's.

    Everything is looked at before anything is written. Raises StateError where a file is there already and the user
    doesn't want it written over; it is then kept beside the new one, with `.old` at the end of its name.
    """
    if git and not shutil.which("git"):
        raise StateError("git isn't installed", where=str(folder), fix="install it, or leave --git out")
    folder = path_of(str(folder), "FOLDER")
    plugins = own_plugins.chosen(folder)
    texts, found = _texts(folder, wish, recipe, plugins)
    require_writable(folder)
    _require_places(folder)
    kept = _clear(folder, texts, overwrite)
    for name, text in texts.items():
        write_text(folder / name, text)
    examples = own_plugins.write_example(folder, plugins)
    for name, template in PATTERNS.items():
        version_control.add_lines(folder / name, _template(template))
    data = _write_data(folder, texts["params.yaml"], recipe)
    version_control.set_up(folder, git)
    _write_missing(folder / ".dvc" / "plots" / "strategies.json", _template("plot.json"))
    for line in found:
        say(f"found: {line}")
    _tell(folder, OWN | examples | dict.fromkeys(data, "data") | dict.fromkeys(kept, "as it was before"))


def _texts(folder: Path, wish: Wish | None, recipe: str | None, plugins: str) -> tuple[dict[str, str], list[str]]:
    """Return the files of `OWN`, and what was found of the user's own data, in lines."""
    registry = own_plugins.loaded(folder, plugins)
    params, found = _template("params.yaml"), list[str]()
    if recipe is not None:
        params = _recipe(recipe).joinpath("params.yaml").read_text("utf-8")
    elif wish is not None:
        params, found = own_params(params, folder, wish, registry)
    params = str(ParamsText.of(params).with_value("local_plugins", quoted(plugins)))
    stages = {name: _template(name) for name in ("dvc.yaml", "prefect.yaml")}
    return {"params.yaml": params, **stages, SCHEMA: schema_text(registry)}, found


def _tell(folder: Path, written: dict[str, str]) -> None:
    """Say what was written, and what comes next."""
    say(f"A workspace is in {folder}:")
    for name, what in (written | dict.fromkeys([*PATTERNS, ".dvc/"], "")).items():
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


def _require_places(folder: Path) -> None:
    """Raise StateError where a file stands in a folder's place, or what has to be added to can't be."""
    for name in FOLDERS:
        if (folder / name).exists() and not (folder / name).is_dir():
            raise StateError(
                "There is a file where a folder should be; nothing was written", where=str(folder / name),
                expected="a folder, or nothing", fix="rename it, or graftwork init in another folder",
            )  # fmt: skip
    for name, template in PATTERNS.items():
        version_control.missing_lines(folder / name, _template(template))


def _clear(folder: Path, texts: Mapping[str, str], overwrite: bool) -> list[str]:
    """Put aside files that would be written over, where the user wants that; return their new names."""
    there = [name for name in OWN if (folder / name).exists() and not _is_same(folder / name, texts[name])]
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


def _is_same(file: Path, text: str) -> bool:
    """Tell of the schema, which nobody writes by hand, whether it is what would be written."""
    return file.name == SCHEMA and file.is_file() and file.read_bytes() == text.encode()


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
        _copy(source / "LICENSE.fashion-mnist", folder / "data" / "LICENSE.fashion-mnist")
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
