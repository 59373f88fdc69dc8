"""torchvision's weights are checked against the hash in their name, and kept as safetensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graftwork.desk import Desk
from graftwork.errors import DataError, SettingsError
from graftwork.files import sha256_of_file
from graftwork.progress import Quiet
from graftwork_plugins.origins import torchvision_weights
from graftwork_plugins.origins.torchvision_weights import TorchvisionWeights, fetched, unique
from graftwork_plugins.weights.safetensors import Safetensors


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror with a small .pth file that has its hash in its name."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    torch.save({"fc.weight": torch.ones(2, 3)}, folder / "x")
    (folder / "x").rename(folder / f"small-{sha256_of_file(folder / 'x')[:8]}.pth")
    return folder


def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "mirror", tmp_path / "partial", Quiet())


def test_a_file_with_the_right_hash_becomes_safetensors(tmp_path: Path, mirror: Path) -> None:
    (file,) = mirror.iterdir()
    (tmp_path / "out").mkdir()
    assert fetched(f"https://example.org/{file.name}", tmp_path / "out", desk(tmp_path)) == sha256_of_file(file)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]
    assert torch.equal(Safetensors().read(tmp_path / "out/model.safetensors").tensors["fc.weight"], torch.ones(2, 3))


def test_a_file_with_another_hash_is_refused_and_not_kept(tmp_path: Path, mirror: Path) -> None:
    (file,) = mirror.iterdir()
    file.rename(mirror / "small-0badf00d.pth")
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="its name says 0badf00d"):
        fetched("https://example.org/small-0badf00d.pth", tmp_path / "out", desk(tmp_path))
    assert list((tmp_path / "out").iterdir()) == []


def test_mean_std_and_classes_are_written_beside(
    tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    (file,) = mirror.iterdir()
    asked: list[str] = []

    def fetch(url: str, folder: Path, at: Desk) -> str:
        asked.append(url)
        return fetched(f"https://example.org/{file.name}", folder, at)

    monkeypatch.setattr(torchvision_weights, "fetched", fetch)
    (tmp_path / "out").mkdir()
    told = TorchvisionWeights("ResNet18_Weights.IMAGENET1K_V1").obtain(tmp_path / "out", desk(tmp_path))
    assert asked == ["https://download.pytorch.org/models/resnet18-f37072fd.pth"] == [told["url"]]
    found = Safetensors().read(tmp_path / "out")
    assert (found.mean, found.std, found.size) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224)
    assert found.classes is not None and found.classes[0] == "tench" and len(set(found.classes)) == 1000


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="publishes no weights") as raised:
        TorchvisionWeights("ResNet18_Weights.IMAGENET1K_V9").obtain(tmp_path, desk(tmp_path))
    assert raised.value.fix == "Did you mean ResNet18_Weights.IMAGENET1K_V1?"


def test_later_ones_of_equal_names_are_numbered() -> None:
    assert unique(["crane", "bag", "crane", "crane"]) == ["crane", "bag", "crane 2", "crane 3"]
