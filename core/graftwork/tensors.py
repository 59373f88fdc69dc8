"""Named tensors on their way to a file."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return them as safetensors takes them: on the CPU, contiguous, no two in one memory; copied only where needed."""
    result: dict[str, Tensor] = {}
    taken = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != plain.nbytes:
            plain = plain.clone()
        taken.add(plain.untyped_storage().data_ptr())
        result[name] = plain
    return result
