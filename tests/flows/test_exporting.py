"""`graftwork export` and `graftwork predict`, from a finished run to answers, and what they say when they can't."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graftwork.files import read_json, write_json
from graftwork.layout import Layout
from graftwork.storage import load_split
from graftwork_flows.cli import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process; return its exit code, and what it printed."""
    monkeypatch.setattr("graftwork.export.missing_packages", lambda: ["onnxscript"])  # that takes seconds

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["graftwork", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def pictures(computed: Path) -> Path:
    """The test images as PNG files, named in their order."""
    folder = computed / "pictures"
    folder.mkdir()
    for number, pixels in enumerate(load_split(Layout(computed).split("target", "test")).images.numpy()):
        Image.fromarray(pixels[0]).save(folder / f"{number:02}.png")
    return folder


def test_what_validation_chose_is_exported_with_its_card(computed: Path, command: Command) -> None:
    code, said, _ = command("export", "-C", computed)
    assert code == 0
    chosen = read_json(computed / "report" / "metrics.json")["chosen"]
    folder = computed / "exported" / chosen
    assert str(folder) in said and "left out: onnx" in said and "left out: timm" in said
    card = (folder / "README.md").read_text()
    assert "Verdict:" in card
    assert {file.name for file in folder.iterdir()} == {
        "README.md",
        "config.json",
        "graftwork.json",
        "model.safetensors",
    }


def test_the_card_tells_the_code_of_the_training_not_of_the_export(computed: Path, command: Command) -> None:
    files = Layout(computed).runs.glob("*.json")
    record = next(file for file in files if read_json(file)["stage"] == "finetune@full_copy")
    write_json(record, {**read_json(record), "commit": "of-that-day", "versions": {"torch": "1.2.3"}})
    assert command("export", "-C", computed, "--strategy", "full_copy")[0] == 0
    card = (computed / "exported" / "full_copy" / "README.md").read_text()
    assert "- code: `of-that-day`; torch 1.2.3\n" in card


def test_an_export_says_what_it_did_as_json_too(computed: Path, command: Command, tmp_path: Path) -> None:
    options = ("--strategy", "scratch", "--seed", 1, "--to", tmp_path / "x", "--json")
    code, said, _ = command("export", "-C", computed, *options)
    assert code == 0
    told = json.loads(said)
    assert (told["strategy"], told["seed"], told["folder"]) == ("scratch", 1, str(tmp_path / "x"))
    assert "Verdict" not in (tmp_path / "x" / "README.md").read_text()


def test_predictions_are_as_accurate_as_the_report_says(computed: Path, pictures: Path, command: Command) -> None:
    code, said, _ = command("predict", "-C", computed, "--strategy", "full_copy", "--seed", 1, "--json", pictures)
    assert code == 0
    labels = load_split(Layout(computed).split("target", "test")).labels.tolist()
    lines = [json.loads(line) for line in said.splitlines()]
    assert [Path(line["file"]).stem for line in lines] == [f"{number:02}" for number in range(len(labels))]
    correct = np.mean([int(line["class"]) == label for line, label in zip(lines, labels, strict=True)])
    told = read_json(computed / "report" / "metrics.json")["strategies"]["full_copy"]["accuracy"]["per_seed"][1]
    assert correct == pytest.approx(told)
    for line in lines:
        assert line["probability"] == max(line["probabilities"].values())
        assert sum(line["probabilities"].values()) == pytest.approx(1)


def test_an_exported_folder_predicts_without_a_workspace(
    computed: Path, pictures: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("export", "-C", computed, "--to", tmp_path / "x")[0] == 0
    _, inside, _ = command("predict", "-C", computed, "--json", pictures)
    monkeypatch.chdir(tmp_path)
    code, outside, _ = command("predict", "--model", tmp_path / "x", "--json", pictures)
    assert code == 0
    assert [json.loads(line)["class"] for line in outside.splitlines()] == [
        json.loads(line)["class"] for line in inside.splitlines()
    ]


@pytest.mark.parametrize("file", ["params.yaml", "strategies/own.py"])
def test_a_broken_workspace_does_not_keep_a_model_from_elsewhere_from_answering(
    file: str, computed: Path, pictures: Path, command: Command, tmp_path: Path
) -> None:
    assert command("export", "-C", computed, "--to", tmp_path / "x")[0] == 0
    (computed / file).write_text("a: [")
    code, said, errors = command("predict", "-C", computed, "--model", tmp_path / "x", "--json", pictures / "00.png")
    assert code == 0 and json.loads(said)["class"]
    assert "without the plugins of this workspace:" in errors and Path(file).name in errors
    assert command("predict", "-C", computed, pictures / "00.png")[0] == 2


def test_good_files_are_answered_before_bad_ones_end_it_with_3(
    computed: Path, pictures: Path, command: Command
) -> None:
    (pictures / "05.png").write_text("<html>")
    (pictures / "06.png").rename(pictures / "a\x1b[31m\n\udcff.png")
    code, said, errors = command("predict", "-C", computed, "x" * 300, pictures, "--ensemble")
    assert code == 3
    heads, *lines = said.splitlines()
    assert heads.split() == ["file", "class", "probability", "next", "best"]
    assert len(lines) == 39
    assert r"a\x1b[31m\n\udcff.png" in lines[-1] and "\x1b" not in said
    assert "no answer:" in errors and "05.png: not an image" in errors and "fix:" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("export",), 4, "graftwork run"),
        (("predict", "x.png"), 4, "graftwork run"),
        (("export", "--strategy", "fulcopy"), 2, "Did you mean full_copy?"),
        (("predict", "x.png", "--model", "nothing"), 4, "graftwork export"),
        (("predict", "x.png", "--model", "x", "--seed", "1"), 2, "Two models"),
        (("predict", "x.png", "--ensemble", "--seed", "1"), 2, "Two models"),
    ],
)
def test_before_a_run_and_with_wrong_names_the_next_step_is_told(
    arguments: tuple[str, ...], code: int, text: str, workspace: Path, command: Command
) -> None:
    found, _, errors = command(arguments[0], "-C", workspace, *arguments[1:])
    assert found == code
    assert text in errors and "fix:" in errors


def test_timms_form_of_another_model_is_refused(computed: Path, command: Command) -> None:
    code, _, errors = command("export", "-C", computed, "--format", "timm")
    assert code == 2 and "Perceptron isn't one of its own" in errors
    assert not (computed / "exported" / "full_copy").exists()


def test_a_full_disk_is_told(computed: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("graftwork.export.write_json", full)
    code, _, errors = command("export", "-C", computed)
    assert code == 5 and "No space left" in errors
    assert not list((computed / "exported").iterdir())
