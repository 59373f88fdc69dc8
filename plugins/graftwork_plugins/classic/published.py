"""Where the named sets lie in the network, and the checksums of their files, as torchvision's own classes say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from graftwork.errors import PluginError
from graftwork.torchvision_operators import define_missing

# torchvision has these two inside a method.
EUROSAT = (
    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip"
)
EUROSAT_MD5 = "c8fa014336c82ac7804f0398fcb19387"


@dataclass(frozen=True)
class Published:
    """One file of a set: its name, the places it can be had from, its md5."""

    name: str
    urls: tuple[str, ...]
    md5: str

    def is_at(self, path: Path) -> bool:
        """Tell whether `path` is this very file."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        return found.hexdigest() == self.md5


def published(name: str) -> tuple[Published, ...]:
    """Return the files of a named set. Raises PluginError where torchvision doesn't say them as it did in 0.28."""
    define_missing()
    import torchvision

    try:
        return _READERS[name](torchvision.datasets)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PluginError(
            f"torchvision {torchvision.__version__} doesn't say where {name} is: {error}",
            fix="pip install torchvision==0.28.*, or put the set into the mirror",
        ) from None


def _idx(sets: Any, *, kind: str) -> tuple[Published, ...]:
    chosen = getattr(sets, kind)
    return tuple(
        Published(name, tuple(mirror + name for mirror in chosen.mirrors), md5) for name, md5 in chosen.resources
    )


def _archive(sets: Any, *, kind: str) -> tuple[Published, ...]:
    chosen = getattr(sets, kind)
    return (Published(chosen.filename, (chosen.url,), chosen.tgz_md5),)


def _svhn(sets: Any) -> tuple[Published, ...]:
    return tuple(Published(name, (url,), md5) for url, name, md5 in map(sets.SVHN.split_list.get, ("train", "test")))


def _flowers(sets: Any) -> tuple[Published, ...]:
    prefix, files = sets.Flowers102._download_url_prefix, sets.Flowers102._file_dict
    return tuple(Published(name, (prefix + name,), md5) for name, md5 in map(files.get, ("image", "label", "setid")))


def _pets(sets: Any) -> tuple[Published, ...]:
    return tuple(Published(url.rsplit("/", 1)[1], (url,), md5) for url, md5 in sets.OxfordIIITPet._RESOURCES)


def _eurosat(sets: Any) -> tuple[Published, ...]:
    return (Published("EuroSAT.zip", (EUROSAT,), EUROSAT_MD5),)


_READERS: dict[str, Callable[[Any], tuple[Published, ...]]] = {
    "mnist": partial(_idx, kind="MNIST"),
    "fashion_mnist": partial(_idx, kind="FashionMNIST"),
    "kmnist": partial(_idx, kind="KMNIST"),
    "cifar10": partial(_archive, kind="CIFAR10"),
    "cifar100": partial(_archive, kind="CIFAR100"),
    "svhn": _svhn,
    "stl10": partial(_archive, kind="STL10"),
    "flowers102": _flowers,
    "oxford_iiit_pet": _pets,
    "eurosat": _eurosat,
}
