"""Compute with NumPy so that the number of BLAS's threads, which the environment sets, decides no bit.

With other threads a product's sums are split otherwise, and round otherwise; near ties then fall the other way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from threadpoolctl import ThreadpoolController, threadpool_limits

T = TypeVar("T")


def one_blas_thread() -> AbstractContextManager[object]:
    """Keep BLAS to one thread within a `with`, and then give it back as many as it had; torch's own are left alone."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def computed_steadily(numbers: Iterable[T]) -> Iterator[T]:
    """Yield what `numbers` does, each computed on one thread; in between BLAS has as many as it had."""
    threads = ThreadpoolController()  # looks for the libraries once: that takes a millisecond, a limit a tenth of it
    steps = iter(numbers)
    while True:
        with threads.limit(limits=1, user_api="blas"):
            try:
                found = next(steps)
            except StopIteration:
                return
        yield found
