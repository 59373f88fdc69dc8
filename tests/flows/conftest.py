"""A workspace small enough to run in a second, and ways to run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from graftwork.progress import Quiet
from graftwork_flows.initialise import initialise
from graftwork_flows.runs import begin, run_plainly

BIN = str(Path(sys.executable).parent)
COMMAND_SECONDS = 240

SMALL = """\
versions: {graftwork: 0.1.0}
local_plugins: strategies
seed: 0
seeds: [0, 1]
image: {size: 8, channels: 1}
sources: [source]
origins: {}
imports: {}
data:
  source:
    {dataset: npz, path: data/source.npz, validation: 0.2, test: 0.2, augmentation: [], image: null, storage: auto}
  target:
    {dataset: npz, path: data/target.npz, validation: 20, test: 40, labels: 20, augmentation: [flip],
     image: null, storage: auto}
model: {mlp: {hidden: [16]}}
pretrain: {epochs: 2, batch_size: 16, optimizer: adamw, lr: 0.01}
transfer: {minimum_coverage: 0.5}
finetune: {epochs: 2, batch_size: 10, optimizer: adamw, lr: 0.01}
strategies:
  scratch: []
  full_copy: [full_copy]
  freeze: [full_copy, freeze]
engine: {device: cpu, threads: 1, precision: float32, memory_format: contiguous}
evidence: {confidence: 0.95, margin: 0.005}
sweep: {strategies: [scratch, full_copy], labels_per_class: [2, 5], minimum_steps: 4}
"""


def images(classes: int, seed: int) -> dict[str, np.ndarray]:
    """Return noise with a bright row for each class: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    labels = np.arange(100) % classes
    pixels = rng.integers(0, 90, (100, 8, 8), dtype=np.uint8)
    pixels[np.arange(100), 2 * labels] += 120
    return {"images": pixels, "labels": labels}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as `graftwork init` makes it, with small data and settings, committed to git."""
    return make_workspace(tmp_path_factory.mktemp("template") / "workspace")


def make_workspace(folder: Path) -> Path:
    """Make such a workspace in a folder that isn't there, and return it."""
    initialise(folder, git=True)
    (folder / "params.yaml").write_text(SMALL)
    np.savez(folder / "data" / "source.npz", **images(3, seed=1))
    np.savez(folder / "data" / "target.npz", **images(2, seed=2))
    (folder / "data" / "fashion_mnist.npz").unlink()
    commit(folder)
    return folder


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Path:
    """A workspace of the test's own."""
    return Path(shutil.copytree(template, tmp_path / "workspace"))


@pytest.fixture(scope="session")
def computed_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same workspace after a run."""
    folder = Path(shutil.copytree(template, tmp_path_factory.mktemp("computed") / "workspace"))
    with begin(folder) as run:
        run_plainly(run, lambda stage: Quiet())
        assert not run.failures, run.failures
    return folder


@pytest.fixture
def computed(computed_template: Path, tmp_path: Path) -> Path:
    """A workspace of the test's own in which everything has run."""
    return Path(shutil.copytree(computed_template, tmp_path / "computed"))


def commit(folder: Path) -> None:
    """Commit everything that git doesn't ignore."""
    call(folder, "git", "add", "-A")
    call(folder, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "state")


def environment() -> dict[str, str]:
    """The environment of a user who activated this one, and set nothing for Prefect or DVC."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_"))}
    author = {f"GIT_{who}_{what}": "t@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**kept, **author, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONWARNINGS": ""}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and return what it said, whatever its exit code."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def call(folder: Path, *command: str) -> str:
    """Run a command that must succeed; return its output."""
    done = run(folder, *command)
    assert done.returncode == 0, f"{command} → {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def begun(folder: Path, *command: str, until: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a command that goes on, once a line that it printed has this text; killed at the end if it still runs."""
    with subprocess.Popen(
        command, cwd=folder, env={**environment(), **variables},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            if not any(until in line for line in process.stdout):
                pytest.fail(f"{command} ended before it said {until!r}: {process.communicate()[1]}")
            yield process
        finally:
            process.kill()


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def served(workspace: Path) -> Iterator[Callable[[], Path]]:
    """A workspace whose Prefect server, once started, is stopped at the end."""
    yield lambda: workspace
    run(workspace, "graftwork", "server", "stop")
