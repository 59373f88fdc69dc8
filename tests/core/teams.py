"""Several forked processes as the team of one training, without a launcher."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch.distributed as dist

from graftwork.progress import Progress, Quiet
from graftwork.side_by_side import start
from graftwork.team import Team

T = TypeVar("T")


def in_team(folder: Path, work: Callable[[Team], T], size: int = 2) -> list[T]:
    """Return what the work returns in each process. They meet by a file in the folder."""
    meeting = folder / "meeting"
    meeting.unlink(missing_ok=True)
    tasks = {f"process {rank}": partial(_member, Team(rank, size), meeting, work) for rank in range(size)}
    return start(tasks, size, Quiet()).results()


def _member(team: Team, meeting: Path, work: Callable[[Team], T], _progress: Progress) -> T:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=team.rank, world_size=team.size)
    try:
        return work(team)
    finally:
        dist.destroy_process_group()
