"""The text of params.yaml for a user's own data: the template, with what a look at the data found filled in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from graftwork.errors import SettingsError
from graftwork.registry import Registry
from graftwork.survey import Outline
from graftwork_flows.own_data import Found, find
from graftwork_flows.own_weights import Weights, find_weights, model_entry
from graftwork_flows.params_text import ParamsText

STRATEGIES = (  # a trunk of millions of parameters is slow to train on two cores: so few, and one that is quick
    "scratch: []",
    "full_copy: [full_copy]",
    "features: [full_copy, feature_extract] # the head alone, on features computed once: seconds",
)
FEW = 200  # labels of a first run: a verdict in minutes
LARGE = 96  # pixels; of larger images a first run takes so many
CUTS = {  # taken out of the training images, the test first, of what is left the validation images
    "data.target": {"test": 0.2, "validation": 0.2},
    "data.source": {"test": 0.2, "validation": 0.1},
}
SEEN = 40_000  # images, in all epochs together, that the embedded source is trained on
MOST_EPOCHS = 200
BUDGETS = (1, 2, 5, 10, 20, 50)  # labels a class
EMBEDDED = "data/fashion_mnist.npz"
BROUGHT_ALONG = (
    "What the source model learns: the pictures of clothes that Graftwork brings along, 28 pixels, grey.",
    "`graftwork init --source` takes others, or weights that were trained elsewhere.",
)
UNTRAINED = (
    "How a source model is trained. While all `sources` are imports none is; what stands here is checked all the same,",
    "and a change of it runs `measure` and `report` again.",
)
MIRRORED = "mirrors at random; take it out where left and right differ in meaning, as in writing"


@dataclass(frozen=True)
class Wish:
    """What the user asked for: where the target's data is, what weights come from, and the model."""

    target: str
    source: str | None = None
    model: str | None = None


def own_params(template: str, folder: Path, wish: Wish, registry: Registry) -> tuple[str, list[str]]:
    """Return params.yaml for a workspace in `folder`, and what was found, in lines. Raises DataError, SettingsError."""
    target = find(wish.target, "--target", folder, registry)
    text = _with_target(ParamsText.of(template), target)
    if wish.model:
        text = text.with_value("model", model_entry(wish.model, registry))
    weights = find_weights(wish.source, wish.model, folder, registry) if wish.source else None
    if weights:
        text = _with_import(text, weights, registry)
    elif wish.source:
        text = _with_source(text, target, find(wish.source, "--source", folder, registry))
    else:
        text = _with_embedded_source(text, target)
    if target.outline.vectors:
        text = _told_of_vectors(text)
    smaller = f"brought to {LARGE} pixels, which is quick; image.size asks for more"
    return str(text), [*target.lines, *([smaller] if target.outline.side > LARGE else [])]


def _with_target(text: ParamsText, found: Found) -> ParamsText:
    outline = found.outline
    text = _with_data(text, "data.target", found, "What shall be learnt.")
    values = {
        "image.size": str(min(outline.side, LARGE)),
        "image.channels": str(outline.channels),
        "data.target.labels": _labels(outline),
    }
    if outline.vectors:
        values["model"] = "{mlp: {hidden: [64, 32]}}"
    for key, value in values.items():
        text = text.with_value(key, value)
    if outline.side > LARGE:
        text = text.with_value("image.size", str(LARGE), f"of {outline.side}: quick; more is slower, and may be better")
    if outline.channels == 3 and not outline.vectors:
        text = text.with_value("data.target.augmentation", "[flip]", MIRRORED)
    return _with_budgets(text, outline)


def _with_data(text: ParamsText, key: str, found: Found, title: str) -> ParamsText:
    """Name a data set under its key, with what was found in remarks above it."""
    if found.name:
        text = _with_origin(text, found.name, found.origin)
        text = text.with_value(f"{key}.duplicates", "drop")  # the published CIFAR-100 has some
    values = {"dataset": found.dataset, "path": found.path, "augmentation": "[]"}
    cuts = _cuts(found.outline, key)
    values |= {split: str(cuts.get(split, "null")) for split in ("validation", "test")}
    for name, value in values.items():
        text = text.with_value(f"{key}.{name}", value)
    return text.with_remarks(key, title, *(f"  {line}" for line in found.lines))


def _with_origin(text: ParamsText, name: str, origin: str) -> ParamsText:
    """Add a line to what is obtained from elsewhere."""
    return text.with_block("origins", *text.block("origins"), f"{name}: {origin}")


def _cuts(outline: Outline, key: str) -> dict[str, int | float]:
    """Return what is taken out of the training images, by split, where the data set brings none of its own.

    Of few images it is a count, in place of a fraction: one image of each class.
    """
    left, cuts = outline.training, dict[str, int | float]()
    for split, share in CUTS[key].items():
        if not outline.gives(split):
            cuts[split] = share if round(share * left) >= outline.classes else outline.classes
            left -= max(round(share * left), outline.classes)
    return cuts


def _left(outline: Outline, key: str) -> int:
    """Return how many training images are left after these cuts."""
    left = outline.training
    for cut in _cuts(outline, key).values():
        left -= round(cut * left) if isinstance(cut, float) else cut
    return left


def _labels(outline: Outline) -> str:
    """Take some of many labels, so that the first verdict comes within minutes."""
    count, few = _left(outline, "data.target"), max(FEW, 4 * outline.classes)
    if count <= 2 * few:
        return "null"
    return f"{few} # of {count:,}: a first verdict within minutes; null: all"


def _with_budgets(text: ParamsText, outline: Outline) -> ParamsText:
    """Sweep over label budgets that the smallest class can afford."""
    least = outline.fewest
    for cut in _cuts(outline, "data.target").values():
        least -= math.ceil(round(least * cut, 6)) if isinstance(cut, float) else 1  # cuts are stratified: it is no more
    afforded = [budget for budget in BUDGETS if budget <= max(1, least)][-4:]
    if afforded[-1] == BUDGETS[-1]:
        return text.with_value("sweep.labels_per_class", str(afforded))
    told = f"nested; the smallest class has about {max(1, least)} training images, more can't be asked for"
    return text.with_value("sweep.labels_per_class", str(afforded), told)


def _with_embedded_source(text: ParamsText, target: Found) -> ParamsText:
    """Keep the embedded pictures of clothes as the source, as they are: grey and small."""
    if target.outline.vectors:
        raise SettingsError(
            "There is no embedded source for vectors", expected="--source PATH, vectors with as many features",
            fix="name a file of vectors to pretrain on",
        )  # fmt: skip
    if target.name == "fashion_mnist":
        raise SettingsError(
            "The embedded source is made of the same images as fashion_mnist", where="--target",
            expected="a source that shares nothing with the target", fix="add --source, such as --source mnist",
        )  # fmt: skip
    text = text.with_remarks("data.source", *BROUGHT_ALONG)
    return text.with_value("data.source.image", "{size: 28, channels: 1}")


def _with_source(text: ParamsText, target: Found, found: Found) -> ParamsText:
    """Pretrain on other data: on few images for more epochs, at the cost of many for few."""
    if found.path == target.path:
        raise SettingsError(
            "Source and target are the same data", where="--source", expected="other data, or weights",
            fix="name another --source, or leave it out",
        )  # fmt: skip
    _require_alike(target.outline, found.outline)
    text = _with_data(text, "data.source", found, "What the source model learns.")
    text = text.with_value("data.source.augmentation", "[]", "such as [flip]")
    epochs = min(MOST_EPOCHS, SEEN // max(1, _left(found.outline, "data.source")))
    if epochs > 5:
        text = text.with_value("pretrain.epochs", str(epochs), "many, as the images are few")
    return text


def _require_alike(target: Outline, source: Outline) -> None:
    """Raise SettingsError unless both are pictures, or both vectors of as many features."""
    kinds = [f"vectors of {one.channels} features" if one.vectors else "pictures" for one in (target, source)]
    if kinds[0] != kinds[1]:
        raise SettingsError(
            f"The target is {kinds[0]}, the source {kinds[1]}", where="--source", expected=kinds[0],
            fix="name a source of the same kind",
        )  # fmt: skip


def _with_import(text: ParamsText, weights: Weights, registry: Registry) -> ParamsText:
    """Start from weights that were trained elsewhere; fine-tuning them wants smaller steps and fewer epochs."""
    if weights.origin:
        text = _with_origin(text, "pretrained", weights.origin)
    text = text.with_comments_of("data.source", "data.target").without("data.source")
    text = text.with_block("imports", f"pretrained: {weights.entry}")
    text = text.with_remarks("model", "The model that the weights in `imports` belong to.")
    text = text.with_remarks("pretrain", *UNTRAINED)
    few = {
        "sources": "[pretrained]", "seeds": "[0, 1, 2]",
        "model": weights.told.model if weights.told else model_entry(weights.model, registry),
        "finetune.epochs": "10", "finetune.batch_size": "16", "finetune.lr": "0.001",
    }  # fmt: skip
    for key, value in few.items():
        text = text.with_value(key, value)
    text = text.with_block("strategies", *STRATEGIES)
    return text.with_value("sweep.strategies", "[scratch, full_copy, features]")


def _told_of_vectors(text: ParamsText) -> ParamsText:
    """Say of vectors what is said of pictures in the template."""
    told = {
        "augmentation": "such as [mixup], which averages two vectors and their labels; drawn anew in every epoch",
        "image": "`image` above: a source's vectors have as many features",
        "storage": "vectors are stored as arrays",
        "selection": "which of them: at random in the classes' proportions; random; k_center, herding: by the numbers",
    }
    for key in ("data.source", "data.target"):
        for name, comment in told.items() if text.has(key) else ():
            text = text.with_value(f"{key}.{name}", text.value(f"{key}.{name}"), comment)
    text = text.with_remarks("image", "A vector is an image of one pixel, with a channel for each feature.")
    return text.with_remarks("model", "A plain net, mlp: the widths of its hidden layers.")
