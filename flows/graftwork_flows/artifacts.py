"""What the Prefect UI shows of a finished run: a summary with a picture, and a table of strategies."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from graftwork import __version__
from graftwork.errors import GraftworkError
from graftwork.files import read_json, sha256_of_file, write_json
from graftwork.layout import Layout
from graftwork.markdown import as_code, escaped, table
from graftwork.pictures import confusion_png_url, curves_png_url, gains_png_url
from graftwork.verdicts import percent, size
from graftwork_flows.partial import Partial

if TYPE_CHECKING:
    from graftwork.data_check import DataCheck

TORN = re.compile(r"(?<=[\d,–]) (?=[%\\+−\-–\dkMGb])")  # where a figure in a narrow cell would be torn apart
NO_BREAK = "\N{NO-BREAK SPACE}"


def publish(layout: Layout) -> str:
    """Create the artifacts from report/ and return the verdict."""
    return _publish(layout, layout.report, layout.report / "report.html", {})


def publish_partial(layout: Layout, partial: Partial) -> str:
    """Create the same artifacts from a partial report; they say what is missing."""
    return _publish(layout, partial.folder, partial.page, partial.missing)


def publish_check(check: DataCheck) -> str:
    """Create the artifacts of a check of the data and return its verdict."""
    create_markdown_artifact(key="data-check", markdown=check.markdown(), description="Can this data be trained on?")
    create_table_artifact(key="data", table=check.rows(), description="Every data set's figures")
    return check.verdict()


def _publish(layout: Layout, folder: Path, page: Path, missing: Mapping[str, str]) -> str:
    metrics = read_json(folder / "metrics.json")
    metrics["strategies"] = dict(sorted(metrics["strategies"].items(), key=_rank))
    rows = [_row(name, found) for name, found in metrics["strategies"].items()]
    rows += [dict.fromkeys(rows[0], "–") | {"strategy": name, "verdict": "missing"} for name in missing]
    create_markdown_artifact(
        key="transfer-report", markdown=_summary(metrics, rows, layout, folder, page, missing),
        description="Did transferring help?",
    )  # fmt: skip
    create_table_artifact(key="strategies", table=rows, description="Every strategy against training from scratch")
    return str(metrics["verdict"])


def publish_sweep(layout: Layout) -> str:
    """Create the artifacts from sweep/metrics.json and return the verdict."""
    metrics = read_json(layout.sweep / "metrics.json")
    rows = [
        _sweep_row(source, strategy, budgets)
        for source, strategies in metrics["sources"].items()
        for strategy, budgets in sorted(strategies.items(), key=lambda item: item[0] != "scratch")
    ]
    lines = [f"- {line}" for line in metrics["verdict"]]
    report = f"The whole report: `{layout.sweep / 'report.html'}`"
    create_markdown_artifact(
        key="sweep-report", markdown="\n".join([*lines, "", report]), description="With how few labels does it help?"
    )
    create_table_artifact(
        key="sweep", table=rows, description="Test accuracy, and gain over scratch, by labels a class"
    )
    return " ".join(metrics["verdict"])


def _sweep_row(source: str, strategy: str, budgets: dict[str, dict[str, Any]]) -> dict[str, str]:
    def told(found: dict[str, Any]) -> str:
        gain = found.get("gain")
        return percent(found["accuracy"]["mean"]) + (f" ({100 * gain['mean']:+.1f}, {gain['verdict']})" if gain else "")

    return {"source": source, "strategy": strategy} | {budget: told(found) for budget, found in budgets.items()}


def _summary(
    metrics: dict[str, Any], rows: list[dict[str, str]], layout: Layout, folder: Path, page: Path,
    missing: Mapping[str, str],
) -> str:  # fmt: skip
    target, source = metrics["target"], metrics["source"]["accuracy"]
    told = percent(source) if source is not None else "trained elsewhere"
    first, _, others = metrics["verdict"].partition(" images. ")
    gains, curves, confusion = _pictures(layout, folder, metrics)
    lacking = "".join(f"- {escaped(name)} is missing: {escaped(why)}\n" for name, why in missing.items())
    return f"""## {escaped(first)}{" images." if others else ""}

{escaped(others)}

{"**This report is partial.**" if missing else ""}

{lacking}

{TORN.sub(NO_BREAK, table(rows))}

![Test accuracy of each strategy: a dot for each seed, the mean with its interval]({gains})

Source model: {told}. Target: {target["training_images"]} labelled training images,
{target["test_images"]} test images, read once by this run. Intervals are over {target["seeds"]} paired seeds; the one
"with test images" covers the draw of these too.

### Learning curves

![Validation accuracy against epoch, a panel for each strategy, scratch dashed behind it]({curves})

Mean over seeds; the band runs from the lowest seed to the highest.

### What is taken for what

![Confusion matrix of the chosen strategy, its colour the share of the true class]({confusion})

Test images under {escaped(metrics["chosen"])}, the strategy that validation chose, counted over all seeds.

The whole report: {as_code(page)}{"" if missing else " (`graftwork report --open`)"}
"""


def _pictures(layout: Layout, folder: Path, metrics: dict[str, Any]) -> list[str]:
    """Return the data URLs of accuracies, learning curves and confusion matrix."""
    history, confusion = folder / "history.csv", folder / "confusion.csv"
    names = list(metrics["strategies"])  # in one order, so that a strategy has one colour
    return [
        _kept(layout, "gains", json.dumps(metrics["strategies"]), lambda: gains_png_url(metrics)),
        _kept(layout, "curves", sha256_of_file(history) + json.dumps(names), lambda: curves_png_url(history, names)),
        _kept(layout, "confusion", sha256_of_file(confusion), lambda: confusion_png_url(confusion)),
    ]


def _kept(layout: Layout, name: str, of: str, draw: Callable[[], str]) -> str:
    """Return a picture's data URL. It is drawn once for the same figures: matplotlib takes its time to come up."""
    drawn_of = hashlib.sha256(json.dumps([__version__, of]).encode()).hexdigest()
    place = layout.private / "pictures" / f"{name}.json"
    if place.is_file():
        with suppress(GraftworkError, KeyError, TypeError):
            kept = read_json(place)
            if kept["of"] == drawn_of:
                return str(kept["url"])
    url = draw()
    write_json(place, {"of": drawn_of, "url": url})
    return url


def _rank(entry: tuple[str, dict[str, Any]]) -> tuple[bool, float]:
    """Sort the control first, then the best."""
    name, found = entry
    return name != "scratch", -found["accuracy"]["mean"]


def _row(name: str, found: dict[str, Any]) -> dict[str, str]:
    accuracy, gain = found["accuracy"], found.get("gain")
    return {
        "strategy": name,
        "accuracy": percent(accuracy["mean"]),
        "interval": f"{100 * accuracy['low']:.1f} – {percent(accuracy['high'])}",
        "gain over scratch": f"{100 * gain['mean']:+.1f} {_range(gain)}" if gain else "–",
        "with test images": _range(gain["bootstrap"]) if gain else "–",
        "verdict": _verdict(gain) if gain else "control",
        "trainable": percent(found["trainable_share"]),
        "stored": size(found["cost"]["stored_bytes"]),
    }


def _range(interval: dict[str, float]) -> str:
    return f"[{100 * interval['low']:+.1f}, {100 * interval['high']:+.1f}]"


def _verdict(gain: dict[str, Any]) -> str:
    """Return the verdict; where the interval lies off zero and yet decides nothing, why."""
    undone = gain["verdict"] == "inconclusive" and (gain["low"] > 0 or gain["high"] < 0)
    return "inconclusive once corrected for all strategies" if undone else str(gain["verdict"])
