"""Bring a fine-tuned model out of the workspace: one folder, whole and verified, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from graftwork.errors import SettingsError, StateError, listed
from graftwork.files import atomic_folder, read_json, sha256_of_file, write_json, write_text
from graftwork.lineage import Lineage
from graftwork.model_card import Story, render_card
from graftwork.names import printable
from graftwork.onnx_export import PACKAGES, missing_packages, require_packages, write_onnx
from graftwork.registry import Registry
from graftwork.release import Release, rebuild
from graftwork.timm_export import WEIGHTS, is_timms, verify_in_timm, write_weights

Format = Literal["timm", "onnx", "all"]
RECORD, CARD = "graftwork.json", "README.md"


@dataclass(frozen=True)
class Exported:
    """What was written, as graftwork.json keeps it."""

    strategy: str
    seed: int
    temperature: float
    files: dict[str, str]  # name → sha256, of what the model is; people may write on in the card
    card: str  # its sha256, as it was written
    differences: dict[str, float]  # form → how far its answers are off the workspace's, as a share of the greatest
    left_out: dict[str, str]  # form → why


def export(
    release: Release, story: Story, registry: Registry, wanted: Format, folder: Path, *, force: bool = False
) -> Exported:  # fmt: skip
    """Write the folder with a card, and return what it holds.

    `all` leaves out what can't be had here, and says so. Raises StateError where the folder is there already, unless
    forced and as the earlier export left it; SettingsError for a form that can't be had; WeightsError or TrainingError
    where a form answers differently.
    """
    _check_free(folder, force)
    model = rebuild(registry, release.tensors, release.contract, where=f"{release.strategy}, seed {release.seed}")
    left_out = _left_out(model, wanted)
    with atomic_folder(folder) as temporary:
        differences = _write_forms(temporary, release, model, wanted, left_out)
        files = {file.name: sha256_of_file(file) for file in sorted(temporary.iterdir())}
        text = render_card(release, story, differences, weights=WEIGHTS in files, name=folder.name)
        write_text(temporary / CARD, text)
        card = sha256_of_file(temporary / CARD)
        found = Exported(release.strategy, release.seed, release.temperature, files, card, differences, left_out)
        write_json(temporary / RECORD, as_record(found, release, story.lineage))
    return found


def as_record(found: Exported, release: Release, lineage: Lineage | None) -> dict[str, Any]:
    """Return graftwork.json: what the folder holds, the contract of its input, and how it came to be."""
    contract = release.passport().model_dump(mode="json")
    return {**asdict(found), "contract": contract, "lineage": asdict(lineage) if lineage else None}


def _write_forms(
    folder: Path, release: Release, model: nn.Module, wanted: Format, left_out: Mapping[str, str]
) -> dict[str, float]:  # fmt: skip
    """Write weights and ONNX as far as wanted, and return how far each is off."""
    differences = {}
    if wanted != "onnx":
        write_weights(folder, release, model)
        if "timm" not in left_out:
            differences["timm"] = verify_in_timm(folder, release, model)
    if wanted != "timm" and "onnx" not in left_out:
        differences["onnx"] = write_onnx(folder, release, model)
    return differences


def _left_out(model: nn.Module, wanted: Format) -> dict[str, str]:
    """Return the forms that `all` goes without, and why. Raises SettingsError where one was asked for by name."""
    found = {}
    if wanted != "onnx" and not is_timms(model):
        kind = type(model).__name__
        if wanted == "timm":
            raise SettingsError(
                f"timm can't load this model: {kind} isn't one of its own", where="--format timm",
                expected="a model from timm", fix="graftwork export --format all, or onnx",
            )  # fmt: skip
        found["timm"] = f"{kind} isn't one of timm's models; graftwork predict reads the weights"
    if wanted == "onnx":
        require_packages()
    elif wanted == "all" and missing_packages():
        found["onnx"] = f"{', '.join(PACKAGES)} are needed: pip install 'graftwork[onnx]'"
    return found


def _check_free(folder: Path, force: bool) -> None:
    """Raise StateError unless the folder is missing or empty, or holds an earlier export alone that may be replaced."""
    if not folder.is_symlink() and (not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))):
        return
    if not (folder / RECORD).is_file() or folder.is_symlink():
        raise StateError(
            "There is something else already, which isn't replaced", where=str(folder), fix="name another with --to"
        )
    if not force:
        raise StateError("There is an export already", where=str(folder), fix="replace it with --force, or name --to")
    if others := _others(folder):
        raise StateError(
            f"Beside the earlier export there is what it didn't write: {listed(map(printable, others), 5)}",
            where=str(folder), expected="its own files alone, as it wrote them: these are replaced",
            fix="move that elsewhere, or name another folder with --to",
        )  # fmt: skip


def _others(folder: Path) -> list[str]:
    """Return what in an export's folder isn't as its record tells: added, or changed since."""
    try:
        record = read_json(folder / RECORD)
        known = {**record["files"], CARD: record.get("card")}
    except (StateError, KeyError, TypeError, AttributeError):
        known = {}
    found = sorted(path for path in folder.iterdir() if path.name != RECORD)
    return [path.name for path in found if path.is_symlink() or _sha256(path) != known.get(path.name)]


def _sha256(path: Path) -> str:
    return sha256_of_file(path) if path.is_file() else "a folder"
