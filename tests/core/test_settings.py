"""params.yaml becomes typed settings, or one message that says where, what was expected, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode

from graftwork.errors import PluginError, SettingsError
from graftwork.params_file import apply_overrides, load_settings, local_plugins_of, sweep_of
from graftwork.registry import Registry, load_plugins
from graftwork.schema import schema_text

ROOT = Path(__file__).parents[2]
NEW = ("selection", "class_weights", "sampling")
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins(ROOT / "examples" / "strategies")


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS, encoding="utf-8")
    return path


def edit(params: Path, old: str, new: str) -> None:
    text = params.read_text(encoding="utf-8")
    assert old in text
    params.write_text(text.replace(old, new, 1), encoding="utf-8")


def refusal(params: Path, registry: Registry | None = None, *overrides: str) -> SettingsError:
    with pytest.raises(SettingsError) as raised:
        load_settings(params, registry, overrides)
    return raised.value


def line_of(params: Path, text: str) -> int:
    return params.read_text(encoding="utf-8").partition(text)[0].count("\n") + 1


def test_the_projects_own_params_load_with_every_plugin_checked(registry: Registry) -> None:
    settings = load_settings(ROOT / "params.yaml", registry)
    assert settings.strategies["scratch"] == ()
    assert isinstance(settings.pretrain.weight_decay, float)


def test_the_schema_on_disk_is_the_one_the_code_makes(registry: Registry) -> None:
    assert (ROOT / "params.schema.json").read_text(encoding="utf-8") == schema_text(registry)


def test_every_setting_has_a_comment_here_or_where_its_like_came_first() -> None:
    lines = PARAMS.splitlines()
    explained: set[str] = set()
    bare: list[str] = []

    def visit(node: MappingNode, above: bool) -> None:
        for key, value in node.value:
            number = key.start_mark.line
            here = "#" in lines[number] or lines[number - 1].lstrip().startswith("#")
            if here:
                explained.add(key.value)
            if isinstance(value, MappingNode) and not value.flow_style:
                visit(value, above or here)
            elif not (here or above or key.value in explained):
                bare.append(f"line {number + 1}: {key.value}")

    visit(YAML(typ="safe", pure=True).compose(PARAMS), above=False)
    assert bare == []


def test_scientific_notation_is_a_number_and_no_is_a_name(params: Path) -> None:
    edit(params, "lr: 0.2", "lr: 2e-1")
    edit(params, "  full_copy: [full_copy]", "  no: [full_copy]")
    settings = load_settings(params)
    assert settings.pretrain.lr == 0.2
    assert "no" in settings.strategies


def test_settings_can_not_be_changed(params: Path) -> None:
    settings = load_settings(params)
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 1  # type: ignore[misc]


def test_an_unknown_key_names_the_nearest_and_its_line(params: Path) -> None:
    edit(params, "  lr: 0.005", "  lrr: 0.005\n  lr: 0.005")
    error = refusal(params)
    assert "'lrr'" in error.what
    assert error.where == f"{params}, line {line_of(params, 'lrr')}, key finetune.lrr"
    assert error.fix == "Did you mean lr?"


def test_a_missing_key_is_named(params: Path) -> None:
    edit(params, "local_plugins: examples/strategies\n", "")
    assert "'local_plugins' is missing" in refusal(params).what


def test_a_key_that_stands_twice_names_its_line(params: Path) -> None:
    edit(params, "seed: 0\n", "seed: 0\nseed: 1\n")
    error = refusal(params)
    assert '"seed"' in error.what
    assert f"{line_of(params, 'seed: 1')} (the second one)" in error.where


@pytest.mark.parametrize("rate", [".nan", ".inf", "-0.1", "0", "1e400", "'0.1'", "true", "null", "[1]", "nan"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(params: Path, rate: str) -> None:
    edit(params, "lr: 0.2 ", f"lr: {rate} ")
    error = refusal(params)
    assert error.where == f"{params}, line {line_of(params, f'lr: {rate}')}, key pretrain.lr"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("seeds: [0, 1, 2, 3, 4]", "seeds: [0]", "seeds"),
        ("seed: 0", "seed: -1", "seed"),
        ("size: 28", "size: 0", "image.size"),
        ("channels: 1", "channels: 0", "image.channels"),
        ("validation: 0.1", "validation: 1.0", "data.source.validation"),
        ("validation: 500", "validation: 0", "data.target.validation"),
        ("duplicates: refuse", "duplicates: keep", "data.source.duplicates"),
        ("batch_size: 50", "batch_size: 1", "finetune.batch_size"),
        ("epochs: 5", "epochs: 5.5", "pretrain.epochs"),
        ("minimum_coverage: 0.9", "minimum_coverage: 1.1", "transfer.minimum_coverage"),
        ("precision: auto", "precision: float16", "engine.precision"),
        ("threads: auto", "threads: 0", "engine.threads"),
        ("compile: auto", "compile: often", "engine.compile"),
        ("side_by_side: auto", "side_by_side: 0", "engine.side_by_side"),
        ("confidence: 0.95", "confidence: 1", "evidence.confidence"),
    ],
)
def test_a_value_out_of_range_names_its_key(params: Path, old: str, new: str, key: str) -> None:
    edit(params, old, new)
    assert refusal(params).where.endswith(f"key {key}")


def test_the_same_seed_twice_is_refused(params: Path) -> None:
    edit(params, "seeds: [0, 1, 2, 3, 4]", "seeds: [0, 1, 1]")
    assert "each seed may stand there once" in str(refusal(params))


@pytest.mark.parametrize("scratch", ["", "  scratch: [full_copy]\n"])
def test_a_comparison_without_its_control_is_refused(params: Path, scratch: str) -> None:
    edit(params, "  scratch: []\n", scratch)
    assert "the control of every comparison" in str(refusal(params))


@pytest.mark.parametrize("name", ["Upper", "a-b", "../up", "'x y'", "a" * 41, "''"])
def test_a_strategy_whose_name_can_not_be_a_folder_is_refused(params: Path, name: str) -> None:
    edit(params, "  full_copy: [full_copy]", f"  {name}: [full_copy]")
    refusal(params)


def test_an_unknown_plugin_names_the_nearest(params: Path, registry: Registry) -> None:
    edit(params, "{l2_sp: {", "{l2sp: {")
    error = refusal(params, registry)
    assert isinstance(error, PluginError)
    assert error.fix == "Did you mean l2_sp?"
    assert error.where.endswith(f"line {line_of(params, 'l2sp')}, key strategies.regularized.1")


def test_a_plugins_unknown_setting_names_the_nearest(params: Path, registry: Registry) -> None:
    edit(params, "{l2_sp: {alpha", "{l2_sp: {alhpa")
    error = refusal(params, registry)
    assert error.fix == "Did you mean alpha?"
    assert error.where.endswith("key strategies.regularized.1.l2_sp.alhpa")


@pytest.mark.parametrize("alpha", ["-0.1", ".nan", ".inf", "'0.1'", "null"])
def test_a_plugins_setting_out_of_range_is_refused(params: Path, registry: Registry, alpha: str) -> None:
    edit(params, "alpha: 0.1", f"alpha: {alpha}")
    assert refusal(params, registry).where.endswith("key strategies.regularized.1.l2_sp.alpha")


def test_settings_for_another_version_are_refused(params: Path) -> None:
    edit(params, "graftwork: 0.1.0", "graftwork: 0.0.9")
    error = refusal(params)
    assert "0.0.9" in error.what and "key versions.graftwork" in error.where


def test_settings_without_our_own_version_are_refused(params: Path) -> None:
    edit(params, "  graftwork: 0.1.0", "  pluggy: 0.0.1")
    assert "pluggy 0.0.1" in refusal(params).what
    edit(params, "versions:\n  pluggy: 0.0.1", "versions: {}")
    assert "'graftwork' is missing" in refusal(params).what


def test_an_override_changes_its_key_and_no_other(params: Path) -> None:
    plain, changed = load_settings(params), load_settings(params, overrides=["finetune.lr=1e-3"])
    assert changed.finetune.lr == 0.001
    assert changed == plain.model_copy(update={"finetune": plain.finetune.model_copy(update={"lr": 0.001})})


def test_an_override_may_hold_a_list(params: Path) -> None:
    assert load_settings(params, overrides=["seeds=[7, 8]"]).seeds == (7, 8)


def test_of_two_overrides_the_later_counts(params: Path) -> None:
    assert load_settings(params, overrides=["seed=1", "seed=2"]).seed == 2


def test_overrides_leave_what_they_were_given_alone() -> None:
    values = {"a": {"b": 1}}
    assert apply_overrides(values, ["a.b=2", "a.c=3"]) == {"a": {"b": 2, "c": 3}}
    assert values == {"a": {"b": 1}}


@pytest.mark.parametrize("override", ["finetune.lr", "=1", "", "seed.deeper=1", "seeds.0=1"])
def test_an_override_that_can_not_be_applied_is_refused(params: Path, override: str) -> None:
    assert repr(override) in refusal(params, None, override).what


def test_an_override_of_an_unknown_key_names_the_nearest(params: Path) -> None:
    assert refusal(params, None, "finetune.epoch=1").fix == "Did you mean epochs?"


def test_the_local_plugins_can_be_read_before_the_rest_is_right(params: Path) -> None:
    edit(params, "seed: 0", "seed: wrong")
    assert local_plugins_of(params) == "examples/strategies"


SOURCES = "sources: [source]"


def test_the_first_source_is_transferred_from_and_the_others_are_candidates(params: Path) -> None:
    text = params.read_text(encoding="utf-8")
    block = text[text.index("  source:\n") : text.index("  # What shall be learnt, from few labels.")]
    edit(params, block, block + block.replace("  source:", "  other:", 1))
    edit(params, SOURCES, "sources: [other, source]")
    settings = load_settings(params)
    assert (settings.source, settings.sources) == ("other", ("other", "source"))


@pytest.mark.parametrize(
    "sources", ["[]", "[source, source]", "[other]", "[source, other]", "[source, target]", "[target]"]
)
def test_sources_must_be_the_data_sets_beside_the_target_each_once(params: Path, sources: str) -> None:
    edit(params, SOURCES, f"sources: {sources}")
    error = refusal(params)
    assert "sources" in error.where
    assert sources == "[]" or "must name each of source once" in str(error)


@pytest.mark.parametrize(("there", "missing"), [("mean", "std"), ("std", "mean")])
def test_of_mean_and_std_of_an_import_both_are_wanted_or_neither(params: Path, there: str, missing: str) -> None:
    edit(params, SOURCES, "sources: [other, source]")
    edit(params, "imports: {}", f"imports: {{other: {{weights: torch, path: a.pth, {there}: [0.5]}}}}")
    error = refusal(params)
    assert "key imports.other" in error.where and f"{there} alone, without {missing}" in error.expected
    edit(params, f"{there}: [0.5]", f"{there}: [0.5], {missing}: [0.2]")
    assert load_settings(params).imports["other"].std is not None


@pytest.mark.parametrize("taken", ["start", "target", "engine"])
def test_a_source_may_not_have_the_name_of_a_folder_beside_it(params: Path, taken: str) -> None:
    edit(params, SOURCES, f"sources: [{taken}]")
    edit(params, "  source:\n", f"  {taken}:\n")
    refusal(params)


def test_a_data_set_that_no_source_names_is_refused(params: Path) -> None:
    text = params.read_text(encoding="utf-8")
    block = text[text.index("  source:\n") : text.index("  # What shall be learnt, from few labels.")]
    edit(params, block, block + block.replace("  source:", "  other:", 1))
    assert "must name each of other, source once" in str(refusal(params))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[5, 10, 20, 50]", "[5, 10, 10]", "budgets must rise, each once"),
        ("[5, 10, 20, 50]", "[10, 5]", "budgets must rise, each once"),
        ("[5, 10, 20, 50]", "[0, 5]", "sweep.labels_per_class"),
        ("[5, 10, 20, 50]", "[]", "sweep.labels_per_class"),
        ("[5, 10, 20, 50]", "[2.5]", "sweep.labels_per_class"),
        ("minimum_steps: 60", "minimum_steps: 0", "sweep.minimum_steps"),
        ("[scratch, full_copy, freeze, regularized]", "[full_copy, freeze]", "'scratch' is the control"),
        ("[scratch, full_copy, freeze, regularized]", "[scratch]", "sweep.strategies"),
        ("[scratch, full_copy, freeze, regularized]", "[scratch, scratch]", "each may stand there once"),
        ("[scratch, full_copy, freeze, regularized]", "[scratch, freeze, freeze]", "each may stand there once"),
    ],
)
def test_a_sweep_that_is_no_grid_is_refused(params: Path, old: str, new: str, words: str) -> None:
    edit(params, old, new)
    error = refusal(params)
    assert "sweep" in error.where and words in str(error)


def test_the_sweep_is_what_params_yaml_says(params: Path) -> None:
    found = sweep_of(load_settings(params))
    assert found.strategies == ("scratch", "full_copy", "freeze", "regularized")
    assert (found.labels_per_class, found.minimum_steps) == ((5, 10, 20, 50), 60)


def test_without_a_sweep_settings_load_and_only_a_sweep_is_refused(params: Path) -> None:
    text = params.read_text(encoding="utf-8")
    params.write_text(text[: text.index("sweep:\n")], encoding="utf-8")
    with pytest.raises(SettingsError, match="nothing to sweep") as raised:
        sweep_of(load_settings(params))
    assert "sweep: {strategies" in raised.value.fix


def test_a_sweep_of_an_unknown_strategy_names_the_nearest(params: Path) -> None:
    edit(params, "[scratch, full_copy, freeze, regularized]", "[scratch, fullcopy]")
    settings = load_settings(params)
    with pytest.raises(SettingsError, match="Unknown strategy 'fullcopy'") as raised:
        sweep_of(settings)
    assert raised.value.fix == "Did you mean full_copy?" and raised.value.where.endswith("key sweep.strategies")


def test_params_of_before_the_care_for_data_load_and_mean_what_they_did(params: Path, registry: Registry) -> None:
    kept = [line for line in PARAMS.splitlines() if line.split(":")[0].strip() not in NEW]
    params.write_text("\n".join(kept), encoding="utf-8")
    assert load_settings(params, registry) == load_settings(ROOT / "params.yaml", registry)


def test_an_unknown_selection_names_the_nearest(params: Path, registry: Registry) -> None:
    edit(params, "selection: stratified", "selection: k_centre")
    error = refusal(params, registry)
    assert "Unknown selection 'k_centre'" in error.what and error.fix == "Did you mean k_center?"
    assert "data.source.selection" in error.where


def test_one_imbalance_is_not_mended_twice(params: Path) -> None:
    edit(params, "class_weights: none", "class_weights: balanced")
    assert load_settings(params).pretrain.class_weights == "balanced"
    edit(params, "sampling: shuffled", "sampling: balanced")
    error = refusal(params)
    assert "key pretrain" in error.where and "mend one imbalance twice" in error.expected
