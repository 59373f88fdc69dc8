"""Find the part of a model, from the image on, that stands still while the rest trains, and cut the model behind it.

No model is known by name. One pass over a few images tells of every boundary – the classifier's input, the outputs of
the stages – whether something that trains lies before it (autograd knows), and whether something moves before it:
random draws, or batch normalisation by the batch. That a cut changes nothing is verified, not believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from graftwork.engine import Machine
from graftwork.errors import SettingsError
from graftwork.taps import stage_names
from graftwork.weights import digest

HEAD = "the head"  # the boundary before the classifier
OWN_STEPS = ("_pos_embed",)  # what timm's transformers do between two modules, in a method
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}  # of the largest logit; batches of other sizes round otherwise


class _ReachedError(Exception):
    def __init__(self, activations: Tensor) -> None:
        self.activations = activations


@dataclass(frozen=True)
class Prefix:
    """A model, cut behind a part that stands still. Both halves use the model's own modules, in their modes."""

    model: nn.Module
    boundary: str  # HEAD, or the stage whose output it is
    skipped: tuple[nn.Module, ...]  # while the rest answers, they hand on what they get
    tensors: dict[str, Tensor]  # all that the activations can depend on, beside the images
    sample: Tensor = field(default_factory=lambda: torch.empty(0))  # what it made of the images it was found with

    @cached_property
    def sha256(self) -> str:
        """What decides the activations of an image, hooks that a strategy put in included: the sample shows them."""
        return digest({**self.tensors, f"{self.boundary}: sample": self.sample})

    @torch.no_grad()
    def activations(self, images: Tensor) -> Tensor:
        """Run the model as far as the boundary, over normalised images."""
        if self.boundary == HEAD:
            handle = _classifier(self.model).register_forward_pre_hook(_stop_before)
        else:
            handle = self.model.get_submodule(self.boundary).register_forward_hook(_stop_behind)
        try:
            self.model(images)
        except _ReachedError as reached:
            return reached.activations
        finally:
            handle.remove()
        raise AssertionError("the pass that found the boundary came by")

    def rest(self, activations: Tensor) -> Tensor:
        """Return the logits (batch, classes) that the rest of the model makes of activations."""
        whole = self.boundary != HEAD
        with _handing_on(self.model, self.skipped if whole else ()):
            logits: Tensor = (self.model if whole else _classifier(self.model))(activations)
        return logits


def frozen_prefix(model: nn.Module, images: Tensor, machine: Machine) -> Prefix | None:
    """Return the longest part that stands still, in the model's modes of now; None where there is none to cut off.

    `images` are a few normalised ones, at least two. The model and torch's generators are left as they were.
    """
    if len(images) < 2 or all(parameter.requires_grad for parameter in model.parameters()):
        return None
    with _undisturbed(model, machine.device), machine.precision():
        candidates = _candidates(model, images)
        with _drawn_head(model):
            for prefix in reversed(candidates):
                sample = _sample(prefix, images)
                if sample is not None:
                    return replace(prefix, sample=sample)
    return None


def _candidates(model: nn.Module, images: Tensor) -> list[Prefix]:
    """Return a prefix for each boundary before which nothing trains and nothing moves, the shortest first."""
    trace = _Trace(images, _stages(model))
    try:
        with trace.watching(model):
            model(images)
    except Exception:  # training itself will say what is wrong
        return []
    return [cut.prefix(model, trace.called) for cut in trace.cuts]


@dataclass(frozen=True)
class _Cut:
    boundary: str
    called: frozenset[str]  # modules that were called before it
    finished: frozenset[str]  # those of them that had answered

    def prefix(self, model: nn.Module, called: Sequence[str]) -> Prefix:
        later = set(called) - self.called
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        before = {
            name: tensor.detach()
            for name, tensor in tensors.items()
            if not tensor.requires_grad and later.isdisjoint(_ancestors(name))
        }
        whole = [name for name in self.finished if self.finished.isdisjoint(_ancestors(name))]
        return Prefix(model, self.boundary, tuple(model.get_submodule(name) for name in whole), before)


@dataclass
class _Trace:
    """Notes, while a model runs, which boundaries it passes before anything trains or moves."""

    images: Tensor
    stages: frozenset[str]
    called: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    cuts: list[_Cut] = field(default_factory=list)
    moves: bool = False

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        head, handles = _classifier(model), []
        self._drawn = self._random_state()
        for name, module in model.named_modules():
            if module is head:
                handles.append(module.register_forward_pre_hook(lambda _, inputs: self._pass(HEAD, inputs[0])))
            handles.append(module.register_forward_pre_hook(lambda module, _, name=name: self._enter(name, module)))
            handles.append(module.register_forward_hook(lambda _m, _i, output, name=name: self._leave(name, output)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, module: nn.Module) -> None:
        self.called.append(name)
        self.moves |= isinstance(module, _BatchNorm) and module.training

    def _leave(self, name: str, output: object) -> None:
        self.finished.append(name)
        if name in self.stages:
            self._pass(name, output)

    def _pass(self, boundary: str, reached: object) -> None:
        self.moves = self.moves or not torch.equal(self._drawn, self._random_state())
        if self.moves or not isinstance(reached, Tensor) or reached.requires_grad or reached.dtype not in TOLERANCE:
            return
        if len(reached) == len(self.images):
            self.cuts.append(_Cut(boundary, frozenset(self.called), frozenset(self.finished)))

    def _random_state(self) -> Tensor:
        """Return where torch's generator stands: dropout, dropped paths and the like move it."""
        on_gpu = self.images.device.type == "cuda"
        return torch.cuda.get_rng_state(self.images.device) if on_gpu else torch.get_rng_state()


def _sample(prefix: Prefix, images: Tensor) -> Tensor | None:
    """Return the activations of the images; None unless, from them, the rest answers as the whole model does.

    That is tried in the modes of now and in evaluation.
    """
    model, held = prefix.model, {name: tensor.clone() for name, tensor in prefix.tensors.items()}
    modes = {module: module.training for module in model.modules()}
    try:
        activations = torch.cat([prefix.activations(part) for part in torch.tensor_split(images, 2)])
        for evaluating in (False, True):
            if evaluating:
                model.eval()
            wanted, found = (_seeded(call, given) for call, given in ((model, images), (prefix.rest, activations)))
            if not _alike(wanted, found):
                return None
        still = all(torch.equal(held[name], tensor) for name, tensor in prefix.tensors.items())
        return activations if still else None
    except Exception:  # shapes that don't fit the other modules: no place to cut
        return None
    finally:
        for module, training in modes.items():
            module.training = training


def _alike(wanted: Tensor, found: Tensor) -> bool:
    if wanted.shape != found.shape or not torch.isfinite(wanted).all():
        return False
    difference = (wanted.float() - found.float()).abs().max()
    return bool(difference <= TOLERANCE.get(wanted.dtype, 1e-4) * wanted.float().abs().max().clamp_min(1e-3))


@torch.no_grad()
def _seeded(call: Any, given: Tensor) -> Tensor:
    torch.manual_seed(0)
    answer: Tensor = call(given)
    return answer.detach()


@contextmanager
def _undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Give buffers, and torch's generators, back as they were; what didn't change isn't touched."""
    held = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    for name, buffer in model.named_buffers():
        if not torch.equal(buffer, held[name]):
            buffer.copy_(held[name])


@contextmanager
def _drawn_head(model: nn.Module) -> Iterator[None]:
    """Give the classifier random weights: one of zeros would agree with anything."""
    held = [(parameter, parameter.detach().clone()) for parameter in _classifier(model).parameters()]
    with torch.no_grad():
        torch.manual_seed(0)
        for parameter, _ in held:
            parameter.normal_()
        yield
        for parameter, before in held:
            parameter.copy_(before)


@contextmanager
def _handing_on(model: nn.Module, modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let modules, and the model's own steps, return their first argument; hooks and parameters stay theirs."""
    owners = [*((module, "forward") for module in modules), *((model, name) for name in OWN_STEPS)]
    changed = [(owner.__dict__, name) for owner, name in owners if hasattr(owner, name)]
    own = [held.get(name) for held, name in changed]
    for held, name in changed:
        held[name] = _first
    try:
        yield
    finally:
        for (held, name), before in zip(changed, own, strict=True):
            if before is None:
                del held[name]
            else:
                held[name] = before


def _first(given: Tensor, *_others: object, **_named: object) -> Tensor:
    return given


def _stop_before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    raise _ReachedError(inputs[0])


def _stop_behind(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
    raise _ReachedError(output)


def _classifier(model: nn.Module) -> nn.Module:
    found: nn.Module = model.get_classifier()  # type: ignore[operator]  # timm's interface
    return found


def _stages(model: nn.Module) -> frozenset[str]:
    try:
        return frozenset(stage_names(model))
    except SettingsError:  # of a plain net nothing is known but its head
        return frozenset()


def _ancestors(name: str) -> set[str]:
    """Return the names of all modules that hold the tensor, or module, of this name, the model itself left out."""
    parts = name.split(".")[:-1]
    return {".".join(parts[: count + 1]) for count in range(len(parts))}
