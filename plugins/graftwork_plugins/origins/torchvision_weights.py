"""torchvision's pretrained classifiers, by the name of its enumerations: `ResNet18_Weights.IMAGENET1K_V1`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.desk import Desk
from graftwork.errors import DataError, SettingsError, did_you_mean
from graftwork.files import sha256_of_file
from graftwork.torchvision_operators import define_missing
from graftwork_plugins.origins.published import WEIGHTS, convert, write_config


@dataclass(frozen=True)
class TorchvisionWeights:
    """Weights of torchvision's classifiers, such as `ResNet18_Weights.IMAGENET1K_V1`, kept as safetensors.

    timm's models of these names take them as they are: its ResNets, ResNeXts and Wide ResNets among them.
    """

    name: str

    def obtain(self, folder: Path, desk: Desk) -> dict[str, Any]:
        """Write model.safetensors and config.json. Raises SettingsError for an unknown name, DataError offline."""
        weights = _known(self.name)
        sha256 = fetched(weights.url, folder, desk)
        images = weights.transforms()
        side = images.crop_size[0]
        card = {
            "mean": list(images.mean), "std": list(images.std), "input_size": [3, side, side],
            "interpolation": images.interpolation.value, "tag": self.name.partition(".")[2],
        }  # fmt: skip
        write_config(folder, self.name.partition("_Weights")[0].lower(), card, unique(weights.meta["categories"]))
        return {"name": self.name, "url": weights.url, "url_sha256": sha256, "sha256": sha256_of_file(folder / WEIGHTS)}


def fetched(url: str, folder: Path, desk: Desk) -> str:
    """Download a .pth file, check its sha256 against the part that its name tells, write model.safetensors.

    Return the file's sha256. Raises DataError for what can't be had, or is another file.
    """
    from graftwork.downloads import Remote, download

    file = folder / url.rpartition("/")[2]
    try:
        sha256 = download(Remote(url), file, desk)
        _check_prefix(file.name, sha256, url)
        convert(file, folder)
    finally:
        file.unlink(missing_ok=True)
    return sha256


def unique(names: list[str]) -> list[str]:
    """Return the names, the later ones of equal names numbered: `crane`, `crane 2`."""
    return [name if (n := names[: i + 1].count(name)) == 1 else f"{name} {n}" for i, name in enumerate(names)]


def _known(name: str) -> Any:
    define_missing()
    from torchvision import models

    enums = [models.get_model_weights(model) for model in models.list_models(module=models)]
    known = {f"{enum.__name__}.{weights.name}": weights for enum in enums for weights in enum}
    if name not in known:
        raise SettingsError(
            f"torchvision publishes no weights {name!r}", where="params.yaml, key origins",
            expected=f"one of its {len(known)} names, such as ResNet18_Weights.IMAGENET1K_V1",
            fix=did_you_mean(name, known) or "torchvision.models.get_model_weights('resnet18') lists a model's",
        )  # fmt: skip
    return known[name]


def _check_prefix(file: str, sha256: str, url: str) -> None:
    told = re.search(r"-([a-f0-9]{8,})\.", file)
    if told and not sha256.startswith(told.group(1)):
        raise DataError(
            f"The file's sha256 begins with {sha256[:8]}, and its name says {told.group(1)}", where=url,
            expected="the file that was published", fix="run again; if it stays so, the server hands out another file",
        )  # fmt: skip
