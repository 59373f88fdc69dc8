"""Keras's nets are read without Keras, and answer as Keras itself did: tests/data/keras holds what it wrote."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graftwork.chains import names_by_order, parity, with_own_epsilon
from graftwork.errors import SettingsError, WeightsError
from graftwork.foreign import ForeignWeights
from graftwork.settings import ImageFormat
from graftwork_plugins.lenet import LeNet
from graftwork_plugins.mlp import MLP
from graftwork_plugins.weights import keras_file
from graftwork_plugins.weights.keras import Keras

h5py = pytest.importorskip("h5py")
HERE = Path(__file__).parents[2] / "data" / "keras"
FILES = sorted(path.name for path in HERE.iterdir() if path.suffix in (".h5", ".keras"))


def answered(name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return what Keras was shown, as (N, C, H, W), and what it answered."""
    with np.load(HERE / ("answers_2.npz" if name.partition(".")[0].endswith("_2") else "answers.npz")) as stored:
        images, answers = (stored[f"{name.partition('.')[0]}_{what}"] for what in ("images", "answers"))
    images = images[:, None, None, :] if images.ndim == 2 else images
    return images.transpose(0, 3, 1, 2), answers


def normalised(found: ForeignWeights, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if found.mean is None or found.std is None:
        return images
    mean, std = (np.array(values).reshape(1, -1, 1, 1) for values in (found.mean, found.std))
    return ((images / 255 - mean) / std).astype(np.float32)


def fitted(found: ForeignWeights, model: nn.Module) -> nn.Module:
    """Load the chain's tensors into a model of the same layers, by their order."""
    assert found.architecture is not None
    names = names_by_order(found.architecture, found.tensors, model, "here")
    model.load_state_dict(with_own_epsilon(found.architecture, found.tensors, names, model), strict=False)
    return model.eval()


def plain_cnn() -> nn.Module:
    """Return the net `cnn` of make.py as torch would write it, its norms with torch's own epsilon."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 6, 1),
        nn.ReLU(), nn.AvgPool2d(2, stride=1), nn.Flatten(), nn.BatchNorm1d(54), nn.Linear(54, 5),
    )  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_net_answers_what_keras_answered(name: str) -> None:
    found = Keras().read(HERE / name)
    images, answers = answered(name)
    assert found.architecture is not None
    logits = found.architecture.answer(normalised(found, images))
    if not name.startswith(("strided", "same")):  # these end in logits
        logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(logits - answers).max() < 1e-6


@pytest.mark.parametrize("name", ["cnn.h5", "cnn.keras", "cnn_2.h5", "cnn_2.keras"])
def test_kernels_norms_and_flattened_features_find_their_order_in_torch(name: str) -> None:
    found = Keras().read(HERE / name)
    assert found.architecture is not None
    model = fitted(found, plain_cnn())
    proof = parity(found.architecture, model, ImageFormat(size=8, channels=3), "here")
    assert proof["greatest_difference"] < 1e-5  # type: ignore[operator]
    images, answers = answered(name)
    with torch.inference_mode():
        probabilities = model(torch.from_numpy(normalised(found, images))).softmax(dim=1)
    assert np.abs(probabilities.numpy() - answers).max() < 1e-5


def test_both_formats_hold_the_same() -> None:
    one, other = (Keras().read(HERE / name).tensors for name in ("cnn.h5", "cnn.keras"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_rescaling_becomes_mean_and_std() -> None:
    found = Keras().read(HERE / "cnn.keras")
    assert found.mean == pytest.approx((0.5,) * 3) and found.std == pytest.approx((0.5,) * 3)
    assert found.size == 8


def test_vectors_fit_a_perceptron_without_norms() -> None:
    found = Keras().read(HERE / "vectors.keras")
    image = ImageFormat(size=1, channels=10)
    model = fitted(found, MLP(hidden=(6, 4), batch_norm=False).build(2, image))
    assert found.architecture is not None
    assert parity(found.architecture, model, image, "here")["greatest_difference"] < 1e-6  # type: ignore[operator]


def test_another_activation_is_told_by_the_answers() -> None:
    found = Keras().read(HERE / "mlp.h5")  # its second layer has a tanh
    image = ImageFormat(size=8, channels=1)
    model = fitted(found, MLP(hidden=(12, 7), batch_norm=False).build(3, image))
    assert found.architecture is not None
    with pytest.raises(WeightsError, match="What to look at: it has the activation tanh"):
        parity(found.architecture, model, image, "here")


def test_padding_on_one_side_is_told_where_torch_pads_both() -> None:
    found = Keras().read(HERE / "same.keras")
    image = ImageFormat(size=8, channels=1)
    assert found.architecture is not None
    both = fitted(found, nn.Sequential(nn.Conv2d(1, 4, 3, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)))
    with pytest.raises(WeightsError, match="pads 'same' at a stride"):
        parity(found.architecture, both, image, "here")
    padded = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    assert parity(found.architecture, fitted(found, padded), image, "here")["probe"] == "8 images"


def test_another_model_lists_both_chains() -> None:
    found = Keras().read(HERE / "cnn.h5")
    assert found.architecture is not None
    with pytest.raises(WeightsError, match="In the file: convolution 4×3×3×3, norm 4, depthwise convolution 4×1×3×3"):
        fitted(found, LeNet().build(5, ImageFormat(size=28, channels=3)))


def test_images_of_another_shape_are_refused() -> None:
    found = Keras().read(HERE / "cnn.h5")
    assert found.architecture is not None
    with pytest.raises(WeightsError, match="takes 8×8×3, and the images are 9×9×3"):
        found.architecture.answer(np.zeros((1, 3, 9, 9), dtype=np.float32))


def changed(tmp_path: Path, name: str, change: Any) -> Path:
    """Copy a .keras file, its config changed by a function on the list of layers."""
    target = tmp_path / name
    with zipfile.ZipFile(HERE / name) as old, zipfile.ZipFile(target, "w") as new:
        config = json.loads(old.read("config.json"))
        change(config)
        new.writestr("config.json", json.dumps(config))
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    return target


def layer(kind: str, **settings: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": "added", **settings}}


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (layer("Lambda", function="gASV"), r"'added' \(Lambda\): layers of this kind aren't known"),
        (layer("LSTM"), "layers of this kind aren't known"),
        (layer("Activation", activation="mish"), "'mish' isn't known"),
        (layer("Activation", activation="sigmoid"), "ends in activation"),
        (layer("Dense", activation="linear"), "0 arrays, where 2 belong to it"),
        (layer("Conv2D", strides=[1, 1]), r"added"),
    ],
)
def test_layers_without_a_counterpart_are_refused_by_name(tmp_path: Path, added: dict[str, Any], words: str) -> None:
    path = changed(tmp_path, "strided.keras", lambda config: config["config"]["layers"].append(added))
    with pytest.raises(WeightsError, match=words):
        Keras().read(path)


@pytest.mark.parametrize("kind", ["Functional", "MyModel", "Model"])
def test_a_net_that_is_no_chain_is_refused(tmp_path: Path, kind: str) -> None:
    path = changed(tmp_path, "cnn.keras", lambda config: config.update(class_name=kind))
    with pytest.raises(WeightsError, match=f"of the kind '{kind}' that is no plain chain"):
        Keras().read(path)


@pytest.mark.parametrize("name", ["cnn.h5", "cnn.keras"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    whole = (HERE / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError):
        Keras().read(tmp_path / name)


def test_weights_alone_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("dense")
    with pytest.raises(WeightsError, match="weights without the model's layers: dense"):
        Keras().read(tmp_path / "x.h5")


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual", "integers"])
def test_an_array_that_is_not_in_the_file_itself_is_refused(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.zeros((64, 12), dtype=np.float32)
    path = tmp_path / "mlp.h5"
    path.write_bytes((HERE / "mlp.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        group = file["model_weights/dense"]
        name = next(n if isinstance(n, str) else n.decode() for n in group.attrs["weight_names"])
        del group[name]
        if kind == "external link":
            group[name] = h5py.ExternalLink(str(secret), "/data")
        elif kind == "soft link":
            group[name] = h5py.SoftLink("/model_weights/dense")
        elif kind == "external storage":
            group.create_dataset(name, (64, 12), "f4", external=[(str(secret), 0, 64 * 12 * 4)])
        elif kind == "virtual":
            source = h5py.VirtualSource(str(secret), "data", (64, 12), "f4")
            layout = h5py.VirtualLayout((64, 12), "f4")
            layout[:] = source
            group.create_virtual_dataset(name, layout)
        else:
            group[name] = np.zeros((64, 12), dtype=np.int64)
    with pytest.raises(WeightsError, match="isn't used"):
        Keras().read(path)


def test_arrays_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:  # chunks that were never written take no room in the file
        file.create_dataset("layers/dense/vars/0", (10**6, 10**6), "f4", chunks=(1000, 1000))
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        config = {"class_name": "Sequential", "config": {"layers": [layer("Dense")]}}
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", stored.getvalue())
    with pytest.raises(WeightsError, match="arrays take more than 1,048,576 bytes"):
        Keras().read(tmp_path / "x.keras")


def test_without_h5py_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(SettingsError, match="takes h5py") as raised:
        keras_file.read(HERE / "mlp.h5")
    assert "graftwork[keras]" in raised.value.fix


def test_a_folder_with_one_file_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes((HERE / "cnn.keras").read_bytes())
    assert Keras().read(tmp_path).file == tmp_path / "net.keras"
    assert Keras().read(tmp_path / "net.keras").file is None


def _first(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["config"]["layers"][1]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda config: _first(config).pop("config"),
        lambda config: _first(config)["config"].pop("name"),
        lambda config: _first(config).pop("class_name"),
        lambda config: _first(config).update(config="text"),
        lambda config: _first(config).update(config=None),
        lambda config: _first(config).update(class_name=["Dense"]),
        lambda config: _first(config)["config"].update(name={}),
        lambda config: config["config"]["layers"][0].update(config=[]),
        lambda config: config["config"]["layers"].clear(),
        lambda config: config.update(config=None),
        lambda config: config.clear(),
    ],
)
@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.parametrize("name", ["functional", "cnn"])
def test_a_config_of_an_odd_form_is_refused(tmp_path: Path, name: str, kind: str, change: Any) -> None:
    if kind == "keras":
        path = changed(tmp_path, f"{name}.keras", change)
    else:
        path = tmp_path / f"{name}.h5"
        path.write_bytes((HERE / path.name).read_bytes())
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(WeightsError):
        Keras().read(path)


def test_a_rescaling_by_nothing_is_refused(tmp_path: Path) -> None:
    def flat(config: dict[str, Any]) -> None:
        (rescaling,) = [each for each in config["config"]["layers"] if each["class_name"] == "Rescaling"]
        rescaling["config"].update(scale=0.0, offset=0.0)

    with pytest.raises(WeightsError, match="ZeroDivisionError"):
        Keras().read(changed(tmp_path, "cnn.keras", flat))
