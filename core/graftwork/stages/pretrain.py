"""Pretrain: train the source model, whose weights are to be transferred, or take what was imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graftwork.checkpoints import Checkpoints, fingerprint
from graftwork.contracts import contract_for
from graftwork.engine import Normalise, predict, share_correct
from graftwork.files import read_json, write_json, write_text
from graftwork.histories import history_csv
from graftwork.images import LabelledImages
from graftwork.job import Job
from graftwork.models import build_model, head_tensors
from graftwork.stages import Context
from graftwork.storage import load_split
from graftwork.strategy import Strategy, TargetModel
from graftwork.timings import write_timing
from graftwork.training import train
from graftwork.weights import InputContract, load_weights, save_weights


def pretrain(context: Context, source: str) -> None:
    """Write weights/<source>: model.safetensors, history.csv, metrics.json (accuracy on the source's test images)."""
    if source in context.settings.imports:
        if context.team.leads:
            _take_imported(context, source)
        return
    settings, layout = context.settings, context.layout
    machine = context.machine(source)
    card = read_json(layout.card(source))
    classes = len(card["classes"])
    model = machine.place(build_model(settings, context.registry, classes, settings.seed, images=source))
    target = TargetModel(model, head_tensors(model), transferred=frozenset())
    contract = contract_for(settings, source, card, target.head)
    normalise = Normalise(contract, machine)
    splits = [load_split(layout.split(source, part)) for part in ("train", "validation")]
    key = _key(context, source, card, contract, splits)
    checkpoints = Checkpoints(layout.checkpoints(f"source-{source}"), key, writes=context.team.leads)
    trained = train(
        Job(
            target=target,
            strategy=Strategy("source", []),
            train=splits[0],
            validation=splits[1],
            augmentation=context.registry.augmentations(settings.data[source]),
            normalise=normalise,
            training=settings.pretrain,
            machine=machine,
            seed=settings.seed,
            progress=context.progress,
            checkpoints=checkpoints,
            team=context.team,
        )
    )
    if not context.team.leads:
        return
    model.load_state_dict(trained.tensors)
    test = load_split(layout.split(source, "test"))
    accuracy = share_correct(predict(model, test, normalise, machine), test.labels)
    save_weights(layout.source_weights(source) / "model.safetensors", trained.tensors, contract)
    history = history_csv({settings.seed: trained.history})
    write_text(layout.source_weights(source) / "history.csv", history)
    metrics: dict[str, Any] = {"accuracy": accuracy, "best_epoch": trained.best_epoch, "test_images": len(test)}
    if trained.mishaps:
        metrics["mishaps"] = list(trained.mishaps)
    write_json(layout.source_weights(source) / "metrics.json", metrics)
    write_timing(layout.timings(f"source-{source}"), [trained.seconds], history)
    checkpoints.remove()
    context.progress.log(f"source model: {accuracy:.1%} of {len(test):,} test images")


def _key(
    context: Context, source: str, card: Mapping[str, Any], contract: InputContract, splits: Sequence[LabelledImages]
) -> str:  # fmt: skip
    """Return what decides a source's weights, as a fingerprint: another training's checkpoints are of no use."""
    settings = context.settings
    return fingerprint(
        "source",
        settings.versions,
        settings.seed,
        settings.pretrain.deciding(),
        context.choice(source).deciding(),
        contract.model_dump(),
        [use.model_dump() for use in settings.data[source].augmentation],
        card["local_code"],
        [split.sha256() for split in splits],
    )


def _take_imported(context: Context, source: str) -> None:
    """Hand on the weights of a model that was trained elsewhere: there is nothing to train, and nothing to test on."""
    folder = context.layout.source_weights(source)
    tensors, contract = load_weights(context.layout.imported(source))
    save_weights(folder / "model.safetensors", tensors, contract)
    write_text(folder / "history.csv", history_csv({}))
    write_json(folder / "metrics.json", {"accuracy": None, "best_epoch": 0, "test_images": 0})
    context.progress.log(f"trained elsewhere: {len(tensors)} tensors, {len(contract.classes):,} classes")
