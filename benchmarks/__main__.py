"""Print the tables; with --write also into benchmarks/RESULTS.md, where the other parts stay as they are."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path

from benchmarks.frozen import frozen_rows
from benchmarks.loops import loop_rows
from benchmarks.measuring import Row, table
from benchmarks.orchestration import orchestration_rows, startup_rows
from benchmarks.recommendation import recommendation_rows
from benchmarks.selections import selection_rows
from graftwork.provenance import provenance

RESULTS = Path(__file__).with_name("RESULTS.md")
PARTS: dict[str, tuple[Callable[[], list[Row]], str]] = {
    "startup": (startup_rows, "What a start of the command line costs."),
    "loops": (
        loop_rows,
        """\
The loops train test_resnet on the same 5,120 images (28 px) for the same 40 steps of 256, with flip and shift by two
pixels; accuracy plays no part, as the steps are the same. How far a loop can be ahead of the tutorials' is bounded by
the model itself: the last row says how much of the processor ours uses.""",
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
*measured* is the median, or a mean where an interval stands beside it, *spread* the lowest and highest.
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
        sections[name] = f"{about}\n\n{machine}\n\n{table(measure())}\n"
        print(sections[name])
        if arguments.write:
            bodies = [f"## {part}\n\n{sections[part]}" for part in PARTS if part in sections]
            RESULTS.write_text("\n".join([HEAD, *bodies]), encoding="utf-8")


def _written() -> dict[str, str]:
    """Return the sections that RESULTS.md holds, by part."""
    if not RESULTS.is_file():
        return {}
    _, *found = RESULTS.read_text(encoding="utf-8").split("\n## ")
    return {name: text.strip("\n") + "\n" for name, _, text in (section.partition("\n") for section in found)}


if __name__ == "__main__":
    main()
