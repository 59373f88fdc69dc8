"""dvc.yaml, the layout and the templates say the same."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from graftwork.layout import SPLITS, Layout
from graftwork.params_file import load_settings
from graftwork.stages import stages
from graftwork_flows.pipeline import Pipeline
from graftwork_flows.templates.make import readme, templates
from tests.conftest import ROOT


def test_every_stage_of_dvc_yaml_is_one_of_ours_and_comes_after_what_it_needs() -> None:
    nodes = Pipeline(ROOT).nodes()
    seen: set[str] = set()
    for node in nodes:
        assert node.own is not None and node.own[0] in stages()
        assert set(node.upstream) <= seen
        seen.add(node.name)
    elsewhere = {"obtain", "import"}  # this job needs nothing from elsewhere
    assert {node.own[0] for node in nodes if node.own} == set(stages()) - {"cells", "sweep"} - elsewhere
    strategies = load_settings(ROOT / "params.yaml").strategies
    assert {f"finetune@{name}" for name in strategies} <= seen


def test_all_data_is_split_before_any_training_starts() -> None:
    order = [node.name for node in Pipeline(ROOT).nodes()]
    assert order.index("augment@target") < order.index("pretrain@source")


def test_training_can_not_open_the_test_images() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    finetune = text[text.index("  finetune:") : text.index("  report:")]
    assert "prepared/target/test" not in finetune
    assert "prepared/target/validation" in finetune


def test_the_layout_names_the_outputs_of_dvc_yaml() -> None:
    layout = Layout(Path())
    text = (ROOT / "dvc.yaml").read_text()
    paths = [
        layout.raw("${key}"),
        *(layout.split("${key}", name) for name in SPLITS),
        layout.card("${key}"),
        layout.samples("${key}"),
        layout.source_weights("${item}") / "model.safetensors",
        layout.trunk_features("${item}"),
        layout.score("${item}"),
        layout.recommendation,
        layout.start("${key}"),
        layout.tuned("${key}"),
        layout.report / "report.html",
        layout.report / "metrics.json",
    ]
    for path in paths:
        assert f"- {path.as_posix()}\n" in text
    for path in (layout.engine("${key}"), layout.engine_figures("${key}")):  # outside of DVC's cache: git has them
        assert f"- {path.as_posix()}:\n            cache: false\n" in text


def test_the_sweeps_report_hangs_on_every_setting_that_its_page_prints() -> None:
    text = (ROOT / "flows" / "graftwork_flows" / "templates" / "sweep.yaml.template").read_text()
    named = YAML(typ="safe", pure=True).load(text)["stages"]["sweep"]["params"]
    printed = {"model", "image", "data.target.image", "seed", "seeds", "strategies", "sweep", "sources", "evidence"}
    assert printed <= set(named)


def test_what_init_writes_is_this_workspace() -> None:
    folder = ROOT / "flows" / "graftwork_flows" / "templates"
    for name, text in templates().items():
        assert (folder / f"{name}.template").read_text() == text, "make templates"


def test_the_readmes_table_of_strategies_is_made_from_the_plugins() -> None:
    assert (ROOT / "README.md").read_text() == readme(), "make templates"
