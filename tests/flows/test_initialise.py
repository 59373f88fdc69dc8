"""A workspace is set up in a folder that may hold files already: for the embedded data, the user's own, or a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graftwork.errors import SettingsError, StateError
from graftwork.params_file import load_settings
from graftwork.registry import load_plugins
from graftwork.settings import Settings
from graftwork_flows.initialise import initialise, recipes
from graftwork_flows.own_params import Wish

REGISTRY = load_plugins()


def photos(folder: Path, size: int = 40, parts: tuple[str, ...] = ("",), mode: str = "RGB") -> Path:
    """Write class folders: 4 cats and 2 dogs in each part."""
    for part in parts:
        for name, count in (("cat", 4), ("dog", 2)):
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


def test_what_is_written_over_on_request_is_kept(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine")
    initialise(tmp_path, git=True, overwrite=True)
    assert (tmp_path / "params.yaml.old").read_text() == "mine"
    assert (tmp_path / ".git").is_dir()
    settings(tmp_path)


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


def test_an_unknown_source_is_told_the_choices(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'mnits'") as error:
        initialise(tmp_path / "w", Wish(str(photos(tmp_path / "pets")), "mnits"))
    assert "Did you mean mnist?" in error.value.fix


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_can_be_read_and_says_what_to_expect(name: str, tmp_path: Path) -> None:
    initialise(tmp_path, recipe=name)
    settings(tmp_path)
    text = (tmp_path / "params.yaml").read_text()
    assert f"graftwork init --recipe {name} " in text
    assert "\n# Time: " in text and "\n# Expected: " in text and "@" not in text


def test_an_unknown_recipe_is_told_the_choices(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no recipe 'vector'") as error:
        initialise(tmp_path, recipe="vector")
    assert "Did you mean vectors?" in error.value.fix


def test_a_path_that_yaml_would_misread_stands_in_quotes(tmp_path: Path) -> None:
    data = photos(tmp_path / "my pets #2: all, of them")
    initialise(tmp_path / "w", Wish(str(data)))
    assert settings(tmp_path / "w").data["target"].path == data.as_posix()


def test_a_hostile_class_name_stays_in_its_remark(tmp_path: Path) -> None:
    data = photos(tmp_path / "pets")
    (data / "dog").rename(data / "dog\nseed: 99")
    initialise(tmp_path / "w", Wish(str(data)))
    assert settings(tmp_path / "w").seed == 0
    assert r"dog\nseed: 99" in (tmp_path / "w" / "params.yaml").read_text()
