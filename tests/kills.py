"""Kill runs at random moments, and see that the next one ends as if nothing had happened.

    python -m tests.kills --rounds 100 --what trainings  # moments: every step, every file operation of a training
    python -m tests.kills --rounds 100                   # of a whole run: those, and all that DVC writes
    python -m tests.kills --rounds 20 --what processes   # `graftwork run` as a process, its children too, at any time

Prints where each was killed and how many steps were done twice; the seed repeats it. Exit code 1 where anything was
lost.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests.flows.conftest import edit, environment, make_workspace

WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree", "shutil.copyfile"}
CHILD_SECONDS = 600


@dataclass
class Moments:
    """Counts the moments of a run in this process, which dies at one of them."""

    root: Path
    report: int  # a pipe
    die_at: int = 0  # counted from 1; 0: not at all
    cut: float = 0.5  # where a write is cut in two
    names: list[str] = field(default_factory=list)
    steps: int = 0

    def watch(self) -> None:
        """Begin to count."""
        import ruamel.yaml
        from torch.optim.optimizer import register_optimizer_step_post_hook

        import graftwork.checkpoints
        import graftwork.weights

        sys.addaudithook(self._operation)
        register_optimizer_step_post_hook(self._step)
        for module in (graftwork.checkpoints, graftwork.weights):
            module.save_file = self._torn_file(module.save_file)  # type: ignore[attr-defined]
        json.dump = self._torn_text(json.dump, "JSON")  # DVC's own lock, our lock
        ruamel.yaml.YAML.dump = self._torn_text(ruamel.yaml.YAML.dump, "YAML")  # type: ignore[method-assign]

    def point(self, name: str) -> bool:
        """Count a moment; tell whether it is the last one."""
        self.names.append(name)
        return len(self.names) == self.die_at

    def die(self) -> NoReturn:
        """Say where, and die as by `kill -9`."""
        self.tell()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("killed")

    def tell(self, result: Any = None) -> None:
        """Send what was counted, and what came out."""
        names = self.names[-1:] if self.die_at else self.names
        os.write(self.report, json.dumps({"names": names, "steps": self.steps, "result": result}).encode())

    def _operation(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            )
            if not writes:
                return
        elif event in WRITES:
            path = arguments[0]
        else:
            return
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(str(self.root)):
            shown = os.fsdecode(path).removeprefix(str(self.root)).lstrip("/")
            if self.point(f"{event} {shown}"):
                self.die()

    def _step(self, *_: Any) -> None:
        self.steps += 1
        if self.point("step of a training"):
            self.die()

    def _torn_file(self, save: Callable[..., None]) -> Callable[..., None]:
        def torn(tensors: Any, path: Any, **options: Any) -> None:
            last = self.point(f"in {Path(path).name.rpartition('.')[2]} weights")
            save(tensors, path, **options)
            if last:
                os.truncate(path, int(self.cut * Path(path).stat().st_size))
                self.die()

        return torn

    def _torn_text(self, dump: Callable[..., Any], what: str) -> Callable[..., Any]:
        def torn(*arguments: Any, **options: Any) -> Any:
            stream = arguments[-1]
            if self.point(f"in {what} {Path(getattr(stream, 'name', '?')).name}"):
                whole = io.StringIO()
                dump(*arguments[:-1], whole, **options)
                stream.write(whole.getvalue()[: int(self.cut * len(whole.getvalue()))])
                stream.flush()
                self.die()
            return dump(*arguments, **options)

        return torn


def forked(work: Callable[[int], None]) -> tuple[int, dict[str, Any]]:
    """Do work in a forked process, which gets a pipe; return how it ended (minus the signal) and what it sent."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            work(writer)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    parts, deadline = [], time.monotonic() + CHILD_SECONDS
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"a run didn't end in {CHILD_SECONDS} s")
        part = os.read(reader, 65536)
        if not part:
            break
        parts.append(part)
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), json.loads(b"".join(parts) or b"{}")


def run_here(root: Path, die_at: int = 0, cut: float = 0.5) -> tuple[int, dict[str, Any]]:
    """Run the whole pipeline in a forked process, which dies at a moment; return how it ended and what it counted."""

    def work(report: int) -> None:
        import torch

        from graftwork import checkpoints
        from graftwork.progress import Quiet
        from graftwork_flows import lock_files
        from graftwork_flows.runs import begin, run_plainly

        lock_files.FILES_SECONDS = 0.0  # nobody else has this cache
        torch.set_num_threads(1)
        os.environ.pop("DVC_SITE_CACHE_DIR", None)
        checkpoints.EVERY_SECONDS = 0.0  # one after every epoch
        moments = Moments(root, report, die_at, cut)
        moments.watch()
        with begin(root) as run:
            run_plainly(run, lambda stage: Quiet())
            if run.failures:
                raise next(iter(run.failures.values()))
        moments.tell()

    return forked(work)


def train_here(folder: Path, which: int, die_at: int = 0, cut: float = 0.5) -> tuple[int, dict[str, Any]]:
    """Do one of several trainings in a forked process, which dies at a moment; return how it ended, and the digest."""

    def work(report: int) -> None:
        import torch

        from graftwork import checkpoints
        from graftwork.training import train
        from graftwork.weights import digest
        from tests.core import test_divergence, test_stepping, tiny

        torch.set_num_threads(1)
        checkpoints.EVERY_SECONDS = 0.0
        made = [
            lambda: tiny.job(folder, epochs=4, optimizer="adamw", lr=0.01),
            lambda: tiny.job(folder, epochs=4, sampling="balanced", validate_every_epochs=2),
            lambda: test_divergence.job(folder),  # goes back to half the rate
        ][which]()
        if which == 1:
            test_stepping.limited(made.target.model, 7)  # runs out of memory
        moments = Moments(folder, report, die_at, cut)
        moments.watch()
        trained = train(made)
        moments.tell([digest(trained.tensors), trained.history, trained.mishaps])

    return forked(work)


def preload() -> None:
    """Import what a run imports, so that forked processes needn't."""
    import pkgutil
    from importlib import import_module

    import dvc.repo

    import graftwork
    import graftwork_flows.runs
    import graftwork_plugins

    assert dvc.repo and graftwork_flows.runs
    for package in (graftwork, graftwork_plugins):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    from graftwork.torchvision_operators import define_missing

    define_missing()
    for name in ("timm", "timm.optim", "sklearn.linear_model", "matplotlib.pyplot", "dvc.stage.cache"):
        import_module(name)


def differences(root: Path, whole: Path) -> list[str]:
    """Return what sets a workspace apart from one that ran undisturbed, and what is left behind in it."""
    from graftwork_flows.pipeline import Pipeline

    files = [*(whole / "weights").rglob("*"), whole / "report" / "metrics.json", whole / "report" / "history.csv"]
    found = []
    for file in (file for file in files if file.is_file()):
        other = root / file.relative_to(whole)
        if not other.is_file() or other.read_bytes() != file.read_bytes():
            found.append(f"{file.relative_to(whole)} differs")
    patterns = ("*.tmp", "*.former", ".graftwork/before/**/*.lock")
    left = [path for pattern in patterns for path in root.rglob(pattern) if path.name != "tmp"]
    found += [f"{path.relative_to(root)} is left behind" for path in left]

    def status(report: int) -> None:
        pipeline = Pipeline(root)
        os.write(report, json.dumps({"changed": pipeline.changed(pipeline.nodes())}).encode())

    code, told = forked(status)
    if code or told["changed"]:
        found.append("DVC takes something for changed")
    return found


@dataclass(frozen=True)
class Killed:
    """What became of one kill."""

    where: str
    again: int | None  # steps that were done twice; None where they weren't counted
    lost: list[str]


class Kills:
    """Workspaces to be killed, beside one that ran undisturbed; `whole` has the names of its moments."""

    def __init__(self, folder: Path, template: Path, seed: int) -> None:
        self.folder, self.template = folder, Path(shutil.copytree(template, folder / "template"))
        edit(self.template / "params.yaml", "  freeze: [full_copy, freeze]\n", "")  # the sooner it ends
        self.random = random.Random(seed)
        preload()
        self.whole = Path(shutil.copytree(self.template, folder / "whole"))
        code, told = run_here(self.whole)
        assert code == 0, "the undisturbed run failed"
        self.names, self.steps = told["names"], told["steps"]
        self.kinds = sorted({_kind(name) for name in self.names})

    def kill(self, number: int) -> Killed:
        """Kill a run at a moment of a random kind, let the next one finish, and compare."""
        kind = self.random.choice(self.kinds)
        moment = self.random.choice([at for at, name in enumerate(self.names, 1) if _kind(name) == kind])
        root = Path(shutil.copytree(self.template, self.folder / f"killed-{number}"))
        code, told = run_here(root, moment, self.random.uniform(0.05, 0.95))
        where = told["names"][-1] if code == -signal.SIGKILL else f"not killed at moment {moment}: exit code {code}"
        code, after = run_here(root)
        lost = differences(root, self.whole) if code == 0 else [f"the next run ended with exit code {code}"]
        shutil.rmtree(root)
        return Killed(where, told["steps"] + after.get("steps", 0) - self.steps, lost)


class TrainingKills:
    """The same with one training alone, of which there can be many."""

    def __init__(self, folder: Path, _template: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        preload()
        self.whole = [train_here(folder / f"whole-{which}", which) for which in range(3)]
        assert [code for code, _ in self.whole] == [0, 0, 0], "the undisturbed trainings failed"
        self.steps = self.whole[0][1]["steps"]

    def kill(self, number: int) -> Killed:
        """Kill a training, let the next one finish, and compare."""
        from graftwork.temporaries import sweep

        which, folder = self.random.randrange(3), self.folder / f"killed-{number}"
        whole = self.whole[which][1]
        kind = self.random.choice(sorted({_kind(name) for name in whole["names"]}))
        moment = self.random.choice([at for at, name in enumerate(whole["names"], 1) if _kind(name) == kind])
        code, told = train_here(folder, which, moment, self.random.uniform(0.05, 0.95))
        where = told["names"][-1] if code == -signal.SIGKILL else f"not killed at moment {moment}: exit code {code}"
        sweep([(folder, 1)])
        left = [str(path) for path in folder.rglob("*.tmp")]
        code, after = train_here(folder, which)
        same = code == 0 and after["result"] == whole["result"]
        lost = left + ([] if same else [f"training {which} came to something else (exit code {code})"])
        shutil.rmtree(folder)
        return Killed(where, told["steps"] + after.get("steps", 0) - whole["steps"], lost)


class RealKills:
    """The same with `graftwork run` as a process of its own, killed after a random time, alone or with its group."""

    def __init__(self, folder: Path, template: Path, seed: int) -> None:
        self.folder, self.template = folder, template
        self.random = random.Random(seed)
        edit(self.template / "params.yaml", "engine: {device", "engine: {side_by_side: 2, device")
        self.whole = Path(shutil.copytree(template, folder / "whole"))
        began = time.monotonic()
        self._run(self.whole).check_returncode()
        self.seconds = time.monotonic() - began

    def kill(self, number: int) -> Killed:
        """Kill a run, let the next one finish, and compare."""
        root = Path(shutil.copytree(self.template, self.folder / f"killed-{number}"))
        after, group = self.random.uniform(0.1, 1.0) * self.seconds, self.random.random() < 0.5
        with subprocess.Popen(
            ["graftwork", "run", "--without-prefect"], cwd=root, env=environment(), start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            time.sleep(after)
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            said = process.communicate(timeout=CHILD_SECONDS)[0].splitlines()
        ended = self._run(root)
        lost = differences(root, self.whole) if ended.returncode == 0 else [ended.stderr]
        shutil.rmtree(root)
        where = f"after {after:.1f} s, {'with its group' if group else 'alone'}: {said[-1] if said else 'nothing said'}"
        return Killed(where, None, lost)

    def _run(self, root: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["graftwork", "run", "--without-prefect"], cwd=root, env=environment(), capture_output=True, text=True,
            timeout=CHILD_SECONDS, check=False,
        )  # fmt: skip


MODES: dict[str, Any] = {"runs": Kills, "trainings": TrainingKills, "processes": RealKills}


def _kind(name: str) -> str:
    """Return what a moment is one of: the operation, and what it is done to."""
    operation, _, path = name.partition(" ")
    if path.endswith(".tmp") and operation == "in":
        return "in YAML of DVC's run cache"
    parts = Path(path).parts
    if parts and re.fullmatch("[0-9a-f]{16}", parts[0]):
        return f"{operation} of a checkpoint"
    return f"{operation} {parts[0] if parts and operation not in ('in', 'step') else path}"


def main() -> int:
    """Kill as often as asked for, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--what", choices=MODES, default="runs")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAFTWORK_CACHE"] = f"{folder}/cache"
        template = make_workspace(Path(folder) / "made" / "workspace")
        kills = MODES[options.what](Path(folder), template, options.seed)
        kinds: Counter[str] = Counter()
        again, failed = [], 0
        for number in range(options.rounds):
            killed = kills.kill(number)
            kinds[_kind(killed.where)] += 1
            again += [killed.again] if killed.again is not None else []
            failed += bool(killed.lost)
            print(
                f"{number:4} {killed.where}; steps again: {killed.again}; lost: {killed.lost or 'nothing'}", flush=True
            )
    print(f"{options.rounds} kills, {failed} with something lost; kinds: {dict(kinds.most_common())}")
    if again:
        print(f"steps done again: {sum(again) / len(again):.1f} on average, {max(again)} at most")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
