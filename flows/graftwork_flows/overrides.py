"""Turn the flow's parameters into `key=value` overrides of params.yaml."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from graftwork.errors import SettingsError, did_you_mean
from graftwork.params_file import apply_overrides
from graftwork.workspace import PARAMS
from graftwork.yaml_source import read_yaml


def as_overrides(
    root: Path,
    strategies: Sequence[str],
    labels: int,
    seeds: int,
    finetune_epochs: int,
    others: Sequence[str],
) -> list[str]:
    """Return the overrides; empty when all is to be as in params.yaml. Raises SettingsError."""
    result = list(others)
    if labels:
        result.append(f"data.target.labels={labels}")
    if seeds:
        result.append(f"seeds={json.dumps(list(range(seeds)))}")
    if finetune_epochs:
        result.append(f"finetune.epochs={finetune_epochs}")
    if strategies:
        result.append(f"strategies={json.dumps(_chosen(root, strategies, others))}")
    return result


def _chosen(root: Path, names: Sequence[str], others: Sequence[str]) -> dict[str, object]:
    """Return the strategies of these names, and the control, as the other overrides leave them."""
    known = apply_overrides(read_yaml(root / PARAMS).values, others).get("strategies")
    known = known if isinstance(known, dict) else {}
    for name in names:
        if name not in known:
            raise SettingsError(
                f"Unknown strategy {name!r}", where=f"{root / PARAMS}, key strategies",
                expected=f"one of: {', '.join(known)}",
                fix=did_you_mean(name, known) or "correct the name, or add it to params.yaml",
            )  # fmt: skip
    return {name: stack for name, stack in known.items() if name == "scratch" or name in names}
