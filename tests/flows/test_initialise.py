"""A workspace is set up in a folder that may hold files already: for the embedded data, the user's own, or a recipe."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from graftwork.errors import DataError, SettingsError, StateError
from graftwork.params_file import load_settings, sweep_of
from graftwork.registry import load_plugins
from graftwork.settings import Settings, Use
from graftwork.splits import label_budgets, split_images
from graftwork.survey import Outline
from graftwork.weights import save_weights
from graftwork_flows.initialise import _template, initialise, recipes
from graftwork_flows.own_data import find
from graftwork_flows.own_params import Wish, own_params
from graftwork_flows.own_weights import find_weights
from graftwork_plugins.classic.named_sets import SETS, Pictures
from tests.conftest import ROOT
from tests.core.exports import MLP, RESNET, VIT, release
from tests.core.small import STRATIFIED

REGISTRY = load_plugins()


def photos(
    folder: Path, size: int = 40, parts: tuple[str, ...] = ("",), mode: str = "RGB", *, dogs: int = 5
) -> Path:  # fmt: skip
    """Write class folders: in each part so many dogs, and twice as many cats."""
    for part in parts:
        for name, count in (("cat", 2 * dogs), ("dog", dogs)):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new(mode, (size + 8, size), number).save(folder / part / name / f"{number}.png")
    return folder


def settings(folder: Path) -> Settings:
    """Read what was written, with every plugin's settings checked."""
    return load_settings(folder / "params.yaml", REGISTRY)


def test_nothing_is_written_over_and_a_gitignore_is_added_to(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    initialise(tmp_path)
    assert (tmp_path / ".gitignore").read_text().startswith("mine\n")
    assert (tmp_path / ".dvc").is_dir() and not (tmp_path / ".git").exists()
    settings(tmp_path)
    (tmp_path / "params.yaml").write_text("mine")
    with pytest.raises(StateError, match=r"params\.yaml, dvc\.yaml and prefect\.yaml already"):
        initialise(tmp_path)
    assert (tmp_path / "params.yaml").read_text() == "mine"


def test_what_is_written_over_on_request_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params.yaml").write_text("mine")
    initialise(tmp_path, git=True, overwrite=True)
    assert (tmp_path / "params.yaml.old").read_text() == "mine"
    assert "params.yaml.old" in capsys.readouterr().out
    assert (tmp_path / ".git").is_dir()
    settings(tmp_path)


def test_every_file_that_was_written_is_told_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    initialise(tmp_path, recipe="keras_mlp")
    said = capsys.readouterr().out
    for file in (path for path in tmp_path.rglob("*") if path.is_file() and ".dvc" not in path.parts):
        assert f"  {file.relative_to(tmp_path).as_posix()}" in said
    assert f"Next: cd {tmp_path}" in said and "graftwork run" in said


def test_the_deployments_that_are_written_can_be_imported_from_the_package(tmp_path: Path) -> None:
    initialise(tmp_path)
    found = YAML(typ="safe", pure=True).load(tmp_path / "prefect.yaml")["deployments"]
    for deployment in found:
        module, _, flow = deployment["entrypoint"].partition(":")
        assert getattr(import_module(module), flow).name == flow and deployment["parameters"]["workspace"] == "."
    assert [deployment["name"] for deployment in found] == ["data-check", "nightly", "sweep"]
    (tmp_path / "prefect.yaml").write_text("mine")
    (tmp_path / "params.yaml").unlink()
    (tmp_path / "dvc.yaml").unlink()
    with pytest.raises(StateError, match=r"There is prefect\.yaml already"):
        initialise(tmp_path)
    assert (tmp_path / "prefect.yaml").read_text() == "mine" and not (tmp_path / "dvc.yaml").exists()


def test_a_users_own_data_is_looked_at(tmp_path: Path) -> None:
    data = photos(tmp_path / "data" / "pets", parts=("train", "validation", "test"))
    initialise(tmp_path, Wish(str(data)))
    found = settings(tmp_path)
    target = found.data["target"]
    assert (found.image.size, found.image.channels) == (40, 3)
    assert (target.dataset.name, target.path) == ("image_folder", "data/pets")
    assert (target.validation, target.test, target.labels) == (None, None, None)
    assert [use.name for use in target.augmentation] == ["flip"]
    assert found.data["source"].dataset.name == "fashion_mnist"
    text = (tmp_path / "params.yaml").read_text()
    assert "2 classes: cat, dog" in text and "2.0 times as many" in text
    assert (tmp_path / "data" / "fashion_mnist.npz").is_file()


def test_data_without_splits_is_split_and_grey_stays_grey(tmp_path: Path) -> None:
    data = photos(tmp_path / "elsewhere", mode="L", size=300)
    workspace = tmp_path / "workspace"
    initialise(workspace, Wish(str(data)))
    found = settings(workspace)
    assert (found.image.size, found.image.channels) == (96, 1)
    assert (found.data["target"].validation, found.data["target"].test) == (0.2, 0.2)
    assert found.data["target"].path == data.as_posix()


def test_many_labels_are_cut_for_a_first_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", images=np.zeros((2000, 8, 8), np.uint8), labels=np.arange(2000) % 4)
    initialise(tmp_path / "w", Wish(str(tmp_path / "many.npz")))
    assert settings(tmp_path / "w").data["target"].labels == 200
    assert "of 1,280" in (tmp_path / "w" / "params.yaml").read_text()


def test_a_weight_file_takes_the_place_of_pretraining(tmp_path: Path) -> None:
    data = photos(tmp_path / "pets")
    weights = tmp_path / "test_resnet.r160.safetensors"
    weights.write_bytes(b"looked at later")
    initialise(tmp_path / "w", Wish(str(data), str(weights)))
    found = settings(tmp_path / "w")
    assert found.sources == ("pretrained",) and set(found.data) == {"target"}
    assert found.imports["pretrained"].path == weights.as_posix()
    assert found.model.settings == {"name": "test_resnet"}
    assert str(found.image_of("pretrained")) == "160 × 160 pixels, colour"
    assert not (tmp_path / "w" / "data" / "fashion_mnist.npz").exists()


def test_of_weights_that_do_not_tell_their_model_it_must_be_said(tmp_path: Path) -> None:
    data, weights = photos(tmp_path / "pets"), tmp_path / "final.pth"
    weights.write_bytes(b"")
    with pytest.raises(SettingsError, match=r"final\.pth"):
        initialise(tmp_path / "w", Wish(str(data), str(weights)))
    assert not (tmp_path / "w" / "params.yaml").exists()
    initialise(tmp_path / "w", Wish(str(data), str(weights), model="test_vit"))
    assert settings(tmp_path / "w").model.settings == {"name": "test_vit"}


@pytest.mark.parametrize("model", [RESNET, VIT, MLP])
def test_a_file_of_our_own_tells_its_model_and_its_images(tmp_path: Path, model: dict[str, Any]) -> None:
    data, weights, known = photos(tmp_path / "pets"), tmp_path / "model.safetensors", release(model, size=48)
    save_weights(weights, known.tensors, known.passport())
    initialise(tmp_path / "w", Wish(str(data), str(weights)))
    found = settings(tmp_path / "w")
    assert found.model == Use.model_validate({model["name"]: model["settings"]})
    assert str(found.image_of("pretrained")) == "48 × 48 pixels, colour"
    named = find_weights(str(weights), "test_vit", tmp_path, REGISTRY)
    assert named is not None and (named.model, named.told) == ("test_vit", None)


def test_a_hubs_model_is_obtained_and_imported(tmp_path: Path) -> None:
    initialise(tmp_path / "w", Wish(str(photos(tmp_path / "pets")), "timm:test_resnet.r160_in1k"))
    found = settings(tmp_path / "w")
    assert found.origins["pretrained"].settings == {"name": "test_resnet.r160_in1k"}
    assert found.imports["pretrained"].path == "data/origins/pretrained"
    assert found.model.settings == {"name": "test_resnet"}


def test_other_data_can_be_the_source(tmp_path: Path) -> None:
    own, other = photos(tmp_path / "pets"), photos(tmp_path / "animals", parts=("train", "test"))
    initialise(tmp_path / "w", Wish(str(own), str(other)))
    source = settings(tmp_path / "w").data["source"]
    assert (source.path, source.validation, source.test) == (other.as_posix(), 0.1, None)


@pytest.mark.parametrize(("name", "test"), [("mnist", None), ("digits", 0.2)])
def test_a_published_data_set_can_be_the_source(name: str, test: float | None, tmp_path: Path) -> None:
    initialise(tmp_path / "w", Wish(str(photos(tmp_path / "pets")), name))
    found = settings(tmp_path / "w")
    assert list(found.origins) == [name]
    assert found.data["source"].path == f"data/origins/{name}/{name}.npz" and found.data["source"].test == test


@dataclass(frozen=True)
class Own:
    """An origin of one set, and a net, of the user's own."""

    PUBLISHED: ClassVar = {"own_set": Outline("image_folder", 2, {"": 40}, 20, 3, 32)}


@pytest.mark.parametrize(
    ("name", "validation", "test"),
    [("flowers102", None, None), ("oxford_iiit_pet", 0.1, None), ("eurosat", 0.1, 0.2), ("own_set", 0.1, 0.2)],
)
def test_an_origin_tells_which_splits_its_sets_bring_and_any_net_can_be_named(
    name: str, validation: float | None, test: float | None, tmp_path: Path
) -> None:
    registry = load_plugins()
    registry.origin("own", Own)
    registry.model("own_net", Own)
    wish = Wish(str(photos(tmp_path / "pets")), name, "own_net")
    (tmp_path / "params.yaml").write_text(own_params(_template("params.yaml"), tmp_path, wish, registry)[0])
    found = load_settings(tmp_path / "params.yaml", registry)
    assert (found.data["source"].validation, found.data["source"].test) == (validation, test)
    assert found.data["source"].path == f"data/origins/{name}" and found.model.name == "own_net"
    assert found.origins[name].settings == ({} if name == "own_set" else {"name": name})


def test_an_unknown_source_is_told_the_choices(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'mnits'") as error:
        initialise(tmp_path / "w", Wish(str(photos(tmp_path / "pets")), "mnits"))
    assert "Did you mean mnist?" in error.value.fix


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_can_be_read_and_says_what_to_expect(name: str, tmp_path: Path) -> None:
    initialise(tmp_path, recipe=name)
    assert len(sweep_of(settings(tmp_path)).labels_per_class) >= 3
    text = (tmp_path / "params.yaml").read_text()
    assert f"graftwork init --recipe {name} " in text
    assert "\n# Time: " in text and "\n# Expected: " in text and "@" not in text


def test_the_readme_tells_of_each_recipe_what_its_head_does() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- recipes:begin -->")[1].split("<!-- rec")[0]
    rows = {found[1]: found[0] for found in re.finditer(r"\| `(\w+)` \|.*", table)}
    assert rows.keys() == set(recipes())
    for name, row in rows.items():
        head = (ROOT / "flows/graftwork_flows/recipes" / name / "params.yaml").read_text("utf-8").split("\n\n")[0]
        for figure in re.findall(r"\d+\.\d(?= →| %|,)", row):
            assert f"{figure} %" in head, (name, figure)


def test_an_unknown_recipe_is_told_the_choices(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no recipe 'vector'") as error:
        initialise(tmp_path, recipe="vector")
    assert "Did you mean vectors?" in error.value.fix


@pytest.mark.parametrize(
    "name", ["my pets #2: all, of them", "a #b", 'say "x" # y', "back\\slash #", "a\u2028b #\u00a0c"]
)
def test_a_path_that_yaml_would_misread_stands_in_quotes(name: str, tmp_path: Path) -> None:
    data, weights = photos(tmp_path / name / "pets"), tmp_path / name / "test_resnet.pth"
    weights.write_bytes(b"looked at later")
    (tmp_path / "params.yaml").write_text(params(tmp_path / "w", data, weights), "utf-8")
    found = settings(tmp_path)
    assert found.data["target"].path == data.as_posix() and found.imports["pretrained"].path == weights.as_posix()


def test_a_hostile_class_name_stays_in_its_remark(tmp_path: Path) -> None:
    data = photos(tmp_path / "pets")
    (data / "dog").rename(data / "dog\nseed: 99")
    initialise(tmp_path / "w", Wish(str(data)))
    assert settings(tmp_path / "w").seed == 0
    assert r"dog\nseed: 99" in (tmp_path / "w" / "params.yaml").read_text()


def vectors(file: Path, count: int, seed: int = 0) -> Path:
    """Write vectors of 3 features in 2 classes."""
    rows = np.random.default_rng(seed).normal(size=(count, 3))
    lines = (",".join(map(str, row)) + f",{'ab'[number % 2]}" for number, row in enumerate(rows.tolist()))
    file.write_text("x,y,z,label\n" + "\n".join(lines) + "\n")
    return file


def params(folder: Path, target: Path | str, source: Path | str | None = None) -> str:
    """Return params.yaml for data, without writing anything; what it says is checked."""
    wish = Wish(str(target), None if source is None else str(source))
    return own_params(_template("params.yaml"), folder, wish, REGISTRY)[0]


@pytest.mark.parametrize("count", [5, 9, 14, 40, 77, 78, 200])
def test_the_sweep_that_is_written_asks_for_no_more_labels_than_there_are(count: int, tmp_path: Path) -> None:
    labels = np.array([0] * count + [1] * 3 * count + [2] * (count + 1))
    np.savez(tmp_path / "some.npz", images=np.arange(labels.size * 4).reshape(-1, 2, 2).astype(np.uint8), labels=labels)
    (tmp_path / "params.yaml").write_text(params(tmp_path, tmp_path / "some.npz"))
    found = settings(tmp_path)
    budgets = sweep_of(found).labels_per_class
    raw = REGISTRY.create("dataset", found.data["target"].dataset).load(tmp_path / "some.npz", found.image)
    images = np.arange(labels.size, dtype=np.uint32).view(np.uint8).reshape(-1, 4, 1, 1)  # no two alike
    chosen = label_budgets(replace(raw, images=images), found.data["target"], 0, budgets, "here", STRATIFIED)
    assert list(chosen) == list(budgets) and budgets[-1] >= min(50, count // 4)


def test_given_splits_leave_every_training_image_to_the_sweep(tmp_path: Path) -> None:
    text = params(tmp_path, photos(tmp_path / "pets", parts=("train", "validation", "test"), dogs=2))
    assert "labels_per_class: [1, 2] # nested; the smallest class has about 2 training images" in text


def test_every_comment_is_true_of_vectors(tmp_path: Path) -> None:
    text = params(tmp_path / "w", vectors(tmp_path / "own.csv", 60), vectors(tmp_path / "other.csv", 400, seed=1))
    assert "# A vector is an image of one pixel" in text and "60 vectors, balanced" in text
    for word in ("clothes", "centred square", "flip", "lenet", "GiB", "{size: 32"):
        assert word not in text, word
    assert (
        text.count("[mixup], which averages two vectors") == 2 and "epochs: 138 # many, as the images are few" in text
    )


def test_every_comment_is_true_of_pictures_and_of_the_source(tmp_path: Path) -> None:
    own, other = photos(tmp_path / "own", size=200), photos(tmp_path / "other")
    embedded, named = params(tmp_path / "w", own), params(tmp_path / "w", own, other)
    assert "the pictures of clothes that Graftwork brings along" in embedded and "learnt, from few" not in embedded
    assert "size: 96 # of 200: quick" in embedded and "augmentation: [flip] # mirrors" in embedded
    assert "clothes" not in named
    weights = tmp_path / "test_resnet.safetensors"
    weights.write_bytes(b"looked at later")
    imported = params(tmp_path / "w", own, weights)
    assert "While all `sources` are imports none is; what stands here is checked all the same" in imported
    assert "that the weights in `imports` belong to" in imported
    for key in ("dataset", "validation", "test", "labels", "selection", "duplicates", "image", "storage"):
        assert re.search(rf"^    {key}: .* # ", imported, re.MULTILINE), f"{key} is explained, though it stands once"


@pytest.mark.parametrize("others", [(), ("more.csv",)])
def test_of_a_list_of_pictures_the_folder_is_the_data(others: tuple[str, ...], tmp_path: Path) -> None:
    data = photos(tmp_path / "own")
    rows = [f"{file.relative_to(data)},{file.parent.name}" for file in sorted(data.glob("*/*.png"))]
    for name in ("labels.csv", *others):
        (data / name).write_text("path,label\n" + "\n".join(rows) + "\n")
    found = find(str(data / "labels.csv"), "--target", tmp_path / "w", REGISTRY)
    assert found.path == data.as_posix() and "that folder is the data" in found.lines[0]
    assert found.dataset == ("{table: {file: labels.csv}}" if others else "table")


def test_of_one_idx_file_the_folder_is_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for part, count in (("train", 6), ("t10k", 4)):
        head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (count, 2, 2))
        (data / f"{part}-images-idx3-ubyte").write_bytes(head + bytes(range(count * 4)))
        labels = bytes([0, 0, 8, 1]) + count.to_bytes(4, "big") + bytes([0, 1] * (count // 2))
        (data / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    found = find(str(data / "train-images-idx3-ubyte"), "--target", tmp_path / "w", REGISTRY)
    assert (found.dataset, found.path, found.outline.images) == ("idx", data.as_posix(), {"train": 6, "test": 4})


@pytest.mark.parametrize(("classes", "each"), [(2, 3), (5, 5), (10, 4), (7, 6), (3, 100)])
def test_of_few_images_every_split_gets_all_classes(classes: int, each: int, tmp_path: Path) -> None:
    images = np.arange(classes * each, dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2)  # no two alike
    for name in ("target", "source"):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(classes * each) % classes)
    (tmp_path / "params.yaml").write_text(params(tmp_path, tmp_path / "target.npz", tmp_path / "source.npz"))
    found = settings(tmp_path)
    raw = REGISTRY.create("dataset", found.data["target"].dataset).load(tmp_path / "target.npz", found.image)
    raw = replace(raw, images=images.reshape(-1, 4, 1, 1))
    for name in ("target", "source"):
        splits = split_images(raw, found.data[name], 0, "here", STRATIFIED)
        assert all(set(raw.labels[part]) == set(range(classes)) for part in splits.by_name().values())
    label_budgets(raw, found.data["target"], 0, sweep_of(found).labels_per_class, "here", STRATIFIED)


@pytest.mark.parametrize(("parts", "dogs"), [(("",), 2), (("train", "test"), 1)])
def test_a_class_that_can_not_be_split_is_told_before_anything_is_written(
    parts: tuple[str, ...], dogs: int, tmp_path: Path
) -> None:
    data = photos(tmp_path / "pets", parts=parts, dogs=dogs)
    with pytest.raises(DataError, match=rf"'dog' has {dogs} image.* too few") as error:
        initialise(tmp_path / "w", Wish(str(data)))
    assert f"at least {dogs + 1} images a class" in error.value.expected and not (tmp_path / "w").exists()


@pytest.mark.parametrize("name", ["~nobody-of-this-name/pets", "x" * 300, os.fsdecode(b"caf\xe9")])
def test_a_path_that_can_not_be_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if not name.startswith(("~", "x")):
        photos(tmp_path / name)
    for wish in (Wish(name), Wish("mnist", name)):
        with pytest.raises(SettingsError, match="can't be used"):
            initialise(tmp_path / "w", wish)
    assert not (tmp_path / "w").exists()
    if not name.startswith("~"):  # the shell's to resolve
        with pytest.raises(SettingsError, match="can't be used"):
            initialise(tmp_path / name)


@pytest.mark.parametrize("name", ["data", ".dvc", ".dvcignore"])
def test_what_stands_in_the_way_is_told_before_anything_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"caf\xe9\n")
    with pytest.raises(StateError, match="file where a folder should be|can't be read"):
        initialise(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_schema_of_the_users_own_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()  # it takes seconds to set up
    (tmp_path / "params.schema.json").write_text("mine")
    with pytest.raises(StateError, match=r"There is params\.schema\.json already"):
        initialise(tmp_path)
    initialise(tmp_path, overwrite=True)
    assert (tmp_path / "params.schema.json.old").read_text() == "mine"


def test_broken_settings_can_be_written_over(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    initialise(tmp_path)
    (tmp_path / "params.yaml").write_text("seed: [")
    initialise(tmp_path, Wish(str(photos(tmp_path / "pets"))), overwrite=True)
    found = settings(tmp_path)
    assert found.data["target"].path == "pets" and found.local_plugins == "strategies"
    assert (tmp_path / "params.yaml.old").read_text() == "seed: ["
    assert not (tmp_path / "params.schema.json.old").exists(), "it is as it was"


def test_a_published_data_set_can_be_the_target(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(params(tmp_path, "cifar100", "digits"))
    found = settings(tmp_path)
    target = found.data["target"]
    assert set(found.origins) == {"cifar100", "digits"} and (found.image.size, found.image.channels) == (32, 3)
    assert (target.path, target.labels) == ("data/origins/cifar100/cifar100.npz", 400)
    assert (target.validation, target.test, found.data["source"].test) == (0.2, None, 0.2)


def test_what_is_known_of_published_sets_adds_up() -> None:
    for plugin in REGISTRY.named("origin"):
        for name, known in getattr(plugin.factory, "PUBLISHED", {}).items():
            assert 0 < known.fewest * known.classes <= known.training, name
    for name, chosen in SETS.items():
        if isinstance(chosen.form, Pictures):
            assert sum(chosen.form.images.values()) == chosen.form.count, name


@pytest.mark.parametrize(
    ("target", "source", "said"),
    [
        ("mnits", None, "Did you mean mnist?"),
        ("mnist", "mnist", "the same data"),
        ("fashion_mnist", None, "made of the same images"),
        ("own.csv", "mnist", "vectors of 3 features"),
        ("own.csv", None, "no embedded source for vectors"),
    ],
)
def test_a_pair_that_can_not_be_compared_is_refused(
    target: str, source: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vectors(tmp_path / "own.csv", 20)
    with pytest.raises(SettingsError) as error:
        params(tmp_path / "w", target, source)
    assert said in str(error.value)
