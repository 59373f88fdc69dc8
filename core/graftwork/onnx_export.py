"""Write a model as ONNX that takes pixels, or features, as they are, and prove that it answers as torch does.

Normalisation is part of the graph: wrong normalisation is the commonest mistake with a foreign model, and a silent
one. The input is uint8, so that pixels scaled by someone already are refused, not misread.
"""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graftwork.agreement import difference, plain_machine, probe, takes_vectors
from graftwork.engine import Normalise
from graftwork.errors import SettingsError, TrainingError, first_line
from graftwork.files import atomic_file
from graftwork.release import Release

FILE = "model.onnx"
METADATA_KEY = "graftwork"  # the contract, with temperature and provenance
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MOST_DIFFERENCE = 1e-4  # of the greatest value
BATCHES = (1, 5)


class Deployed(nn.Module):
    """What the ONNX file computes: normalisation, the model, and probabilities at the fitted temperature."""

    def __init__(self, model: nn.Module, release: Release) -> None:
        super().__init__()
        self.model, self.temperature = model, release.temperature
        self.normalise = Normalise(release.contract, plain_machine())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities (batch, classes) of images (batch, channels, size, size) as stored."""
        logits = self.model(self.normalise(images))
        return logits, (logits / self.temperature).softmax(dim=1)


def missing_packages() -> list[str]:
    """Return what of the extra `onnx` can't be imported."""
    return [name for name in PACKAGES if not _importable(name)]


def require_packages() -> None:
    """Raise SettingsError with the command that installs what is missing."""
    missing = missing_packages()
    if missing:
        raise SettingsError(
            f"ONNX needs packages that aren't installed: {', '.join(missing)}", fix="pip install 'graftwork[onnx]'"
        )


def write_onnx(folder: Path, release: Release, model: nn.Module) -> float:
    """Write model.onnx, and return how far its answers are off torch's, as a share of the greatest.

    Raises SettingsError without the packages, TrainingError where the exporter fails or the answers differ.
    """
    require_packages()
    deployed = Deployed(model, release).eval()
    stored = _exported(deployed, release)
    found = max(_compared(stored, deployed, probe(release.contract, batch)) for batch in BATCHES)
    if not found <= MOST_DIFFERENCE:
        raise TrainingError(
            f"The ONNX file doesn't answer as torch does: they differ by {found:.1e} of the greatest value",
            expected=f"at most {MOST_DIFFERENCE:g}",
            fix="graftwork export --format timm; other versions of torch and onnxscript may do better",
        )
    with atomic_file(folder / FILE) as temporary:
        temporary.write_bytes(stored)
    return found


def session_of(model: Path | bytes) -> Any:
    """Return onnxruntime's session for a file, or its bytes, on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def _exported(deployed: Deployed, release: Release) -> bytes:
    """Return the file's bytes: batches of any size, the contract in the metadata, no trace of this machine."""
    images = probe(release.contract, 2)  # with a batch of one the exporter would take the size for fixed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own deprecations
            program = torch.onnx.export(
                deployed, (images,), dynamo=True, verbose=False, input_names=["images"],
                output_names=["logits", "probabilities"], dynamic_shapes={"images": {0: "batch"}},
            )  # fmt: skip
            assert program is not None
            written = program.model_proto
    except Exception as error:  # the exporter raises whatever it meets
        raise TrainingError(
            f"torch's exporter can't write this model as ONNX: {first_line(error)}",
            fix="graftwork export --format timm",
        ) from error
    _forget_this_machine(written)
    for key, value in _metadata(release).items():
        written.metadata_props.add(key=key, value=value)
    found: bytes = written.SerializeToString(deterministic=True)
    return found


def _forget_this_machine(written: Any) -> None:
    """Take out what the exporter notes of each node: stack traces, with the paths of this machine in them."""
    graph = written.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in written.functions:
        for part in (function, *function.node, *function.value_info):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")


def _metadata(release: Release) -> dict[str, str]:
    contract, vectors = release.passport(), takes_vectors(release.contract)
    plain = {
        "labels": list(contract.classes),
        "mean": list(contract.mean),
        "std": list(contract.std),
        "size": contract.size,
        "channels": contract.channels,
        "interpolation": contract.interpolation,
        "temperature": release.temperature,
    }
    return {
        METADATA_KEY: contract.model_dump_json(),
        **{key: json.dumps(value) for key, value in plain.items()},
        "normalisation": f"inside: give {'features as float32' if vectors else 'pixels as uint8, 0 to 255'}",
    }


def _compared(stored: bytes, deployed: Deployed, images: Tensor) -> float:
    answers = session_of(stored).run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = deployed(images)
    pairs = zip(answers, expected, strict=True)
    return max(difference(torch.from_numpy(answer), right) for answer, right in pairs)


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
