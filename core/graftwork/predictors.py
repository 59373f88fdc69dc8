"""Models that answer with calibrated probabilities: torch's, ONNX Runtime's, and several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from graftwork.agreement import plain_machine
from graftwork.calibration import scaled
from graftwork.engine import Machine, Normalise, predict
from graftwork.errors import StateError, WeightsError
from graftwork.export import RECORD
from graftwork.files import read_json, sha256_of_file
from graftwork.labelled_arrays import LabelledArrays
from graftwork.onnx_export import FILE as ONNX_FILE
from graftwork.onnx_export import METADATA_KEY, require_packages, session_of
from graftwork.registry import Registry
from graftwork.release import Release, rebuild
from graftwork.timm_export import WEIGHTS
from graftwork.weights import InputContract, load_weights


class Predictor(Protocol):
    """Whatever answers to images of its contract."""

    @property
    def contract(self) -> InputContract:
        """What it expects, and its classes."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return probabilities (images, classes), float64, of images (images, channels, size, size), uint8."""


@dataclass(frozen=True)
class TorchPredictor:
    """A model with the temperature that validation chose."""

    model: nn.Module
    contract: InputContract
    temperature: float
    machine: Machine

    def __call__(self, images: Tensor) -> Tensor:
        """Answer as the evaluation on the test images does."""
        unlabelled = LabelledArrays(images, torch.zeros(len(images), dtype=torch.int64))
        answers = predict(self.model, unlabelled, Normalise(self.contract, self.machine), self.machine)
        return scaled(answers, self.temperature)


@dataclass(frozen=True)
class OnnxPredictor:
    """A file that normalises and calibrates by itself."""

    session: Any  # onnxruntime's
    contract: InputContract

    def __call__(self, images: Tensor) -> Tensor:
        """Return the second of its answers."""
        found = self.session.run(["probabilities"], {"images": images.numpy()})[0]
        return torch.from_numpy(found).double()


@dataclass(frozen=True)
class Ensemble:
    """Several seeds of one strategy: the mean of their probabilities."""

    members: Sequence[Predictor]

    @property
    def contract(self) -> InputContract:
        """The members' own: they differ in weights alone."""
        return self.members[0].contract

    def __call__(self, images: Tensor) -> Tensor:
        """Ask each of them."""
        return torch.stack([member(images) for member in self.members]).mean(dim=0)


def from_release(release: Release, registry: Registry, machine: Machine) -> TorchPredictor:
    """Return the predictor of a model in its workspace, on the machine of its evaluation."""
    where = f"{release.strategy}, seed {release.seed}"
    model = rebuild(registry, release.tensors, release.contract, where)
    return TorchPredictor(machine.place(model), release.contract, release.temperature, machine)


def open_model(path: Path, registry: Registry) -> Predictor:
    """Return the predictor of an exported folder, or of one of its files; the weights come before ONNX.

    Raises StateError where there is no such thing, WeightsError for a damaged file, or one that wasn't exported.
    """
    file = next((path / name for name in (WEIGHTS, ONNX_FILE) if (path / name).is_file()), path)
    if not file.is_file():
        raise StateError(
            "There is no model", where=str(path), expected=f"a folder with {WEIGHTS} or {ONNX_FILE}, or such a file",
            fix="graftwork export",
        )  # fmt: skip
    return _open_onnx(file) if file.suffix == ".onnx" else _open_weights(file, registry)


def _open_weights(file: Path, registry: Registry) -> TorchPredictor:
    tensors, contract = load_weights(file, "graftwork export, or copy the export anew from where it was made")
    temperature = contract.provenance.get("temperature")
    if not isinstance(temperature, float):
        raise WeightsError(
            "The weights don't say at which temperature they are calibrated", where=str(file),
            expected="a file that graftwork export wrote", fix="graftwork export, then name its folder",
        )  # fmt: skip
    return TorchPredictor(rebuild(registry, tensors, contract, str(file)), contract, temperature, plain_machine())


def _open_onnx(file: Path) -> OnnxPredictor:
    require_packages()
    _check_sum(file)
    try:
        session = session_of(file)
        contract = InputContract.model_validate_json(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    except (KeyError, ValidationError):
        raise WeightsError(
            "The ONNX file carries no input contract", where=str(file), fix="graftwork export --format onnx"
        ) from None
    except Exception as error:  # onnxruntime's own exceptions have no common class
        raise WeightsError(
            f"ONNX Runtime can't read the file: {error}", where=str(file), fix="graftwork export --format onnx"
        ) from None
    return OnnxPredictor(session, contract)


def _check_sum(file: Path) -> None:
    """Raise WeightsError where the record beside the file knows another sha256: ONNX has none of its own."""
    if not (file.parent / RECORD).is_file():
        return
    expected = read_json(file.parent / RECORD).get("files", {}).get(file.name)
    if expected and sha256_of_file(file) != expected:
        raise WeightsError(
            f"The file is damaged: it doesn't have the sha256 {expected[:12]}…", where=str(file), fix="graftwork export"
        )
