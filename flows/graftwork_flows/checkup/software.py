"""Is what is installed what Graftwork needs, and can it be imported?"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from graftwork import __version__
from graftwork_flows.doctor import Check, Line, is_workspace

OLDEST = (3, 11)
TOLD = ("torch", "timm", "prefect", "dvc", "fastapi", "pluggy", "pydantic")
EXTRAS = {
    "keras": "h5py", "onnx": "onnxruntime", "parquet": "pyarrow", "s3": "dvc-s3", "dask": "prefect-dask",
    "ray": "prefect-ray", "ddp": "accelerate", "mlflow": "mlflow-skinny", "dvclive": "dvclive",
}  # fmt: skip


def python(_root: Path) -> Iterator[Line]:
    """Tell the interpreter, and where it is."""
    text = f"{platform.python_version()} in {sys.prefix}; graftwork {__version__}"
    if sys.version_info < OLDEST:
        yield Line("broken", "python", text, "use Python 3.11 or newer")
    else:
        yield Line("ok", "python", text)


def packages(_root: Path) -> Iterator[Line]:
    """Compare every dependency with the bounds that this version of Graftwork has."""
    from packaging.requirements import Requirement

    told, wrong = [], False
    for requirement in map(Requirement, requires("graftwork") or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = ""
        wanted = f"{requirement.name}{requirement.specifier}"
        if not found or not requirement.specifier.contains(found, prereleases=True):
            wrong = True
            text = f"{requirement.name} {found or 'is not installed'}, needed is {wanted}"
            yield Line("broken", "packages", text, f"pip install '{wanted}'")
        if requirement.name in TOLD:
            told.append(f"{requirement.name} {found}")
    if not wrong:
        yield Line("ok", "packages", ", ".join(told))


def extras(_root: Path) -> Iterator[Line]:
    """Tell which optional packages are there."""
    found, missing = [], []
    for extra, package in EXTRAS.items():
        try:
            found.append(f"{extra} ({package} {version(package)})")
        except PackageNotFoundError:
            missing.append(extra)
    yield Line("ok", "extras", f"{', '.join(found) or 'none'}; not installed: {', '.join(missing) or 'none'}")


def torch(_root: Path) -> Iterator[Line]:
    """Import torch and timm, as every training does."""
    try:
        import torch

        from graftwork.torchvision_operators import define_missing

        define_missing()
        import timm
    except Exception as error:  # a CUDA build without its libraries raises OSError, a mismatch RuntimeError
        text = f"can't be imported: {type(error).__name__}: {error}"
        yield Line("broken", "torch", text.partition("\n")[0], "pip install 'torch>=2.10,<2.14' timm")
        return
    yield Line("ok", "torch", f"{torch.__version__}, timm {timm.__version__}: both can be imported")


def plugins(root: Path) -> Iterator[Line]:
    """Load every plugin, local ones too."""
    from graftwork_flows.listing import registry_at

    registry = registry_at(root)
    for origin, reason in registry.failures.items():
        text = f"{origin} can't be loaded: {reason}".partition("\n")[0]
        yield Line("broken", "plugins", text, "mend, upgrade or uninstall it")
    yield Line("ok", "plugins", f"{len(registry.plugins)} can be used")


def settings(root: Path) -> Iterator[Line]:
    """Read params.yaml with the plugins that it names."""
    if not is_workspace(root):
        yield Line("ok", "settings", f"{root} is no workspace; graftwork init makes one")
        return
    from graftwork.workspace import check_paths, open_workspace

    context = open_workspace(root)
    strategies = ", ".join(context.settings.strategies)
    yield Line("ok", "settings", f"params.yaml can be read: strategies {strategies}")
    check_paths(context, pulls=context.settings.remote.pull)
    yield Line("ok", "data", f"{len(context.settings.data) + len(context.settings.imports)} paths are there")


CHECKS: tuple[Check, ...] = (python, packages, extras, torch, plugins, settings)
