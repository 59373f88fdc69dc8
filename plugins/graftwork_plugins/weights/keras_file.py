"""Open Keras's files without running or following anything: the config as JSON, the arrays of each layer by name."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import SettingsError, WeightsError, listed

MOST_TIMES, AT_LEAST = 16, 2**20  # bytes of all arrays together: times the file's, or so many
MOST_CONFIG = 50_000_000
Config = dict[str, Any]
Arrays = dict[str, list[NDArray[Any]]]  # of each layer, in the order in which Keras keeps them


def read(path: Path) -> tuple[Config, Arrays]:
    """Return the model's config and each layer's arrays.

    Raises WeightsError for a suspicious file; a damaged one makes h5py, zipfile and json raise what they will.
    """
    h5py = _h5py()
    if zipfile.is_zipfile(path):
        return _read_archive(path, h5py)
    with h5py.File(path, "r") as file:
        return _read_legacy(file, _Budget(path))


def layers_of(config: Config, where: str) -> list[Config]:
    """Return the configs of a model's layers, one after the other. Raises WeightsError where it is no plain chain."""
    kind, inner = config.get("class_name"), config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner  # Keras 2.2 wrote the list itself
    if not isinstance(layers, list) or not all(isinstance(each, dict) for each in layers):
        layers, kind = [], f"{kind} without layers"
    follows = [kind == "Sequential" or _inputs(b) == [a["config"]["name"]] for a, b in pairwise(layers)]
    if kind not in ("Sequential", "Functional", "Model") or not all(follows):
        raise WeightsError(
            f"The file holds a model of the kind {kind!r} that is no plain chain of layers", where=where,
            expected="keras.Sequential, or a functional model in which each layer takes what the one before it gives",
            fix="export it from Keras to safetensors with names of your own, and use rename",
        )  # fmt: skip
    return layers


def _inputs(layer: Any) -> list[str]:
    """Return the layers that a functional model's layer takes its inputs from: ["name", 0, 0] wherever that stands."""
    if isinstance(layer, dict) and "inbound_nodes" in layer:
        return _inputs(layer["inbound_nodes"])
    if isinstance(layer, list) and [type(each) for each in layer[:3]] == [str, int, int]:
        return [layer[0]]
    parts = layer.values() if isinstance(layer, dict) else layer if isinstance(layer, list) else []
    return [name for part in parts for name in _inputs(part)]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise SettingsError(
            f"Reading Keras files takes h5py: {error}", expected="h5py", fix="pip install 'graftwork[keras]'"
        ) from None
    return h5py


def _read_archive(path: Path, h5py: Any) -> tuple[Config, Arrays]:
    """Read a .keras file: config.json, and model.weights.h5 with numbered arrays under each layer's kind."""
    budget = _Budget(path)
    with zipfile.ZipFile(path) as archive:
        config = _parsed(_member(archive, "config.json", MOST_CONFIG, str(path)), str(path))
        stored = _member(archive, "model.weights.h5", budget.left, str(path))
    with h5py.File(io.BytesIO(stored), "r") as file:
        root = _child(file, "layers" if "layers" in file else "_layer_checkpoint_dependencies", str(path))
        arrays, seen = {}, Counter[str]()
        for layer in layers_of(config, str(path)):
            if layer["class_name"] == "InputLayer":
                continue
            kind = _snake_case(layer["class_name"])
            group = f"{kind}_{seen[kind]}" if seen[kind] else kind
            seen[kind] += 1
            if group in root:
                held = _child(_child(root, group, str(path)), "vars", str(path))
                names = sorted(held, key=int)
                arrays[layer["config"]["name"]] = [budget.array(_child(held, n, str(path))) for n in names]
    return config, arrays


def _read_legacy(file: Any, budget: _Budget) -> tuple[Config, Arrays]:
    """Read an .h5 file: the config is an attribute, and arrays go by the names that each layer's group lists."""
    where = budget.where
    if "model_config" not in file.attrs:
        raise WeightsError(
            f"The file holds weights without the model's layers: {listed(file)}", where=where,
            expected="what model.save writes, not save_weights", fix="in Keras: load_weights, then save",
        )  # fmt: skip
    config = _parsed(file.attrs["model_config"], where)
    root, arrays = _child(file, "model_weights", where), {}
    for layer in layers_of(config, where):
        name = layer["config"]["name"]
        if name in root:
            group = _child(root, name, where)
            arrays[name] = [budget.array(_descend(group, _text(n), where)) for n in group.attrs["weight_names"]]
    return config, arrays


class _Budget:
    """Reads arrays, and refuses those that would fill the memory or aren't stored in the file itself."""

    def __init__(self, path: Path) -> None:
        self.where, self.most = str(path), max(AT_LEAST, MOST_TIMES * path.stat().st_size)
        self.left = self.most

    def array(self, dataset: Any) -> NDArray[Any]:
        """Return an array of floating-point numbers as float32."""
        if dataset.external or dataset.is_virtual:
            raise _suspicious(f"{dataset.name} is stored in other files", self.where)
        if dataset.dtype.kind != "f":
            raise _suspicious(f"{dataset.name} holds {dataset.dtype}, not floating-point numbers", self.where)
        self.left -= dataset.size * 8
        if self.left < 0:
            raise _suspicious(f"its arrays take more than {self.most:,} bytes", self.where)
        return np.asarray(dataset[()], dtype=np.float32)


def _child(group: Any, name: str, where: str) -> Any:
    """Return a group's member; links, which may lead to other files, are refused."""
    link = group.get(name, getlink=True)
    if link is None:
        raise KeyError(f"{group.name} holds no {name!r}")
    if type(link).__name__ != "HardLink":
        raise _suspicious(f"{name!r} in {group.name} is a link that leads elsewhere", where)
    return group[name]


def _descend(group: Any, path: str, where: str) -> Any:
    steps = path.split("/")
    if not all(steps) or "." in steps or ".." in steps:
        raise _suspicious(f"an array is called {path!r}", where)
    for step in steps:
        group = _child(group, step, where)
    return group


def _suspicious(what: str, where: str) -> WeightsError:
    return WeightsError(
        f"The Keras file isn't used: {what}", where=where, expected="arrays of numbers in the file itself",
        fix="save the model anew from Keras, and don't trust this file",
    )  # fmt: skip


def _member(archive: zipfile.ZipFile, name: str, most: int, where: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > most:
        raise _suspicious(f"{name} takes {info.file_size:,} bytes", where)
    with archive.open(info) as member:
        return member.read(most)


def _parsed(text: str | bytes, where: str) -> Config:
    if len(text) > MOST_CONFIG:
        raise _suspicious(f"its config takes {len(text):,} bytes", where)
    config = json.loads(text)
    if not isinstance(config, dict):
        raise ValueError("its config is no mapping")
    return config


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _snake_case(name: str) -> str:
    """Return a class's name as Keras writes it into .keras files: MaxPooling2D is max_pooling2d."""
    parts = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parts).lower()
