"""What leaves the workspace answers as it did inside, or doesn't leave it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from graftwork import export as exporting
from graftwork import onnx_export
from graftwork.agreement import difference, plain_machine, probe
from graftwork.engine import Normalise
from graftwork.errors import SettingsError, StateError, TrainingError, WeightsError
from graftwork.export import RECORD, _check_free, export
from graftwork.files import sha256_of_file
from graftwork.onnx_export import Deployed, session_of, write_onnx
from graftwork.release import Release
from graftwork.torchvision_operators import define_missing
from graftwork.weights import load_weights
from tests.core.exports import CLASSES, MLP, RESNET, STORY, VIT, built, release
from tests.core.small import REGISTRY

define_missing()
import timm  # noqa: E402  # beside a torch without torchvision's operators it needs them named


def logits(model: torch.nn.Module, found: Release, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        answered: torch.Tensor = model.eval()(Normalise(found.contract, plain_machine())(images))
    return answered


def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "missing_packages", lambda: ["onnxscript"])
    monkeypatch.setattr(exporting, "missing_packages", lambda: ["onnxscript"])


def test_the_model_of_these_tests_tells_images_apart(resnet: Release) -> None:
    assert logits(built(resnet), resnet, probe(resnet.contract, 5)).std(dim=0).min() > 0.01  # else all would agree


def test_timm_loads_the_folder_with_the_same_logits(exported: Path, resnet: Release) -> None:
    images = probe(resnet.contract, 3)
    loaded = timm.create_model(f"local-dir:{exported}", pretrained=True)
    assert torch.equal(logits(loaded, resnet, images), logits(built(resnet), resnet, images))


def test_timm_is_told_the_input_and_the_labels(exported: Path) -> None:
    loaded = timm.create_model(f"local-dir:{exported}", pretrained=True)
    config = timm.data.resolve_model_data_config(loaded)
    assert config["input_size"] == (3, 32, 32)
    assert (list(config["mean"]), list(config["std"])) == ([0.4] * 3, [0.2] * 3)
    assert config["interpolation"] == "bicubic" and config["crop_pct"] == 1.0
    assert tuple(loaded.pretrained_cfg["label_names"]) == CLASSES


def test_nothing_of_the_architectures_own_weights_is_claimed(exported: Path) -> None:
    config = json.loads((exported / "config.json").read_text())["pretrained_cfg"]
    assert not config.keys() & {"license", "tag", "hf_hub_id", "url", "origin_url", "paper_ids"}


def test_a_transformer_keeps_its_size_and_its_grey_channel(tmp_path: Path) -> None:
    vit = release(VIT, size=48, channels=1)
    found = export(vit, STORY, REGISTRY, "timm", tmp_path / "vit")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'vit'}", pretrained=True)
    images = probe(vit.contract, 3)
    assert torch.equal(logits(loaded, vit, images), logits(built(vit), vit, images))
    assert found.differences == {"timm": 0.0}
    assert not (tmp_path / "vit" / "model.onnx").exists()


@pytest.mark.parametrize("batch", [1, 5, 7])
def test_onnx_answers_as_torch_does_for_any_batch(batch: int, exported: Path, resnet: Release) -> None:
    images = probe(resnet.contract, batch)
    found, probabilities = session_of(exported / "model.onnx").run(None, {"images": images.numpy()})
    expected = logits(built(resnet), resnet, images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(probabilities, (expected / 0.7).softmax(dim=1), atol=1e-5)


def test_onnx_says_what_it_takes_and_answers(exported: Path) -> None:
    session = session_of(exported / "model.onnx")
    (images,) = session.get_inputs()
    assert (images.type, images.shape) == ("tensor(uint8)", ["batch", 3, 32, 32])
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["labels"]) == list(CLASSES)
    assert (json.loads(told["mean"]), json.loads(told["temperature"])) == ([0.4] * 3, 0.7)


def test_onnx_holds_no_path_of_this_machine(exported: Path) -> None:
    stored = (exported / "model.onnx").read_bytes()
    assert str(Path(timm.__file__).parent).encode() not in stored
    assert str(Path(onnx_export.__file__).parent).encode() not in stored


def test_onnx_of_vectors_takes_plain_features(tmp_path: Path) -> None:
    vectors = release(MLP, size=1, channels=6)
    assert write_onnx(tmp_path, vectors, built(vectors)) < 1e-4
    session = session_of(tmp_path / "model.onnx")
    (features,) = session.get_inputs()
    assert (features.type, features.shape) == ("tensor(float)", ["batch", 6, 1, 1])
    values = probe(vectors.contract, 3) + 1000
    assert values.dtype == torch.float32
    found = session.run(["logits"], {"images": values.numpy()})[0]
    np.testing.assert_allclose(found, logits(built(vectors), vectors, values), rtol=1e-4, atol=1e-4)


def test_onnx_that_answers_differently_is_refused(
    exported: Path, resnet: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = (exported / "model.onnx").read_bytes()
    monkeypatch.setattr(onnx_export, "_exported", lambda deployed, found: stored)
    assert write_onnx(tmp_path, resnet, built(resnet)) < 1e-4
    other = release(RESNET, seed=5)
    with pytest.raises(TrainingError, match="doesn't answer as torch"):
        export(other, STORY, REGISTRY, "onnx", tmp_path / "other")
    assert not list(tmp_path.glob("*other*"))


def test_a_model_that_timm_would_build_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vit = release(VIT, size=48, channels=1)
    assert vit.contract.model["settings"]["options"]
    wrong = replace(vit, contract=vit.contract.model_copy(update={"model": {**VIT, "settings": {"name": "test_vit2"}}}))
    with pytest.raises(WeightsError, match="don't fit"):
        export(wrong, STORY, REGISTRY, "timm", tmp_path / "vit")
    monkeypatch.setattr("graftwork.timm_export._input_of", lambda found: {"input_size": [1, 64, 64]})
    loaded = built(vit)
    loaded.norm.bias.data += 1  # type: ignore[union-attr]
    monkeypatch.setattr(exporting, "rebuild", lambda *_, **__: loaded)
    with pytest.raises(WeightsError, match="logits differ"):
        export(vit, STORY, REGISTRY, "timm", tmp_path / "vit")
    assert not list(tmp_path.iterdir())


def test_the_weights_carry_their_contract_and_temperature(exported: Path, resnet: Release) -> None:
    tensors, contract = load_weights(exported / "model.safetensors")
    assert tensors.keys() == resnet.tensors.keys()
    assert contract.classes == CLASSES
    assert (contract.provenance["temperature"], contract.provenance["strategy"]) == (0.7, "full_copy")


def test_the_record_knows_every_file(exported: Path) -> None:
    record = json.loads((exported / RECORD).read_text())
    assert {path.name for path in exported.iterdir()} - {RECORD, "README.md"} == record["files"].keys()
    assert all(sha256_of_file(exported / name) == found for name, found in record["files"].items())
    assert record["card"] == sha256_of_file(exported / "README.md")
    assert record["differences"].keys() == {"timm", "onnx"}


def test_others_may_read_the_weights_like_the_rest(exported: Path) -> None:
    assert len({file.stat().st_mode for file in exported.iterdir()}) == 1


def test_an_export_is_replaced_only_when_forced(tmp_path: Path, resnet: Release) -> None:
    export(resnet, STORY, REGISTRY, "timm", tmp_path / "x")
    with pytest.raises(StateError, match="already") as caught:
        export(resnet, STORY, REGISTRY, "timm", tmp_path / "x")
    assert "--force" in caught.value.fix
    before = {file.name: file.read_bytes() for file in (tmp_path / "x").iterdir()}
    export(resnet, STORY, REGISTRY, "timm", tmp_path / "x", force=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "x").iterdir()} == before


ADDED: dict[str, Callable[[Path], object]] = {
    "a note": lambda folder: (folder / "NOTES.md").write_text("mine"),
    "a repository": lambda folder: (folder / ".git").mkdir(),
    "a link": lambda folder: (folder / "link").symlink_to(folder / "config.json"),
    "a licence in the card": lambda folder: (folder / "README.md").write_text("license: mit"),
    "another file in place of one": lambda folder: (folder / "config.json").write_text("{}"),
    "a damaged record": lambda folder: (folder / RECORD).write_text("{"),
}


@pytest.mark.parametrize("what", ADDED)
def test_what_a_user_put_beside_an_export_is_never_removed(what: str, tmp_path: Path, exported: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "x"))
    _check_free(folder, force=True)
    ADDED[what](folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(StateError, match="there is what it didn't write") as raised:
        export(release(RESNET), STORY, REGISTRY, "timm", folder, force=True)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert "--to" in raised.value.fix


def test_of_an_export_of_which_files_were_removed_the_rest_is_replaced(tmp_path: Path, exported: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "x"))
    for name in ("model.onnx", "README.md"):
        (folder / name).unlink()
    _check_free(folder, force=True)


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path, resnet: Release) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(StateError, match="something else"):
        export(resnet, STORY, REGISTRY, "timm", tmp_path, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["photo.png"]


def test_a_forced_export_that_fails_leaves_the_old_one(
    tmp_path: Path, resnet: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(resnet, STORY, REGISTRY, "timm", tmp_path / "x")
    before = (tmp_path / "x" / "README.md").read_bytes()

    def full(*_: object, **__: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr(exporting, "render_card", full)
    with pytest.raises(OSError, match="No space"):
        export(resnet, STORY, REGISTRY, "timm", tmp_path / "x", force=True)
    assert (tmp_path / "x" / "README.md").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_timm_is_refused_for_a_model_that_is_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlp = release(MLP, size=8)
    with pytest.raises(SettingsError, match="Perceptron isn't one"):
        export(mlp, STORY, REGISTRY, "timm", tmp_path / "mlp")
    without_onnx(monkeypatch)
    found = export(mlp, STORY, REGISTRY, "all", tmp_path / "mlp")
    assert found.left_out.keys() == {"timm", "onnx"} and found.differences == {}
    assert json.loads((tmp_path / "mlp" / "config.json").read_text())["library"] == "graftwork"
    assert "timm can't load this model" in (tmp_path / "mlp" / "README.md").read_text()


def test_missing_packages_are_named_with_the_command(
    tmp_path: Path, resnet: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_onnx(monkeypatch)
    with pytest.raises(SettingsError, match="onnxscript") as caught:
        export(resnet, STORY, REGISTRY, "onnx", tmp_path / "x")
    assert "pip install 'graftwork[onnx]'" in caught.value.fix
    assert not list(tmp_path.iterdir())


def test_a_difference_is_a_share_of_the_greatest_and_nan_is_infinite() -> None:
    expected = torch.tensor([[2.0, -4.0]])
    assert difference(torch.tensor([[2.0, -3.0]]), expected) == 0.25
    assert difference(torch.tensor([[2.0, float("nan")]]), expected) == float("inf")


def test_the_deployed_model_normalises_and_calibrates_by_itself(resnet: Release) -> None:
    images = probe(resnet.contract, 4)
    answered, probabilities = Deployed(built(resnet), resnet).eval()(images)
    assert torch.equal(answered, logits(built(resnet), resnet, images))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))


def test_probes_spread_as_the_contract_says(resnet: Release) -> None:
    pixels = probe(resnet.contract, 40).float() / 255
    assert pixels.mean() == pytest.approx(0.4, abs=0.01)
    assert pixels.std() == pytest.approx(0.2, abs=0.01)
    assert probe(resnet.contract).dtype == torch.uint8
