"""The course of training as CSV: one row for each seed and validated epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

COLUMNS = ("seed", "epoch", "loss", "validation_accuracy")


def history_csv(histories: Mapping[int, Sequence[Mapping[str, float]]]) -> str:
    """Return the rows of all seeds as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for seed, rows in histories.items():
        for row in rows:
            writer.writerow([seed, int(row["epoch"]), f"{row['loss']:.6f}", f"{row['validation_accuracy']:.6f}"])
    return text.getvalue()


def read_history(path: Path) -> list[dict[str, float]]:
    """Read what `history_csv` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
