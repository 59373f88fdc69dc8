"""`graftwork deploy` tells what is wrong before it asks a server, and a server that isn't there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from graftwork.errors import SettingsError, StateError
from graftwork_flows.deploying import FLOWS, SET_FOLDER, _complaint, _require_ours, read_deployments
from tests.conftest import ROOT
from tests.flows.conftest import run


def test_our_own_deployments_are_read_and_theirs_are_the_flows_that_are_watched() -> None:
    assert [one.name for one in read_deployments(ROOT)] == ["data-check", "nightly", "sweep"]
    assert {one.pool for one in read_deployments(ROOT)} == {"local"}
    text = (ROOT / "prefect.yaml").read_text()
    text += (ROOT / "docs" / "scaling.md").read_text().replace("away:stage", "stage:stage")
    assert all(f"graftwork_flows.{flow}:{flow}" in text for flow in FLOWS)


def test_another_workspaces_deployment_of_the_same_name_is_not_taken_over(tmp_path: Path) -> None:
    def deployed(folder: Path) -> Any:
        return SimpleNamespace(name="nightly", pull_steps=[{SET_FOLDER: {"directory": str(folder)}}])

    _require_ours([deployed(tmp_path), SimpleNamespace(name="own", pull_steps=None)], tmp_path)  # type: ignore[list-item]
    with pytest.raises(StateError, match="'nightly' is a deployment of another workspace") as caught:
        _require_ours([deployed(tmp_path / "theirs")], tmp_path)
    assert str(tmp_path / "theirs") in caught.value.where and "rename it" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("deployments: [", "can't be read"),
        ("name: x\n", "names no deployments"),
        ("deployments: nightly\n", "names no deployments"),
        ("deployments:\n  - entrypoint: a.py:b\n", "has no name"),
        ("deployments:\n  - {name: a, work_pool: {name: local}}\n", "has no entrypoint"),
        ("deployments:\n  - {name: a, entrypoint: 'a.py:b', work_pool: local}\n", "has no work_pool.name"),
        (
            "deployments:\n" + 2 * "  - {name: a, entrypoint: 'a.py:b', work_pool: {name: local}}\n",
            "Two deployments are called 'a'",
        ),
    ],
)
def test_a_broken_prefect_yaml_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "prefect.yaml").write_text(text)
    with pytest.raises(SettingsError, match=told) as error:
        read_deployments(tmp_path)
    assert str(tmp_path / "prefect.yaml") in error.value.where and error.value.fix


def test_without_a_prefect_yaml_there_is_nothing_to_deploy(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"There is no prefect\.yaml here"):
        read_deployments(tmp_path)


def test_a_server_that_does_not_answer_is_told(workspace: Path) -> None:
    done = run(workspace, "env", "PREFECT_API_URL=http://127.0.0.1:9/api", "graftwork", "deploy")
    assert done.returncode == StateError.exit_code and "Traceback" not in done.stderr
    assert "The Prefect server doesn't answer" in done.stderr and "127.0.0.1:9" in done.stderr


def test_prefects_complaint_is_found_among_its_frames() -> None:
    said = "╭─ Traceback ─╮\n│ x:3 │\n╰───╯\nModuleNotFoundError: No module named 'nope'\nAn exception occurred.\n"
    assert _complaint(said) == "ModuleNotFoundError: No module named 'nope'"
    assert _complaint("") == "it says nothing"
