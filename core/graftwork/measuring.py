"""Choose on what a model is trained by measuring a few of its training steps in every way that is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

from graftwork.choice import Choice, default_choice
from graftwork.cores import usable_cores
from graftwork.probe import Probe, compiled_gain
from graftwork.race import AHEAD, Race, Unfit, choose, race
from graftwork.settings import Engine
from graftwork.side_by_side import can_fork
from graftwork.side_probe import side_by_side_gain

BUDGET_SECONDS = 6.0  # for all the rounds after the first
COMPILE_SHARE = 0.25  # of the seconds of training: no more may be expected of compiling
COMPILE_SECONDS = 60.0  # that this must save at the least, or compiling isn't even tried
COMPILE_MARGIN = 1.5  # times its seconds must be saved


@dataclass
class Measured:
    """A choice, the figures that it rests on, and the reasons in words."""

    choice: Choice
    reasons: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def candidates(engine: Engine) -> list[Choice]:
    """Return the ways of training that are open, the usual one first; not yet compiled, nor several at once."""
    usual = default_choice(engine).model_copy(update={"compile": False, "side_by_side": 1})
    threads = {usual.threads}
    if engine.threads == "auto" and usual.device == "cpu" and engine.side_by_side in ("auto", 1):
        threads.add(1)
    ways = product(
        sorted(threads, reverse=True),
        ("float32", "bfloat16") if engine.precision == "auto" else (engine.precision,),
        ("channels_last", "contiguous") if engine.memory_format == "auto" else (engine.memory_format,),
    )
    names = ("threads", "precision", "memory_format")
    return [usual.model_copy(update=dict(zip(names, way, strict=True))) for way in ways]


def workers(engine: Engine) -> int:
    """Return how many trainings at once are worth trying: one for each core, each on one thread."""
    alone = engine.side_by_side != "auto" or engine.threads not in ("auto", 1) or not can_fork()
    return 1 if alone or default_choice(engine).device != "cpu" else usable_cores()


def measure_choice(engine: Engine, probe: Probe, steps: int, tell: Callable[[str], None]) -> Measured:
    """Measure what is open. `steps` are those of one whole training."""
    ways, together = candidates(engine), workers(engine)
    usual, kept = ways[0], {"compile": engine.compile is True, "side_by_side": default_choice(engine).side_by_side}
    if len(ways) == 1 and together == 1 and engine.compile != "auto":
        return Measured(usual.model_copy(update=kept), ["there is nothing to choose between"])
    probe.fit_batch(usual)
    tell(f"measuring {len(ways)} ways of training on batches of {probe.batch}")
    found = race(
        {way: partial(probe.bout, way) for way in ways}, BUDGET_SECONDS,
        (lambda way: way.threads) if together > 1 else (lambda way: 0),
    )  # fmt: skip
    medians = {way: found.median(way) for way in found.left}
    if not medians:
        return Measured(usual.model_copy(update=kept), ["no way of training could be measured"], _figures(found, probe))
    best = choose(medians, usual)
    result = Measured(best, [fastest_because(best, usual, found, probe.batch)], _figures(found, probe))
    if together > 1:
        _try_side_by_side(result, probe, medians, usual, together)
    if engine.compile == "auto":
        _try_compiling(result, probe, steps * medians[_eager(result.choice)] * probe.share, steps)
    update = {key: value for key, value in kept.items() if getattr(engine, key) != "auto"}
    result.choice = result.choice.model_copy(update=update)
    return result


def fastest_because(best: Choice, usual: Choice, found: Race[Choice], batch: int) -> str:
    """Say in words why one way was chosen."""
    text = f"{best}: {1000 * found.median(best):.3g} ms a step of {batch} images"
    if best != usual and usual in found.seconds:
        return f"{text}, {found.median(usual) / found.median(best):.2f} times as fast as {usual}"
    return f"{text}; nothing else is ahead by {1 - AHEAD:.0%}" if len(found.seconds) > 1 else text


def _eager(choice: Choice) -> Choice:
    """Return the way of training that was timed for a choice."""
    return choice.model_copy(update={"compile": False, "side_by_side": 1})


def _try_side_by_side(
    result: Measured, probe: Probe, medians: dict[Choice, float], usual: Choice, together: int
) -> None:
    """Compare the best way so far with several trainings at once, of one thread each."""
    narrow = {way: seconds for way, seconds in medians.items() if way.threads == 1}
    if not narrow:
        return
    best = choose(narrow, usual.model_copy(update={"threads": 1}))
    several = best.model_copy(update={"side_by_side": together})
    try:
        gain = side_by_side_gain(probe, result.choice, several)
    except Unfit as error:
        result.reasons.append(f"one training at a time: {error}")
        return
    result.figures["side_by_side"] = {"processes": together, "steps_against_one_process": round(gain, 3)}
    if gain * AHEAD > 1:
        result.choice = several
        result.reasons.append(f"{together} trainings at once, of one thread each: {gain:.2f} times the steps of one")
    else:
        result.reasons.append(
            f"{together} trainings at once would take {gain:.2f} times the steps of one: not worth it"
        )


def _try_compiling(result: Measured, probe: Probe, seconds: float, steps: int) -> None:
    """Compile, where the training is so long that it may be repaid."""
    if seconds * COMPILE_SHARE <= COMPILE_SECONDS:
        result.reasons.append(f"not compiled: a training of about {seconds:.0f} s doesn't repay it")
        return
    try:
        spent, saved = compiled_gain(probe, _eager(result.choice))
    except Unfit as error:
        result.reasons.append(f"not compiled: {error}")
        return
    saved *= probe.share
    result.figures["compile"] = {"seconds": round(spent, 2), "saved_seconds_a_step": round(saved, 6), "steps": steps}
    pays = repays(spent, saved, steps)
    result.choice = result.choice.model_copy(update={"compile": pays})
    result.reasons.append(
        f"{'compiled' if pays else 'not compiled'}: {spent:.0f} s of compiling, {max(0.0, saved * steps):.0f} s saved "
        f"in {steps:,} steps"
    )


def repays(compile_seconds: float, saved_seconds_a_step: float, steps: int) -> bool:
    """Tell whether compiling saves clearly more than it costs."""
    return saved_seconds_a_step * steps > COMPILE_MARGIN * compile_seconds


def _figures(found: Race[Choice], probe: Probe) -> dict[str, Any]:
    """Return what was timed, for the record."""
    rows = []
    for way in [*found.seconds, *(one for one in found.dropped if one not in found.seconds)]:
        row: dict[str, Any] = {"threads": way.threads, "precision": way.precision, "memory_format": way.memory_format}
        if way in found.seconds:
            seconds = found.median(way)
            row |= {"seconds_a_step": round(seconds, 6), "images_a_second": round(probe.batch / seconds, 1)}
            row["bouts"] = len(found.seconds[way])
        if way in found.dropped:
            row["dropped"] = found.dropped[way]
        rows.append(row)
    return {"images_a_step": probe.batch, "candidates": rows}
