"""Print the table; with --write also into benchmarks/RESULTS.md."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from benchmarks.loops import loop_rows
from benchmarks.measuring import table
from benchmarks.orchestration import orchestration_rows, startup_rows
from benchmarks.recommendation import recommendation_rows
from graftwork.provenance import provenance

PARTS = {
    "startup": startup_rows,
    "loops": loop_rows,
    "orchestration": orchestration_rows,
    "recommendation": recommendation_rows,
}
EXPLANATION = """\
Made by `make bench` (`python -m benchmarks --write`). Contenders take turns in one run; *measured* is the median,
*spread* the lowest and highest. The loops train test_resnet on the same 5,120 images (28 px) for the same 40 steps
of 256, with flip and shift by two pixels; accuracy plays no part, as the steps are the same. How far a loop can be
ahead of the tutorials' is bounded by the model itself: the last row says how much of the processor ours uses.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"any of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    rows = [row for name in arguments.part or PARTS for row in PARTS[name]()]
    here = provenance(Path(__file__).parents[1])
    machine = f"{here.machine}; torch {here.versions['torch']}; {datetime.date.today()}"
    print(machine, table(rows), sep="\n\n")
    if arguments.write:
        text = f"# Benchmarks\n\n{EXPLANATION}\n{machine}\n\n{table(rows)}\n"
        Path(__file__).with_name("RESULTS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
