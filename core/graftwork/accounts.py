"""Account for every tensor of weights from elsewhere: loaded, missing, unexpected, or of another shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from graftwork.adaptation import size_text
from graftwork.errors import FEW, MisfitError, listed

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Account:
    """What became of the file's tensors and the model's; names come with their shapes."""

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    computed: tuple[str, ...]  # counters and indices that the model makes itself, and the file needn't hold
    coverage: float  # share of the learnt values outside the head that came from the file

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values; of what the model computes, how many there are."""
        told = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return told | {"computed": len(self.computed)}

    def summary(self) -> str:
        """Return one line: the numbers, and the first few of each list."""
        lists = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.mismatched}
        told = [f"{title}: {listed(names, FEW)}" for title, names in lists.items() if names]
        of = self.loaded + len(self.missing) + len(self.mismatched)
        counters = f", {len(self.computed)} counters and indices aside" if self.computed else ""
        return ". ".join([f"loaded {self.loaded} of {of} tensors{counters}", *told])


def fit(
    tensors: Tensors, model: nn.Module, head: frozenset[str], where: str, *, minimum: float = 1.0
) -> tuple[dict[str, Tensor], Account]:  # fmt: skip
    """Return a tensor for each of the model's, from `tensors` where they fit, and the account of all.

    What a model computes for itself, buffers of integers such as counters and indices, may be missing from the file, or
    stand there in vain; and so may the whole head be missing. With a `minimum` below 1, so much of the trunk must come
    from the file, and the rest stays as the model has it. Raises MisfitError for all else.
    """
    wanted = model.state_dict()
    fitting = {name for name, tensor in wanted.items() if name in tensors and tensors[name].shape == tensor.shape}
    account = _account(tensors, wanted, fitting, head)
    lost = {name for name, tensor in wanted.items() if name not in fitting and _is_learnt(tensor)}
    if not head & tensors.keys():
        lost -= head
    strays = bool(lost or account.unexpected)
    if account.coverage < minimum or not account.loaded or (minimum == 1 and strays):
        raise MisfitError(
            f"The weights don't fit the model: {account.summary()}", account.as_json(), where=where,
            expected="every tensor accounted for" if minimum == 1 else f"at least {minimum:.0%} of the trunk",
            fix=_advice(tensors, wanted, bool(account.mismatched)),
        )  # fmt: skip
    return {name: tensors[name].to(t.dtype) if name in fitting else t for name, t in wanted.items()}, account


def _account(tensors: Tensors, wanted: Tensors, fitting: set[str], head: frozenset[str]) -> Account:
    learnt = {name: tensor for name, tensor in wanted.items() if _is_learnt(tensor)}
    trunk = {name: tensor.numel() for name, tensor in learnt.items() if name not in head}
    strange = [name for name, tensor in tensors.items() if name not in wanted and _is_learnt(tensor)]
    differing = [name for name in wanted if name in tensors and name not in fitting]
    return Account(
        loaded=len(fitting),
        missing=_sized([name for name in learnt if name not in tensors], wanted),
        unexpected=_sized(strange, tensors),
        mismatched=tuple(
            f"{name} {size_text(tensors[name].shape)} in the file, {size_text(wanted[name].shape)} in the model"
            for name in differing
        ),
        computed=tuple(name for name in wanted if name not in learnt and name not in tensors),
        coverage=sum(trunk[name] for name in fitting if name in trunk) / max(1, sum(trunk.values())),
    )


def _sized(names: Iterable[str], tensors: Tensors) -> tuple[str, ...]:
    return tuple(f"{name} {size_text(tensors[name].shape)}" for name in names)


def _is_learnt(tensor: Tensor) -> bool:
    """Tell whether a tensor may have been learnt: counters, indices and masks can't."""
    return tensor.is_floating_point()


def _advice(tensors: Tensors, wanted: Tensors, mismatched: bool) -> str:
    """Say what to do: strip a prefix, where that makes most names equal; else the plain things."""
    prefixes = {name[: place + 1] for name in list(tensors)[:50] for place, letter in enumerate(name) if letter == "."}
    equal = sum(name in wanted for name in tensors)
    for prefix in sorted(prefixes):
        stripped = sum(name.removeprefix(prefix) in wanted for name in tensors if name.startswith(prefix))
        if stripped > max(equal, len(wanted) // 2):
            return f"rename: [{{pattern: '^{re.escape(prefix)}', to: ''}}]"
    if mismatched:
        return "set model, and image under imports, to what the weights were trained with"
    return "set model to the weights' architecture, add rename rules, or leave tensors out with to: null"
