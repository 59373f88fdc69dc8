"""A strategy: a stack of plugins, called in order through one typed class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import Tensor, nn

from graftwork.errors import SettingsError
from graftwork.hookspecs import StrategyHooks
from graftwork.registry import Registry, strategy_manager
from graftwork.settings import Use
from graftwork.source import Needs, Source, SourceModel
from graftwork.taps import Taps

if TYPE_CHECKING:
    from graftwork.search import Recommendation, Search
    from graftwork.training_run import Outcome, Run

FIRST_ANSWERS = ("choose_weights", "phases")  # hooks of which a stack may hold one
OF_STEPS = ("loss_terms", "gradients_ready", "step_ended")  # hooks that see a Step


class ParameterGroup(TypedDict, total=False):
    """One of the optimizer's groups, in torch's own form; `lr_scale` is timm's."""

    params: list[nn.Parameter]
    weight_decay: float
    lr_scale: float


@dataclass(frozen=True)
class ParameterOptions:
    """How one parameter is trained; the options that a stack gives it are combined."""

    lr_scale: float = 1.0  # times the learning rate; scales multiply
    group: str = ""  # parameters of different groups are kept in groups of their own
    weight_decay: bool = True  # the optimizer's; one False is enough

    def combined(self, other: ParameterOptions) -> ParameterOptions:
        """Return both together."""
        return ParameterOptions(
            self.lr_scale * other.lr_scale, self.group + other.group, self.weight_decay and other.weight_decay
        )


@dataclass(frozen=True)
class Phase:
    """A part of training with its own trainable set.

    A phase that `restarts` begins from the weights that validated best so far, with a learning rate that rises and
    falls anew; one that starts `from_start` begins from the strategy's starting weights.
    """

    name: str
    epochs: int
    trains: frozenset[str] | None = None  # of the parameters that the stack leaves trainable; None: all of them
    restarts: bool = False
    from_start: bool = False


@dataclass(frozen=True)
class TargetModel:
    """The model in training, the names of its head, and which of its tensors came from the source."""

    model: nn.Module
    head: frozenset[str]
    transferred: frozenset[str]
    source: Source | None = None  # what a strategy asked for in `needs`
    classes: tuple[str, ...] = ()  # the target's
    extra: nn.ModuleDict = field(default_factory=nn.ModuleDict)  # trained beside the model, and not delivered
    notes: dict[str, Any] = field(default_factory=dict)  # a plugin's own, under its class's name
    taps: Taps = field(default_factory=Taps)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are not frozen, by name; those of `extra` begin with `extra.`."""
        mine = dict(self.model.named_parameters())
        mine |= {f"extra.{name}": parameter for name, parameter in self.extra.named_parameters()}
        return {name: parameter for name, parameter in mine.items() if parameter.requires_grad}

    def classifier(self) -> nn.Linear:
        """Return the linear layer that answers. Raises SettingsError for a model that ends in something else."""
        last = self.model.get_classifier()  # type: ignore[operator]  # timm's interface
        if not isinstance(last, nn.Linear):
            raise SettingsError(
                f"The model ends in {type(last).__name__}, not in one linear layer",
                fix="use another model, or a strategy that doesn't work on the head",
            )
        return last


@dataclass(frozen=True)
class Step:
    """One training step: images (batch, channels, height, width), labels (batch,), logits (batch, classes).

    Where a part of the model stands still, and every plugin declares `reads_images = False`, `images` are what that
    part makes of them (batch, …), and the maps of its stages aren't there.
    """

    target: TargetModel
    images: Tensor
    labels: Tensor
    logits: Tensor
    features: Tensor | None = None  # what the head got, after `target.taps.watch_features`
    maps: tuple[Tensor, ...] = ()  # what the stages gave, after `target.taps.watch_stages`
    draws: torch.Generator | None = None  # for draws of the strategy's own, on the CPU
    loss: Tensor | None = None  # the target's, as the loop weighs and smooths it, without the stack's terms
    soft_labels: Tensor | None = None  # (batch, classes) of mixed images; `labels` has each one's largest class
    numbers: Tensor | None = None  # which of the training images these are (batch,), on the device


class Strategy:
    """A named stack of plugins. Every call of a hook goes through here."""

    def __init__(self, name: str, plugins: Sequence[object]) -> None:
        self.name = name
        self._plugins = list(plugins)
        self._manager = strategy_manager()
        for index, plugin in reversed(list(enumerate(plugins))):  # pluggy calls the last registered first
            if plugin not in self._plugins[:index]:  # pluggy takes no two that are equal: `check` refuses them
                self._manager.register(plugin, name=f"{index} {type(plugin).__name__}")
        self._hook: StrategyHooks = self._manager.hook  # type: ignore[assignment]  # same names, keywords only

    def check(self) -> None:
        """Raise SettingsError for plugins that can't stand in one stack."""
        names = [type(plugin).__name__ for plugin in self._plugins]
        doubled = [name for name in names if names.count(name) > 1]
        if doubled:
            raise self._conflict(doubled[:1], "stands there twice")
        for hook in FIRST_ANSWERS:
            owners = [type(p).__name__ for p in self._plugins if self._answers(p, hook)]
            if len(owners) > 1:
                raise self._conflict(owners, f"both decide {hook.replace('_', ' ')}")
        excluded = {name: type(p).__name__ for p in self._plugins for name in getattr(p, "excludes", ())}
        for plugin in self._plugins:
            other = excluded.get(type(plugin).__name__)
            if other:
                raise self._conflict([other, type(plugin).__name__], "exclude each other")
        if self.chooses and len(names) > 1:
            raise self._conflict(names, "can't stand together: one of them chooses a whole stack")

    @property
    def chooses(self) -> bool:
        """Whether its stack is yet to be chosen, in the recommend stage."""
        return any(self._answers(plugin, "recommend") for plugin in self._plugins)

    @property
    def reads_images(self) -> bool:
        """Whether a plugin looks at a step's images or maps: assumed of those that see steps and don't say."""
        return any(getattr(plugin, "reads_images", _sees_steps(plugin)) for plugin in self._plugins)

    def recommend(self, search: Search) -> Recommendation:
        """Return the stack that the one plugin here chooses."""
        found: Recommendation = self._hook.recommend(search=search)  # type: ignore[assignment]
        return found

    def needs(self) -> Needs:
        """Return what the stack wants to have of the source, beside the weights it starts from."""
        answers: list[Needs] = self._hook.needs()  # type: ignore[assignment]  # pluggy lists them
        return Needs(any(a.model for a in answers), max((a.images for a in answers), default=0))

    def choose_weights(self, source: SourceModel, classes: Sequence[str] = ()) -> dict[str, Tensor]:
        """Return the source's tensors to start from; none for a strategy that transfers nothing."""
        return self._hook.choose_weights(source=source, classes=tuple(classes)) or {}

    def prepare_model(self, target: TargetModel) -> None:
        """Let the stack freeze and prepare the model."""
        self._hook.prepare_model(target=target)

    def phases(self, target: TargetModel, epochs: int) -> list[Phase]:
        """Return the parts of training: the stack's own, or one."""
        found = self._hook.phases(target=target, epochs=epochs)
        return [Phase("training", epochs)] if found is None else found

    def training_started(self, run: Run) -> None:
        """Show the stack the data that it will be trained on."""
        self._hook.training_started(run=run)

    def parameter_groups(self, target: TargetModel, weight_decay: float) -> list[ParameterGroup]:
        """Return the optimizer's groups: every trainable parameter once, by the options that the stack gives it.

        Without any, weight decay goes to matrices and kernels, not to biases and norms (ndim ≤ 1).
        """
        trainable = target.trainable()
        options = {name: ParameterOptions(weight_decay=p.ndim > 1) for name, p in trainable.items()}
        answers: list[dict[str, ParameterOptions]] = self._hook.parameter_options(target=target)  # type: ignore[assignment]
        for answer in answers:
            for name in answer.keys() & options.keys():
                options[name] = options[name].combined(answer[name])
        members: dict[ParameterOptions, list[nn.Parameter]] = {}
        for name, parameter in trainable.items():
            members.setdefault(options[name], []).append(parameter)
        return [
            {"params": held, "weight_decay": weight_decay * option.weight_decay, "lr_scale": option.lr_scale}
            for option, held in sorted(members.items(), key=lambda item: not item[0].weight_decay)
        ]

    def epoch_started(self, target: TargetModel, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Tell the stack that an epoch starts."""
        self._hook.epoch_started(target=target, epoch=epoch, optimizer=optimizer)

    def loss_terms(self, step: Step) -> Tensor | None:
        """Return the sum of the stack's terms, or None where it has none."""
        terms: list[Tensor] = self._hook.loss_terms(step=step)  # type: ignore[assignment]  # pluggy lists them
        return torch.stack(terms).sum() if terms else None

    def gradients_ready(self, step: Step) -> None:
        """Let the stack look at the gradients, or change them."""
        self._hook.gradients_ready(step=step)

    def penalty(self, target: TargetModel) -> Tensor | None:
        """Return the sum of what the stack's penalties on weights are worth now, or None where it has none."""
        values: list[Tensor] = self._hook.penalty(target=target)  # type: ignore[assignment]  # pluggy lists them
        return torch.stack(values).sum() if values else None

    def step_ended(self, step: Step, optimizer: torch.optim.Optimizer) -> None:
        """Tell the stack that the optimizer has moved the weights."""
        self._hook.step_ended(step=step, optimizer=optimizer)

    def training_ended(self, outcome: Outcome) -> None:
        """Let the stack work on what came out, in its order."""
        self._hook.training_ended(outcome=outcome)

    def _answers(self, plugin: object, hook: str) -> bool:
        """Tell whether a plugin decides a hook; one marked `trylast` only steps in where nobody does."""
        method = getattr(type(plugin), hook, None)
        marks = getattr(method, "graftwork_impl", None)
        return marks is not None and not marks.get("trylast")

    def _conflict(self, names: Sequence[str], what: str) -> SettingsError:
        return SettingsError(
            f"{' and '.join(dict.fromkeys(names))} {what}", where=f"params.yaml, key strategies.{self.name}",
            fix="keep one of them in this stack",
        )  # fmt: skip


def _sees_steps(plugin: object) -> bool:
    return any(hasattr(getattr(type(plugin), hook, None), "graftwork_impl") for hook in OF_STEPS)


def build_strategy(name: str, stack: Sequence[Use], registry: Registry) -> Strategy:
    """Return the strategy that a stack of params.yaml describes. Raises SettingsError for a conflict in it."""
    strategy = Strategy(name, [registry.create("strategy", use) for use in stack])
    strategy.check()
    return strategy
