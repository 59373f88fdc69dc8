"""What is built is whole: it works from elsewhere, and a stranger's package adds a strategy to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.flows.conftest import call, edit, environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our wheel and the example package installed, nothing editable."""
    folder = tmp_path_factory.mktemp("site")
    for source in (ROOT, ROOT / "examples" / "package"):
        wheels = tmp_path_factory.mktemp("wheels")
        call(source, sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(wheels), str(source))
        (wheel,) = wheels.glob("*.whl")
        call(folder, sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), str(wheel))
    return folder


def test_the_wheel_holds_its_data_and_templates_and_no_top_level_strays(site: Path) -> None:
    tops = {path.name for path in site.iterdir() if path.is_dir() and "dist-info" not in path.name}
    assert tops - {"bin"} == {"graftwork", "graftwork_flows", "graftwork_plugins", "graftwork_example"}
    assert (site / "graftwork_plugins" / "data" / "fashion_mnist.npz").stat().st_size < 8_000_000
    assert (site / "graftwork_plugins" / "data" / "LICENSE.fashion-mnist").is_file()
    assert list((site / "graftwork_flows" / "templates").glob("dvc.yaml.template"))
    assert list((site / "graftwork" / "templates").glob("*.j2"))


def test_a_strangers_package_brings_a_strategy_that_runs(site: Path, workspace: Path) -> None:
    edit(
        workspace / "params.yaml",
        "versions: {graftwork: 0.1.0}",
        "versions: {graftwork: 0.1.0, graftwork-example: 0.1.0}",
    )
    edit(workspace / "params.yaml", "  freeze:", "  bitfit: [full_copy, bias_tuning]\n  freeze:")
    done = subprocess.run(
        [sys.executable, "-c", "from graftwork_flows.cli import main; main()", "run", "--without-prefect"],
        cwd=workspace, capture_output=True, text=True, check=False,
        env={**environment(), "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (workspace / "weights" / "target" / "bitfit" / "seed-0.safetensors").is_file()
