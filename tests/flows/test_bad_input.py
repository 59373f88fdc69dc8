"""Bad input and faults meet the contract: exit code, one block with a `fix:`, no traceback, nothing half-written."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graftwork.errors import DataError
from graftwork.files import write_json
from graftwork.layout import Layout
from graftwork.progress import Quiet
from graftwork.weights import load_weights, save_weights
from graftwork_flows.cli import main
from graftwork_flows.overrides import as_overrides
from graftwork_flows.runs import CHECKED, begin, run_plainly
from graftwork_flows.sandbox import sandbox
from tests.flows.conftest import begun, edit, environment, images, run

Breakage = Callable[[Path], object]


def params(old: str, new: str) -> Breakage:
    """Break params.yaml by replacing a text."""
    return lambda root: edit(root / "params.yaml", old, new)


def whole(text: str) -> Breakage:
    """Break params.yaml altogether."""
    return lambda root: (root / "params.yaml").write_text(text)


def folder(*made: Callable[[Path], object]) -> Breakage:
    """Read the target from a class folder that each of `made` has a part in."""

    def apply(root: Path) -> None:
        edit(
            root / "params.yaml",
            "dataset: npz, path: data/target.npz",
            "dataset: image_folder, path: data/photos",
        )
        for make in made:
            make(root / "data" / "photos")

    return apply


def photos(name: str, count: int = 60) -> Callable[[Path], object]:
    """Make a class folder of noise."""

    def make(root: Path) -> None:
        (root / name).mkdir(parents=True)
        rng = np.random.default_rng(list(name.encode()))
        for number in range(count):
            Image.fromarray(rng.integers(0, 255, (10, 10), dtype=np.uint8)).save(root / name / f"{number}.png")

    return make


def plugin(text: str) -> Breakage:
    """Write a local plugin."""
    return lambda root: (root / "strategies" / "own.py").write_text(text)


def npz(**arrays: np.ndarray) -> Breakage:
    """Replace the target's archive."""
    return lambda root: np.savez(root / "data" / "target.npz", **arrays)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
GOOD = images(2, seed=2)
BEGIN = "from dataclasses import dataclass\nfrom graftwork.hookspecs import hookimpl\n"

# What is broken; the exit code; texts that the message holds.
CASES: dict[str, tuple[Breakage, int, tuple[str, ...]]] = {
    "no params.yaml": (lambda root: (root / "params.yaml").unlink(), 2, ("graftwork init",)),
    "unreadable params.yaml": (lambda root: (root / "params.yaml").write_bytes(b"\xff\xfe\x00"), 2, ("UTF-8",)),
    "YAML syntax": (params("seed: 0", "seed: [0"), 2, ("line", "column")),
    "duplicate key": (params("seed: 0", "seed: 0\nseed: 1"), 2, ("duplicate key", "lines 1", "and 4")),
    "unknown key": (params("finetune: {epochs", "finetune: {epoch"), 2, ("'epoch'", "Did you mean epochs?", "line")),
    "negative lr": (params("lr: 0.01}\ntransfer", "lr: -1}\ntransfer"), 2, ("pretrain.lr", "greater than 0", "-1")),
    "NaN": (params("lr: 0.01}\ntransfer", "lr: .nan}\ntransfer"), 2, ("pretrain.lr", "finite")),
    "text for a number": (params("lr: 0.01}\ntransfer", "lr: abc}\ntransfer"), 2, ("pretrain.lr", '"abc"')),
    "unknown strategy part": (params("full_copy: [full_copy]", "full_copy: [fulll_copy]"), 2, ("Did you mean full_copy?",)),
    "unknown plugin setting": (params("[full_copy, freeze]", "[full_copy, {freeze: {batchnorm: eval}}]"), 2, ("batch_norm",)),
    "bad strategy name": (params("  freeze:", "  ../x:"), 2, ("../x", "pattern")),
    "no control": (params("  scratch: []\n", ""), 2, ("scratch",)),
    "unknown model": (params("{mlp: {hidden: [16]}}", "{timm: {name: resnet81}}"), 2, ("resnet81", "Did you mean resnet")),
    "unknown optimizer": (params("adamw, lr: 0.01}\ntransfer", "adamv, lr: 0.01}\ntransfer"), 2, ("adamv", "adam")),
    "object tag": (params("seed: 0", "seed: !!python/object/apply:os.system ['touch hacked']"), 2, ("tag",)),
    "alias bomb": (whole(BOMB), 2, ("far too many",)),
    "other version": (params("graftwork: 0.1.0", "graftwork: 9.9.9"), 2, ("9.9.9", "0.1.0 is installed")),
    "l2_sp without weights": (params("freeze: [full_copy, freeze]", "pull: [l2_sp]"), 2, ("put full_copy before it",)),
    "data missing": (lambda root: (root / "data" / "target.npz").unlink(), 3, ("data.target.path",)),
    "folder empty": (folder(lambda root: root.mkdir()), 3, ("<class>",)),
    "folder is a file": (folder(lambda root: root.write_text("x")), 3, ("is a file", "<class>")),
    "class without images": (folder(photos("cat"), lambda root: (root / "dog").mkdir()), 3, ("'dog' holds no images",)),
    "one class": (folder(photos("cat")), 3, ("one class only",)),
    "class too small": (folder(photos("cat", 98), photos("dog", 2)), 3, ("'dog' has 2 images", "at least 3")),
    "empty image": (folder(photos("cat"), photos("dog"), lambda r: (r / "cat" / "a.jpg").touch()), 3, ("a.jpg: empty file",)),
    "HTML as image": (
        folder(photos("cat"), photos("dog"), lambda r: (r / "cat" / "a.jpg").write_text("<html>")), 3, ("a.jpg: not an image",),
    ),
    "two names alike": (folder(photos("cat"), photos("Cat"), photos("dog")), 3, ("'Cat'", "'cat'")),
    "link out": (folder(photos("cat"), photos("dog"), lambda r: (r / "cat" / "a.png").symlink_to("/etc/passwd")), 3, ("link",)),
    "link loop": (folder(photos("cat"), photos("dog"), lambda r: (r / "cat" / "loop").symlink_to(r / "cat")), 3, ("link",)),
    "name not UTF-8": (folder(photos("cat"), photos("dog"), lambda r: (r / "cat" / "a\udcff.png").touch()), 3, (r"cat/a\udcff.png", "rename")),
    "name of no picture not UTF-8": (folder(photos("cat"), photos("dog"), lambda r: (r / "note.\udcff").touch()), 3, (r"note.\udcff",)),
    "splits and others": (folder(lambda root: [photos(f"{part}/{name}", 9)(root) for part in ("train", "val", "extra") for name in ("cat", "dog")]), 3, ("train and val", "beside them extra")),
    "too few images": (params("test: 40", "test: 99"), 3, ("test set of 99",)),
    "too few labels": (params("labels: 20", "labels: 2000"), 3, ("labels: 2000",)),
    "labels out of range": (npz(images=GOOD["images"], labels=GOOD["labels"] - 1), 3, ("label -1", "0 to")),
    "float images": (npz(images=GOOD["images"] / 255, labels=GOOD["labels"]), 3, ("float64", "uint8")),
    "equal images in two splits": (npz(images=np.repeat(GOOD["images"][:10], 10, axis=0), labels=GOOD["labels"] * 0 + np.arange(100) % 2), 3, ("two splits", "duplicates: drop")),
    "huge learning rate": (params("lr: 0.01}\ntransfer", "lr: 1.0e+38}\ntransfer"), 5, ("not finite at step", "lower lr")),
    "source images that nothing adapts": (params("augmentation: [], image: null", "augmentation: [], image: {size: 8, channels: 3}"), 3, ("trunk.1.0.weight", "data.source.image")),
    "image format without a size": (params("augmentation: [], image: null", "augmentation: [], image: {channels: 3}"), 2, ("'size'", "data.source.image")),
    "coverage too low": (params("{minimum_coverage: 0.5}", "{minimum_coverage: 1.0}"), 0, ()),
    "local plugin with a syntax error": (plugin("def x(:"), 2, ("own.py", "SyntaxError")),
    "local plugin that raises": (plugin("1 / 0"), 2, ("own.py", "line 1", "ZeroDivisionError")),
    "local plugin with a taken name": (
        plugin(BEGIN + "@dataclass(frozen=True)\nclass A:\n    @hookimpl\n    def prepare_model(self, target): ...\n@hookimpl\ndef register_plugins(register):\n    register.strategy('freeze', A)\n"),
        2, ("registered twice", "graftwork 0.1.0", "own.py"),
    ),
    "local plugin with a misspelt hook": (
        plugin(BEGIN + "@dataclass(frozen=True)\nclass A:\n    @hookimpl\n    def prepare_modell(self, target): ...\n@hookimpl\ndef register_plugins(register):\n    register.strategy('a', A)\n"),
        2, ("prepare_modell", "own.py"),
    ),
    "local plugin with a wrong signature": (
        plugin(BEGIN + "@dataclass(frozen=True)\nclass A:\n    @hookimpl\n    def prepare_model(self, network): ...\n@hookimpl\ndef register_plugins(register):\n    register.strategy('a', A)\n"),
        2, ("network", "own.py"),
    ),
    "DVC not set up": (lambda root: shutil.rmtree(root / ".dvc"), 4, ("dvc init",)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_case_meets_the_contract(
    case: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    breakage, code, texts = CASES[case]
    breakage(workspace)
    monkeypatch.setattr("sys.argv", ["graftwork", "run", "--without-prefect", "-C", str(workspace)])
    with pytest.raises(SystemExit) as ended:  # in this process: importing torch forty times takes minutes
        main()
    said = capfd.readouterr().err
    assert ended.value.code == code, said
    assert "Traceback" not in said
    if code:
        assert said.startswith("error: ")
        assert "fix: " in said
    for text in texts:
        assert text in said
    assert not list(workspace.rglob("*.tmp"))
    assert not (workspace / "hacked").exists()


def test_a_name_that_dvc_can_not_record_is_told_where_all_was_well_before(workspace: Path) -> None:
    folder(photos("cat"), photos("dog"))(workspace)
    with begin(workspace, goals=CHECKED) as done:
        run_plainly(done, lambda stage: Quiet())
    assert not done.failures
    (workspace / "data" / "photos" / "cat" / "a\udcff.png").touch()  # DVC is asked what changed before we look
    with pytest.raises(DataError, match=r"1 file name is not UTF-8: cat/a\\udcff.png"), begin(workspace, goals=CHECKED):
        pass


def test_without_git_a_run_works_and_overrides_say_what_is_missing(workspace: Path) -> None:
    shutil.rmtree(workspace / ".git")
    shutil.rmtree(workspace / ".dvc")
    assert run(workspace, "dvc", "init", "-q", "--no-scm").returncode == 0
    done = run(workspace, "graftwork", "run", "--without-prefect", "--set", "finetune.epochs=1")
    assert done.returncode == 4
    assert "git init" in done.stderr
    assert run(workspace, "graftwork", "run", "--without-prefect").returncode == 0


@pytest.mark.parametrize(
    ("command", "breakage", "text"),
    [
        (("run", "--strategy", "nope"), None, "Unknown strategy 'nope'"),
        (("run", "--set", "data.target.augmentation=[flop]"), None, "Did you mean flip?"),
        (("run", "--set", "local_plugins=elsewhere"), None, "elsewhere"),
        (("run",), params("path: data/target.npz", "path: data/taget.npz"), "data.target.path"),
        (("sweep",), params("full_copy: [full_copy]", "full_copy: [fulll_copy]"), "Did you mean full_copy?"),
        (("sweep",), params("sweep: {strategies: [scratch, full_copy]", "sweep: {strategies: [scratch, x]"), "'x'"),
        (("serve",), params("model: {mlp", "model: {mpl"), "Did you mean mlp?"),
    ],
)
def test_settings_are_checked_before_a_server_starts(
    command: tuple[str, ...], breakage: Breakage | None, text: str, workspace: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if breakage:
        breakage(workspace)
    monkeypatch.setattr("graftwork_flows.server.launch", lambda root: pytest.fail("a server was started"))
    monkeypatch.setattr("sys.argv", ["graftwork", *command, "-C", str(workspace)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (2, 3)
    assert text in capfd.readouterr().err
    assert not (workspace / "sweep").exists() and not (workspace / "data" / "raw").exists()


def test_a_chosen_strategy_keeps_its_other_override(workspace: Path) -> None:
    found = as_overrides(workspace, ["own"], 0, 0, 0, ["strategies.own=[full_copy]"])
    assert json.loads(found[-1].removeprefix("strategies=")) == {"scratch": [], "own": ["full_copy"]}


def test_where_no_prefect_server_can_start_the_run_goes_on_without(workspace: Path) -> None:
    (workspace / ".prefect").write_text("a file where the server's folder should be")
    done = run(workspace, "graftwork", "run")
    assert done.returncode == 0, done.stderr
    assert "warning: going on without Prefect" in done.stdout and "UI: none" in done.stdout
    assert (workspace / "report" / "report.html").is_file()


def test_an_unreachable_prefect_server_of_ones_own_is_named(workspace: Path) -> None:
    done = subprocess.run(
        ["graftwork", "run"], cwd=workspace, env={**environment(), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 4
    assert "PREFECT_API_URL=http://127.0.0.1:9/api" in done.stderr
    assert "--without-prefect" in done.stderr


def test_weights_of_another_architecture_are_refused_with_both_lists(computed: Path) -> None:
    file = computed / "weights" / "source" / "model.safetensors"
    tensors, contract = load_weights(file)
    save_weights(file, {f"other.{name}": tensor for name, tensor in tensors.items()}, contract)
    done = run(computed, "graftwork", "stage", "transfer", "full_copy")
    assert done.returncode == 3
    assert "loaded 0 of" in done.stderr
    assert "trunk.1.0.weight" in done.stderr and "other.trunk.1.0.weight" in done.stderr
    file = computed / ".graftwork" / "misfits" / "transfer-full_copy.json"
    assert str(file) in done.stderr.replace("\n", "")
    assert len(json.loads(file.read_text())["tensors"]) == 2 * len(tensors)


def test_what_does_not_fit_in_a_run_with_overrides_is_told_at_home(workspace: Path) -> None:
    with sandbox(workspace, ["finetune.epochs=1"], "box") as box:
        write_json(Layout(box.root).misfits / "transfer-x.json", {"tensors": []})
    assert not box.root.exists()
    assert (workspace / ".graftwork" / "misfits" / "transfer-x.json").is_file()


def test_weights_with_nan_name_the_tensor(computed: Path) -> None:
    file = computed / "weights" / "source" / "model.safetensors"
    tensors, contract = load_weights(file)
    tensors["head.weight"][0, 0] = torch.nan
    save_weights(file, tensors, contract)
    done = run(computed, "graftwork", "stage", "transfer", "full_copy")
    assert done.returncode == 3
    assert "head.weight holds NaN" in done.stderr


def test_a_read_only_output_folder_is_found_before_training(workspace: Path) -> None:
    (workspace / "weights").write_text("a file where a folder should be: root may write into any folder")
    done = run(workspace, "graftwork", "run", "--without-prefect")
    assert done.returncode == 4
    assert "weights" in done.stderr
    assert not (workspace / "data" / "raw").exists()


def test_after_a_broken_run_the_former_results_are_still_there(computed: Path) -> None:
    before = (computed / "report" / "metrics.json").read_bytes()
    edit(computed / "params.yaml", "lr: 0.01}\nstrategies", "lr: 1.0e+38}\nstrategies")
    assert run(computed, "graftwork", "run", "--without-prefect").returncode == 5
    assert (computed / "report" / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bits(
    number: signal.Signals, workspace: Path, computed: Path
) -> None:
    long = ("finetune: {epochs: 2", "finetune: {epochs: 4000")
    edit(workspace / "params.yaml", *long)
    with begun(workspace, "graftwork", "run", "--without-prefect", until="finetune@") as process:
        asked = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    assert process.returncode == 128 + number
    assert "Stopped by" in said and "Traceback" not in said
    edit(workspace / "params.yaml", *reversed(long))
    assert run(workspace, "graftwork", "run", "--without-prefect").returncode == 0
    for file in computed.glob("weights/**/*.safetensors"):
        assert file.read_bytes() == (workspace / file.relative_to(computed)).read_bytes()


def test_the_second_run_in_a_workspace_says_who_holds_it(workspace: Path) -> None:
    from graftwork_flows.run_lock import run_lock

    with run_lock(workspace / ".graftwork", "a run of this test"):
        done = run(workspace, "graftwork", "run", "--without-prefect")
    assert done.returncode == 4
    assert "a run of this test" in done.stderr
    assert run(workspace, "graftwork", "run", "--without-prefect").returncode == 0


def test_hostile_class_names_are_data_and_never_paths_or_markup(workspace: Path) -> None:
    names = ["<script>alert(1)</script>", "x..%2F", "a\nb", "x" * 200]
    (workspace / "data" / "photos").mkdir()
    for name in names:
        photos(name.replace("/", "\N{FRACTION SLASH}"))(workspace / "data" / "photos")
    edit(
        workspace / "params.yaml",
        "dataset: npz, path: data/target.npz",
        "dataset: image_folder, path: data/photos",
    )
    done = run(workspace, "graftwork", "run", "--without-prefect")
    assert done.returncode == 0, done.stderr
    card = json.loads((workspace / "data" / "prepared" / "target" / "card.json").read_text())
    assert len(card["classes"]) == 4
    assert "<script" not in (workspace / "report" / "report.html").read_text()
