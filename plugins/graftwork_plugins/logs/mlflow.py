"""Enter runs into MLflow (mlflow.org)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from graftwork.errors import SettingsError
from graftwork.files import make_folder
from graftwork.results import Results

MOST_CHARACTERS = 500  # of a parameter, as MLflow's stores have it
BATCH = 500  # figures in a call


@dataclass(frozen=True)
class MLflow:
    """Enter settings, figures, curves and the report into MLflow: `mlruns/mlflow.db`, or what `tracking_uri` names."""

    experiment: str = "graftwork"
    tracking_uri: str | None = None

    def log(self, results: Results) -> str:
        """Enter a run, and return where. Raises SettingsError without MLflow, and whatever its store raises."""
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param, RunTag
        except ImportError:
            raise SettingsError(
                "The log mlflow needs MLflow", where="params.yaml, key log", fix="pip install 'graftwork[mlflow]'"
            ) from None
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes
        folder = results.root / "mlruns"
        if self.tracking_uri is None:
            make_folder(folder)
        uri = self.tracking_uri or f"sqlite:///{folder / 'mlflow.db'}"  # MLflow 3 gave its store of plain files up
        client = MlflowClient(uri)
        known = client.get_experiment_by_name(self.experiment)
        place = None if self.tracking_uri else folder.as_uri()
        experiment = known.experiment_id if known else client.create_experiment(self.experiment, place)
        run = client.create_run(experiment, run_name=results.run).info.run_id
        now = int(client.get_run(run).info.start_time)
        figures = [Metric(name, value, now, 0) for name, value in results.figures.items()]
        for point in results.curves:
            name = f"{point.strategy}.seed_{point.seed}"
            figures.append(Metric(f"{name}.loss", point.loss, now, point.epoch))
            figures.append(Metric(f"{name}.validation_accuracy", point.validation_accuracy, now, point.epoch))
        parameters = [Param(key, str(value)[:MOST_CHARACTERS]) for key, value in results.settings.items()]
        for first in range(0, len(parameters), 100):
            client.log_batch(run, params=parameters[first : first + 100])
        for first in range(0, len(figures), BATCH):
            client.log_batch(run, metrics=figures[first : first + BATCH])
        client.log_batch(run, tags=[RunTag(key, value) for key, value in results.tags.items()])
        for file in results.files:
            client.log_artifact(run, str(file))
        client.set_terminated(run)
        return f"{uri}, experiment {self.experiment}, run {run}"
