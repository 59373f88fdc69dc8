"""Say of data that was read and split what whoever trains on it should know: a row for each set, then the warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graftwork.errors import listed
from graftwork.files import read_json
from graftwork.layout import SPLITS, Layout
from graftwork.markdown import as_code, escaped, table
from graftwork.names import printable
from graftwork.prepared_data import MOST_SHOWN, PreparedData

MOST_CLASSES = 200  # that the table of a set's classes lists


@dataclass(frozen=True)
class DataCheck:
    """What was found: the sets that could be prepared, and of the others why not."""

    found: tuple[PreparedData, ...]
    refused: Mapping[str, str]  # data set → why

    @classmethod
    def of(cls, layout: Layout, names: Sequence[str], refused: Mapping[str, str]) -> DataCheck:
        """Read the cards of all data sets that weren't refused."""
        cards = {name: layout.card(name) for name in names if name not in refused}
        found = (PreparedData.from_card(name, read_json(card)) for name, card in cards.items())
        return cls(tuple(data for data in found if data is not None), refused)

    def verdict(self) -> str:
        """Say in a sentence whether anything needs a look."""
        if self.refused:
            told = " and ".join(map(printable, self.refused))
            return f"Can't be trained on: {told}, of {len(self.refused) + len(self.found)} data sets."
        warned = [data.name for data in self.found if any(data.warnings())]
        images = sum(sum(counts) for data in self.found for counts in data.counts.values())
        sets = f"{len(self.found)} data set{'s' * (len(self.found) != 1)}, {images:,} images"
        return f"{sets}: {'look at ' + ' and '.join(warned) if warned else 'nothing to mend'}."

    def rows(self) -> list[dict[str, str]]:
        """Return a row of figures for each data set."""
        blank = dict.fromkeys(_row(self.found[0]) if self.found else ("data",), "–")
        refused = [blank | {"data": name, "classes": "refused"} for name in self.refused]
        return [*map(_row, self.found), *refused]

    def lines(self) -> list[str]:
        """Return it for a terminal: a line for each data set, its warnings below."""
        result = []
        for data, row in zip(self.found, self.rows(), strict=False):
            figures = ", ".join(f"{value} {name}" for name, value in list(row.items())[1:])
            result += [f"{data.name}: {figures}", *data.warnings()]
        return result + [f"{name}: refused. {why}" for name, why in self.refused.items()]

    def markdown(self) -> str:
        """Return it for a page: the table of figures, then each data set's classes and what is wrong with it."""
        parts = ["## " + self.verdict(), table(self.rows())]
        for name, why in self.refused.items():
            parts += [f"### {escaped(name)}: refused", *map(escaped, why.splitlines())]
        for data in self.found:
            parts += [f"### {escaped(data.name)}", *_told(data)]
        return "\n\n".join(parts) + "\n"


def _row(data: PreparedData) -> dict[str, str]:
    train = data.counts["train"]
    near = sum(alike.count for alike in data.look_alikes.values())
    return {
        "data": data.name,
        "classes": f"{len(data.classes):,}",
        "training": f"{sum(train):,}",
        "validation": f"{sum(data.counts['validation']):,}",
        "test": f"{sum(data.counts['test']):,}",
        "of a class": f"{min(train):,} to {max(train):,}",
        "unreadable": f"{len(data.skipped):,}",
        "passed over": f"{sum(data.ignored.values()):,}",
        "duplicates left out": f"{data.dropped:,}",
        "look-alikes": f"{near:,}",
    }


def _told(data: PreparedData) -> list[str]:
    """Return a data set's warnings, its classes by split, the first look-alikes and files that could not be read."""
    parts = [f"- {escaped(warning)}" for warning in data.warnings()]
    parts = ["\n".join(parts)] if parts else []
    rows = [
        {"class": name, **{split: f"{data.counts[split][number]:,}" for split in SPLITS}}
        for number, name in enumerate(data.classes[:MOST_CLASSES])
    ]
    parts.append(table(rows))
    if len(data.classes) > MOST_CLASSES:
        parts.append(f"and {len(data.classes) - MOST_CLASSES:,} more classes, in card.json")
    alike = [one for found in data.look_alikes.values() for one in found.first]
    if alike:
        pairs = [(one.image_name or f"number {one.image}", one.train_name or f"number {one.train}") for one in alike]
        parts.append("\n".join(f"- {as_code(image)} looks like {as_code(train)} in training" for image, train in pairs))
    if data.skipped:
        parts.append("\n".join(f"- {as_code(file)}" for file in data.skipped[:MOST_SHOWN]))
    if data.ignored:
        parts.append("Passed over: " + escaped(listed(f"{count:,} {end}" for end, count in data.ignored.items())))
    return parts
