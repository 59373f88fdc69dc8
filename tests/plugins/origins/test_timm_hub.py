"""timm's weights come from the mirror first, then from the hub; and offline it is told what is wanted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from graftwork.desk import Desk
from graftwork.errors import DataError, SettingsError
from graftwork.progress import Quiet
from graftwork_plugins.origins.timm_hub import Timm
from graftwork_plugins.weights.safetensors import Safetensors

BODY = save({"weight": torch.arange(6.0)})
CONFIG = json.dumps({"architecture": "mine", "num_classes": 2, "label_names": ["a", "b"],
                     "pretrained_cfg": {"mean": [0.1], "std": [0.2], "input_size": [1, 8, 8]}}).encode()  # fmt: skip
FILES = {
    "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors": BODY,
    "/someone/mine/resolve/main/model.safetensors": BODY,
    "/someone/mine/resolve/main/config.json": CONFIG,
}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        body = FILES.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        for name, value in {"ETag": f'"{len(body)}"', "X-Repo-Commit": "0" * 40}.items():
            self.send_header(name, value)
        if not body:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("GRAFTWORK_OFFLINE", raising=False)
        yield address
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def desk(tmp_path: Path, *mirrored: str) -> Desk:
    """Return a desk; a mirror is there where files in its folder weights are named."""
    (tmp_path / "mirror" / "weights").mkdir(parents=True, exist_ok=True)
    for name in mirrored:
        (tmp_path / "mirror" / "weights" / name).write_bytes(save({name.replace(".", "_"): torch.zeros(1)}))
    return Desk(tmp_path / "mirror" if mirrored else None, tmp_path / "partial", Quiet())


def test_weights_come_from_the_hub_with_what_timm_knows_of_them(tmp_path: Path, folder: Path, hub: str) -> None:
    told = Timm("test_resnet").obtain(folder, desk(tmp_path))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    found = Safetensors().read(folder)
    assert torch.equal(found.tensors["weight"], torch.arange(6.0))
    assert (found.mean, found.size, found.origin["tag"]) == ((0.5,) * 3, 160, "r160_in1k")
    assert told == {"name": "test_resnet", "sha256": sha256(BODY).hexdigest(), "licence": "apache-2.0"}
    assert not list((tmp_path / "partial").rglob("*.safetensors"))


def test_anyones_repository_brings_its_own_config(tmp_path: Path, folder: Path, hub: str) -> None:
    Timm("hf-hub:someone/mine").obtain(folder, desk(tmp_path))
    found = Safetensors().read(folder)
    assert (found.classes, found.mean, found.std, found.size) == (("a", "b"), (0.1,), (0.2,), 8)


def test_what_the_hub_has_not_is_told(tmp_path: Path, folder: Path, hub: str) -> None:
    with pytest.raises(DataError, match=r"model\.safetensors of someone/else didn't come") as raised:
        Timm("hf-hub:someone/else").obtain(folder, desk(tmp_path))
    assert raised.value.where == hub


def test_the_mirror_comes_before_the_network(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "1")
    Timm("test_resnet.r160_in1k").obtain(folder, desk(tmp_path, "test_resnet.fp16.safetensors"))
    assert list(load_file(folder / "model.safetensors")) == ["test_resnet_fp16_safetensors"]
    assert Safetensors().read(folder).mean == (0.5,) * 3


def test_the_same_weights_are_told_of_equally_wherever_they_came_from(tmp_path: Path, hub: str) -> None:
    mirrored = desk(tmp_path, "test_resnet.safetensors")
    (tmp_path / "mirror" / "weights" / "test_resnet.safetensors").write_bytes(BODY)
    told = []
    for name, at in (("network", Desk(None, tmp_path / "partial", Quiet())), ("mirror", mirrored)):
        (tmp_path / name / "out").mkdir(parents=True)
        told.append(Timm("test_resnet.r160_in1k").obtain(tmp_path / name / "out", at))
    one, other = (
        {p.name: p.read_bytes() for p in (tmp_path / name / "out").iterdir()} for name in ("network", "mirror")
    )
    assert told[0] == told[1] and one == other and len(one) == 2


def test_of_several_mirrored_weights_the_tag_decides(tmp_path: Path, folder: Path) -> None:
    both = desk(tmp_path, "resnet18.a1_in1k.safetensors", "resnet18.tv_in1k.safetensors", "resnet18d.safetensors")
    Timm("resnet18.tv_in1k").obtain(folder, both)
    assert list(load_file(folder / "model.safetensors")) == ["resnet18_tv_in1k_safetensors"]
    several = desk(tmp_path, "resnet18.one.safetensors", "resnet18.two.safetensors")
    with pytest.raises(DataError, match=r"several weights of resnet18: resnet18\.one\.safetensors, resnet18\.two"):
        Timm("resnet18.a3_in1k").obtain(folder, several)


@pytest.mark.parametrize("others", [["fb_ssl_yfcc100m_ft_in1k"], ["a1_in1k", "tv_in1k"]])
def test_weights_of_another_tag_are_other_weights(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, others: list[str]
) -> None:
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "1")
    mirrored = desk(tmp_path, *(f"resnet18.{tag}.safetensors" for tag in others))
    with pytest.raises(DataError, match=rf"forbids the network; resnet18\.{others[0]}\.safetensors .* another tag"):
        Timm("resnet18.a3_in1k").obtain(folder, mirrored)
    assert list(folder.iterdir()) == []
    Timm("resnet18.a3_in1k").obtain(folder, desk(tmp_path, "resnet18.safetensors"))
    assert list(load_file(folder / "model.safetensors")) == ["resnet18_safetensors"]


@pytest.mark.parametrize("variable", ["GRAFTWORK_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_the_file_wanted_and_its_folder_are_named(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:  # fmt: skip
    monkeypatch.delenv("GRAFTWORK_OFFLINE", raising=False)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DataError, match=rf"weights/resnet18\.safetensors isn't .* {variable} forbids") as raised:
        Timm("resnet18").obtain(folder, desk(tmp_path, "resnet34.safetensors"))
    assert raised.value.expected == f"weights/resnet18.safetensors in {tmp_path / 'mirror'}"
    assert raised.value.fix == f"put the file there, or unset {variable}"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["resnet19", "resnet18.a9_in1k"])
def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path, folder: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="publishes no weights") as raised:
        Timm(name).obtain(folder, desk(tmp_path))
    assert "resnet" in raised.value.fix


def test_the_real_mirror_serves_the_real_weights(tmp_path: Path, folder: Path, shared_data: Path) -> None:
    told = Timm("tf_efficientnet_lite0.in1k").obtain(folder, Desk(shared_data, tmp_path / "partial", Quiet()))
    assert told["sha256"].startswith("c4117a10") and told["licence"] == "apache-2.0"
    assert Safetensors().read(folder).mean == (0.5,) * 3
