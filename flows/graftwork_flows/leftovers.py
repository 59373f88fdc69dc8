"""What earlier runs left: half-written files and torn locks of killed ones, outputs of strategies that are no more."""

from __future__ import annotations

import shutil

from graftwork.layout import Layout
from graftwork.settings import Settings
from graftwork.workspace import sweep_leftovers
from graftwork_flows import lock_files


def recovered(layout: Layout, former: str) -> str:
    """Mend what killed runs left, and return a sentence on it; nothing where there was none."""
    swept = sweep_leftovers(layout)
    mended = lock_files.mend(layout)
    if not (former or swept or mended):
        return ""
    what = [f"{len(swept)} half-written files removed" if swept else "", *(f"{name} restored" for name in mended)]
    return ", ".join(filter(None, [f"{former} died: going on from what it left" if former else "", *what]))


def remove_former(layout: Layout, settings: Settings) -> None:
    """Take outputs of strategies, sources and cells that are no longer in params.yaml out of the workspace.

    DVC's cache keeps them; lying about, they would count as something that the report is made of.
    """
    strategies, sources = set(settings.strategies), set(settings.sources)
    swept = settings.sweep.strategies if settings.sweep else ()
    known = settings.data.keys() | settings.imports.keys()
    cells = {layout.cells(source, name).stem for source in sources for name in swept}
    for example, names in (
        (layout.start("x"), strategies), (layout.tuned("x"), strategies),
        (layout.score("x"), sources), (layout.trunk_features("x"), sources), (layout.cells("x", "y"), cells),
        (layout.engine("x"), known), (layout.engine_figures("x"), known),
    ):  # fmt: skip
        for path in example.parent.iterdir() if example.parent.is_dir() else ():
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path)
            elif path.suffix == ".json" and path.stem not in names:
                path.unlink()
