"""The table of exit codes in docs is true: of the errors, and of every command."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from graftwork import errors
from graftwork_flows.cli import app, main
from graftwork_flows.stopping import stopped_by
from tests.conftest import ROOT
from tests.flows.conftest import edit

PAGE = (ROOT / "docs" / "exit-codes.md").read_text()
TOLD = [
    int(row.split("|")[1]) for row in PAGE.splitlines() if row.startswith("| ") and row.split("|")[1].strip().isdigit()
]


def test_the_table_has_every_error_and_no_other() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GraftworkError)
    ]
    codes = {kind.exit_code for kind in kinds if kind is not errors.GraftworkError}
    stops = {stopped_by(number).exit_code for number in (signal.SIGINT, signal.SIGTERM)}
    assert set(TOLD) == {0} | codes | stops


def nothing(root: Path) -> None: ...


def no_settings(root: Path) -> None:
    (root / "params.yaml").unlink()


def misspelt(root: Path) -> None:
    edit(root / "params.yaml", "seed: 0\n", "sead: 0\n")


def no_data(root: Path) -> None:
    (root / "data" / "target.npz").unlink()


def no_dvc(root: Path) -> None:
    import shutil

    shutil.rmtree(root / ".dvc")


def no_deployments(root: Path) -> None:
    (root / "prefect.yaml").unlink()


def picture(root: Path) -> None:
    (root / "a.png").write_text("<html>")


CASES: list[tuple[str, Callable[[Path], None], int]] = [
    ("--version", nothing, 0), ("--help", nothing, 0), ("nonsense", nothing, 2), ("run --nonsense", nothing, 2),
    ("run --without-prefect", no_data, 3), ("run --without-prefect", no_dvc, 4), ("run", misspelt, 2),
    ("run --strategy nope", nothing, 2), ("measure", no_settings, 2), ("measure", no_dvc, 4),
    ("score", no_data, 3), ("score", no_settings, 2), ("recommend", no_data, 3),
    ("sweep --without-prefect", misspelt, 2),
    ("sweep --without-prefect", no_data, 3), ("stage fetch target", no_data, 3), ("stage fetch nope", nothing, 4),
    ("report", nothing, 4), ("export", nothing, 4), ("export --strategy nope", nothing, 2),
    ("predict a.png", picture, 4),
    ("plugins", nothing, 0), ("plugins", misspelt, 0), ("schema", nothing, 0), ("init .", nothing, 4),
    ("init x --source y", nothing, 2), ("serve", misspelt, 2), ("server status", nothing, 0),
    ("server stop", nothing, 0),
    ("check --without-prefect", no_data, 3), ("deploy", no_deployments, 4), ("deploy", misspelt, 2),
    ("lineage nope", nothing, 4), ("lineage params.yaml", nothing, 3), ("verify", nothing, 4), ("verify", no_dvc, 4),
    ("doctor", nothing, 0), ("doctor", no_dvc, 4), ("clean", nothing, 0), ("clean", no_settings, 2),
]  # fmt: skip


@pytest.mark.parametrize(("command", "breakage", "code"), CASES)
def test_every_command_keeps_to_the_table(
    command: str, breakage: Callable[[Path], None], code: int, workspace: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    breakage(workspace)
    monkeypatch.chdir(workspace)
    monkeypatch.setattr("sys.argv", ["graftwork", *command.split()])
    with pytest.raises(SystemExit) as ended:  # in this process: importing torch forty times takes minutes
        main()
        raise SystemExit(0)
    said = capfd.readouterr().err
    assert ended.value.code in ((code, None) if code == 0 else (code,)), said
    assert code in TOLD and "Traceback" not in said
    if code > 2:
        assert "fix: " in said


def test_every_command_has_a_case() -> None:
    import typer.main

    commands = {name for name, command in typer.main.get_group(app).commands.items() if not command.hidden}
    assert commands <= {command.split()[0] for command, _, _ in CASES}
