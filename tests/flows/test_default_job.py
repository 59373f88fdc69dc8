"""The default job, on its real data, finds what the README says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from graftwork_flows.listing import registry_at
from tests.conftest import ROOT
from tests.flows.conftest import call, environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh copy of this workspace – what git tracks, and nothing else – in which the job has run."""
    folder = tmp_path_factory.mktemp("fresh") / "workspace"
    records = ("params.yaml", "dvc.yaml", "dvc.lock", ".dvcignore", ".dvc/config", "weights/engine", "report/engine")
    for name in (*records, "examples", "plugins"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    call(folder, "git", "init", "-q")
    assert environment() and registry_at(folder).failures == {}
    call(folder, "graftwork", "run", "--without-prefect")
    return folder


@pytest.fixture(scope="module")
def metrics(workspace: Path) -> dict:
    return json.loads((workspace / "report" / "metrics.json").read_text())


def test_copying_helps_and_freezing_does_not(metrics: dict) -> None:
    found = metrics["strategies"]
    assert metrics["source"]["accuracy"] > 0.96
    assert found["full_copy"]["gain"]["low"] > 0
    assert found["full_copy"]["gain"]["verdict"] == "positive"
    assert found["freeze"]["gain"]["verdict"] != "positive"
    assert len(found["scratch"]["accuracy"]["per_seed"]) >= 3
    assert metrics["target"]["training_images"] == 100 and metrics["target"]["test_images"] >= 2500


def test_the_readmes_table_is_what_the_job_makes(workspace: Path, metrics: dict) -> None:
    """To the last digit where the source's weights have the recorded bits.

    Another processor's arithmetic makes another source, and every seed of a strategy shares it: the means then lie
    farther apart than the seeds' intervals tell.
    """
    text = (ROOT / "README.md").read_text()
    table = text[text.index("<!-- table:begin") : text.index("<!-- table:end")]
    rows = dict(re.findall(r"\| `(\w+)` \| ([\d.]+) %", table))
    assert set(rows) == set(metrics["strategies"])
    tolerance = 0.0005 if source_weights(workspace) == source_weights(ROOT) else 0.05
    for name, shown in rows.items():
        assert float(shown) / 100 == pytest.approx(metrics["strategies"][name]["accuracy"]["mean"], abs=tolerance)


def source_weights(root: Path) -> list[dict]:
    """Return what dvc.lock says of the pretrained weights."""
    return yaml.safe_load((root / "dvc.lock").read_text())["stages"]["pretrain@source"]["outs"]
