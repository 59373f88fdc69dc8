"""What a stage needs and what it makes, exchanged by hash between workspaces on different machines.

Called by pipeline.py; with it the module that knows DVC's internals. Tried with DVC 3.67. A remote carries the bytes;
workspaces on one disk share DVC's cache instead, and need none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from graftwork.errors import StateError
from graftwork.files import make_folder, write_text

Entry = dict[str, Any]  # a stage of dvc.lock: what ran, on which inputs and settings, and what came out
SECRETS = {
    "password", "passphrase", "token", "secret_access_key", "access_key_id", "session_token", "account_key",
    "sas_token", "client_secret", "connection_string", "oss_key_id", "oss_key_secret", "gdrive_client_secret",
    "sse_customer_key", "sse_kms_key_id", "bearer_token_command",
}  # fmt: skip


def inputs(repo: Any, stage: Any) -> tuple[list[Path], list[Path]]:
    """Return where a stage's inputs are: those in DVC's cache, and those that aren't."""
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import OutputNotFoundError

    repo._reset()  # what other stages recorded meanwhile counts
    cached, plain = [], []
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency) or dependency.protocol != "local":
            continue
        try:
            outs = repo.find_outs_by_path(dependency.fs_path, recursive=True, strict=False)
        except OutputNotFoundError:
            outs = []
        cached += [Path(out.fs_path) for out in outs if out.use_cache]
        plain += [Path(one.fs_path) for one in outs or [dependency] if one is dependency or not one.use_cache]
    return list(dict.fromkeys(cached)), list(dict.fromkeys(plain))


def remote_of(repo: Any) -> tuple[str, dict[str, str]]:
    """Return the name and the settings of the default remote, without secrets; an empty name where there is none."""
    name = repo.config["core"].get("remote") or ""
    found = repo.config["remote"].get(name, {})
    return name, {key: str(value) for key, value in found.items() if key not in SECRETS}


def send(repo: Any, paths: Iterable[Path]) -> None:
    """Bring what these outputs hold to the remote, if there is one."""
    targets = [str(path) for path in paths]
    if targets and remote_of(repo)[0]:
        repo.push(targets=targets)


def receive(repo: Any, paths: Iterable[Path]) -> None:
    """Put outputs, as dvc.lock names them, in place: from the cache, or from the remote by way of it."""
    targets = [str(path) for path in paths]
    if targets:
        if remote_of(repo)[0]:
            repo.fetch(targets=targets)
        repo.checkout(targets=targets, force=True)


def entry(stage: Any) -> Entry:
    """Return what is recorded of a stage, as JSON."""
    from dvc.stage.serialize import to_single_stage_lockfile

    found: Entry = json.loads(json.dumps(to_single_stage_lockfile(stage)))
    return found


def accept(repo: Any, stage: Any, done: Entry) -> None:
    """Put what was made of this stage elsewhere in place. Raises StateError where it was made of something else."""
    stage.save_deps()
    mine = entry(stage)
    different = [key for key in ("cmd", "deps", "params") if _hashes(mine.get(key)) != _hashes(done.get(key))]
    if different:
        raise StateError(
            f"What came back was made of other {' and '.join(different)}", where=stage.addressing,
            expected="the inputs and settings of this workspace", fix="graftwork run; was a file edited meanwhile?",
        )  # fmt: skip
    made = repo.stage_cache._create_stage(done, wdir=stage.wdir)
    if not made.outs_cached() and remote_of(repo)[0]:
        for objects in made.get_used_objs().values():
            repo.cloud.pull(objects)
    if not made.outs_cached():
        raise StateError(
            "What was made elsewhere didn't arrive", where=stage.addressing,
            expected="a DVC remote that all machines reach", fix="dvc remote add -d store s3://bucket/folder",
        )  # fmt: skip
    for out in made.outs:  # not by the stage: the run holds its lock
        out.checkout(force=True)


def _hashes(recorded: Any) -> Any:
    """Return dependencies by path and hash alone; settings as they are."""
    return {one["path"]: one.get("md5") for one in recorded} if isinstance(recorded, list) else recorded


def set_up(root: Path, remote: str, settings: dict[str, str], cache: Path | None, own: Path) -> None:
    """Make `root` a folder of DVC's, without git, with one remote; `own` is the machine's config.local, for secrets."""
    from configobj import ConfigObj

    make_folder(root / ".dvc")
    config = ConfigObj()
    config["core"] = {"analytics": "false", "check_update": "false", "no_scm": "true"}
    if remote:
        config["core"]["remote"] = remote
        config[f'remote "{remote}"'] = settings
    if cache:
        config["cache"] = {"dir": str(cache)}
    write_text(root / ".dvc" / "config", "\n".join(config.write()) + "\n")
    secrets = ConfigObj(str(own)) if own.is_file() else {}
    kept = ConfigObj()
    kept.merge({name: section for name, section in secrets.items() if name.startswith("remote ")})
    write_text(root / ".dvc" / "config.local", "\n".join(kept.write()) + "\n")
