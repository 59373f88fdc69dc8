"""All hooks, in the order of a run.

A distribution, or a local file, offers plugins through `register_plugins`. A plugin is a frozen dataclass: its
fields are its settings in params.yaml. What a *strategy* plugin does is said by the other hooks here, which it
implements as methods marked with `@hookimpl`; a strategy in params.yaml is a stack of such plugins, called in the
stack's order. A hook may leave out arguments that it doesn't use.

A strategy's class attribute `excludes` may name plugin classes that can't stand in the same stack; `reads_images =
False` says that it looks at neither the images nor the stages' maps of the training steps that it sees: a stack of
which all say so trains on activations that were computed once, where part of the model stands still. An origin's class
attribute `PUBLISHED` may tell of data sets by name (`graftwork.survey.Outline`), which `graftwork init` then takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from graftwork.registry import Registry
    from graftwork.search import Recommendation, Search
    from graftwork.source import Needs, SourceModel
    from graftwork.strategy import ParameterOptions, Phase, Step, TargetModel
    from graftwork.training_run import Outcome, Run

hookspec = pluggy.HookspecMarker("graftwork")
hookimpl = pluggy.HookimplMarker("graftwork")


class DistributionHooks:
    """What a module named by an entry point, or a local file, implements."""

    @hookspec
    def register_plugins(self, register: Registry) -> None:
        """Offer plugins: `register.dataset("name", Class)`, `.origin`, `.selection`, `.weights`, `.model`,
        `.augmentation`, `.strategy`, `.log`.

        Called once, when plugins are loaded.
        """


class StrategyHooks:
    """What a strategy plugin may do in a run."""

    @hookspec(firstresult=True)
    def recommend(self, search: Search) -> Recommendation | None:
        """Choose the stack that shall stand in this plugin's place, which must be alone in its own.

        Called in the recommend stage, before anything is transferred.
        """

    @hookspec
    def needs(self) -> Needs | None:
        """Say what must be at hand of the source in training: its model, some of its images.

        Called in the transfer stage, which puts that beside the starting weights. The needs of a stack are joined.
        """

    @hookspec(firstresult=True)
    def choose_weights(self, source: SourceModel, classes: tuple[str, ...]) -> dict[str, Tensor] | None:
        """Return the source's tensors that the target model, of these classes, shall start from, by name.

        Called once, in the transfer stage. One plugin of a stack may implement it; no answer means fresh weights.
        What does not fit the target model is sorted out afterwards and listed in the manifest.
        """

    @hookspec
    def prepare_model(self, target: TargetModel) -> None:
        """Change what the model trains: freeze parameters, put adapters in, remember a reference.

        Called for every model, when its starting weights are in place, before the optimizer exists; in the transfer
        stage as well, for the manifest.
        """

    @hookspec(firstresult=True)
    def phases(self, target: TargetModel, epochs: int) -> list[Phase] | None:
        """Divide training into phases with their own trainable sets; `epochs` is what the settings say.

        One plugin of a stack may implement it. Without an answer there is one phase. No phase at all means that
        `training_ended` does the work.
        """

    @hookspec
    def training_started(self, run: Run) -> None:
        """Look at the training data once, before the first step: set the head, weigh the parameters.

        Called again when an interrupted training goes on; what it changed in the model is then overwritten.
        """

    @hookspec
    def parameter_options(self, target: TargetModel) -> dict[str, ParameterOptions] | None:
        """Return learning-rate scales, and exemptions from weight decay, of parameters by name.

        Called when an optimizer is made, for what is trainable then. The answers of a stack are combined.
        """

    @hookspec
    def epoch_started(self, target: TargetModel, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Adjust the model at the start of an epoch (counted from 0), after it was set to training mode.

        A group's rate is scaled by its `initial_lr`; the schedule sets `lr` from it at every step.
        """

    @hookspec
    def loss_terms(self, step: Step) -> Tensor | None:
        """Return a scalar to be added to the loss of this step. The terms of a stack are summed."""

    @hookspec
    def gradients_ready(self, step: Step) -> None:
        """Look at the gradients of this step, or change them, before the optimizer uses them.

        A penalty on weights adds its derivative here, marked `tryfirst`, and tells its value by `penalty`.
        """

    @hookspec
    def penalty(self, target: TargetModel) -> Tensor | None:
        """Return the scalar whose derivative `gradients_ready` adds, for the history. Called at validation."""

    @hookspec
    def step_ended(self, step: Step, optimizer: torch.optim.Optimizer) -> None:
        """Act on the weights after the optimizer moved them; the rate is in `optimizer.param_groups`."""

    @hookspec
    def training_ended(self, outcome: Outcome) -> None:
        """Replace `outcome.tensors`, the weights that validated best, by what shall be delivered."""
