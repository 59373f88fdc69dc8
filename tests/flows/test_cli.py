"""The command line answers at once, and its texts are true."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from graftwork.errors import DataError
from graftwork_flows.pipeline import Node
from tests.conftest import ROOT
from tests.flows.conftest import call, edit, environment, run

HEAVY = ("torch", "prefect", "dvc", "timm", "matplotlib", "pydantic", "numpy")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['graftwork', '--help']\n"
        "from graftwork_flows.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_plugins_are_listed_with_who_brought_them(workspace: Path) -> None:
    found = json.loads(call(workspace, "graftwork", "plugins", "--json"))
    assert found["failures"] == {}
    origins = {plugin["name"]: plugin["origin"] for plugin in found["plugins"]}
    assert origins["freeze"] == "graftwork 0.1.0"
    assert origins["centre_logits"] == "local file centre_logits.py"


def test_the_schema_holds_a_local_plugin(workspace: Path) -> None:
    schema = json.loads(call(workspace, "graftwork", "schema"))
    assert "centre_logits" in schema["$defs"]["Strategy"]["anyOf"][0]["enum"]


def test_report_says_the_verdict_and_the_path(computed: Path) -> None:
    verdict, path = call(computed, "graftwork", "report").splitlines()
    assert "full_copy" in verdict
    assert Path(path).is_file()


def test_report_without_a_run_says_what_to_do(workspace: Path) -> None:
    done = run(workspace, "graftwork", "report")
    assert done.returncode == 4
    assert "fix: graftwork run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"), [(("fetch", "x"), "source, target"), (("finetune", "x"), "scratch"), (("x",), "pretrain")]
)
def test_an_unknown_stage_or_item_is_told_the_choices(arguments: tuple[str, ...], text: str, workspace: Path) -> None:
    done = run(workspace, "graftwork", "stage", *arguments)
    assert done.returncode == 4
    assert text in done.stderr


def test_every_command_of_the_readme_exists() -> None:
    import typer.main

    from graftwork_flows.cli import app

    commands = set(typer.main.get_group(app).commands)
    lines = [line.split() for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("graftwork ")]
    named = {words[1] for words in lines if not words[1].startswith("-")}
    assert len(named) >= 5
    assert named <= commands


def test_the_readmes_strategy_is_the_example() -> None:
    readme = (ROOT / "README.md").read_text()
    block = readme[readme.index("```python") + 10 :]
    block = block[: block.index("```")]
    example = (ROOT / "examples" / "strategies" / "centre_logits.py").read_text()
    assert block[block.index("    @hookimpl") : block.index("@hookimpl\ndef")] in example


def test_only_our_own_commands_run_in_this_process() -> None:
    assert Node("a", ("graftwork", "stage", "fetch", "source"), ()).own == ("fetch", "source")
    assert Node("a", ("graftwork", "stage", "report"), ()).own == ("report", "")
    assert Node("a", ("python", "own.py"), ()).own is None


def test_a_check_of_the_data_trains_nothing_and_counts(workspace: Path) -> None:
    said = call(workspace, "graftwork", "check", "--without-prefect")
    assert "2 data sets, 180 images: nothing to mend." in said and "2 classes" in said
    assert not (workspace / "weights" / "source").exists()
    assert call(workspace, "graftwork", "check", "--without-prefect", "--quiet").startswith("2 data sets")


def test_a_check_goes_on_beside_data_that_is_refused_and_ends_with_its_error(workspace: Path) -> None:
    (workspace / "data" / "target.npz").write_bytes(b"no archive")
    done = run(workspace, "graftwork", "check", "--without-prefect")
    assert done.returncode == DataError.exit_code and "Traceback" not in done.stderr
    assert "target: refused." in done.stdout and "source: 3 classes" in done.stdout
    assert "Can't be trained on: target, of 2 data sets." in done.stdout


def test_the_mirror_is_seen_from_where_one_stands(workspace: Path) -> None:
    here = workspace.parent / "here"
    (here / "mirror").mkdir(parents=True)
    (here / "mirror" / "set.bin").write_bytes(b"of the mirror")
    digest = hashlib.sha256(b"of the mirror").hexdigest()
    origin = f"{{own: {{url: {{url: 'https://example.org/set.bin', sha256: {digest}}}}}}}"
    edit(workspace / "params.yaml", "origins: {}", f"origins: {origin}")
    done = subprocess.run(
        ["graftwork", "stage", "obtain", "own", "-C", str(workspace)], cwd=here, capture_output=True, text=True,
        env={**environment(), "GRAFTWORK_MIRROR": "mirror", "GRAFTWORK_OFFLINE": "1"}, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (workspace / "data" / "origins" / "own" / "set.bin").read_bytes() == b"of the mirror"
