"""What a card tells of a data set: images of each class, what looks alike across splits, what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from graftwork.errors import listed
from graftwork.image_names import names_of
from graftwork.layout import SPLITS
from graftwork.near_duplicates import LookAlike

IMBALANCED = 3.0  # times as many images of the largest class as of the smallest are told of
MOST_SHOWN = 20  # look-alikes, and files that were skipped


@dataclass(frozen=True)
class LookAlikes:
    """How many images of one split look like a training image, and the likest of them."""

    count: int
    first: tuple[LookAlike, ...]

    @classmethod
    def of(cls, found: Sequence[LookAlike], names: Iterable[str] | None = None) -> LookAlikes:
        """Count them, and keep the first, with the names that all images have, if any."""
        first = found[:MOST_SHOWN]
        told = names_of(names, (number for one in first for number in (one.image, one.train)))
        named = (replace(one, image_name=told.get(one.image, ""), train_name=told.get(one.train, "")) for one in first)
        return cls(len(found), tuple(named))

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> LookAlikes:
        """Read what `as_json` wrote."""
        return cls(card["count"], tuple(LookAlike(**one) for one in card["first"]))

    def as_json(self) -> dict[str, Any]:
        """Return it for the card, without names that aren't there."""
        first = [{key: value for key, value in asdict(one).items() if value != ""} for one in self.first]
        return {"count": self.count, "first": first}


@dataclass(frozen=True)
class PreparedData:
    """One data set as the report shows it."""

    name: str
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]  # of each split, by class
    look_alikes: dict[str, LookAlikes]  # of validation and test
    dropped: int  # images that stood in two splits
    skipped: tuple[str, ...]  # files that could not be read, and why
    ignored: dict[str, int]  # files that were passed over, by extension
    remarks: dict[str, int] = field(default_factory=dict)  # pictures that hold more than was read, by what

    @classmethod
    def from_card(cls, name: str, card: Mapping[str, Any]) -> PreparedData | None:
        """Return what a card.json tells; None for that of an imported model, which has no images."""
        if not any(card["splits"]["train"]):
            return None
        origin, near = card.get("origin", {}), card.get("near_duplicates", {})
        return cls(
            name,
            tuple(card["classes"]),
            {split: tuple(card["splits"][split]) for split in SPLITS},
            {split: LookAlikes.from_json(found) for split, found in near.items()},
            card.get("duplicates_dropped", 0),
            tuple(map(str, origin.get("skipped", ()))),
            dict(origin.get("ignored_extensions", {})),
            dict(origin.get("remarks", {})),
        )

    def ratios(self) -> dict[str, float]:
        """Return by split how many times as large as its smallest class the largest is."""
        return {split: imbalance(counts) for split, counts in self.counts.items()}

    def warnings(self) -> Iterator[str]:
        """Yield a line for each thing that whoever trains on this data should know."""
        train = self.counts["train"]
        if imbalance(train) > IMBALANCED:
            largest, smallest = (train.index(pick(train)) for pick in (max, min))
            yield (
                f"warning: the largest class has {imbalance(train):.3g} times as many training images as the smallest: "
                f"{train[largest]:,} of {self.classes[largest]!r}, {train[smallest]:,} of {self.classes[smallest]!r}; "
                "class_weights or sampling: balanced evens that out"
            )
        for split, alike in self.look_alikes.items():
            if alike.count:
                yield (
                    f"warning: {alike.count:,} of {sum(self.counts[split]):,} {split} images look like a training "
                    "image; card.json and the report say which"
                )
        if self.skipped:
            files = listed(self.skipped, 3)
            yield f"warning: files that could not be read and were skipped: {len(self.skipped):,}, {files}"
        for what, count in self.remarks.items():
            yield f"warning: pictures {what}: {count:,}"


def imbalance(counts: Sequence[int]) -> float:
    """Return how many times as large as the smallest class the largest is; infinity where one is empty."""
    return max(counts) / min(counts) if min(counts) else float("inf")
