"""Open a workspace: its settings, its plugins and its files, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from graftwork.desk import find_mirror
from graftwork.errors import DataError, MisfitError, StateError
from graftwork.file_names import require_utf8_names
from graftwork.files import require_writable, write_json
from graftwork.layout import Layout
from graftwork.params_file import load_settings, local_plugins_of
from graftwork.progress import Progress, Quiet
from graftwork.registry import load_plugins
from graftwork.run_records import recorded
from graftwork.stages import WAITING, Context, stages
from graftwork.temporaries import sweep

PARAMS = "params.yaml"


def open_workspace(root: Path, overrides: Sequence[str] = (), progress: Progress | None = None) -> Context:
    """Read the settings of the workspace at `root` and load its plugins. Raises SettingsError."""
    local = local_plugins_of(root / PARAMS, overrides)
    registry = load_plugins(root / local if local else None)
    settings = load_settings(root / PARAMS, registry, overrides)
    return Context(settings, registry, Layout(root), progress or Quiet())


def run_stage(context: Context, name: str, item: str) -> None:
    """Run one stage; its outputs are replaced whole, or not at all."""
    found = stages().get(name)
    if found is None:
        raise StateError(f"There is no stage {name!r}", expected=", ".join(stages()), fix="graftwork stage --help")
    _check_item(context, name, item)
    noted = recorded(context.layout, name, item, context.asked_by) if context.team.leads else nullcontext()
    with misfits_kept(context.layout, f"{name}-{item}"), noted:
        if name in WAITING:
            found(context, item)
        else:
            context.compute(lambda: found(context, item))


@contextmanager
def misfits_kept(layout: Layout, name: str) -> Iterator[None]:
    """Where weights don't fit, write down what became of every tensor, and let the error say where that is."""
    file = layout.misfits / f"{name}.json"
    file.unlink(missing_ok=True)
    try:
        yield
    except MisfitError as error:
        write_json(file, error.account)
        error.where += f"; every tensor: {file.resolve()}"
        raise


def sweep_leftovers(layout: Layout) -> list[Path]:
    """Remove what killed processes left half-written, and put back what they moved aside; return what it was.

    To be called by who holds the workspace. Looks into folders that stages write, never among a user's own images.
    """
    data, private = layout.root / "data", layout.private
    others = (layout.worktrees, layout.away)  # workspaces, with locks of their own
    return sweep(
        [
            (layout.root, 0), (data / "raw", 0), (data / "prepared", 1), (data / "features", 0), (data / "origins", 1),
            (layout.root / "weights", 1), (layout.report, 1), (layout.sweep, 1), (layout.root / "exported", 0),
            (private, 0), *((folder, 3) for folder in private.glob("*/") if folder not in others),
        ]
    )  # fmt: skip


def check_before_run(context: Context, *, sweeping: bool = False, training: bool = True) -> None:
    """Find what would fail later: folders, data paths; where there is training, the model, the optimizers, the stacks.

    Of a sweep, the stacks from every source. Raises SettingsError, DataError or StateError. Takes about as long as
    importing torch and building a model.
    """
    layout = context.layout
    for folder in (layout.root / "data", layout.root / "weights", layout.report, layout.private):
        require_writable(folder)
    check_paths(context)
    if not training:
        return
    from graftwork.rehearsal import rehearse, rehearse_sweep

    with misfits_kept(layout, "rehearsal"):
        rehearse(context.settings, context.registry)
        if sweeping:
            rehearse_sweep(context.settings, context.registry)


def check_paths(context: Context, *, pulls: bool = False) -> None:
    """Raise DataError where the settings name a path that isn't there, or DVC can't record; StateError for a mirror.

    Where a run begins with a pull (`pulls`), what `dvc add` tracks may come by that.
    """
    if context.settings.origins:
        find_mirror(context.layout.root, context.settings.mirror)
    for name, data in context.settings.data.items():
        if not (pulls and _tracked(context.layout.root / data.path)):
            _check_path(context, data.path, f"data.{name}.path", "a file or folder that the dataset plugin reads")
    for name, imported in context.settings.imports.items():
        if not (pulls and _tracked(context.layout.root / imported.path)):
            _check_path(context, imported.path, f"imports.{name}.path", "a weight file that the plugin reads")


def _tracked(path: Path) -> bool:
    """Tell whether `dvc add` tracks a path, or a folder that it lies in."""
    return any(folder.with_name(f"{folder.name}.dvc").is_file() for folder in (path, *path.parents) if folder.name)


def _check_path(context: Context, path: str, key: str, expected: str) -> None:
    """Raise DataError unless a path is there, its names in UTF-8, or below data/origins/<name>, which obtain makes."""
    whole = context.layout.root / path
    if context.layout.origin_of(path, context.settings.origins):
        return
    if not whole.exists():
        raise DataError(
            "The data is missing", where=f"{whole} (params.yaml, key {key})", expected=expected,
            fix="correct the path, or dvc pull; files from elsewhere are named under origins",
        )  # fmt: skip
    require_utf8_names(whole)


def _check_item(context: Context, name: str, item: str) -> None:
    settings = context.settings
    items = {
        "obtain": list(settings.origins),
        "import": list(settings.imports),
        "fetch": list(settings.data),
        "augment": list(settings.data),
        "measure": list(settings.data),
        "pretrain": list(settings.sources),
        "features": list(settings.sources),
        "score": list(settings.sources),
        "transfer": list(settings.strategies),
        "finetune": list(settings.strategies),
        "cells": [f"{source}-{strategy}" for source in settings.sources for strategy in settings.strategies],
    }.get(name, [""])
    if not items:
        raise StateError(
            f"The stage {name} has nothing to do here", where="params.yaml", expected="an item among its settings",
            fix=f"name one under {'origins' if name == 'obtain' else 'imports'}",
        )  # fmt: skip
    if item not in items:
        raise StateError(
            f"The stage {name} has no item {item!r}", expected=f"one of: {', '.join(items)}" if items[0] else "no item",
            fix=f"graftwork stage {name} {items[0]}".strip(),
        )  # fmt: skip
