"""Let `import torchvision` work beside a torch that can't load torchvision's compiled operators.

The registry's torchvision is built against CUDA's torch. Beside a CPU-only torch its library doesn't load, and the
import ends in `operator torchvision::nms does not exist`. Classifiers need none of these operators: naming them is
enough.
"""

from __future__ import annotations

import sys
import threading

_definitions: list[object] = []  # torch forgets a Library's definitions when it is collected
_lock = threading.Lock()


def define_missing() -> None:
    """Name torchvision's two missing operators, only where importing it fails without them."""
    with _lock:
        try:
            import torchvision  # noqa: F401
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            _define()


def _define() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _definitions.append(library)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # the failed import left parts behind
