"""Transfer: take from the source what a strategy wants, and account for every tensor."""

from __future__ import annotations

from graftwork.errors import listed
from graftwork.files import atomic_folder, read_json, write_json
from graftwork.stages import Context
from graftwork.stages.grafting import Graft, graft, load_source_weights
from graftwork.stages.recommend import stack_of
from graftwork.weights import save_weights


def transfer(context: Context, name: str) -> None:
    """Write weights/start/<strategy>: start.safetensors with the transferred tensors, and manifest.json.

    Beside them what else of the source the strategy needs: its whole model, some of its training images. Raises
    WeightsError when too little of the trunk came over, or a tensor holds NaN.
    """
    layout = context.layout
    source = load_source_weights(context, context.settings.source)
    found = graft(context, name, stack_of(context, name), source, read_json(layout.card("target")))
    with atomic_folder(layout.start(name)) as folder:
        save_weights(folder / "start.safetensors", found.start, found.contract)
        write_json(folder / "manifest.json", found.manifest.as_json())
        if found.kit:
            found.kit.save(folder)
    _tell(context, found)


def _tell(context: Context, found: Graft) -> None:
    """Say what came over, and which tensors of the trunk were wanted but have a shape that nothing adapts."""
    manifest = found.manifest
    counts = ", ".join(f"{count} {kind}" for kind, count in manifest.counts().items())
    context.progress.log(f"{counts}; {manifest.coverage:.0%} of the trunk from the source")
    new = [fate for fate in manifest.tensors if fate.kind == "new" and fate.name not in found.contract.head]
    unfit = [f"{fate.name} ({fate.why})" for fate in new if fate.source_shape is not None]
    if unfit:
        context.progress.log(f"Drawn anew, as their shapes differ: {listed(unfit, 4)}")
