"""One training on several processes, each of which works on its share of every batch: synchronous data parallelism.

The gradient of a batch is the sum of the shares' gradients, so that the weights are those of one process with the whole
batch, but for the order in which numbers are added (Goyal et al., arXiv 1706.02677, who also raise the batch and the
rate; here both stay). accelerate finds the processes and their devices, as `torchrun` or its own launcher set them up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from graftwork.errors import SettingsError, StateError, TrainingError, first_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIZE, HERE = "WORLD_SIZE", "LOCAL_WORLD_SIZE"  # torchrun's variables: processes in all, and on this machine
PATIENCE = timedelta(minutes=10)  # with a process that lives, but doesn't come to the point where all others wait
LOST = "Another process of this training is gone, or stuck"


@dataclass(frozen=True)
class Team:
    """The processes of one training, as one of them sees it. Alone, nothing is exchanged and nothing copied."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and tells progress."""
        return self.rank == 0

    @property
    def purpose(self) -> tuple[int, ...]:
        """What sets this process's own draws – dropout, a strategy's – apart from the first one's."""
        return () if self.leads else (self.rank,)

    def share(self, count: int) -> slice:
        """Return which of a batch's `count` images are this process's."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def require_work(self, batch: int) -> None:
        """Raise SettingsError where a process would have no image of a batch."""
        if batch < self.size:
            raise SettingsError(
                f"A batch of {batch} images can't be shared by {self.size} processes", where="params.yaml",
                expected="at least one image for each", fix="raise batch_size, or lower engine.processes",
            )  # fmt: skip

    def reduce(self, optimizer: torch.optim.Optimizer) -> None:
        """Replace every gradient by the sum over all processes."""
        if self.size == 1:
            return
        import torch

        held = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if held:
            summed = self.sum(torch.cat([gradient.reshape(-1) for gradient in held]))
            parts = torch.split(summed, [gradient.numel() for gradient in held])
            torch._foreach_copy_(held, [part.view_as(one) for part, one in zip(parts, held, strict=True)])

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, the same bits in each. Raises TrainingError when one is gone."""
        if self.size == 1:
            return values
        import torch.distributed as dist

        try:
            dist.all_reduce(values)
        except RuntimeError as error:
            raise TrainingError(
                LOST, where=f"process {self.rank + 1} of {self.size}", expected="that all go on to the end",
                fix=f"what the others said tells why; the next run goes on from the checkpoint ({first_line(error)})",
            ) from error  # fmt: skip
        return values

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let batch norms that are called inside take the statistics of the whole batch."""
        if self.size == 1:
            yield
            return
        from graftwork.shared_norms import SharedStatistics

        with SharedStatistics(self.sum):
            yield


ALONE = Team()


def processes_here() -> int:
    """Return of how many processes `torchrun` or its like made this one part."""
    return int(os.environ.get(SIZE, "1"))


def join_team(device: Literal["auto", "cpu", "cuda"]) -> Team:
    """Meet the other processes that `torchrun` or its like started; alone where it didn't.

    `device` is that of the settings. Raises SettingsError where accelerate is missing, StateError where the processes
    don't find each other, or are more than there are GPUs.
    """
    if processes_here() == 1:
        return ALONE
    try:
        from accelerate import PartialState
    except ImportError:
        raise SettingsError(
            f"{processes_here()} processes shall train one model, and accelerate isn't installed",
            fix="pip install 'graftwork[ddp]'",
        ) from None
    import torch

    cpu = device == "cpu" or not torch.cuda.is_available()
    _require_devices(0 if cpu else torch.cuda.device_count())
    try:
        backend = {"backend": "gloo"} if cpu else {}
        state = PartialState(cpu=cpu, timeout=PATIENCE, **backend)
    except (RuntimeError, ValueError) as error:
        raise StateError(
            f"The processes of the training don't find each other: {first_line(error)}",
            where=f"MASTER_ADDR={os.environ.get('MASTER_ADDR')}, MASTER_PORT={os.environ.get('MASTER_PORT')}",
            fix="start them by torchrun, or set engine.processes in params.yaml",
        ) from error  # fmt: skip
    return Team(state.process_index, state.num_processes)


def _require_devices(gpus: int) -> None:
    here = int(os.environ.get(HERE, os.environ[SIZE]))
    if 0 < gpus < here:
        raise StateError(
            f"{here} processes were started here, and there are {gpus} GPUs", expected="a GPU for each",
            fix=f"--nproc-per-node {gpus}, or engine.processes: {gpus}; or engine.device: cpu",
        )  # fmt: skip
