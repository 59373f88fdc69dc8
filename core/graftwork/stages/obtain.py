"""Obtain: get files from elsewhere, a mirror before the network, through an origin plugin."""

from __future__ import annotations

from pathlib import Path

from graftwork.desk import TOLD, Desk, find_mirror
from graftwork.errors import DataError, StateError
from graftwork.files import atomic_folder, make_folder, write_json
from graftwork.stages import Context

IGNORE = ".dvcignore"


def require_obtained(context: Context, path: str) -> None:
    """Raise StateError where a path is an origin's that isn't there yet."""
    name = context.layout.origin_of(path, context.settings.origins)
    if name and not context.layout.origin(name).exists():
        raise StateError(
            f"The files of the origin {name!r} aren't here yet", where=str(context.layout.origin(name)),
            fix=f"graftwork stage obtain {name}, or graftwork run, or dvc pull",
        )  # fmt: skip


def obtain(context: Context, name: str) -> None:
    """Write data/origins/<name>: the files, whole or not at all, and origin.json, which says what they are.

    Raises DataError for files whose names have a meaning there.
    """
    layout, settings = context.layout, context.settings
    make_folder(layout.downloads)
    desk = Desk(find_mirror(layout.root, settings.mirror), layout.downloads, context.progress)
    plugin = context.registry.create("origin", settings.origins[name])
    with atomic_folder(layout.origin(name)) as folder:
        told = plugin.obtain(folder, desk)
        _require_no_meaning(folder)
        write_json(folder / TOLD, {"origin": settings.origins[name].name, **told})
        files = [file for file in folder.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        context.progress.log(f"{len(files) - 1:,} files, {size / 1e6:,.1f} MB")


def _require_no_meaning(folder: Path) -> None:
    """Raise DataError for a file called as our own record, and for one by which DVC would leave others out."""
    ours = [folder / TOLD] if (folder / TOLD).exists() else []
    for path in (*ours, *folder.rglob(IGNORE)):
        why = "the record of where the files are from" if path.name == TOLD else "the list of what DVC shall leave out"
        raise DataError(
            f"What was obtained holds {path.relative_to(folder)}, and that name means {why}",
            expected=f"no {TOLD} at the top, and no {IGNORE} anywhere",
            fix="give a single file another name (url: name); pack an archive anew without it, or unpack it yourself "
            "and name that folder as path under data",
        )  # fmt: skip
