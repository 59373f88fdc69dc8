"""Does `auto` beat copying everything? On eight tasks: four label budgets, two draws of images each.

For every task a search on validation recommends a stack; then both are trained with seeds that the search hasn't seen,
and compared on the test images. The ledger grows from task to task, as in a workspace that is in use.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from benchmarks.measuring import Row
from graftwork.evidence import student_interval
from graftwork.images import LabelledImages
from graftwork.progress import Quiet
from graftwork.selection import Selector
from graftwork.settings import Engine
from graftwork.splits import label_budgets, split_images
from graftwork.stages import Context
from graftwork.stages.fetch import load_raw
from graftwork.stages.fitting import with_steps
from graftwork.stages.grafting import load_source_weights
from graftwork.stages.recommend import search_on
from graftwork.stages.score import score_on
from graftwork.stages.trials import Trials
from graftwork.storage import labelled
from graftwork.workspace import open_workspace
from graftwork_flows.launch import bring_up_to_date
from graftwork_plugins.strategies.auto import Auto
from graftwork_plugins.strategies.shortlist import REFERENCE, reference_stack

BUDGETS = (5, 10, 20, 50)
DRAWS = (1, 2)
SEEDS = (0, 1, 2, 3, 4)
TRAININGS = 40
MINIMUM_STEPS = 60


def recommendation_rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        subprocess.run(["graftwork", "init", str(root)], check=True, stdout=subprocess.DEVNULL)
        bring_up_to_date(root, ("augment", "score"), quiet=True)
        context = open_workspace(root)
        gains = dict(_gains(context))
    whole = _whole_row(list(gains.values()), 100 * context.settings.evidence.margin)
    return [*(_budget_row(budget, gains) for budget in BUDGETS), whole]


def _gains(context: Context) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield for each task how many points of test accuracy the recommended stack has over the plain copy."""
    for draw in DRAWS:
        engine = Engine(device="cpu", threads=1, precision="float32", memory_format="channels_last")
        drawn = replace(context, settings=context.settings.model_copy(update={"seed": draw, "engine": engine}))
        for budget, trials, test in _tasks(drawn):
            scores = score_on(drawn, trials.source, trials.train)
            found = Auto(trainings=TRAININGS).recommend(search_on(trials, scores))
            trials.test = test
            best, plain = (
                [trials.run(name, stack, seed, Quiet()).test_accuracy for seed in SEEDS]
                for name, stack in ((found.name, found.stack), (REFERENCE, reference_stack()))
            )
            gain = fmean(a - b for a, b in zip(best, plain, strict=True) if a is not None and b is not None)
            print(f"{budget} labels a class, draw {draw}: {found.name}, {100 * gain:+.1f} points", flush=True)
            yield (budget, draw), gain


def _tasks(context: Context) -> Iterator[tuple[int, Trials, LabelledImages]]:
    settings, data = context.settings, context.settings.data["target"]
    raw, _ = load_raw(context.layout.raw("target"))
    selector = Selector(context.registry.create("selection", data.selection))
    splits = split_images(raw, data, settings.seed, "benchmark", selector)
    source = load_source_weights(context, settings.source)
    for budget, indices in label_budgets(raw, data, settings.seed, BUDGETS, "benchmark", selector).items():
        train = labelled(raw, indices)
        training = with_steps(settings.finetune, len(train), MINIMUM_STEPS)
        yield (
            budget,
            Trials(context, source, train, labelled(raw, splits.validation), training),
            labelled(raw, splits.test),
        )


def _budget_row(budget: int, gains: dict[tuple[int, int], float]) -> Row:
    found = [100 * gain for (labels, _), gain in gains.items() if labels == budget]
    spread = f"{min(found):+.1f} to {max(found):+.1f}"
    return Row(f"auto over full_copy, points on test, {budget} labels a class", "–", f"{fmean(found):+.2f}", spread)


def _whole_row(gains: list[float], margin: float) -> Row:
    """Say whether the whole interval lies above a loss of `margin` points, which the report takes for none."""
    whole = student_interval([100 * gain for gain in gains], 0.95)
    interval = f"95 % interval {whole.low:+.2f} to {whole.high:+.2f}"
    what, aim = "auto over full_copy, points on test, all tasks", f"interval ≥ -{margin:g}"
    return Row(what, aim, f"{whole.mean:+.2f}", interval, whole.low >= -margin)
