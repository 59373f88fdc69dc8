"""Print a model's answers to picture files as they come."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from graftwork.choice import usable_choice
from graftwork.engine import prepare
from graftwork.errors import DataError, SettingsError, listed
from graftwork.names import printable
from graftwork.prediction import Answer, Refusal, answers
from graftwork.predictors import Ensemble, Predictor, from_release, open_model
from graftwork.registry import Registry, load_plugins
from graftwork.release import choose_release, every_release
from graftwork.workspace import open_workspace
from graftwork_flows.console import say
from graftwork_flows.listing import registry_at

WIDEST = 40  # characters of a column


def print_predictions(
    root: Path, paths: Sequence[Path], strategy: str | None, seed: int | None, model: Path | None, *, ensemble: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Answer every picture that can be read. Raises DataError at the end when some can't."""
    if (model is not None and (strategy or seed is not None or ensemble)) or (ensemble and seed is not None):
        raise SettingsError(
            "Two models are named", expected="--model alone; or --strategy, with --seed or --ensemble",
            fix="leave one of them out",
        )  # fmt: skip
    predictor = open_model(model, _plugins(root)) if model else _of_workspace(root, strategy, seed, ensemble)
    show = _as_json if as_json else table(predictor.contract.classes, paths)
    refused = _print(answers(predictor, paths), show)
    if refused:
        raise DataError(
            f"{len(refused)} paths have no answer: {listed([printable(one.file) for one in refused], 5)}",
            expected="pictures as JPEG, PNG, WebP, BMP, GIF or TIFF", fix="mend them, or leave them out",
        )  # fmt: skip


def table(classes: Sequence[str], paths: Sequence[Path]) -> Callable[[Answer], str]:
    """Return what makes a line of an answer, and print the heads. Widths are guessed, as files come one by one."""
    wide = min(WIDEST, max(len(printable(path)) for path in paths) + 16 * any(map(_is_folder, paths)))
    name = min(WIDEST, max(len(printable(one)) for one in classes))

    def line(answer: Answer) -> str:
        (best, sure), (other, less) = ((printable(classes[n]), 100 * answer.probabilities[n]) for n in answer.best)
        return f"{printable(answer.file):<{wide}}  {best:<{name}}  {sure:9.1f} %  {other}, {less:.1f} %"

    say(f"{'file':<{wide}}  {'class':<{name}}  probability  next best")
    return line


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it will be refused in its turn
        return False


def _plugins(root: Path) -> Registry:
    """Return the plugins here. A model from elsewhere needs no workspace: a broken one is told of and passed over."""
    try:
        return registry_at(root)
    except SettingsError as error:
        where = f" ({error.where})" if error.where else ""
        print(f"without the plugins of this workspace: {error.what}{where}", file=sys.stderr, flush=True)
        return load_plugins()


def _of_workspace(root: Path, strategy: str | None, seed: int | None, ensemble: bool) -> Predictor:
    context = open_workspace(root)
    releases = every_release(context, strategy) if ensemble else [choose_release(context, strategy, seed)]
    machine = prepare(usable_choice(context.settings, context.layout, "target"))
    members = [from_release(release, context.registry, machine) for release in releases]
    return Ensemble(members) if ensemble else members[0]


def _print(found: Iterable[Answer | Refusal], show: Callable[[Answer], str]) -> list[Refusal]:
    """Print answers to standard output and refusals to standard error, each as it comes; return the refusals."""
    refused = []
    for one in found:
        if isinstance(one, Refusal):
            print(f"no answer: {printable(one.file)}: {printable(one.why)}", file=sys.stderr, flush=True)
            refused.append(one)
        else:
            say(show(one))
    return refused


def _as_json(answer: Answer) -> str:
    """Return one line; what isn't ASCII is escaped, so that any name of a file survives."""
    best = answer.best[0]
    return json.dumps({
        "file": str(answer.file),
        "class": answer.classes[best],
        "probability": answer.probabilities[best],
        "probabilities": dict(zip(answer.classes, answer.probabilities, strict=True)),
    })  # fmt: skip
