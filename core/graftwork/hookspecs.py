"""All hooks, in the order of a run.

A distribution, or a local file, offers plugins through `register_plugins`. A plugin is a frozen dataclass: its
fields are its settings in params.yaml. What a *strategy* plugin does is said by the other hooks here, which it
implements as methods marked with `@hookimpl`; a strategy in params.yaml is a stack of such plugins, called in the
stack's order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from torch import Tensor

    from graftwork.registry import Registry
    from graftwork.strategy import ParameterGroup, SourceModel, Step, TargetModel

hookspec = pluggy.HookspecMarker("graftwork")
hookimpl = pluggy.HookimplMarker("graftwork")


class DistributionHooks:
    """What a module named by an entry point, or a local file, implements."""

    @hookspec
    def register_plugins(self, register: Registry) -> None:
        """Offer plugins: `register.dataset("name", Class)`, `.model`, `.augmentation`, `.strategy`.

        Called once, when plugins are loaded.
        """


class StrategyHooks:
    """What a strategy plugin may do in a run."""

    @hookspec(firstresult=True)
    def choose_weights(self, source: SourceModel) -> dict[str, Tensor] | None:
        """Return the source's tensors that the target model shall start from, by name.

        Called once, in the transfer stage. The first answer wins; no answer at all means fresh weights. What does
        not fit the target model is sorted out afterwards and listed in the manifest.
        """

    @hookspec
    def prepare_model(self, target: TargetModel) -> None:
        """Change what the model trains: freeze parameters, set layers to evaluation mode, remember a reference.

        Called once a model, when its starting weights are in place, before the optimizer exists. Every plugin of
        the stack is called.
        """

    @hookspec(firstresult=True)
    def parameter_groups(self, target: TargetModel, weight_decay: float) -> list[ParameterGroup] | None:
        """Return the optimizer's groups; together they hold every trainable parameter exactly once.

        The first answer wins; without one, weight decay applies to all but biases and norms.
        """

    @hookspec
    def epoch_started(self, target: TargetModel, epoch: int) -> None:
        """Adjust the model at the start of an epoch (counted from 0), after it was set to training mode."""

    @hookspec
    def loss_terms(self, step: Step) -> Tensor | None:
        """Return a scalar to be added to the loss of this step. The terms of a stack are summed."""
