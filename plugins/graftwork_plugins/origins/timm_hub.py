"""timm's pretrained weights, by the model's name: from a mirror, from the Hugging Face hub, or from timm's own URL."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.desk import Desk
from graftwork.errors import DataError, SettingsError, did_you_mean, first_line
from graftwork.files import sha256_of_file
from graftwork.mirror import require_online
from graftwork.torchvision_operators import define_missing
from graftwork_plugins.origins.published import CONFIG, MIRROR_FOLDER, WEIGHTS, from_mirror, write_config

HUB = "hf-hub:"
HUB_URL = "https://huggingface.co"


@dataclass(frozen=True)
class Timm:
    """Weights that timm publishes: `resnet18.a1_in1k`, or `hf-hub:owner/repository`; the tag may be left out.

    Looked for in the mirror as weights/<architecture>.<tag>.safetensors, or without a tag, whose word is taken for it;
    then on the hub (HF_ENDPOINT, HF_TOKEN), then at timm's own URL.
    """

    name: str

    def obtain(self, folder: Path, desk: Desk) -> dict[str, Any]:
        """Write model.safetensors and config.json. Raises SettingsError for an unknown name, DataError offline."""
        repository, _, revision = self.name.removeprefix(HUB).partition("@")
        architecture, _, tag = repository.rpartition("/")[2].partition(".")
        card = _card(self.name, architecture, tag)
        found, refused = from_mirror(desk, architecture, tag or card.get("tag") or "", _tags(architecture))
        if found:
            shutil.copyfile(found, folder / WEIGHTS)
            write_config(folder, architecture, card)
            desk.progress.log(f"{found.name} from the mirror, taken to be {self.name}")
            return _told(folder, self.name, card)
        wanted = [f"{MIRROR_FOLDER}/{architecture}.safetensors"]
        require_online(desk, wanted, os.environ.get("HF_ENDPOINT") or HUB_URL, refused, also=["HF_HUB_OFFLINE"])
        if not self.name.startswith(HUB):
            repository = card.get("hf_hub_id") or ""
            if not repository and card.get("url"):
                return _from_url(folder, desk, self.name, architecture, card)
            write_config(folder, architecture, card)
        if not repository:
            raise DataError(
                f"timm publishes no weights of {self.name}", where="params.yaml, key origins", fix="train it"
            )
        for file in [WEIGHTS, CONFIG] if self.name.startswith(HUB) else [WEIGHTS]:
            _from_hub(repository, revision or None, file, folder, desk)
        return _told(folder, self.name, card)


def _card(name: str, architecture: str, tag: str) -> dict[str, Any]:
    """Return what timm knows of the weights; nothing for a stranger's on the hub. Raises SettingsError."""
    define_missing()
    import timm

    whole = f"{architecture}.{tag}" if tag else architecture
    if not timm.is_model(architecture) or (tag and whole not in timm.list_pretrained(f"{architecture}.*")):
        if name.startswith(HUB):
            return {}
        known = timm.list_pretrained(f"{architecture}.*") or timm.list_pretrained()
        raise SettingsError(
            f"timm publishes no weights {name!r}", where="params.yaml, key origins", expected="a name such as "
            f"{', '.join(known[:3])}", fix=did_you_mean(name, known) or "timm.list_pretrained() lists them",
        )  # fmt: skip
    card: dict[str, Any] = timm.get_pretrained_cfg(whole).to_dict(remove_source=False, remove_null=True)
    return card


def _tags(architecture: str) -> set[str]:
    """Return the tags under which timm publishes weights of an architecture."""
    import timm

    return {name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")}


def _from_hub(repository: str, revision: str | None, file: str, folder: Path, desk: Desk) -> None:
    """Download one file of a repository; what came of it so far survives a kill."""
    from huggingface_hub import hf_hub_download

    endpoint = os.environ.get("HF_ENDPOINT")
    desk.progress.log(f"{repository}: {file} at {revision or 'main'} from {endpoint or 'the Hugging Face hub'}")
    try:
        partial = desk.partial / "hub" / repository.replace("/", "--")
        came = hf_hub_download(repository, file, revision=revision, local_dir=partial, endpoint=endpoint)
    except Exception as error:  # the hub's client raises its own, its transport's, and the system's
        raise DataError(
            f"{file} of {repository} didn't come: {first_line(error)}",
            where=endpoint or HUB_URL, expected=f"a repository with {WEIGHTS} and {CONFIG}",
            fix="correct the name, look at the network, or put the weights into the mirror",
        ) from error  # fmt: skip
    shutil.move(came, folder / file)
    if not any(path.suffix == ".incomplete" for path in partial.rglob("*")):
        shutil.rmtree(partial, ignore_errors=True)


def _from_url(folder: Path, desk: Desk, name: str, architecture: str, card: dict[str, Any]) -> dict[str, Any]:
    """Download timm's own file, check its name's part of the sha256, and keep it as safetensors."""
    from graftwork_plugins.origins.torchvision_weights import fetched

    url = str(card["url"])
    sha256 = fetched(url, folder, desk)
    desk.progress.log(f"{name} from {url}, sha256 {sha256}")
    write_config(folder, architecture, card)
    return _told(folder, name, card)


def _told(folder: Path, name: str, card: dict[str, Any]) -> dict[str, Any]:
    """Return what the weights are. Equal ones are told of equally, wherever they came from: that is logged."""
    licence = {"licence": card["license"]} if card.get("license") else {}
    return {"name": name, "sha256": sha256_of_file(folder / WEIGHTS), **licence}
