"""The card: readable by the hub, safe with any text, and its recipes work."""

from __future__ import annotations

import re
import shutil
from contextlib import chdir, redirect_stdout
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image
from ruamel.yaml import YAML

from graftwork.errors import StateError
from graftwork.files import write_json
from graftwork.layout import Layout
from graftwork.markdown import as_code, as_yaml, escaped, one_line
from graftwork.model_card import render_card, tell
from graftwork.prediction import Answer, answers
from graftwork.predictors import open_model
from graftwork.progress import Quiet
from graftwork.release import Release
from graftwork.run_records import RunRecord
from graftwork.stages import Context
from tests.core.exports import CLASSES, STORY
from tests.core.small import REGISTRY
from tests.core.tiny_workspace import tiny_settings

OURS = {"h1", "h2", "p", "ul", "li", "code", "pre", "strong", "table", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """Collects the tags that a browser would obey, and the text of each table's cell."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def card(resnet: Release) -> str:
    return render_card(resnet, STORY, {"timm": 0.0, "onnx": 3e-7}, weights=True, name='my "model": <b>')


def front(card: str) -> dict[str, Any]:
    _, head, _ = card.split("---\n", 2)
    parsed: dict[str, Any] = YAML(typ="safe", pure=True).load(head)
    return parsed


def shown(card: str) -> Page:
    page = Page()
    page.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(card.split("---\n", 2)[2]))
    return page


def test_the_hub_can_read_its_head(card: str) -> None:
    head = front(card)
    assert head["library_name"] == "timm" and "onnx" in head["tags"]
    assert "license" not in head
    (model,) = head["model-index"]
    assert model["name"] == 'my "model": <b>'
    assert model["results"][0]["metrics"][0]["value"] == 0.81
    assert model["results"][0]["dataset"] == {"type": "npz", "name": '"Cats": <b>all</b>', "split": "test"}


def test_any_text_is_shown_and_not_obeyed(card: str) -> None:
    page = shown(card)
    assert set(page.tags) <= {
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "code",
        "pre",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    for name in (*CLASSES, "<b>all</b>"):
        assert re.sub(r"\s", " ", name) in page.text


def test_every_class_is_one_row_of_four_cells(card: str) -> None:
    rows = shown(card).tags.count("td")
    assert rows == 2 * 3 + 4 * len(CLASSES)


def test_it_tells_verdict_intervals_and_temperature(card: str) -> None:
    assert "**Verdict: positive.**" in card
    assert "+10.0 [+5.0, +15.0]" in card and "80.0 % [75.0, 85.0]" in card
    assert "Divide the logits by 0.7" in card


def test_only_what_the_model_was_made_of_is_listed(card: str) -> None:
    assert "weights/target/full_copy" in card
    assert "weights/target/freeze" not in card


def test_its_code_is_what_the_weights_were_computed_with_or_not_recorded(card: str, resnet: Release) -> None:
    assert "- code: not recorded\n" in card
    record = RunRecord("finetune@x", "me", "2026-01-01", 1.0, "m", "0123 <b> + changes", {"torch": "2.9", "x": "1"}, {})
    assert STORY.lineage is not None
    told = render_card(
        resnet, replace(STORY, lineage=replace(STORY.lineage, record=record)), {}, weights=True, name="x"
    )
    assert "- code: `0123 <b> + changes`; torch 2.9, x 1\n" in told


def test_scratch_has_a_card_without_a_gain(resnet: Release) -> None:
    card = render_card(resnet, replace(STORY, gain=None, stack=()), {}, weights=True, name="scratch")
    assert "Verdict" not in card
    assert "from scratch, nothing is transferred" in card
    assert front(card)["library_name"] == "graftwork"


def test_many_classes_are_counted_not_listed(resnet: Release) -> None:
    names = tuple(f"class {number}" for number in range(300))
    many = replace(resnet, contract=resnet.contract.model_copy(update={"classes": names}))
    story = replace(STORY, images=dict.fromkeys(STORY.images, (1,) * 300))
    card = render_card(many, story, {}, weights=True, name="many")
    assert "and 100 more." in card and "200 more classes are not shown" in card
    assert "class 299" not in card


def test_a_model_of_vectors_is_told_apart(resnet: Release) -> None:
    vectors = replace(resnet, contract=resnet.contract.model_copy(update={"size": 1, "channels": 6}))
    card = render_card(vectors, STORY, {"onnx": 0.0}, weights=True, name="vectors")
    assert "numpy.zeros((1, 6, 1, 1), numpy.float32)" in card
    assert "graftwork predict" not in card and "PIL" not in card and "EXIF" not in card


def test_a_source_from_elsewhere_is_named_with_its_hash_and_origin(resnet: Release) -> None:
    source = {"imported": "net", "file": "a|`b.pt", "sha256": "ab" * 32, "origin": {"licence": "MIT", "more": [1]}}
    imported = replace(resnet, contract=resnet.contract.model_copy(update={"provenance": {"source": source}}))
    page = shown(render_card(imported, STORY, {}, weights=True, name="x"))
    assert f"trained elsewhere, a|`b.pt with sha256 {'ab' * 32}, licence MIT" in page.text


def reported(root: Path, **target: Any) -> Context:
    """Return a workspace whose report is on the seeds 0 to 4, with settings of today."""
    layout = Layout(root)
    accuracy = {"mean": 0.3, "low": 0.2, "high": 0.4, "per_seed": [0.1, 0.2, 0.3, 0.4, 0.5]}
    figures = {"accuracy": accuracy, "calibration_error": {"plain": 0.1, "scaled": 0.05}}
    report = {"strategies": {"scratch": figures, "full_copy": figures}, "target": target}
    write_json(layout.report / "metrics.json", report)
    splits = {split: [1, 2] for split in ("train", "validation", "test")}
    write_json(layout.card("target"), {"dataset": "npz", "origin": {}, "splits": splits})
    write_json(layout.start("full_copy") / "manifest.json", {"stack": []})
    return Context(tiny_settings(seeds=(4, 0, 1)), REGISTRY, layout, Quiet())


@pytest.mark.parametrize(("seed", "accuracy"), [(4, 0.5), (0, 0.1), (3, 0.4)])
def test_a_seeds_accuracy_is_the_reports_whatever_the_settings_have_become(
    seed: int, accuracy: float, resnet: Release, tmp_path: Path
) -> None:
    context = reported(tmp_path, seeds=5, seed_numbers=[0, 1, 2, 3, 4])
    story = tell(context, replace(resnet, seed=seed))
    assert (story.seed_accuracy, story.seeds) == (accuracy, 5)


@pytest.mark.parametrize("change", [{"seed": 9}, {"strategy": "freeze"}])
def test_a_model_that_the_report_does_not_know_is_told(change: Any, resnet: Release, tmp_path: Path) -> None:
    context = reported(tmp_path, seeds=5, seed_numbers=[0, 1, 2, 3, 4])
    with pytest.raises(StateError, match="The report tells nothing of ") as raised:
        tell(context, replace(resnet, **change))
    assert raised.value.fix == "graftwork run"
    with pytest.raises(StateError, match="full_copy with seed 4"):
        tell(reported(tmp_path, seeds=5), resnet)


def photo(kind: str) -> tuple[Image.Image, dict[str, Any]]:
    """Return noise as a picture, and what it is saved with."""
    channels = {"transparent": 4, "grey with transparency": 2}.get(kind, 3)
    pixels = np.random.default_rng(0).integers(0, 255, (150, 190, channels), dtype=np.uint8)
    picture = Image.fromarray(pixels if kind != "square" else pixels[:32, :32])
    if kind == "palette":
        return picture.quantize(16), {"transparency": 3}
    if kind != "turned JPEG":
        return picture, {}
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    return picture, {"exif": exif, "format": "JPEG"}


@pytest.mark.parametrize("kind", ["square", "wide", "turned JPEG", "transparent", "grey with transparency", "palette"])
def test_its_recipes_give_what_predict_gives(kind: str, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    picture, options = photo(kind)
    picture.save(folder / "picture.png", **options)
    (answer,) = answers(open_model(folder, REGISTRY), [folder / "picture.png"])
    assert isinstance(answer, Answer)
    said = run_recipes((folder / "README.md").read_text(), folder)
    assert len(said) == 2  # timm's and ONNX Runtime's
    for line in said:
        name, _, probability = line.rpartition(" ")
        assert name == answer.classes[answer.best[0]]
        assert float(probability) == pytest.approx(answer.probabilities[answer.best[0]], abs=1e-5)


def run_recipes(card: str, folder: Path) -> list[str]:
    """Run every block of Python in a card, and return what each printed."""
    said = []
    for block in re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL):
        printed = StringIO()
        with chdir(folder), redirect_stdout(printed):
            exec(compile(block, "README.md", "exec"), {})
        said.append(printed.getvalue().removesuffix("\n"))
    return said


@pytest.mark.parametrize("text", ["a`b", "``", "`", "a|b", "a\nb", "<b>"])
def test_code_shows_its_text(text: str) -> None:
    page = Page()
    page.feed(MarkdownIt("commonmark").render(f"- {as_code(text)}"))
    assert page.text.strip() == text.replace("\n", " ")


@pytest.mark.parametrize("text", [*CLASSES, "\x7f\u202e", "\ud800", "yes", "a: b # c"])
def test_yaml_gives_the_text_back(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(f"x: {as_yaml(text)}")["x"] == one_line(text)


def test_what_turns_the_direction_of_a_text_is_taken_out() -> None:
    assert escaped("a\u202eb") == "a�b"
