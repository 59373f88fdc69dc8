"""Which images should get the few labels? Logistic regression on pixels, for every selection and some label budgets."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.measuring import Row
from graftwork.images import RawImages
from graftwork.pixel_features import pixel_features
from graftwork.registry import load_plugins
from graftwork.selection import Features, Selector
from graftwork.settings import ImageFormat, Use

DATA = Path(__file__).parents[1] / "plugins" / "graftwork_plugins" / "data" / "fashion_mnist.npz"
SOURCE = (0, 2, 5, 8, 9)  # the source's classes: of these there are enough to choose from
BUDGETS = (20, 100, 300)
DRAWS = range(5)
POOL = 5000  # images that might get a label


def selection_rows() -> list[Row]:
    registry = load_plugins()
    dataset = registry.create("dataset", Use.model_validate({"fashion_mnist": {"keep": SOURCE}}))
    raw: RawImages = dataset.load(DATA, ImageFormat(size=28, channels=1))
    features = pixel_features(raw.images, np.arange(len(raw.labels)))
    rows = []
    for plugin in registry.named("selection"):
        selector = Selector(plugin.create({}))
        for budget in BUDGETS:
            found = [100 * _accuracy(raw, features, selector, budget, draw) for draw in DRAWS]
            what = f"{plugin.name}, {budget} labels, % of the test images"
            rows.append(Row(what, "–", f"{fmean(found):.1f}", f"{min(found):.1f} to {max(found):.1f}"))
    return rows


def _accuracy(raw: RawImages, features: Features, selector: Selector, budget: int, draw: int) -> float:
    """Return how often a logistic regression is right that saw the first images of a selection."""
    from sklearn.linear_model import LogisticRegression

    assert raw.split is not None
    rng = np.random.default_rng(draw)
    pool, test = rng.permutation(np.flatnonzero(raw.split == "train"))[:POOL], np.flatnonzero(raw.split == "test")
    chosen = list(islice(selector.order(raw.images, raw.labels[pool], pool, rng), budget))
    scaled = features / features.std(axis=0).max()
    fitted = LogisticRegression(max_iter=300).fit(scaled[chosen], raw.labels[chosen])
    return float(fitted.score(scaled[test], raw.labels[test]))
