"""Weights in safetensors: Graftwork's own, and anyone's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from graftwork.errors import WeightsError
from graftwork.foreign import FETCH_ANEW, ForeignWeights, plain, verified
from graftwork.weights import load_weights
from graftwork.weights_header import METADATA_KEY
from graftwork_plugins.weights.sidecar import located

SUFFIXES = (".safetensors",)
MOST_METADATA = 500  # characters of a value


@dataclass(frozen=True)
class Safetensors:
    """A .safetensors file, or a folder with one and perhaps a config.json that tells mean, std and classes.

    Beside a single file config.json isn't read; Graftwork's own contract, in the file, tells more. `sha256`, or its
    beginning, is compared: a flipped bit shows in no other way.
    """

    sha256: str | None = None

    def read(self, path: Path) -> ForeignWeights:
        """Read the file; raises WeightsError for one that is damaged or isn't safetensors."""
        path, known = located(path, SUFFIXES)
        verified(path, self.sha256)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                own = METADATA_KEY in metadata
                tensors = {} if own else {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise WeightsError(
                f"The file of weights is damaged, or isn't safetensors: {error}", where=str(path),
                expected="a .safetensors file", fix="fetch it anew; for .pth or .bin use weights: torch",
            ) from None  # fmt: skip
        if own:
            return replace(_own(path), file=known.get("file"))
        told = {key: value[:MOST_METADATA] for key, value in sorted(metadata.items())}
        return ForeignWeights(plain(tensors, path), **known | {"origin": {**known.get("origin", {}), **told}})


def _own(path: Path) -> ForeignWeights:
    tensors, contract = load_weights(path, FETCH_ANEW)
    return ForeignWeights(
        tensors, contract.classes, contract.mean, contract.std, contract.size, {"contract": contract.provenance}
    )
