"""Memory that runs out: recognised on every device, and work done in smaller portions then."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# What torch says, each device in its own words, as do the CPU's allocators and the libraries of a GPU.
SAID = (
    "DefaultCPUAllocator", "not enough memory", "std::bad_alloc", "could not create a memory",
    "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory",
)  # fmt: skip


def ran_out(error: BaseException) -> bool:
    """Tell whether an error says that there was no memory left; torch's own is a RuntimeError."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without importing it
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SAID)


def in_portions(size: int, work: Callable[[int], T]) -> T:
    """Return what `work` makes of portions of `size`, halved as often as memory runs out; at 1 its error is raised."""
    while True:
        try:
            return work(size)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not ran_out(error):
                raise
        tidy_up()  # out of the handler, whose traceback holds on to the tensors of the failed try
        size = -(-size // 2)


def tidy_up() -> None:
    """Give back what is no longer in use, in one piece."""
    import torch  # here: who only asks what an error means needs none

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
