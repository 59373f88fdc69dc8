"""Cases whose answer is known: a source that learnt something helps, one that learnt noise doesn't.

Scikit-learn's digits: the source tells ten digits apart on one half of the images, the target even from odd on the
other half, from 20 labels. The shuffled source sees the same images, under labels that mean nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from graftwork.files import read_json
from graftwork.workspace import open_workspace, run_stage

pytestmark = pytest.mark.slow

PARAMS = """\
versions: {graftwork: 0.1.0}
local_plugins: strategies
seed: 0
seeds: [0, 1, 2, 3, 4, 5, 6, 7]
image: {size: 8, channels: 1}
sources: [source]
data:
  source: {dataset: npz, path: source.npz, validation: 100, test: 100, augmentation: [], image: null, storage: auto}
  target: {dataset: npz, path: target.npz, validation: 100, test: 500, labels: 20, augmentation: [], image: null,
           storage: auto}
model: {mlp: {hidden: [64, 64]}}
pretrain: {epochs: 30, batch_size: 50, optimizer: adamw, lr: 0.01, weight_decay: 0.05, warmup_fraction: 0.2}
transfer: {minimum_coverage: 0.5}
finetune: {epochs: 20, batch_size: 20, optimizer: adamw, lr: 0.005, weight_decay: 0.05, warmup_fraction: 0.2,
           validate_every_epochs: 5}
strategies: {scratch: [], full_copy: [full_copy]}
engine: {device: cpu, threads: 1, precision: float32, memory_format: contiguous}
evidence: {confidence: 0.95, margin: 0.005}
"""
DATA = [(stage, data) for stage in ("fetch", "augment") for data in ("source", "target")]
STRATEGIES = [(stage, name) for name in ("scratch", "full_copy") for stage in ("transfer", "finetune")]


def run(folder: Path, *, shuffled: bool, seed: int = 0) -> dict[str, Any]:
    """Run the stages in a workspace of its own and return its figures."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = (digits.images[order] * 15.9375).astype(np.uint8)  # 0 to 16 becomes 0 to 255
    labels = digits.target[order]
    learnt = np.random.default_rng(seed).permutation(labels[:900]) if shuffled else labels[:900]
    (folder / "strategies").mkdir()
    np.savez(folder / "source.npz", images=images[:900], labels=learnt)
    np.savez(folder / "target.npz", images=images[900:], labels=labels[900:] % 2)
    (folder / "params.yaml").write_text(PARAMS.replace("\nseed: 0", f"\nseed: {seed}"))
    context = open_workspace(folder)
    for stage, item in [
        *DATA,
        ("pretrain", "source"),
        ("score", "source"),
        ("recommend", ""),
        *STRATEGIES,
        ("report", ""),
    ]:
        run_stage(context, stage, item)
    metrics: dict[str, Any] = read_json(folder / "report" / "metrics.json")
    return metrics


def test_a_source_that_learnt_what_the_target_needs_comes_out_positive(tmp_path: Path) -> None:
    """The same for global seeds 0 to 10: each came out positive, the least of the intervals' ends at +3.5 points."""
    found = run(tmp_path, shuffled=False)
    gain = found["strategies"]["full_copy"]["gain"]
    assert found["source"]["accuracy"] > 0.9
    assert gain["verdict"] == "positive" and found["verdict"].startswith("Transfer helped")
    assert gain["bootstrap"]["low"] > 0, "it stands when the draw of test images is counted in"


def test_a_source_that_learnt_noise_comes_out_as_no_help(tmp_path: Path) -> None:
    """The same for global seeds 0 to 10: none came out positive, the gains between −5.3 and +2.6 points."""
    found = run(tmp_path, shuffled=True)
    gain = found["strategies"]["full_copy"]["gain"]
    assert found["source"]["accuracy"] < 0.25, "there is nothing to learn in shuffled labels"
    assert gain["verdict"] != "positive" and gain["low"] < 0
