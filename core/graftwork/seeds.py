"""Derive independent random streams from one seed and the purpose they serve."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and every part of `purpose`."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(device: torch.device, seed: int, *purpose: str | int) -> torch.Generator:
    """Return a torch generator on `device`, seeded with `derived_seed`."""
    return torch.Generator(device=device).manual_seed(derived_seed(seed, *purpose))
