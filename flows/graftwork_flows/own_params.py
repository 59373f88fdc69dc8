"""The text of params.yaml for a user's own data: the template, with what a look at the data found filled in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.errors import DataError, SettingsError, did_you_mean
from graftwork.names import printable
from graftwork.published_sets import offers
from graftwork.registry import Registry
from graftwork.survey import Survey, survey
from graftwork_flows.params_text import ParamsText

WEIGHT_FILES = {
    ".safetensors": "safetensors", ".pth": "torch", ".pt": "torch", ".bin": "torch", ".h5": "keras", ".keras": "keras",
}  # fmt: skip
HUB = "timm:"
PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")  # what YAML takes for a text
STRATEGIES = (  # a trunk of millions of parameters is slow to train on two cores: so few, and one that is quick
    "scratch: []",
    "full_copy: [full_copy]",
    "features: [full_copy, feature_extract] # the head alone, on features computed once: seconds",
)
FEW = 200  # labels of a first run: a verdict in minutes
LARGE = 96  # pixels; of larger images a first run takes so many
EMBEDDED = "data/fashion_mnist.npz"


@dataclass(frozen=True)
class Wish:
    """What the user asked for: where the target's data is, what weights come from, and the model."""

    target: str
    source: str | None = None
    model: str | None = None


def own_params(template: str, folder: Path, wish: Wish, registry: Registry) -> tuple[str, list[str]]:
    """Return params.yaml for a workspace in `folder`, and what was found, in lines. Raises DataError, SettingsError."""
    path = Path(wish.target).expanduser().resolve()
    found = _surveyed(folder, path, registry)
    text = _with_target(ParamsText.of(template), found, _as_seen_from(folder, path))
    if wish.model:
        text = text.with_value("model", _model(wish.model, registry))
    text = _with_source(text, folder, wish, registry) if wish.source else _with_embedded_source(text, found)
    smaller = f"brought to {LARGE} pixels, which is quick; image.size asks for more"
    return str(text), [*found.lines(), *([smaller] if found.sides[1] > LARGE else [])]


def _surveyed(folder: Path, path: Path, registry: Registry) -> Survey:
    """Look at data that may be read: of two classes or more, with nothing of the workspace's own in it."""
    made = [folder / "data" / name for name in ("raw", "prepared", "origins")]
    if any(own.is_relative_to(path) for own in made):
        raise SettingsError(
            "The workspace would write into this data", where=str(path), expected=f"a folder beside {made[0]}",
            fix=f"move the data into {folder / 'data' / 'NAME'}, or make the workspace elsewhere",
        )  # fmt: skip
    found = survey(path, registry)
    if len(found.classes) < 2:
        raise DataError(
            f"There is one class only: {printable(found.classes[0])}", where=str(path), expected="two classes or more",
            fix="add images of another class, or name the folder above it",
        )  # fmt: skip
    return found


def _with_target(text: ParamsText, found: Survey, path: str) -> ParamsText:
    vectors = found.sides[2] == 1
    side = found.sides[1] if found.sides[1] <= LARGE else LARGE
    values = {
        "image.size": str(side),
        "image.channels": str(found.channels),
        "data.target.dataset": found.dataset,
        "data.target.path": path,
        "data.target.validation": "null" if "validation" in found.splits else "0.2",
        "data.target.test": "null" if "test" in found.splits else "0.2",
        "data.target.labels": _labels(found),
        "data.target.augmentation": "[flip]" if found.channels == 3 and not vectors else "[]",
    }
    if vectors:
        values["model"] = "{mlp: {hidden: [64, 32]}}"
    for key, value in values.items():
        text = text.with_value(key, value)
    return text.with_remarks("data.target", *(f"  {line}" for line in found.lines()))


def _labels(found: Survey) -> str:
    """Take some of many labels, so that the first verdict comes within minutes."""
    cut = 0.8 ** sum(name not in found.splits for name in ("validation", "test"))
    count = int(cut * sum(found.training))
    if not count > 2 * FEW > 4 * len(found.classes):
        return "null"
    return f"{FEW} # of {count:,}: a first verdict within minutes; null: all"


def _with_embedded_source(text: ParamsText, found: Survey) -> ParamsText:
    """Keep the embedded pictures of clothes as the source, as they are: grey and small."""
    if found.sides[2] == 1:
        raise SettingsError(
            "There is no embedded source for vectors", expected="--source PATH, vectors with as many features",
            fix="name a file of vectors to pretrain on",
        )  # fmt: skip
    return text.with_value("data.source.image", "{size: 28, channels: 1}")


def _with_source(text: ParamsText, folder: Path, wish: Wish, registry: Registry) -> ParamsText:
    source = wish.source or ""
    file = Path(source).expanduser().resolve()
    if source.startswith(HUB):
        name = source.removeprefix(HUB)
        text = text.with_block("origins", f"pretrained: {{timm: {{name: {name}}}}}")
        architecture = name.rpartition("/")[2].partition(".")[0]
        _model(architecture, registry)
        model = wish.model or architecture
        return _with_import(text, "safetensors", "data/origins/pretrained", model, registry)
    if file.suffix.lower() in WEIGHT_FILES and file.is_file():
        reader = WEIGHT_FILES[file.suffix.lower()]
        model = wish.model or _architecture(file, reader)
        return _with_import(text, reader, _as_seen_from(folder, file), model, registry)
    if not file.exists():
        return _with_named_set(text, source, registry)
    found = _surveyed(folder, file, registry)
    return _with_source_data(text, found, _as_seen_from(folder, file))


def _with_source_data(text: ParamsText, found: Survey, path: str) -> ParamsText:
    values = {
        "data.source.dataset": found.dataset,
        "data.source.path": path,
        "data.source.validation": "null" if "validation" in found.splits else "0.1",
        "data.source.test": "null" if "test" in found.splits else "0.1",
    }
    for key, value in values.items():
        text = text.with_value(key, value)
    return text.with_remarks("data.source", *(f"  {line}" for line in found.lines()))


def _with_named_set(text: ParamsText, name: str, registry: Registry) -> ParamsText:
    """Take a published data set, by the name that an origin plugin knows it under. Raises SettingsError for others."""
    published = offers(registry)
    if name not in published:
        raise SettingsError(
            f"The source {name!r} is neither a path nor a name that is known", where="--source",
            expected=f"a path, timm:NAME, or one of: {', '.join(sorted(published))}",
            fix=did_you_mean(name, published) or "correct the path",
        )  # fmt: skip
    found, path = published[name].published, Path("data/origins") / name
    text = text.with_block("origins", f"{name}: {published[name].plugin.as_yaml(name)}")
    values = {
        "data.source.dataset": found.dataset,
        "data.source.path": (path / found.file).as_posix(),
        "data.source.duplicates": "drop",  # the published CIFAR-100 has some
        "data.source.validation": "null" if "validation" in found.splits else "0.1",
        "data.source.test": "null" if "test" in found.splits else "0.2",
    }
    for key, value in values.items():
        text = text.with_value(key, value)
    return text


def _with_import(text: ParamsText, reader: str, path: str, model: str, registry: Registry) -> ParamsText:
    """Start from weights that were trained elsewhere; fine-tuning them wants smaller steps and fewer epochs."""
    text = text.without("data.source").with_value("sources", "[pretrained]")
    text = text.with_value("model", _model(model, registry))
    image = _trained_on(model)
    text = text.with_block("imports", f"pretrained: {{weights: {reader}, path: {path}{image}}}")
    few = {"seeds": "[0, 1, 2]", "finetune.epochs": "10", "finetune.batch_size": "16", "finetune.lr": "0.001"}
    for key, value in few.items():
        text = text.with_value(key, value)
    text = text.with_block("strategies", *STRATEGIES)
    return text.with_value("sweep.strategies", "[scratch, full_copy, features]")


def _trained_on(model: str) -> str:
    """Return the import's images as timm knows them; nothing for a model that isn't timm's."""
    timm = _timm()
    card = timm.get_pretrained_cfg(model) if timm.is_model(model) else None
    if card is None or len(card.input_size) != 3:
        return ""
    channels, side, _ = card.input_size
    return f", image: {{size: {side}, channels: {channels}}}"


def _model(name: str, registry: Registry) -> str:
    """Return how params.yaml names a model: a plugin's, or one of timm's. Raises SettingsError for another."""
    nets = [plugin.name for plugin in registry.named("model") if not plugin.is_catalogue]
    if name in nets:
        return name
    timm = _timm()
    if timm.is_model(name):
        return f"{{timm: {{name: {name}}}}}"
    raise SettingsError(
        f"Unknown model {name!r}", expected=f"one of timm's, or {', '.join(nets)}",
        fix=did_you_mean(name, [*nets, *timm.list_models()]) or "timm.list_models() lists them",
    )  # fmt: skip


def _architecture(file: Path, reader: str) -> str:
    """Return timm's name for the model in a file, by the file's own name. Raises SettingsError for another."""
    timm = _timm()
    name = file.name.partition(".")[0]
    if reader != "keras" and timm.is_model(name):
        return name
    raise SettingsError(
        f"The file's name doesn't tell of what model {file.name} holds the weights", where="--source",
        expected="a name that begins with one of timm's models", fix="add --model NAME, such as --model resnet18",
    )  # fmt: skip


def _timm() -> Any:
    """Import timm, which takes seconds, only where a model is named."""
    from graftwork import torchvision_operators

    torchvision_operators.define_missing()
    import timm

    return timm


def _as_seen_from(folder: Path, path: Path) -> str:
    """Return a path inside the workspace relative to it, another as it is; in quotes where YAML needs them."""
    seen = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
    return seen if PLAIN.fullmatch(seen) else json.dumps(seen, ensure_ascii=False)
