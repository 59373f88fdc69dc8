"""The embedded data: 13,750 images of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747; MIT).

28×28 grey images in the original order, with the original split. Of classes 0, 2, 5, 8, 9 the first 1,800 training
and 200 test images each; of classes 1, 3, 4, 6, 7 the first 150 and 600. The licence stands beside the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graftwork.errors import DataError
from graftwork.files import sha256_of_file
from graftwork.images import RawImages
from graftwork.settings import ImageFormat
from graftwork_plugins.npz import Npz

EMBEDDED = Path(__file__).parent / "data" / "fashion_mnist.npz"
SHA256 = "5beaaaba91f1221aa760398eed05fb618c47bce95be17673a332ca89ec75973c"


@dataclass(frozen=True)
class FashionMNIST:
    """The embedded subset of Fashion-MNIST, or some of its classes by their number (0 to 9)."""

    keep: tuple[int, ...] | None = None

    def load(self, path: Path, image: ImageFormat) -> RawImages:
        """Read the subset from `path`, a copy of the embedded file; its sha256 must be the known one."""
        if path.is_file() and sha256_of_file(path) != SHA256:
            raise DataError(
                "This isn't the embedded subset of Fashion-MNIST", where=str(path),
                expected=f"sha256 {SHA256[:12]}…",
                fix=f"copy {EMBEDDED.name} from the installed package, or use dataset: npz",
            )  # fmt: skip
        raw = Npz(self.keep).load(path, image)
        origin = {"name": "Fashion-MNIST (subset)", "licence": "MIT", "sha256": SHA256}
        return RawImages(raw.images, raw.labels, raw.classes, raw.split, origin)
