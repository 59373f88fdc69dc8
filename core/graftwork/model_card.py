"""The card of an exported model: what it is, what it rests on, how it is used, and what it can't do.

Its head is what Hugging Face's hub reads (huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graftwork.agreement import takes_vectors
from graftwork.errors import StateError, listed
from graftwork.evidence import Interval
from graftwork.files import read_json
from graftwork.layout import SPLITS
from graftwork.lineage import Lineage
from graftwork.markdown import Ready, environment
from graftwork.provenance import locked_hashes
from graftwork.release import Release
from graftwork.stages import Context
from graftwork.verdicts import percent, points

NAMED_CLASSES = 200  # in the card; the files hold them all
COUNTED_CLASSES = 100


@dataclass(frozen=True)
class Gain:
    """What the strategy gained over scratch, and how it was judged."""

    student: Interval
    bootstrap: Interval
    verdict: str


@dataclass(frozen=True)
class Story:
    """What a workspace knows of a model beside its weights."""

    dataset: str
    origin: Mapping[str, Any]  # as the dataset's plugin tells it: URL, licence, sha256
    images: Mapping[str, tuple[int, ...]]  # split → of each class
    stack: tuple[str, ...]  # the strategy's plugins, with their settings
    accuracy: Interval  # on the test images, over seeds
    seed_accuracy: float  # of the exported seed alone
    scratch: Interval  # the control's accuracy
    gain: Gain | None  # None for scratch itself
    calibration_error: tuple[float, float]  # plain, and at the fitted temperatures
    seeds: int
    confidence: float
    hashes: Mapping[str, str]  # of the outputs that dvc.lock holds, by path
    lineage: Lineage | None = None  # how its weights came to be, step by step; by which code, if that was recorded


def tell(context: Context, release: Release) -> Story:
    """Gather the story of a model from the last run. Raises StateError where its report tells nothing of the model."""
    layout, settings = context.layout, context.settings
    card, report = read_json(layout.card("target")), read_json(layout.report / "metrics.json")
    figures, seeds = report["strategies"].get(release.strategy), report["target"].get("seed_numbers", [])
    if figures is None or release.seed not in seeds:
        raise StateError(
            f"The report tells nothing of {release.strategy} with seed {release.seed}",
            where=str(layout.report / "metrics.json"),
            expected=f"strategies {listed(report['strategies'])}; seeds {listed(map(str, seeds))}", fix="graftwork run",
        )  # fmt: skip
    errors = figures["calibration_error"]
    return Story(
        dataset=str(card["dataset"]),
        origin=card["origin"],
        images={split: tuple(card["splits"][split]) for split in SPLITS},
        stack=tuple(_use(use) for use in read_json(layout.start(release.strategy) / "manifest.json")["stack"]),
        accuracy=_interval(figures["accuracy"]),
        seed_accuracy=figures["accuracy"]["per_seed"][seeds.index(release.seed)],
        scratch=_interval(report["strategies"]["scratch"]["accuracy"]),
        gain=_gain(figures.get("gain")),
        calibration_error=(errors["plain"], errors["scaled"]),
        seeds=len(figures["accuracy"]["per_seed"]),
        confidence=settings.evidence.confidence,
        hashes=locked_hashes(layout.root / "dvc.lock"),
    )


def render_card(release: Release, story: Story, differences: Mapping[str, float], *, weights: bool, name: str) -> str:
    """Return README.md of a folder called `name`.

    `differences` tells which forms were checked, and how exact they are; `weights`, whether there is model.safetensors.
    """
    classes = release.contract.classes
    counts = list(zip(classes, *(story.images[split] for split in SPLITS), strict=True))
    found = environment()
    found.filters |= {"percent": percent, "points": lambda gain: Ready(points(gain)), "interval": _bounds}
    page = found.get_template("model_card.md.j2")
    return page.render(
        name=name, release=release, contract=release.contract, story=story, differences=differences, weights=weights,
        splits=SPLITS, totals=[sum(story.images[split]) for split in SPLITS],
        counts=counts[:COUNTED_CLASSES], uncounted=len(counts[COUNTED_CLASSES:]),
        named=classes[:NAMED_CLASSES], unnamed=len(classes[NAMED_CLASSES:]),
        record=story.lineage.record if story.lineage else None,
        hashes={path: md5 for path, md5 in story.hashes.items() if _belongs(path, release.strategy)},
        source=release.contract.provenance.get("source"), vectors=takes_vectors(release.contract),
    )  # fmt: skip


def _belongs(path: str, strategy: str) -> bool:
    """Tell whether an output in dvc.lock is something that this model was made of."""
    data, weights = path.startswith(("data/origins/", "data/raw/")), path.endswith("/model.safetensors")
    return data or weights or path in (f"weights/start/{strategy}", f"weights/target/{strategy}")


def _use(use: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key}: {value}" for key, value in use["settings"].items())
    return f"{use['name']} ({settings})" if settings else str(use["name"])


def _gain(found: Mapping[str, Any] | None) -> Gain | None:
    if found is None:
        return None
    wider = Interval(found["mean"], found["bootstrap"]["low"], found["bootstrap"]["high"])
    return Gain(_interval(found), wider, found["verdict"])


def _interval(found: Mapping[str, float]) -> Interval:
    return Interval(found["mean"], found["low"], found["high"])


def _bounds(interval: Interval) -> Ready:
    return Ready(f"{percent(interval.mean)} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]")
