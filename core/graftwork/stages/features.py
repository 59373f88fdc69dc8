"""Features: run a source's trunk once over the target's images, for scores and for probes."""

from __future__ import annotations

import math
from dataclasses import replace

from graftwork.feature_cache import write_entry
from graftwork.features import standing_still, trunk
from graftwork.files import atomic_folder, write_json
from graftwork.models import build_model
from graftwork.reference import for_target
from graftwork.stages import Context
from graftwork.stages.grafting import load_source_weights
from graftwork.stages.reusing import trunk_views
from graftwork.storage import load_split

MOST_BYTES = 2**30  # of one view; not a share of this machine's disk, so that every machine writes alike


def features(context: Context, source: str) -> None:
    """Write data/features/<source>: the trunk's features of the target's images for training and validation.

    They are those of the images as they are: augmented views are made by the first training on them, for all others.
    What would take more than MOST_BYTES is left to those that need it.
    """
    settings, layout = context.settings, context.layout
    weights = load_source_weights(context, source)
    tensors, contract = for_target(settings, context.registry, weights.tensors, weights.contract)
    model = build_model(settings, context.registry, len(contract.classes), seed=0)
    model.load_state_dict(tensors)
    machine = context.machine("target")
    own, full = (trunk_views(context, contract, one) for one in (machine, replace(machine, autocast=False)))
    train, validation = (load_split(layout.split("target", part)) for part in ("train", "validation"))
    wanted = [(full, train, "training images"), (own, validation, "validation images")]
    wanted += [(own, train, "training images, in the engine's precision")] if machine.autocast else []
    with standing_still(machine.place(model)), atomic_folder(layout.trunk_features(source)) as folder:
        written = {}
        for views, data, what in wanted:
            found = trunk(model, views, data)
            shape = (len(data), *found.sample.shape[1:]) if found else ()
            if found is None or math.prod(shape) * found.sample.element_size() > MOST_BYTES:
                continue
            key = views.key(found, data, None)
            written[key] = what
            write_entry(folder / key, views.computed(found, data, None), shape)
        write_json(folder / "features.json", written)
    context.progress.log(f"Features of {len(train)} training and {len(validation)} validation images")
