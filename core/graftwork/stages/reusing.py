"""Where the activations of frozen parts are kept, and what of the settings decides them."""

from __future__ import annotations

from graftwork.checkpoints import fingerprint
from graftwork.engine import Machine, Normalise
from graftwork.feature_cache import FeatureCache
from graftwork.stages import Context
from graftwork.views import Reuse, Views
from graftwork.weights import InputContract


def trunk_views(context: Context, contract: InputContract, machine: Machine) -> Views:
    """Return the target's images as models of a contract see them, augmented as in a training."""
    augmentation = context.registry.augmentations(context.settings.data["target"])
    reuse, normalise = reuse_of(context, contract), Normalise(contract, machine)
    return Views(reuse, augmentation, normalise, machine, context.progress)


def reuse_of(context: Context, contract: InputContract) -> Reuse:
    """Return where activations of the target's images are kept, as a model of this contract sees them."""
    settings, code = context.settings, context.registry.local_code
    augmentation = settings.data["target"].augmentation
    return Reuse(
        FeatureCache(context.layout.features, [context.layout.trunk_features(name) for name in settings.sources]),
        fingerprint(
            settings.versions,
            settings.model.model_dump(),
            settings.image_of("target").model_dump(),
            context.choice("target").deciding(),
            (contract.mean, contract.std),
            code([("model", settings.model)]),
        ),
        fingerprint([use.model_dump() for use in augmentation], code(("augmentation", use) for use in augmentation)),
        settings.seed,
    )
