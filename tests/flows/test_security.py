"""What docs/security.md claims and no other test proves: secrets, names, local code, other sites' pages."""

from __future__ import annotations

import hashlib
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from graftwork.errors import DataError
from graftwork.secrets import has_secret, url_with_secrets, without_secrets
from graftwork_flows import flow_body
from tests.core.server import Served, serving
from tests.flows.conftest import call, edit, environment, run

PASSWORD = "hunter2-of-this-test"


def whole_text(root: Path) -> bytes:
    """Everything that lies in a workspace, git's and DVC's files among it."""
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_login_in_an_override_is_refused_and_kept_nowhere(workspace: Path) -> None:
    url = f"https://user:{PASSWORD}@example.org/pets.zip"
    done = run(workspace, "graftwork", "run", "--set", f"origins.pets={{url: {{url: '{url}'}}}}")
    assert done.returncode == 2
    assert "${LOGIN}" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD.encode() not in whole_text(workspace)


def test_a_login_in_params_yaml_is_refused_and_not_repeated(workspace: Path) -> None:
    edit(
        workspace / "params.yaml",
        "origins: {}",
        f"origins: {{pets: {{url: {{url: 'https://{PASSWORD}@h/pets.zip'}}}}}}",
    )
    done = run(workspace, "graftwork", "run", "--without-prefect")
    assert done.returncode == 2
    assert "${LOGIN}" in done.stderr and "line" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_a_secret_of_the_environment_is_sent_and_kept_nowhere(workspace: Path) -> None:
    content = (workspace / "data" / "target.npz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    with serving() as site:
        site.files["/target.npz"] = Served(content)
        url = site.url("/target.npz?key=${KEY}").replace("//", "//${LOGIN}@")
        edit(
            workspace / "params.yaml", "origins: {}",
            f"origins: {{mine: {{url: {{url: '{url}', sha256: {digest}, allow_private: true}}}}}}",
        )  # fmt: skip
        edit(workspace / "params.yaml", "path: data/target.npz", "path: data/origins/mine/target.npz")
        missing = run(workspace, "graftwork", "run", "--without-prefect")
        done = subprocess.run(
            ["graftwork", "run", "--without-prefect"], cwd=workspace, capture_output=True, text=True, check=False,
            env={**environment(), "LOGIN": f"user:{PASSWORD}", "KEY": PASSWORD}, timeout=120,
        )  # fmt: skip
    assert missing.returncode == 3 and "LOGIN isn't set" in missing.stderr
    assert done.returncode == 0, done.stderr
    assert site.requests[0][0] == f"/target.npz?key={PASSWORD}"
    assert site.asked("Authorization")[0] is not None
    assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD.encode() not in whole_text(workspace)


def test_a_login_of_ones_own_prefect_server_is_not_told(workspace: Path) -> None:
    done = subprocess.run(
        ["graftwork", "run"], cwd=workspace, capture_output=True, text=True, check=False, timeout=60,
        env={**environment(), "PREFECT_API_URL": f"http://user:{PASSWORD}@127.0.0.1:9/api"},
    )  # fmt: skip
    assert done.returncode == 4
    assert "127.0.0.1:9" in done.stderr and PASSWORD not in done.stderr


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("https://user:pass@host/x", True),
        ("https://token@host/x", True),
        ("https://${LOGIN}@host/x", False),
        ("https://${USER}:${PASSWORD}@host/x", False),
        ("https://me:${PASSWORD}@host/x", True),
        ("https://host/x?at=a@b", False),
        ("https://host/@x", False),
    ],
)
def test_a_login_in_clear_is_told_from_a_name_of_one(url: str, is_one: bool) -> None:
    assert has_secret(url) is is_one


def test_messages_quote_urls_without_their_login() -> None:
    assert without_secrets("a 'https://me:pass@host/x@y' b") == "a 'https://…@host/x@y' b"


def test_a_secret_is_encoded_as_urls_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGIN", "me:p@ss/word")
    assert url_with_secrets("https://${LOGIN}@host/x") == "https://me:p%40ss%2Fword@host/x"
    with pytest.raises(DataError, match="NOT_SET isn't set"):
        url_with_secrets("https://${NOT_SET}@host/x")


@dataclass
class Context:
    flow_run: SimpleNamespace


@pytest.mark.parametrize("name", ["../../out", "/etc/x", "-rf", "a/b", ".git", "x\ny", "a..b", "", "x" * 300, "a b"])
def test_a_flow_runs_name_never_leads_out_of_its_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_body.FlowRunContext, "get", lambda: Context(SimpleNamespace(name=name)))
    assert flow_body.SAFE_NAME.fullmatch(flow_body.flow_run_name())
    assert flow_body.flow_run_name().startswith("run-")


def test_a_flow_runs_own_name_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    name = flow_body.run_name("transfer")
    monkeypatch.setattr(flow_body.FlowRunContext, "get", lambda: Context(SimpleNamespace(name=name)))
    assert flow_body.flow_run_name() == name


def test_no_other_user_may_write_where_dvc_keeps_pickles(workspace: Path) -> None:
    folder = workspace / ".dvc" / "tmp" / "site"
    folder.mkdir(mode=0o777, parents=True, exist_ok=True)
    folder.chmod(0o777)  # as DVC makes it
    call(workspace, "graftwork", "run", "--without-prefect")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir())


def test_code_from_a_local_file_is_named_as_such(workspace: Path) -> None:
    edit(workspace / "params.yaml", "  freeze:", "  own: [full_copy, centre_logits]\n  freeze:")
    call(workspace, "graftwork", "run", "--without-prefect")
    page = (workspace / "report" / "report.html").read_text()
    digest = hashlib.sha256((workspace / "strategies" / "centre_logits.py").read_bytes()).hexdigest()
    assert "Local plugins" in page and "centre_logits.py" in page and digest[:12] in page


def test_without_local_code_the_report_names_none(computed: Path) -> None:
    assert "Local plugins" not in (computed / "report" / "report.html").read_text()
