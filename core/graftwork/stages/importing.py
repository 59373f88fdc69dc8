"""Import: bring a model that was trained elsewhere into the form of one that was trained here."""

from __future__ import annotations

from typing import Any

from PIL import Image

from graftwork.files import atomic_file, atomic_folder, write_json
from graftwork.foreign import FETCH_ANEW, ForeignWeights, verified
from graftwork.imported import Imported, bring_in
from graftwork.layout import SPLITS
from graftwork.registry import Kind
from graftwork.settings import Use
from graftwork.stages import Context
from graftwork.stages.obtain import require_obtained
from graftwork.weights import InputContract, check_finite, save_weights

NOTE = "no_images.txt"


def import_weights(context: Context, name: str) -> None:
    """Write data/prepared/<name>: train/weights.safetensors with its contract, card.json, samples.png; no images.

    The folders of the three splits are there, as every source has them, and weights/engine/<name>.json. Raises
    StateError where the origin of the file wasn't obtained, WeightsError for a file that is damaged or doesn't fit the
    model, DataError where it isn't known how its images were normalised.
    """
    settings, layout = context.settings, context.layout
    wishes, path = settings.imports[name], layout.root / settings.imports[name].path
    require_obtained(context, wishes.path)
    sha256 = None if path.is_dir() else verified(path)  # before a reader of anyone's meets a missing file
    foreign: ForeignWeights = context.registry.create("weights", wishes.weights).read(path)
    file = foreign.file or path
    sha256 = sha256 or verified(file)
    check_finite(foreign.tensors, str(file), FETCH_ANEW)
    found = bring_in(settings, context.registry, name, foreign, where=f"{path} (params.yaml, key imports.{name})")
    contract = _contract(context, name, found, _provenance(context, name, found, foreign, file.name, sha256))
    for split in SPLITS:
        with atomic_folder(layout.split(name, split)) as folder:
            if split == "train":
                save_weights(folder / layout.imported(name).name, found.model.state_dict(), contract)
            else:  # DVC warns of empty folders
                (folder / NOTE).write_text("This model was trained elsewhere: there are no images.\n", encoding="utf-8")
    write_json(layout.card(name), _card(context, name, contract))
    write_json(layout.engine(name), {"trained": "elsewhere"})  # likewise: every source says what it is trained on
    with atomic_file(layout.samples(name)) as temporary:  # every source has a picture; there is nothing to show
        Image.new("L", (8, 8), "white").save(temporary, format="png")
    for note in found.notes:
        context.progress.log(note)
    if found.parity:
        context.progress.log(f"answers as the file's net does, to {found.parity['greatest_difference']:.1e}")


def _contract(context: Context, name: str, found: Imported, provenance: dict[str, Any]) -> InputContract:
    image = context.settings.image_of(name)
    return InputContract(
        model=context.settings.model.model_dump(mode="json"),
        classes=found.classes,
        mean=found.mean,
        std=found.std,
        size=image.size,
        channels=image.channels,
        head=tuple(sorted(found.head)),
        provenance=provenance,
    )


def _provenance(
    context: Context, name: str, found: Imported, foreign: ForeignWeights, file: str, sha256: str
) -> dict[str, Any]:  # fmt: skip
    wishes = context.settings.imports[name]
    return {
        "imported": name,
        "file": file,
        "sha256": sha256,
        "reader": wishes.weights.model_dump(mode="json"),
        "rename": [rule.model_dump() for rule in wishes.rename],
        "tensors": found.account.as_json(),
        "parity": found.parity,
        "notes": list(found.notes[1:]),
        "origin": foreign.origin,
        "graftwork": context.settings.versions["graftwork"],
    }


def _card(context: Context, name: str, contract: InputContract) -> dict[str, Any]:
    wishes = context.settings.imports[name]
    uses: list[tuple[Kind, Use]] = [("weights", wishes.weights), ("model", context.settings.model)]
    nothing = [0] * len(contract.classes)
    return {
        "dataset": "trained elsewhere",
        "path": wishes.path,
        "classes": list(contract.classes),
        "counts": nothing,
        "splits": dict.fromkeys(SPLITS, nothing),
        "mean": list(contract.mean),
        "std": list(contract.std),
        "origin": contract.provenance,
        "local_code": context.registry.local_code(uses),
    }
