"""Peak memory: our stages against a bare loop on the same tensors, and images that would not fit as arrays.

Every measurement has a process of its own (memory_cases.py). About 3 minutes on 2 idle cores.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.embedded import prepare_for
from benchmarks.measuring import Row, ratios, spread
from benchmarks.memory_cases import DECODED_BYTES, JPEGS, SHARE, SIDE, STRATEGY, context_of, draw_pictures

MODELS = {"test_resnet": "activations weigh most", "resnet18": "weights weigh most"}
AIM = 1.2
MIB = 2**20


def memory_rows(rounds: int = 3) -> list[Row]:
    """Return ours / bare for each model and stage, then the growth on images that don't fit."""
    if not Path("/proc/self/clear_refs").exists():
        raise SystemExit("The part memory reads /proc/self, which this system hasn't: name the other parts.")
    rows = []
    for model, about in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            prepare_for(context_of(Path(folder), model), STRATEGY)
            for stage in ("pretrain", "finetune"):
                rows += _stage_rows(f"{stage}, {model} ({about})", folder, model, stage, rounds)
    with tempfile.TemporaryDirectory() as folder:
        draw_pictures(Path(folder))
        return [*rows, *_larger_rows(folder, rounds)]


def _stage_rows(what: str, folder: str, model: str, stage: str, rounds: int) -> list[Row]:
    ours, bare = ([_growth(folder, model, f"{who}_{stage}") for _ in range(rounds)] for who in ("ours", "bare"))
    found = ratios(ours, bare)
    return [
        Row(f"{what}: ours / a bare loop", f"≤ {AIM}", *spread(found), statistics.median(found) <= AIM),
        Row(f"{what}: ours, MiB", "–", *spread([value / MIB for value in ours], 0)),
    ]


def _larger_rows(folder: str, rounds: int) -> list[Row]:
    shares = [_growth(folder, "", "encoded") / DECODED_BYTES for _ in range(rounds)]
    refused = "no memory" in _output(folder, "", "arrays")
    size = f"{JPEGS:,} JPEGs of {SIDE} px, {DECODED_BYTES / MIB:,.0f} MiB decoded"
    what = f"{size}, in a process that may grow by {SHARE:.0%} of that"
    return [
        Row(f"{what}: memory added / decoded size", f"≤ {SHARE}", *spread(shares), max(shares) <= SHARE),
        Row("the same as arrays, for control", "no memory", "no memory" if refused else "trains", "–", refused),
    ]


def _growth(folder: str, model: str, case: str) -> float:
    """Return the bytes by which a case made its process grow, at the most."""
    return float(_output(folder, model, case))


def _output(folder: str, model: str, case: str) -> str:
    command = [sys.executable, "-m", "benchmarks.memory_cases", folder, model, case]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout
