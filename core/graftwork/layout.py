"""Where every stage's files are, relative to the workspace; dvc.yaml names the same paths, and a test compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Layout:
    """The folders of one workspace."""

    root: Path

    def raw(self, data: str) -> Path:
        """Images as read, with their card. `data` is `target` or a source."""
        return self.root / "data" / "raw" / data

    def origin(self, name: str) -> Path:
        """Files that came from elsewhere."""
        return self.root / "data" / "origins" / name

    def origin_of(self, path: str, origins: Iterable[str]) -> str | None:
        """Return which of the origins a path in the settings lies in; None for the user's own."""
        whole = self.root / path
        return next((name for name in origins if whole.is_relative_to(self.origin(name))), None)

    @property
    def downloads(self) -> Path:
        """What of them has come so far."""
        return self.private / "downloads"

    def prepared(self, data: str) -> Path:
        """Splits, statistics and sample views."""
        return self.root / "data" / "prepared" / data

    def split(self, data: str, name: str) -> Path:
        """Images and labels of one split."""
        return self.prepared(data) / name

    def card(self, data: str) -> Path:
        """What the prepared data is, as JSON."""
        return self.prepared(data) / "card.json"

    def samples(self, data: str) -> Path:
        """A picture of training images before and after augmentation."""
        return self.prepared(data) / "samples.png"

    def trunk_features(self, source: str) -> Path:
        """What a source's trunk makes of the target's images."""
        return self.root / "data" / "features" / source

    def imported(self, name: str) -> Path:
        """The weights of a model that was trained elsewhere, beside which there are no images."""
        return self.split(name, "train") / "weights.safetensors"

    def source_weights(self, source: str) -> Path:
        """A pretrained model, with its history and metrics."""
        return self.root / "weights" / source

    def score(self, source: str) -> Path:
        """How well a source's features suit the target, as JSON."""
        return self.report / "scores" / f"{source}.json"

    def engine(self, data: str) -> Path:
        """What was chosen to train on a data set with, as JSON."""
        return self.root / "weights" / "engine" / f"{data}.json"

    def engine_figures(self, data: str) -> Path:
        """What was measured for that choice, where and why it was made, as JSON."""
        return self.report / "engine" / f"{data}.json"

    @property
    def recommendation(self) -> Path:
        """The stacks that were chosen for strategies which leave it open, as JSON."""
        return self.root / "weights" / "recommendation.json"

    def start(self, strategy: str) -> Path:
        """What a strategy starts from, with the manifest."""
        return self.root / "weights" / "start" / strategy

    def tuned(self, strategy: str) -> Path:
        """A strategy's fine-tuned weights, one file a seed, with their history."""
        return self.root / "weights" / "target" / strategy

    @property
    def report(self) -> Path:
        """The report, its figures and plots."""
        return self.root / "report"

    @property
    def sweep(self) -> Path:
        """The sweep's own stage graph, its cells, figures and report."""
        return self.root / "sweep"

    def cells(self, source: str, strategy: str) -> Path:
        """What a strategy reached from a source with each label budget and seed, as JSON."""
        return self.sweep / "cells" / f"{source}-{strategy}.json"

    @property
    def private(self) -> Path:
        """What is this machine's alone: checkpoints, timings, locks. Not in git, not in DVC."""
        return self.root / ".graftwork"

    @property
    def worktrees(self) -> Path:
        """Where runs with other settings work."""
        return self.private / "worktrees"

    @property
    def away(self) -> Path:
        """Where stages for runs elsewhere work."""
        return self.private / "away"

    @property
    def kept_reports(self) -> Path:
        """Where pages of runs stay, whatever becomes of the folders that they worked in."""
        return self.private / "reports"

    def kept_report(self, name: str) -> Path:
        """A run's page."""
        return self.kept_reports / f"{name}.html"

    def checkpoints(self, *parts: str) -> Path:
        """Checkpoints of one training."""
        return self.private.joinpath("checkpoints", *parts)

    @property
    def features(self) -> Path:
        """What frozen parts of models made of images, to be used again."""
        return self.private / "features"

    def timings(self, name: str) -> Path:
        """How long a strategy took here, in seconds."""
        return self.private / "timings" / f"{name}.json"

    @property
    def misfits(self) -> Path:
        """What became of every tensor of weights that didn't fit, as JSON: a file for each stage."""
        return self.private / "misfits"

    @property
    def runs(self) -> Path:
        """Records of who computed which weights, when and on what, as JSON: a file for each training."""
        return self.private / "runs"

    @property
    def logs(self) -> Path:
        """What runs said, a file for each."""
        return self.private / "logs"

    @property
    def pushed(self) -> Path:
        """What was pushed to a remote last, as a digest."""
        return self.private / "pushed"

    @property
    def ledger(self) -> Path:
        """Every fine-tuning that was ever done here, with what came out."""
        return self.private / "ledger.sqlite"
