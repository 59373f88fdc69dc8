"""Handwritten digits that scikit-learn brings: no network is needed (Alpaydin and Kaynak 1998; UCI, CC BY 4.0)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from graftwork.desk import Desk
from graftwork.survey import Outline
from graftwork_plugins.classic.canonical import write_npz

DARKEST = 16  # scikit-learn's values count the dark pixels in blocks of 4 × 4


@dataclass(frozen=True)
class Digits:
    """scikit-learn's 1,797 grey digits of 8×8 pixels, as digits.npz: images, labels, classes."""

    PUBLISHED: ClassVar[dict[str, Outline]] = {"digits": Outline("npz", 10, {"": 1797}, 174, 1, 8)}

    def obtain(self, folder: Path, desk: Desk) -> dict[str, Any]:
        """Write digits.npz: values 0…16 become 0…255, rounded."""
        import sklearn
        from sklearn.datasets import load_digits

        found = load_digits()
        images = np.round(found.images * (255 / DARKEST)).astype(np.uint8)
        labels = found.target.astype(np.uint8)
        classes = np.array([str(name) for name in found.target_names])
        write_npz(folder / "digits.npz", {"images": images, "labels": labels, "classes": classes})
        desk.progress.log(f"From scikit-learn {sklearn.__version__}")
        return {
            "name": "digits",
            "title": "Optical Recognition of Handwritten Digits (its test images)",
            "homepage": "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            "licence": "CC BY 4.0",
        }
