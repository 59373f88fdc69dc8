"""The folder of a user's own plugins in a new workspace; what else lies in the user's folder is never executed."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import files
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from graftwork.errors import SettingsError
from graftwork.files import write_text
from graftwork.params_file import local_plugins_of
from graftwork.registry import Registry, load_plugins
from graftwork.workspace import PARAMS

NAMES = ("strategies", "graftwork_strategies")
EXAMPLE = "centre_logits.py"


def chosen(folder: Path) -> str:
    """Return what params.yaml shall name as `local_plugins`: a folder with nothing in it but our example.

    But if a params.yaml that is there names some, the user wants them loaded: these.
    """
    with suppress(SettingsError):  # whatever else is wrong with it: it will be put aside
        named = local_plugins_of(folder / PARAMS)
        if named and (folder / named).exists():
            return named
    more = (f"{NAMES[-1]}_{number}" for number in range(2, 1000))
    return next(name for name in chain(NAMES, more) if _is_ours(folder / name))


def loaded(folder: Path, local: str) -> Registry:
    """Return the plugins that the workspace will have, before anything is written. Raises PluginError."""
    if (folder / local).exists():
        return load_plugins(folder / local)
    with TemporaryDirectory() as example:
        write_text(Path(example) / EXAMPLE, _example())
        return load_plugins(Path(example))


def write_example(folder: Path, local: str) -> dict[str, str]:
    """Write an example into a new folder; return it as a path with what it is, nothing where there was a folder."""
    if (folder / local).exists():
        return {}
    write_text(folder / local / EXAMPLE, _example())
    return {f"{local}/{EXAMPLE}": "a strategy of your own, as an example"}


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder isn't there, or holds just what an earlier `init` wrote."""
    if not folder.is_dir():
        return not folder.exists()
    found = [path for path in folder.iterdir() if path.name != "__pycache__"]
    return [path.name for path in found] == [EXAMPLE] and _is_example(found[0])


def _is_example(path: Path) -> bool:
    return path.is_file() and path.read_bytes() == _example().encode()


def _example() -> str:
    return (files("graftwork_flows") / "templates" / f"{EXAMPLE}.template").read_text("utf-8")
