"""Measure: choose on what a data set is trained on, by real steps of a model that is thrown away."""

from __future__ import annotations

import json
from typing import Any

import torch

from graftwork import __version__
from graftwork.choice import default_choice
from graftwork.contracts import contract_for
from graftwork.engine_record import Record, forget
from graftwork.files import read_json
from graftwork.measuring import Measured, measure_choice
from graftwork.models import build_model, head_tensors
from graftwork.probe import Probe
from graftwork.provenance import machine_name
from graftwork.settings import Engine, Training
from graftwork.stages import Context


def measure(context: Context, data: str) -> None:
    """Write weights/engine/<data>.json, the choice, and report/engine/<data>.json, its figures and reasons.

    What was chosen for the same key is kept, wherever that was: the choice decides the bits of the weights.
    """
    key, tell = choice_key(context, data), context.progress.log
    found = Record.load(context.layout, data)
    if found is not None and found.key == key:
        tell(f"kept: {found.choice}" + (f"; measured on {found.machine}" if found.machine else ""))
    else:
        found = _chosen(context, data, key)
        tell(found.sentence())
    found.save(context.layout, data)


def forget_choice(context: Context, data: str) -> None:
    """Let the next run measure a data set anew."""
    forget(choice_key(context, data), this_machine())
    context.layout.engine(data).unlink(missing_ok=True)
    context.layout.engine_figures(data).unlink(missing_ok=True)


def _chosen(context: Context, data: str, key: dict[str, Any]) -> Record:
    """Return what the settings pin, what this machine remembers, or what is measured now."""
    engine = engine_for(context, data)
    if not engine.open:
        return Record(key, default_choice(engine), ("pinned in params.yaml",), {}, "")
    machine = this_machine()
    found = Record.remembered(key, machine)
    if found is None:
        measured = measured_now(context, data)
        found = Record(key, measured.choice, tuple(measured.reasons), measured.figures, machine)
        found.remember(machine)
    return found


def measured_now(context: Context, data: str) -> Measured:
    """Measure. torch's threads and its generator are left as they were."""
    settings, training = context.settings, training_of(context, data)
    card = read_json(context.layout.card(data))
    model = build_model(settings, context.registry, len(card["classes"]), settings.seed, images=data)
    contract = contract_for(settings, data, card, head_tensors(model))
    steps = training.epochs * max(1, sum(card["splits"]["train"]) // training.batch_size)
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):
            probe = Probe(model, contract, training, context.progress)
            return measure_choice(engine_for(context, data), probe, steps, context.progress.log)
    finally:
        torch.set_num_threads(threads)


def engine_for(context: Context, data: str) -> Engine:
    """Return what the settings say of a data set's engine: of a source there is one training, nothing beside it.

    Nor is there where several processes share each training.
    """
    engine = context.settings.engine
    several = data == "target" and engine.processes == 1
    return engine if several else engine.model_copy(update={"side_by_side": 1})


def training_of(context: Context, data: str) -> Training:
    """Return how a data set is trained on."""
    return context.settings.finetune if data == "target" else context.settings.pretrain


def choice_key(context: Context, data: str) -> dict[str, Any]:
    """Return all that a choice is made for, but for the machine, as JSON gives it back."""
    settings = context.settings
    key = {
        "model": settings.model.model_dump(mode="json"),
        "image": settings.image_of(data).model_dump(),
        "batch_size": training_of(context, data).batch_size,
        "engine": engine_for(context, data).as_key(),
        "local_code": context.registry.local_code([("model", settings.model)]),
        "versions": {"torch": torch.__version__.partition("+")[0], "graftwork": __version__},
    }
    found: dict[str, Any] = json.loads(json.dumps(key))
    return found


def this_machine() -> str:
    """Return the machine in words, its GPU with it."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return machine_name() + gpu
