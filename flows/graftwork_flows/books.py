"""Enter a run with new results into the books that `log` in params.yaml names; none of them can fail the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from graftwork.results import results_of
from graftwork.stages import Context


def enter(context: Context, run: str, home: Path, tell: Callable[[str], None]) -> None:
    """Let every `log` plugin enter the results, below `home` by default, and tell where; warn of one that fails."""
    for use in context.settings.log:
        try:
            results = replace(results_of(context.settings, context.layout, run), root=home)
            where = context.registry.create("log", use).log(results)
        except Exception as error:  # a server that doesn't answer is no reason to lose a run
            tell(f"warning: the run wasn't entered into {use.name}: {error}".replace("\n", " "))
        else:
            tell(f"entered into {use.name}: {where}")
