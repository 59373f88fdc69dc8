"""The default job, on its real data, finds what the README says."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from graftwork_flows.listing import registry_at
from tests.conftest import ROOT
from tests.flows.conftest import call, environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The figures of a run in a fresh copy of this workspace: what git tracks, and nothing else."""
    folder = tmp_path_factory.mktemp("fresh") / "workspace"
    for name in ("params.yaml", "dvc.yaml", "dvc.lock", ".dvcignore", ".dvc/config", "examples", "plugins"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    call(folder, "git", "init", "-q")
    assert environment() and registry_at(folder).failures == {}
    call(folder, "graftwork", "run", "--without-prefect")
    return json.loads((folder / "report" / "metrics.json").read_text())


def test_copying_helps_and_freezing_does_not(metrics: dict) -> None:
    found = metrics["strategies"]
    assert metrics["source"]["accuracy"] > 0.96
    assert found["full_copy"]["gain"]["low"] > 0
    assert found["full_copy"]["gain"]["verdict"] == "positive"
    assert found["freeze"]["gain"]["verdict"] != "positive"
    assert len(found["scratch"]["accuracy"]["per_seed"]) >= 3
    assert metrics["target"]["training_images"] == 100 and metrics["target"]["test_images"] >= 2500


def test_the_readmes_table_is_what_the_job_makes(metrics: dict) -> None:
    """Equal on a processor like ours; another's bits are other draws, which lie apart as seeds do."""
    text = (ROOT / "README.md").read_text()
    table = text[text.index("<!-- table:begin") : text.index("<!-- table:end")]
    rows = dict(re.findall(r"\| `(\w+)` \| ([\d.]+) %", table))
    assert set(rows) == set(metrics["strategies"])
    for name, shown in rows.items():
        accuracy = metrics["strategies"][name]["accuracy"]
        assert abs(float(shown) / 100 - accuracy["mean"]) < accuracy["high"] - accuracy["low"]
