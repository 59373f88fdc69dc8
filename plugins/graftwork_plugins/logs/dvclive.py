"""Enter runs into DVCLive's files (dvc.org/doc/dvclive), which DVC's extension of VS Code and Studio show."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from graftwork.errors import SettingsError
from graftwork.results import Point, Results


@dataclass(frozen=True)
class DVCLive:
    """Write settings, figures and curves as DVCLive does, into `folder`; dvc.yaml and experiments stay as they are."""

    folder: str = "dvclive"

    def log(self, results: Results) -> str:
        """Enter a run, in place of the one before, and return where. Raises SettingsError without DVCLive."""
        try:
            from dvclive import Live
        except ImportError:
            raise SettingsError(
                "The log dvclive needs DVCLive", where="params.yaml, key log", fix="pip install 'graftwork[dvclive]'"
            ) from None
        epochs: dict[int, list[Point]] = defaultdict(list)
        for point in results.curves:
            epochs[point.epoch].append(point)
        folder = results.root / self.folder
        # Left to itself it would add itself to dvc.yaml, and save an experiment in git
        with Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None) as live:
            live.log_params({**results.settings, **results.tags})
            for epoch, points in sorted(epochs.items()):
                live.step = epoch
                for point in points:
                    name = f"{point.strategy}/seed_{point.seed}"
                    live.log_metric(f"{name}/loss", point.loss)
                    live.log_metric(f"{name}/validation_accuracy", point.validation_accuracy)
            for name, value in results.figures.items():
                live.log_metric(name.replace(".", "/"), value, plot=False)
            live.make_summary()
        return str(folder)
