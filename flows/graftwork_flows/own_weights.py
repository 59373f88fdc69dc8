"""Tell by what a user named which model weights belong to, and how they are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.errors import SettingsError, WeightsError, did_you_mean, listed
from graftwork.registry import Registry
from graftwork.settings import ImageFormat, Use
from graftwork.weights_header import read_header
from graftwork_flows.own_data import as_seen_from, path_of, quoted

WEIGHT_FILES = {
    ".safetensors": "safetensors", ".pth": "torch", ".pt": "torch", ".bin": "torch", ".h5": "keras", ".keras": "keras",
}  # fmt: skip
HUB = "timm:"
STRANGERS = "hf-hub:"  # after it, in place of timm's own name, a repository of anyone's on the Hugging Face hub


@dataclass(frozen=True)
class Told:
    """The model and the images that a file's contract tells, as params.yaml names them."""

    model: str
    image: str


@dataclass(frozen=True)
class Weights:
    """Weights that were trained elsewhere, as params.yaml names them; `origin` is how the hub's are obtained.

    `model` is a name; in its place `told` has what a file of Graftwork's own tells of itself.
    """

    reader: str
    path: str
    model: str
    card: str  # timm's name for what they were trained on: the model's, or with a tag
    origin: str = ""
    told: Told | None = None

    @property
    def entry(self) -> str:
        """The import's value: with its images as the file or timm knows them; without for other models."""
        if self.told:
            return f"{{weights: {self.reader}, path: {self.path}, image: {self.told.image}}}"
        timm = _timm()
        card = timm.get_pretrained_cfg(self.card) if timm.is_model(self.model) else None
        image = ""
        if card is not None and len(card.input_size) == 3:
            channels, side, _ = card.input_size
            image = f", image: {{size: {side}, channels: {channels}}}"
        return f"{{weights: {self.reader}, path: {self.path}{image}}}"


def find_weights(source: str, model: str | None, folder: Path, registry: Registry) -> Weights | None:
    """Return the weights that `timm:NAME` or a weight file names; None for anything else. Raises SettingsError."""
    if source.startswith(HUB):
        return _published(source.removeprefix(HUB), model, registry)
    file = path_of(source, "--source")
    if file.suffix.lower() in WEIGHT_FILES and file.is_file():
        reader = WEIGHT_FILES[file.suffix.lower()]
        path = as_seen_from(folder, file)
        if not model and (told := _told(file, registry)):
            return Weights(reader, path, model="", card="", told=told)
        named = model or _architecture(file, reader)
        return Weights(reader, path, named, _card(file.stem, named))
    return None


def _published(name: str, model: str | None, registry: Registry) -> Weights:
    """Return the weights of a name of timm's, or of a stranger's repository, whose name needn't tell the model."""
    architecture, _, tag = name.partition("@")[0].rpartition("/")[2].partition(".")
    theirs = not name.startswith(STRANGERS)
    if not (theirs or model or _timm().is_model(architecture)):
        raise SettingsError(
            f"The repository's name doesn't tell of what model {name} holds the weights", where="--source",
            expected="a name that begins with one of timm's models", fix="add --model NAME, such as --model resnet18",
        )  # fmt: skip
    model_entry(architecture if theirs else model or architecture, registry)
    if theirs and tag:
        _require_published(architecture, tag)
    origin = f"{{timm: {{name: {quoted(name)}}}}}"
    card = _card(f"{architecture}.{tag}", model or architecture)
    return Weights("safetensors", "data/origins/pretrained", model or architecture, card, origin)


def _require_published(architecture: str, tag: str) -> None:
    """Raise SettingsError for a tag that timm doesn't know: the first run would."""
    name, known = f"{architecture}.{tag}", _timm().list_pretrained(f"{architecture}.*")
    if name not in known:
        raise SettingsError(
            f"timm publishes no weights {name!r}", where="--source", expected=listed(known),
            fix=did_you_mean(name, known) or "take one of these, or the name without the tag",
        )  # fmt: skip


def _card(name: str, model: str) -> str:
    """Return the name under which timm knows weights, with their tag, where they are this model's; else the model's."""
    known = name.partition(".")[0] == model and name in _timm().list_pretrained(f"{model}.*")
    return name if known else model


def _told(file: Path, registry: Registry) -> Told | None:
    """Return what a weight file of Graftwork's own tells; None for any other. Raises PluginError for unknown models."""
    try:
        contract = read_header(file).contract
        use = Use.model_validate({contract["model"]["name"]: contract["model"]["settings"]})
        image = ImageFormat(size=contract["size"], channels=contract["channels"])
        registry.create("model", use)
    except (WeightsError, KeyError, TypeError, ValueError):  # pydantic's complaints are ValueErrors
        return None
    return Told(f"{{{use.name}: {_flow(use.settings)}}}", _flow(image.model_dump()))


def _flow(value: Any) -> str:
    """Return settings as YAML on one line, with plain keys as people write them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(str(key))}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def model_entry(name: str, registry: Registry) -> str:
    """Return how params.yaml names a model. Raises SettingsError for one that nobody knows."""
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
