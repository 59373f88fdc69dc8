"""Account for every tensor of weights from elsewhere: loaded, missing, unexpected, or of another shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from graftwork.adaptation import size_text
from graftwork.errors import WeightsError


@dataclass(frozen=True)
class Account:
    """What became of the file's tensors and the model's; names come with their shapes."""

    loaded: int
    of: int  # tensors of the model
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    coverage: float  # share of the values outside the head that came from the file

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def summary(self) -> str:
        """Return one line, and one more for each list that isn't empty, in full."""
        lists = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.mismatched}
        told = [f"{title}: {', '.join(names)}" for title, names in lists.items() if names]
        return ". ".join([f"loaded {self.loaded} of {self.of} tensors", *told])


def fit(
    tensors: Mapping[str, Tensor], model: nn.Module, head: frozenset[str], where: str, *, minimum: float = 1.0
) -> tuple[dict[str, Tensor], Account]:  # fmt: skip
    """Return a tensor for each of the model's, from `tensors` where they fit, and the account of all.

    What a model computes for itself, buffers of integers such as counters and indices, may be missing from the file, or
    stand there in vain; and so may the whole head be missing. With a `minimum` below 1, so much of the trunk must come
    from the file, and the rest stays as the model has it. Raises WeightsError, with all lists in full, for all else.
    """
    wanted = model.state_dict()
    fitting = {name: t for name, t in wanted.items() if name in tensors and tensors[name].shape == t.shape}
    account = _account(tensors, wanted, fitting, head)
    lost = {name for name, tensor in wanted.items() if name not in fitting and not _is_computed(tensor)}
    if not head & tensors.keys():
        lost -= head
    vain = any(name not in wanted and not _is_computed(tensor) for name, tensor in tensors.items())
    if account.coverage < minimum or not fitting or (minimum == 1 and (lost or vain)):
        raise WeightsError(
            f"The weights don't fit the model: {account.summary()}", where=where,
            expected="every tensor accounted for" if minimum == 1 else f"at least {minimum:.0%} of the trunk",
            fix=_advice(tensors, wanted, bool(account.mismatched)),
        )  # fmt: skip
    return {name: tensors[name].to(t.dtype) if name in fitting else t for name, t in wanted.items()}, account


def _account(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], fitting: Mapping[str, Tensor], head: frozenset[str]
) -> Account:  # fmt: skip
    def told(names: Mapping[str, Tensor], but: Mapping[str, Tensor]) -> tuple[str, ...]:
        return tuple(f"{name} {size_text(tensor.shape)}" for name, tensor in names.items() if name not in but)

    differing = [name for name in wanted if name in tensors and name not in fitting]
    trunk = {name: tensor.numel() for name, tensor in wanted.items() if name not in head}
    return Account(
        loaded=len(fitting),
        of=len(wanted),
        missing=told(wanted, tensors),
        unexpected=told(tensors, wanted),
        mismatched=tuple(
            f"{name} {size_text(tensors[name].shape)} in the file, {size_text(wanted[name].shape)} in the model"
            for name in differing
        ),
        coverage=sum(trunk[name] for name in fitting if name in trunk) / max(1, sum(trunk.values())),
    )


def _is_computed(tensor: Tensor) -> bool:
    """Tell whether a tensor can't have been learnt: counters, indices, masks."""
    return not tensor.is_floating_point()


def _advice(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], mismatched: bool) -> str:
    """Say what to do: strip or add a prefix, where that would make most names equal; else the plain things."""
    for name in list(tensors)[:50]:
        steps = name.split(".")
        for length in range(1, len(steps)):
            prefix = ".".join(steps[:length]) + "."
            stripped = [n.removeprefix(prefix) for n in tensors if n.startswith(prefix)]
            if 2 * sum(n in wanted for n in stripped) > max(len(wanted), 2 * sum(n in wanted for n in tensors)):
                return f"rename: [{{pattern: '^{prefix.replace('.', chr(92) + '.')}', to: ''}}]"
    if mismatched:
        return "set model, and image under imports, to what the weights were trained with"
    return "set model to the weights' architecture, add rename rules, or leave tensors out with to: null"
