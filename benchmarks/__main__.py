"""Print the tables; with --write also into benchmarks/RESULTS.md, where the other parts stay as they are.

Minutes on 2 idle cores, about: startup 1, loops 5, peers 6 (3 without other libraries), memory 8, growth 7, step 3,
gpu 5 (with a GPU; else it says that there is none), orchestration 4, recommendation 15, selections 2. Nothing else
should run.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path

from benchmarks.frozen import frozen_rows
from benchmarks.gpu import gpu_part
from benchmarks.growth import growth
from benchmarks.input import input_rows
from benchmarks.loops import loop_rows
from benchmarks.measuring import Row, Section, table
from benchmarks.memory import memory_rows
from benchmarks.orchestration import orchestration_rows, startup_rows
from benchmarks.peers import peers
from benchmarks.recommendation import recommendation_rows
from benchmarks.seeds import seed_rows
from benchmarks.selections import selection_rows
from benchmarks.step import step_rows
from graftwork.provenance import provenance

RESULTS = Path(__file__).with_name("RESULTS.md")
PARTS: dict[str, tuple[Callable[[], list[Row] | Section], str]] = {
    "startup": (startup_rows, "What a start of the command line costs."),
    "loops": (
        loop_rows,
        """\
The loops train test_resnet on the same 5,120 images (28 px) for the same 40 steps of 256, with flip and shift by two
pixels; accuracy plays no part, as the steps are the same. How far a loop can be ahead of the tutorials' is bounded by
the model itself: the last row says how much of the processor ours uses.""",
    ),
    "peers": (
        peers,
        """\
One transfer by different libraries: test_resnet, its head for two epochs, then all of it for two, on 4,096 images of
five classes of Fashion-MNIST (28 px, flipped at random) from weights of the other five; the same batch size (128), 128
steps, AdamW and highest learning rate for all. Round by round another seed, judged on the same 1,000 test images; the
last column is the mean difference, seed by seed, with Student's interval: where it holds 0, accuracy is equal within
noise. Libraries: `pip install -r benchmarks/peers.txt`.""",
    ),
    "memory": (
        memory_rows,
        """\
What a training adds to the resident memory of its process at the most, beyond imports; the bare loop trains on the same
tensors, with no validation, no best weights and no checkpoints.""",
    ),
    "growth": (
        growth,
        "How long it takes as there is more of it; an exponent of 1: twice as much takes twice as long.",
    ),
    "gpu": (
        gpu_part,
        """\
Large models in bfloat16, channels_last, compiled, against a bare loop on one batch of noise in the GPU's memory; and a
small model, for which launching kernels may take longer than they do.""",
    ),
    "input": (
        input_rows,
        """\
What it takes to have a batch ready, and how much of it whole-batch augmentation saves. Images of 32 px are in memory as
uint8; JPEG photos of about 500×375 pixels are decoded, cut to the centred square and resized to 224 px.""",
    ),
    "step": (
        step_rows,
        """\
What a strategy adds to a training step; AdamW, float32, channels_last. Hooks behind the backward pass are timed within
the step; what changes the passes is compared with a plain step, in turn.""",
    ),
    "seeds": (
        seed_rows,
        """\
The default job's fine-tuning part: four strategies with five seeds each, in turn on all cores and side by side in
forked processes; and, as the alternative that was not taken, five models whose parameters are stacked.""",
    ),
    "frozen": (
        frozen_rows,
        """\
A linear probe of 2,048 images (28 px) by test_resnet: on activations that were computed once – for each of four views
where images are augmented – against the whole model at every step. The computing of the activations is in the time.""",
    ),
    "orchestration": (orchestration_rows, "What Prefect and DVC add to the stages' own time."),
    "recommendation": (
        recommendation_rows,
        """\
Whether `auto` beats copying everything: tasks of four label budgets and two draws of images each. For each a search
recommends a stack, and both are trained with five other seeds and compared on the test images.""",
    ),
    "selections": (
        selection_rows,
        """\
Which images should get the few labels: logistic regression on the principal components of the pixels of five classes
of Fashion-MNIST, five draws of 5,000 images to choose from. The pixels are also what the selections see.""",
    ),
}
HEAD = """\
# Benchmarks

Made by `make bench` (`python -m benchmarks --write`, or some parts by name). Contenders take turns in one run;
*measured* is the median, or a mean where an interval stands beside it, *spread* the lowest and highest; in other
tables a range stands in brackets behind the median.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"any of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    here = provenance(Path(__file__).parents[1])
    machine = f"{here.machine}; torch {here.versions['torch']}; {datetime.date.today()}"
    sections = _written()
    for name in arguments.part or PARTS:
        measure, about = PARTS[name]
        measured = measure()
        found = measured if isinstance(measured, Section) else Section(table(measured))
        sections[name] = f"{about}\n\n{machine}\n\n{found.text}\n"
        print(sections[name])
        if arguments.write:
            bodies = [f"## {part}\n\n{sections[part]}" for part in PARTS if part in sections]
            for file, text in found.files.items():
                RESULTS.with_name(file).write_text(text, encoding="utf-8")
            RESULTS.write_text("\n".join([HEAD, *bodies]), encoding="utf-8")


def _written() -> dict[str, str]:
    """Return the sections that RESULTS.md holds, by part."""
    if not RESULTS.is_file():
        return {}
    _, *found = RESULTS.read_text(encoding="utf-8").split("\n## ")
    return {name: text.strip("\n") + "\n" for name, _, text in (section.partition("\n") for section in found)}


if __name__ == "__main__":
    main()
