"""Match source tensors to a target model, and record what became of every one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from torch import Tensor, nn

from graftwork.adaptation import Adaptation, fit_plainly, size_text
from graftwork.errors import FEW, MisfitError, listed
from graftwork.settings import Use
from graftwork.weights import tensor_bytes

Kind = Literal["copied", "adapted", "dropped", "new"]


@dataclass(frozen=True)
class Fate:
    """What became of one tensor, of the target or, when dropped, of the source."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    source_shape: tuple[int, ...] | None = None
    trainable: bool | None = None  # None for buffers and dropped tensors
    why: str = ""
    sha256: str = ""  # of the starting values; a new tensor's depend on the seed


@dataclass(frozen=True)
class Manifest:
    """The fates of all tensors of a transfer, and how much of the trunk came from the source."""

    strategy: str
    tensors: tuple[Fate, ...]
    coverage: float  # share of the values outside the head, buffers included, that were copied or adapted
    local_code: Mapping[str, str] = field(default_factory=dict)  # digests of the user's own files that take part
    stack: tuple[Use, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of tensors of each kind."""
        kinds = [fate.kind for fate in self.tensors]
        return {kind: kinds.count(kind) for kind in ("copied", "adapted", "dropped", "new")}

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "stack": [use.model_dump() for use in self.stack], "counts": self.counts()}


def match(
    chosen: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    offered: Mapping[str, Tensor],
    adaptation: Adaptation | None = None,
) -> tuple[dict[str, Tensor], list[Fate]]:
    """Return the tensors to start from, and the fate of every tensor of target and source.

    `chosen` is what the strategy wants of the source's tensors `offered`. `adaptation` fits those whose shapes hang on
    the image; without one, a tensor of another shape stays behind.
    """
    start: dict[str, Tensor] = {}
    fates: list[Fate] = []
    for name, tensor in target.items():
        shape = tuple(tensor.shape)
        if name not in chosen:
            fates.append(Fate(name, "new", shape, why="" if name in offered else "the source has none of this name"))
            continue
        found = chosen[name]
        fitted, how = adaptation.fit(name, found, tensor) if adaptation else fit_plainly(found, tensor)
        if fitted is None:
            fates.append(Fate(name, "new", shape, tuple(found.shape), why=how))
        else:
            start[name] = fitted
            kind: Kind = "adapted" if how else "copied"
            fates.append(Fate(name, kind, shape, tuple(found.shape), why=how, sha256=_sha256(fitted)))
    for name, tensor in offered.items():
        if name not in start:
            fates.append(Fate(name, "dropped", tuple(tensor.shape), why=_why_dropped(name, chosen, target)))
    return start, fates


def with_trainable(fates: Sequence[Fate], model: nn.Module) -> tuple[Fate, ...]:
    """Return the fates with what a prepared model trains; adapters that were put in are listed as new tensors.

    A weight under torch's parametrization (an adapter) goes by its plain name.
    """
    trains = {plain_name(name): p for name, p in model.named_parameters()}
    told = [f if f.kind == "dropped" or f.name not in trains else _told(f, trains[f.name]) for f in fates]
    known = {fate.name for fate in fates if fate.kind != "dropped"}
    added = [_told(Fate(n, "new", tuple(p.shape), why="an adapter"), p) for n, p in trains.items() if n not in known]
    return (*told, *added)


def plain_name(name: str) -> str:
    """Return a name without torch's parametrization: `fc.parametrizations.weight.original` is `fc.weight`."""
    owner, found, rest = name.partition("parametrizations.")
    return owner + rest.removesuffix(".original") if found else name


def _told(fate: Fate, parameter: nn.Parameter) -> Fate:
    return replace(fate, trainable=parameter.requires_grad)


def coverage(fates: list[Fate], head: frozenset[str]) -> float:
    """Return the share of the target's values outside the head that came from the source."""
    trunk = [fate for fate in fates if fate.kind != "dropped" and fate.name not in head]
    total = sum(_count(fate.shape) for fate in trunk)
    return sum(_count(f.shape) for f in trunk if f.kind in ("copied", "adapted")) / total if total else 0.0


def require_coverage(manifest: Manifest, minimum: float, where: str) -> None:
    """Raise MisfitError, with the manifest, when less than `minimum` of the trunk came from the source."""
    if manifest.coverage >= minimum:
        return
    mine = [fate for fate in manifest.tensors if fate.kind != "dropped"]
    loaded = sum(fate.kind in ("copied", "adapted") for fate in mine)
    missing = [f"{f.name} {size_text(f.shape)}" for f in mine if f.kind == "new"]
    unused = [f"{f.name} {size_text(f.shape)}" for f in manifest.tensors if f.kind == "dropped"]
    raise MisfitError(
        f"The weights don't fit: loaded {loaded} of {len(mine)} tensors, {manifest.coverage:.1%} of the trunk. "
        f"Missing in the source: {listed(missing, FEW)}. Unused of the source: {listed(unused, FEW)}",
        manifest.as_json(), where=where, expected=f"at least {minimum:.0%} (transfer.minimum_coverage)",
        fix="use weights of the same architecture, or lower transfer.minimum_coverage",
    )  # fmt: skip


def _why_dropped(name: str, chosen: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    if name not in chosen:
        return "not chosen by the strategy"
    return "another shape in the target" if name in target else "the target has none of this name"


def _count(shape: tuple[int, ...]) -> int:
    result = 1
    for side in shape:
        result *= side
    return result


def _sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor_bytes(tensor)).hexdigest()
