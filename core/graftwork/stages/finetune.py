"""Finetune: train every seed of one strategy on the target's labels, choosing on validation alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from graftwork.files import atomic_folder, read_json, write_json, write_text
from graftwork.histories import history_csv
from graftwork.job import Trained
from graftwork.ledger import Ledger
from graftwork.progress import Progress, Quiet
from graftwork.side_by_side import side_by_side
from graftwork.stages import Context
from graftwork.stages.fitting import Fitting
from graftwork.stages.source_kit import load_source
from graftwork.stages.trials import trial_of
from graftwork.storage import load_split
from graftwork.timings import write_timing
from graftwork.training import train
from graftwork.weights import load_weights, save_weights


def finetune(context: Context, name: str) -> None:
    """Write weights/target/<strategy>: seed-<n>.safetensors, history.csv, selection.json. No test image is read."""
    fitting: Fitting = context.compute(lambda: _ready(context, name))
    tasks = {f"seed {seed}": partial(_train, fitting, seed) for seed in context.settings.seeds}
    results = side_by_side(tasks, context.choice("target").side_by_side, context.progress, context.compute)
    if context.team.leads:
        context.compute(lambda: _deliver(fitting, dict(zip(context.settings.seeds, results, strict=True))))


def _ready(context: Context, name: str) -> Fitting:
    """Return what the seeds share; what is wrong with it shows, and imports are done, before a process is forked."""
    fitting = load_fitting(context, name)
    fitting.job(context.settings.seeds[0], Quiet())
    return fitting


def _train(fitting: Fitting, seed: int, progress: Progress) -> Trained:
    trained = train(fitting.job(seed, progress))
    progress.log(f"{trained.validation_accuracy:.1%} on validation in {trained.seconds:.1f} s")
    return trained


def _deliver(fitting: Fitting, trained: Mapping[int, Trained]) -> None:
    """Write the outputs, whole or not at all, and note what was learned; then the checkpoints may go."""
    context, name = fitting.context, fitting.name
    ledger = Ledger(context.layout.ledger)
    for seed, result in trained.items():
        ledger.add(trial_of(fitting, seed, result, context.settings.source))
    history = history_csv({seed: result.history for seed, result in trained.items()})
    with atomic_folder(context.layout.tuned(name)) as folder:
        for seed, result in trained.items():
            provenance = {**fitting.contract.provenance, "seed": seed, "best_epoch": result.best_epoch}
            contract = fitting.contract.model_copy(update={"provenance": provenance})
            save_weights(folder / f"seed-{seed}.safetensors", result.tensors, contract)
        write_text(folder / "history.csv", history)
        write_json(folder / "selection.json", {str(seed): _selection(trained[seed]) for seed in trained})
    write_timing(context.layout.timings(name), [result.seconds for result in trained.values()], history)
    for seed in trained:
        fitting.checkpoints(seed).remove()


def load_fitting(context: Context, name: str) -> Fitting:
    """Read what the transfer and augment stages left for one strategy."""
    start = context.layout.start(name)
    tensors, contract = load_weights(start / "start.safetensors")
    return Fitting(
        context=context,
        name=name,
        manifest=read_json(start / "manifest.json"),
        start=tensors,
        contract=contract,
        kit=load_source(context, start, context.machine("target")),
        train=load_split(context.layout.split("target", "train")),
        validation=load_split(context.layout.split("target", "validation")),
        training=context.settings.finetune,
    )


def _selection(trained: Trained) -> dict[str, Any]:
    """Return what validation chose for one seed, and what went wrong on the way, if anything did."""
    chosen = {"epoch": trained.best_epoch, "temperature": trained.temperature, **trained.notes}
    mishaps = {"mishaps": list(trained.mishaps)} if trained.mishaps else {}
    return {"validation_accuracy": trained.validation_accuracy, **chosen, **mishaps}
