"""The report's class-by-class tables: recall and precision, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graftwork.findings import Findings
from graftwork.plots import cividis

MATRIX_CLASSES = 24  # more would not be read: then the commonest mistakes stand in the matrix's place


@dataclass(frozen=True)
class ClassRow:
    """One class in the chosen strategy's eyes; fractions of 1, None where nothing was counted."""

    name: str
    images: int
    recall: float | None
    precision: float | None
    scratch_recall: float | None


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix."""

    count: int
    share: float  # of its row
    style: str


def class_tables(findings: Findings) -> dict[str, Any]:
    """Count what the chosen strategy takes for what; the matrix only while it can be read."""
    confusion, scratch = findings.chosen.confusion, findings.scratch.confusion
    rows = [
        ClassRow(
            name,
            images=sum(confusion[row]),
            recall=_recall(confusion, row),
            precision=_share(confusion[row][row], sum(line[row] for line in confusion)),
            scratch_recall=_recall(scratch, row),
        )
        for row, name in enumerate(findings.classes)
    ]
    matrix = _matrix(confusion) if len(rows) <= MATRIX_CLASSES else None
    return {"class_rows": rows, "matrix": matrix, "mistakes": _mistakes(findings)}


def _matrix(confusion: Sequence[Sequence[int]]) -> list[list[Cell]]:
    shares = [[_share(count, sum(row)) or 0.0 for count in row] for row in confusion]
    return [
        [Cell(count, share, cividis(share)) for count, share in zip(counts, line, strict=True)]
        for counts, line in zip(confusion, shares, strict=True)
    ]


def _mistakes(findings: Findings, most: int = 20) -> list[tuple[str, str, int, float]]:
    """Return the commonest: true class, predicted class, count, share of the true class."""
    names = findings.classes
    found = [
        (names[actual], names[predicted], count, count / sum(row))
        for actual, row in enumerate(findings.chosen.confusion)
        for predicted, count in enumerate(row)
        if count and actual != predicted
    ]
    return sorted(found, key=lambda mistake: -mistake[2])[:most]


def _recall(confusion: Sequence[Sequence[int]], row: int) -> float | None:
    return _share(confusion[row][row], sum(confusion[row]))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
