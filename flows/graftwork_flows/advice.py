"""Print what helps to decide before a run: sources ranked by their scores, and a recommended strategy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from graftwork.files import read_json
from graftwork.scoring import TITLES, SourceScores, mean_ranks
from graftwork.search import Recommendation, Stack
from graftwork.settings import Use
from graftwork.stages import Context
from graftwork.strategy import build_strategy
from graftwork.verdicts import figure
from graftwork_flows.console import LineProgress, say
from graftwork_flows.launch import bring_up_to_date
from graftwork_flows.runs import begin


def print_scores(root: Path, as_json: bool) -> None:
    """Bring the scores of every source up to date, and print them, the best source first."""
    bring_up_to_date(root, ("score",), quiet=as_json)
    found = read_scores(root)
    ranks = mean_ranks(found)
    if as_json:
        say(json.dumps({"mean_ranks": ranks, "sources": [one.as_json() for one in found]}, indent=2))
        return
    by_name = {one.source: one for one in found}
    rows = [["", *ranks, "untrained"]]
    for key, title in TITLES.items():
        rows.append([title, *(_score(by_name[name], key) for name in ranks), figure(found[0].untrained.get(key))])
    rows.append(["Fréchet distance", *(figure(by_name[name].frechet_distance) for name in ranks), ""])
    rows.append(["mean rank", *(f"{rank:.1f}" for rank in ranks.values()), ""])
    _table(rows)
    say(f"On {found[0].images} labelled images; higher is better, but for distance and rank. A score is a cheap gate,")
    say("never a verdict: graftwork run, or graftwork sweep, tells.")


def read_scores(root: Path) -> list[SourceScores]:
    """Return the scores of every source in params.yaml."""
    from graftwork.workspace import open_workspace

    context = open_workspace(root)
    return [SourceScores.from_json(read_json(context.layout.score(name))) for name in context.settings.sources]


def print_recommendation(root: Path, seconds: float, trainings: int | None, as_json: bool) -> None:
    """Search for a strategy, and print the winner with its reasons and the line for params.yaml."""
    bring_up_to_date(root, ("score", "augment"), quiet=as_json)
    with begin(root, goals=("score", "augment")) as run:
        context = replace(run.context, progress=LineProgress("recommend", run.stop, quiet=as_json))
        found = run.computing.submit(_search, context, seconds, trainings).result()
    if as_json:
        say(json.dumps(found.as_json(), indent=2))
        return
    _table(
        [["candidate", "validation", "trainings", "seconds each", ""]]
        + [
            [one.name, f"{sum(one.accuracies) / len(one.accuracies):.1%}", str(len(one.accuracies)),
             f"{one.seconds:.1f}", one.fate]
            for one in found.tried
        ]
    )  # fmt: skip
    for name, why in found.left_out.items():
        say(f"not tried: {name}: {why}")
    say(" ".join([f"Recommended: {found.name}.", *found.reasons]))
    say(f"In params.yaml, under strategies:  best: {as_yaml(found.stack)}")
    say("or, to have it found anew in every run:  best: [auto]")


def as_yaml(stack: Stack) -> str:
    """Return a stack as it would stand in params.yaml, on one line."""
    return f"[{', '.join(_use_as_yaml(use) for use in stack)}]"


def _use_as_yaml(use: Use) -> str:
    settings = ", ".join(f"{key}: {json.dumps(value).strip(chr(34))}" for key, value in use.settings.items())
    return f"{{{use.name}: {{{settings}}}}}" if settings else use.name


def _search(context: Context, seconds: float, trainings: int | None) -> Recommendation:
    from graftwork.stages.recommend import own_search

    chooser = Use.model_validate({"auto": {"seconds": seconds, "trainings": trainings}})
    return build_strategy("recommendation", [chooser], context.registry).recommend(own_search(context))


def _score(one: SourceScores, name: str) -> str:
    found = one.scores[name]
    return f"{figure(found.mean)} [{figure(found.low)}, {figure(found.high)}]" if found else "–"


def _table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        say("  ".join(cells).rstrip())
