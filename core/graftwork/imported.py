"""Bring weights from elsewhere into a model that the workspace's settings build, and say what it expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from graftwork.accounts import Account, fit
from graftwork.chains import names_by_order, parity, with_own_epsilon
from graftwork.errors import DataError, WeightsError, listed
from graftwork.foreign import ForeignWeights
from graftwork.models import build_model, head_tensors
from graftwork.registry import Registry
from graftwork.renaming import renamed
from graftwork.settings import Import, Settings

IMAGENET_CLASSES = 1000
TELLTALE = 1_009  # classes of a model that is asked which of its tensors follow them; a prime: nobody's width


@dataclass(frozen=True)
class Imported:
    """A model with weights from elsewhere, and what is known of it; `notes` are for people."""

    model: nn.Module
    head: frozenset[str]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    account: Account
    parity: dict[str, object] | None  # how far its answers are from the file's own; None where the file has no net
    notes: tuple[str, ...]


def bring_in(settings: Settings, registry: Registry, name: str, foreign: ForeignWeights, where: str) -> Imported:
    """Return the model for the import `name` with the tensors of `foreign`.

    Raises WeightsError where a tensor isn't accounted for, where the classes have another number than the head, and
    where the answers differ from those of the file's own net; DataError where mean or std are unknown.
    """
    wishes, image = settings.imports[name], settings.image_of(name)
    outputs = _outputs(settings, registry, name, foreign)
    count = outputs or len(wishes.classes or ()) or 2
    model = build_model(settings, registry, count, seed=0, images=name)
    head = head_tensors(model)
    tensors, account = fit(
        _named(foreign, wishes, model, where), model, head, where, minimum=wishes.minimum_coverage
    )  # fmt: skip
    model.load_state_dict(tensors)
    proof = parity(foreign.architecture, model, image, where) if foreign.architecture else None
    classes, of_classes = _classes(wishes, foreign, model, outputs, where)
    mean, std, of_images = _normalisation(wishes, foreign, model, image.channels, where)
    notes = [account.summary(), of_classes, of_images]
    if foreign.size and foreign.size != image.size:
        notes.append(f"trained on images of {foreign.size} pixels, taken for {image.size}")
    return Imported(model, head, classes, mean, std, account, proof, tuple(notes))


def _named(foreign: ForeignWeights, wishes: Import, model: nn.Module, where: str) -> dict[str, Tensor]:
    """Return the tensors by the model's names: those that rules make, or, for a chain of layers, those in its order."""
    chain = foreign.architecture
    if chain is None or wishes.rename:
        names = renamed(foreign.tensors, wishes.rename)
    else:
        names = names_by_order(chain, foreign.tensors, model, where)
    if chain is None:
        return {new: foreign.tensors[old] for old, new in names.items()}
    return with_own_epsilon(chain, foreign.tensors, names, model)


def _outputs(settings: Settings, registry: Registry, name: str, foreign: ForeignWeights) -> int | None:
    """Return the number of classes that the file's head tells apart; None where it has no head."""
    wishes = settings.imports[name]
    if foreign.architecture and not wishes.rename:
        return len(foreign.tensors[f"{foreign.architecture.layers[-1].name}.weight"])
    names = {new: old for old, new in renamed(foreign.tensors, wishes.rename).items()}
    telling = _telling(build_model(settings, registry, TELLTALE, seed=0, images=name))
    found = [foreign.tensors[names[tensor]] for tensor in telling if tensor in names]
    return len(found[0]) if found and found[0].ndim else None


def _telling(model: nn.Module) -> list[str]:
    """Return the head's tensors with a row for each class, of a model of so many classes as no layer is wide.

    A head may hold more: a norm before the last layer (levit, repvit, iformer), or a hidden layer (caformer).
    """
    sizes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return sorted(name for name in head_tensors(model) if sizes[name][:1] == (TELLTALE,))


def _classes(
    wishes: Import, foreign: ForeignWeights, model: nn.Module, outputs: int | None, where: str
) -> tuple[tuple[str, ...], str]:  # fmt: skip
    """Return the names of the classes, and a note of where they are from."""
    named = wishes.classes or foreign.classes
    if outputs is None and not wishes.classes:
        raise WeightsError(
            "The file holds no head, so nothing tells how many classes there are", where=where,
            expected="the classes' names", fix="set classes: [a, b] under imports; the head then stays untrained",
        )  # fmt: skip
    if named:
        if outputs not in (None, len(named)):
            raise WeightsError(
                f"The head answers {outputs} classes, and {len(named)} are named", where=where,
                expected=f"{outputs} names", fix="correct classes under imports",
            )  # fmt: skip
        untrained = "; the head is untrained" if outputs is None else ""
        return named, f"{len(named):,} classes, as {'params.yaml' if wishes.classes else 'the file'} says{untrained}"
    assert outputs is not None
    if outputs == IMAGENET_CLASSES == _card_of(model).get("num_classes"):
        return imagenet_classes(), "1,000 classes, taken to be ImageNet's"
    return tuple(map(str, range(outputs))), f"{outputs:,} classes without names"


def _normalisation(
    wishes: Import, foreign: ForeignWeights, model: nn.Module, channels: int, where: str
) -> tuple[tuple[float, ...], tuple[float, ...], str]:  # fmt: skip
    """Return mean and std per channel, and a note of where they are from: the settings, the file, timm's card."""
    card = _card_of(model)
    timm = f"timm's card of {card.get('architecture')}.{card.get('tag')}"
    known = [(wishes.mean, wishes.std, "params.yaml"), (foreign.mean, foreign.std, "the file")]
    for mean, std, source in [*known, (card.get("mean"), card.get("std"), timm)]:
        if mean is not None and std is not None:
            if not len(mean) == len(std) == channels:
                raise DataError(
                    f"{source[0].upper() + source[1:]} tells means of {len(mean)} channels", where=where,
                    expected=f"{channels}, one for each channel", fix="set mean and std under imports",
                )  # fmt: skip
            return tuple(mean), tuple(std), f"mean {listed(map(str, mean))}, std {listed(map(str, std))} from {source}"
    raise DataError(
        "Nothing tells how the images were normalised", where=where,
        expected="mean and std per channel, of pixels scaled to 0…1",
        fix="set both under imports: mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] are ImageNet's; where a "
        "config.json beside the weights tells them, name the folder as the path: beside a single file it isn't read",
    )  # fmt: skip


def _card_of(model: nn.Module) -> Mapping[str, Any]:
    """Return what timm knows of the weights that it has for this model; nothing for other models."""
    card = getattr(model, "pretrained_cfg", None)
    return card if isinstance(card, Mapping) else {}


def imagenet_classes() -> tuple[str, ...]:
    """Return short names of ImageNet-1k's classes, in order; two that are called alike get their WordNet numbers."""
    from timm.data import ImageNetInfo

    known = ImageNetInfo()
    short = [text.split(",")[0] for text in known.label_descriptions()]
    numbers = known.label_names()
    return tuple(f"{name} ({numbers[i]})" if short.count(name) > 1 else name for i, name in enumerate(short))
