"""How many cores a process may compute on."""

from __future__ import annotations

import os
from pathlib import Path

TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Return the number of physical cores that this process may use, by its affinity and its container's quota."""
    threads = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(thread) for thread in threads}
    return max(1, min(len(cores), _quota()))


def _siblings(thread: int) -> str:
    """Return which hardware threads share a core with this one; where it isn't told, it has a core of its own."""
    try:
        return Path(TOPOLOGY.format(thread)).read_text(encoding="ascii").strip()
    except OSError:
        return str(thread)


def _quota() -> int:
    """Return how many cores' time the container gets, rounded up."""
    try:
        share, period = QUOTA.read_text(encoding="ascii").split()
        return -(-int(share) // int(period))
    except (OSError, ValueError):  # no control group, or `max`
        return 512
