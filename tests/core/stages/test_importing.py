"""A model that was trained elsewhere becomes a source like any other, or is refused with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from graftwork.errors import DataError, SettingsError, StateError, WeightsError
from graftwork.files import read_json, sha256_of_file
from graftwork.foreign import ForeignWeights
from graftwork.imported import bring_in, imagenet_classes
from graftwork.layout import SPLITS, Layout
from graftwork.models import build_model
from graftwork.progress import Quiet
from graftwork.settings import Use
from graftwork.stages import Context
from graftwork.weights import load_weights
from graftwork.workspace import run_stage
from tests.core.small import DATA, REGISTRY
from tests.core.tiny_workspace import SIZES, archive, run, tiny_settings

KERAS = Path(__file__).parents[2] / "data" / "keras"
KNOWN = {"mean": (0.5,), "std": (0.25,)}


def context(root: Path, model: Any = "", **wishes: Any) -> Context:
    """Return a workspace whose one source is an import."""
    settings = tiny_settings(
        ("there",), data={"target": {**DATA, "path": "target.npz", **SIZES}},
        model=model or {"mlp": {"hidden": (16, 8)}},
        imports={"there": {"weights": "safetensors", "path": "in.safetensors", **wishes}},
    )  # fmt: skip
    return Context(settings, REGISTRY, Layout(root), Quiet())


def foreign(workspace: Context, classes: int = 5, prefix: str = "") -> dict[str, torch.Tensor]:
    """Write weights of the workspace's model with other classes, as a stranger would, and return them."""
    model = build_model(workspace.settings, REGISTRY, classes, seed=7, images="there")
    tensors = model.state_dict()
    save_file({prefix + name: t for name, t in tensors.items()}, workspace.layout.root / "in.safetensors")
    return tensors


def test_foreign_weights_get_a_contract_and_their_classes_from_the_head(tmp_path: Path) -> None:
    workspace = context(tmp_path, **KNOWN)
    tensors = foreign(workspace)
    run(workspace, ("import", "there"))
    stored, contract = load_weights(workspace.layout.imported("there"))
    assert all(torch.equal(stored[name], tensor) for name, tensor in tensors.items())
    assert (contract.classes, contract.mean, contract.std, contract.size) == (tuple("01234"), (0.5,), (0.25,), 8)
    assert contract.head == ("head.bias", "head.weight")
    told = contract.provenance
    assert (told["file"], told["sha256"]) == ("in.safetensors", sha256_of_file(tmp_path / "in.safetensors"))
    assert told["tensors"]["loaded"] == len(tensors) and told["tensors"]["missing"] == []


def test_a_folder_brings_its_config_and_a_file_alone_does_not(tmp_path: Path) -> None:
    foreign(context(tmp_path))
    config = {"label_names": list("vwxyz"), "pretrained_cfg": {"mean": [0.5], "std": [0.25]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="Nothing tells how the images were normalised") as raised:
        run(context(tmp_path), ("import", "there"))
    assert "name the folder as the path" in raised.value.fix
    for name in ("in.safetensors", "config.json"):
        (tmp_path / "data/origins/net").mkdir(parents=True, exist_ok=True)
        (tmp_path / name).rename(tmp_path / "data/origins/net" / name)
    workspace = context(tmp_path, path="data/origins/net")
    run(workspace, ("import", "there"))
    contract = load_weights(workspace.layout.imported("there"))[1]
    assert (contract.mean, contract.classes) == ((0.5,), tuple("vwxyz"))
    file = tmp_path / "data/origins/net/in.safetensors"
    assert (contract.provenance["file"], contract.provenance["sha256"]) == (file.name, sha256_of_file(file))


def test_an_import_looks_like_prepared_data_without_images(tmp_path: Path) -> None:
    workspace = context(tmp_path, **KNOWN, classes=("a", "b", "c", "d", "e"))
    foreign(workspace)
    run(workspace, ("import", "there"))
    prepared = {split: sorted(p.name for p in workspace.layout.split("there", split).iterdir()) for split in SPLITS}
    assert prepared == {"train": ["weights.safetensors"], "validation": ["no_images.txt"], "test": ["no_images.txt"]}
    assert read_json(workspace.layout.card("there"))["classes"] == list("abcde")
    assert workspace.layout.samples("there").is_file()


def test_imported_weights_are_transferred_like_any_others(tmp_path: Path) -> None:
    workspace = context(tmp_path, **KNOWN)
    tensors = foreign(workspace)
    archive(tmp_path / "target.npz", seed=0)
    run(workspace, ("import", "there"), ("pretrain", "there"), ("fetch", "target"), ("augment", "target"))
    run(workspace, ("score", "there"), ("recommend", ""), ("transfer", "full_copy"))
    start, contract = load_weights(workspace.layout.start("full_copy") / "start.safetensors")
    assert torch.equal(start["trunk.1.0.weight"], tensors["trunk.1.0.weight"])
    assert (contract.mean, contract.classes) == ((0.5,), ("0", "1"))


def test_rules_rename_and_the_fix_for_a_prefix_is_told(tmp_path: Path) -> None:
    plain = context(tmp_path, **KNOWN)
    foreign(plain, prefix="module.")
    with pytest.raises(WeightsError, match="loaded 0 of") as raised:
        run(plain, ("import", "there"))
    assert raised.value.fix == r"rename: [{pattern: '^module\.', to: ''}]"
    workspace = context(tmp_path, **KNOWN, rename=({"pattern": r"^module\.", "to": ""},))
    run(workspace, ("import", "there"))
    assert load_weights(workspace.layout.imported("there"))[1].provenance["rename"][0]["pattern"] == r"^module\."


def test_without_a_head_the_classes_must_be_named(tmp_path: Path) -> None:
    headless = ({"pattern": "^head", "to": None},)
    workspace = context(tmp_path, **KNOWN, rename=headless)
    foreign(workspace)
    with pytest.raises(WeightsError, match="holds no head"):
        run(workspace, ("import", "there"))
    workspace = context(tmp_path, **KNOWN, rename=headless, classes=("a", "b"))
    run(workspace, ("import", "there"))
    contract = load_weights(workspace.layout.imported("there"))[1]
    assert contract.classes == ("a", "b") and "the head is untrained" in contract.provenance["notes"][0]


@pytest.mark.parametrize(
    ("wishes", "kind", "words"),
    [
        ({}, DataError, "Nothing tells how the images were normalised"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, DataError, r"Params\.yaml tells means of 3 channels"),
        ({**KNOWN, "classes": ("a", "b")}, WeightsError, "answers 5 classes, and 2 are named"),
        ({**KNOWN, "rename": ({"pattern": "^module", "to": ""},)}, SettingsError, "finds nothing"),
        ({**KNOWN, "image": {"size": 9, "channels": 1}}, WeightsError, "16×64 in the file, 16×81 in the model"),
        ({**KNOWN, "path": "none.safetensors"}, WeightsError, "is missing"),
        ({**KNOWN, "weights": {"safetensors": {"sha256": "00"}}}, WeightsError, "has the sha256"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    tmp_path: Path, wishes: dict[str, Any], kind: type[Exception], words: str
) -> None:  # fmt: skip
    foreign(context(tmp_path, **KNOWN))
    workspace = context(tmp_path, **wishes)
    with pytest.raises(kind, match=words):
        run(workspace, ("import", "there"))
    assert not workspace.layout.prepared("there").exists()


def test_an_origin_that_was_not_obtained_is_named(tmp_path: Path) -> None:
    workspace = context(tmp_path, path="data/origins/net/in.safetensors")
    settings = workspace.settings.model_copy(update={"origins": {"net": Use.model_validate("digits")}})
    with pytest.raises(StateError, match="The files of the origin 'net' aren't here yet") as raised:
        run(replace(workspace, settings=settings), ("import", "there"))
    assert raised.value.fix.startswith("graftwork stage obtain net")


def test_of_weights_that_do_not_fit_every_tensor_is_told_in_a_file(tmp_path: Path) -> None:
    workspace = context(tmp_path, **KNOWN)
    save_file({f"layer{n}.kernel": torch.zeros(3) for n in range(40)}, tmp_path / "in.safetensors")
    with pytest.raises(WeightsError, match=r"unexpected: layer0.kernel 3, .* and 35 more") as raised:
        run_stage(workspace, "import", "there")
    file = workspace.layout.misfits / "import-there.json"
    assert str(file) in raised.value.where and "layer39" not in str(raised.value)
    told = read_json(file)
    assert set(told["unexpected"]) == {f"layer{n}.kernel 3" for n in range(40)}
    assert "trunk.1.0.weight 16×64" in told["missing"]
    foreign(workspace)
    run_stage(workspace, "import", "there")
    assert not file.exists()


def test_nan_is_refused_by_name(tmp_path: Path) -> None:
    workspace = context(tmp_path, **KNOWN)
    tensors = foreign(workspace)
    tensors["head.weight"][0, 0] = torch.nan
    save_file(tensors, tmp_path / "in.safetensors")
    with pytest.raises(WeightsError, match=r"tensor head\.weight holds NaN") as raised:
        run(workspace, ("import", "there"))
    assert raised.value.fix.startswith("fetch it anew")  # nobody here can train it with a lower rate


def test_timm_knows_how_its_own_models_were_trained(tmp_path: Path) -> None:
    workspace = context(tmp_path, {"timm": {"name": "test_resnet"}}, image={"size": 32, "channels": 3})
    foreign(workspace, classes=1000)
    run(workspace, ("import", "there"))
    contract = load_weights(workspace.layout.imported("there"))[1]
    assert contract.mean == (0.5, 0.5, 0.5) and contract.classes[:2] == ("tench", "goldfish")


def test_names_of_imagenet_are_a_thousand_different_ones() -> None:
    assert len(set(imagenet_classes())) == 1000


@pytest.mark.parametrize("name", ["levit_128s", "repvit_m0_9", "iformer_t", "caformer_s18"])
def test_classes_are_counted_at_the_last_layer_where_a_head_has_several(name: str, tmp_path: Path) -> None:
    workspace = context(tmp_path, {"timm": {"name": name}}, image={"size": 64, "channels": 3})
    tensors = build_model(workspace.settings, REGISTRY, 6, seed=7, images="there").state_dict()
    found = bring_in(workspace.settings, REGISTRY, "there", ForeignWeights(tensors), "here")
    assert found.classes == tuple("012345")
    assert (found.account.missing, found.account.mismatched, found.account.coverage) == ((), (), 1.0)


def test_a_net_of_keras_proves_that_it_answers_the_same(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (tmp_path / "net.keras").write_bytes((KERAS / "vectors.keras").read_bytes())
    workspace = context(
        tmp_path, {"mlp": {"hidden": (6, 4), "batch_norm": False}}, weights="keras", path="net.keras",
        image={"size": 1, "channels": 10}, mean=(0.0,) * 10, std=(1.0,) * 10,
    )  # fmt: skip
    run(workspace, ("import", "there"))
    proof = load_weights(workspace.layout.imported("there"))[1].provenance["parity"]
    assert proof["probe"] == "8 images" and 0 <= proof["greatest_difference"] < 1e-5


def test_real_weights_fit_without_a_tensor_missing(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "in.safetensors").symlink_to(shared_data / "weights" / "tf_efficientnet_lite0.fp16.safetensors")
    model = {"timm": {"name": "tf_efficientnet_lite0"}}
    workspace = context(tmp_path, model, image={"size": 224, "channels": 3})
    run(workspace, ("import", "there"))
    told = load_weights(workspace.layout.imported("there"))[1].provenance["tensors"]
    assert (told["loaded"], told["missing"], told["unexpected"], told["coverage"]) == (247, [], [], 1.0)
