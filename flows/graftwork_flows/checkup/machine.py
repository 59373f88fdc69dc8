"""What is there to compute on, and is there room, a right to write, and a clock that can be trusted?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from graftwork.cache_folder import cache_folder
from graftwork.provenance import machine_name
from graftwork_flows.doctor import Check, Line, amount, free_bytes, is_workspace, size_of

FEATURES = {  # of x86 as /proc/cpuinfo has them, and what they are good for
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 bfloat16", "amx_bf16": "AMX bfloat16",
}  # fmt: skip
LITTLE_BYTES, LEAST_BYTES = 2_000_000_000, 100_000_000
FUTURE_SECONDS = 120.0
RELEASED = datetime(2025, 6, 1, tzinfo=UTC)  # a clock before that is wrong


def processor(_root: Path) -> Iterator[Line]:
    """Tell cores and what the processor can do."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        flags = []
    found = [text for flag, text in FEATURES.items() if flag in flags]
    yield Line("ok", "processor", f"{machine_name()}; {', '.join(found) or 'features unknown'}")


def torchs_view(_root: Path) -> Iterator[Line]:
    """Tell threads, instructions and accelerators as torch sees them."""
    import torch

    parts = [f"{torch.get_num_threads()} threads", f"instructions {torch.backends.cpu.get_cpu_capability()}"]
    cuda = torch.cuda.is_available()
    if cuda:
        parts += [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    parts.append("no GPU" if not cuda else "CUDA")
    if torch.backends.mps.is_available():
        parts.append("MPS, which isn't used")
    yield Line("ok", "compute", ", ".join(parts))
    if torch.version.cuda and not cuda:
        yield Line(
            "warning", "compute", f"torch is built for CUDA {torch.version.cuda}, and sees no GPU",
            "nvidia-smi; on a machine without one, a CPU build takes gigabytes less",
        )  # fmt: skip


def disk(root: Path) -> Iterator[Line]:
    """Tell what is free, beside what Graftwork and DVC keep."""
    free = free_bytes(root)
    kept = {name: size_of(root / name) for name in (".dvc/cache", ".graftwork", ".prefect") if (root / name).exists()}
    text = f"{amount(free)} free" + "".join(f"; {name} {amount(size)}" for name, size in kept.items())
    if free < LEAST_BYTES:
        yield Line("broken", "disk", text, "make room: graftwork clean")
    elif free < max(LITTLE_BYTES, kept.get(".dvc/cache", 0) // 10):
        yield Line("warning", "disk", text, "make room: graftwork clean")
    else:
        yield Line("ok", "disk", text)


def writing(root: Path) -> Iterator[Line]:
    """Write a file where runs do."""
    names = ("", "data", "weights", "report", ".graftwork", ".dvc", ".prefect") if is_workspace(root) else ()
    folders = [*(root / name for name in names), cache_folder()]
    wrong = []
    for folder in folders:
        place = next(known for known in (folder, *folder.parents) if known.exists())
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            wrong.append(place)
            yield Line("broken", "writing", f"{place}: {error.strerror}", f"chmod u+w {place}, or make it a folder")
    if not wrong:
        yield Line("ok", "writing", f"{len(folders)} places can be written")


def clock(root: Path) -> Iterator[Line]:
    """Compare the clock with what was written before."""
    now = time.time()
    text = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    files = [root / name for name in ("dvc.lock", "params.yaml", "dvc.yaml")]
    ahead = [path.name for path in files if path.is_file() and path.stat().st_mtime > now + FUTURE_SECONDS]
    if datetime.now(UTC) < RELEASED:
        yield Line("broken", "clock", f"{text} can't be", "set the clock: schedules and certificates hang on it")
    elif ahead:
        yield Line(
            "warning", "clock", f"{text}, but {', '.join(ahead)} is from the future", "set the clock, or touch it"
        )
    else:
        yield Line("ok", "clock", text)


CHECKS: tuple[Check, ...] = (processor, torchs_view, disk, writing, clock)
