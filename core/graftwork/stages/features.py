"""Features: run a source's trunk once over the target's images, for scores and for whatever trains on it as it is."""

from __future__ import annotations

import math
from dataclasses import replace

from graftwork.engine import prepare
from graftwork.feature_cache import write_entry
from graftwork.features import standing_still, trunk
from graftwork.files import atomic_folder, write_json
from graftwork.images import LabelledImages
from graftwork.models import build_model
from graftwork.reference import for_target
from graftwork.rehearsal import rests_on_trunk
from graftwork.stages import Context
from graftwork.stages.grafting import load_source_weights
from graftwork.stages.reusing import trunk_views
from graftwork.storage import load_split
from graftwork.views import Views

MOST_BYTES = 2**30  # of one view; not a share of this machine's disk, so that every machine writes alike


def features(context: Context, source: str) -> None:
    """Write data/features/<source>: the trunk's features of the target's training and validation images.

    Of the training images the augmented views, too, where a strategy trains on the first source's trunk as it is. What
    would take more than MOST_BYTES is left to those that need it.
    """
    settings, layout = context.settings, context.layout
    weights = load_source_weights(context, source)
    tensors, contract = for_target(settings, context.registry, weights.tensors, weights.contract)
    model = build_model(settings, context.registry, len(contract.classes), settings.seed)
    model.load_state_dict(tensors)
    machine = prepare(settings.engine)
    full = trunk_views(context, contract, replace(machine, autocast=False))
    train, validation = (load_split(layout.split("target", part)) for part in ("train", "validation"))
    wanted: list[tuple[Views, LabelledImages, int | None, str]] = [(full, train, None, "training images")]
    if source == settings.source and _some_rest_on_it(context):
        own = trunk_views(context, contract, machine)
        count = settings.finetune.cached_views if own.augmentation else 0
        wanted += [(own, train, None, "training images as they are trained on")] if machine.autocast else []
        wanted += [(own, train, view, f"view {view + 1} of the training images") for view in range(count)]
        wanted += [(own, validation, None, "validation images")]
    with standing_still(machine.place(model)), atomic_folder(layout.trunk_features(source)) as folder:
        written = {}
        for views, data, view, what in wanted:
            found = trunk(model, views, train)
            shape = (len(data), *found.sample.shape[1:]) if found else ()
            if found is None or math.prod(shape) * found.sample.element_size() > MOST_BYTES:
                continue
            written[views.key(found, data, view)] = what
            write_entry(folder / views.key(found, data, view), views.computed(found, data, view), shape)
        write_json(folder / "features.json", written)
    context.progress.log(f"Features of {len(train)} training images: {len(written)} of {len(wanted)} views kept")


def _some_rest_on_it(context: Context) -> bool:
    settings = context.settings
    return bool(settings.finetune.cached_views) and any(
        rests_on_trunk(settings, context.registry, name, stack) for name, stack in settings.strategies.items()
    )
