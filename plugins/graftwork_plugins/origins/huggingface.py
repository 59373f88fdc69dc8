"""A data set of the Hugging Face hub: its Parquet files at one commit; from the hub, verified by its own checksums."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from graftwork.addresses import UnresolvedError, addresses_of, parsed, proxy_of
from graftwork.annotations import SPLIT_NAMES
from graftwork.desk import Desk
from graftwork.downloads import Remote, download
from graftwork.errors import DataError, first_line, listed
from graftwork.files import atomic_file, sha256_of_file
from graftwork.member_names import checked_name
from graftwork.mirror import require_online
from graftwork_plugins.origins.parquet_parts import gaps, is_whole

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, RepoSibling

CONVERTED = "refs/convert/parquet"  # where the hub puts its own conversion of a repository
COMMIT = re.compile(r"[0-9a-f]{40}")
SPLIT_FIRST = re.compile(rf"({'|'.join(SPLIT_NAMES)})([-_.].*)?", re.IGNORECASE)
Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?$")]


@dataclass(frozen=True)
class HuggingFace:
    """The Parquet files of a data set on the Hugging Face hub, for the dataset plugin `table`.

    `revision` is a commit, 40 digits; without one an error tells those of today. `files` are patterns of paths in the
    repository. The mirror is looked in first, for <repository>/<revision>/: whoever put files there is believed, as the
    hub's checksums aren't at hand, but for cut files and gaps in numbered ones. A token comes from HF_TOKEN or from
    `hf auth login`, the hub's address from HF_ENDPOINT.
    """

    repository: Repository
    revision: str | None = None
    files: tuple[str, ...] = ("*.parquet",)
    allow_private: bool = False

    def obtain(self, folder: Path, desk: Desk) -> dict[str, Any]:
        """Write the files, named after their splits. Raises DataError for what can't be had."""
        told = {"repository": self.repository, "revision": self.revision}  # the mirror knows no licence: it is logged
        if mirrored := self._mirrored(desk):
            return told | {"files": _copied(mirrored, folder, desk)}
        require_online(desk, [f"{self.repository}/{self.revision}/*.parquet"], _endpoint())
        info = self._info()
        chosen = self._chosen(info)
        desk.progress.log(f"The hub tells the licence {getattr(info.card_data, 'license', None) or 'of none'}")
        files = {}
        for number, (name, path) in enumerate(_flat_names(chosen).items(), 1):
            desk.progress.log(f"{path} ({number} of {len(chosen)})")
            files[name] = {"path": path, "sha256": self._fetch(chosen[path], folder / name, desk)}
        return told | {"files": files}

    def _mirrored(self, desk: Desk) -> dict[str, Path]:
        """Return the files of the mirror's folder for this commit, by their paths in the repository."""
        if desk.mirror is None or not COMMIT.fullmatch(self.revision or ""):
            return {}
        root = desk.mirror / self.repository / str(self.revision)
        found = {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}
        found = {name: path for name, path in found.items() if self._wanted(name)}
        wrong = [f"{name} isn't a whole Parquet file" for name, path in found.items() if not is_whole(path)]
        wrong += [f"{name} is missing" for name in gaps(found) if self._wanted(name)]
        if wrong:
            raise DataError(
                f"The mirror's files aren't the data set: {listed(wrong, 5)}", where=str(root),
                expected="all files of the commit that match files, as they are on the hub",
                fix="copy them anew, or take that folder out of the mirror",
            )  # fmt: skip
        return found

    def _wanted(self, name: str) -> bool:
        return name.endswith(".parquet") and any(fnmatch.fnmatchcase(name, pattern) for pattern in self.files)

    def _info(self) -> DatasetInfo:
        """Return what the hub tells of the commit; raise DataError unless it is one."""
        self._check_endpoint()
        if self.revision is None or not COMMIT.fullmatch(self.revision):
            commits = {name: self._commit(name) for name in dict.fromkeys([self.revision or "main", CONVERTED])}
            known = ", ".join(f"{commit} ({name})" for name, commit in commits.items() if commit)
            raise DataError(
                f"The revision {self.revision!r} isn't a commit", where=self.repository,
                expected="40 hexadecimal digits, so that the data stay the same",
                fix=f"revision: one of {known}" if known else "look the commit up on the hub",
            )  # fmt: skip
        return self._ask(self.revision)

    def _check_endpoint(self) -> None:
        """Raise DataError unless the hub's address is a public one, or may be private."""
        endpoint = parsed(_endpoint())
        try:
            if proxy_of(endpoint) is None:
                addresses_of(endpoint, self.allow_private)
        except UnresolvedError as error:
            raise DataError(
                f"The hub isn't reached: {error}", where=_endpoint(),
                expected=f"the hub, or {self.repository} in the mirror",
                fix="look at the network, or put the files into the mirror",
            ) from None  # fmt: skip

    def _commit(self, revision: str) -> str | None:
        try:
            return self._ask(revision).sha
        except DataError:
            return None

    def _ask(self, revision: str) -> DatasetInfo:
        """Ask the hub through its own client, which knows its ways; files come through ours, resumed and verified."""
        from huggingface_hub import HfApi

        try:
            return HfApi(endpoint=_endpoint()).dataset_info(
                self.repository, revision=revision, files_metadata=True, timeout=30
            )
        except Exception as error:  # the client's HTTP library has changed twice, and its errors with it
            raise DataError(
                f"The hub doesn't tell of {self.repository} at {revision}: {type(error).__name__}: {first_line(error)}",
                where=_endpoint(), fix="correct repository and revision; for a gated or private one set HF_TOKEN",
            ) from None  # fmt: skip

    def _chosen(self, info: DatasetInfo) -> dict[str, RepoSibling]:
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
        chosen = {name: siblings[name] for name in sorted(siblings) if self._wanted(name)}
        if not chosen:
            converted = self._commit(CONVERTED)
            raise DataError(
                f"{self.repository} has no Parquet files called {listed(self.files)} at that commit",
                where=f"{listed(siblings, 8)}", expected="Parquet files",
                fix=f"revision: {converted} is the hub's own conversion" if converted else "correct files",
            )  # fmt: skip
        return chosen

    def _fetch(self, sibling: RepoSibling, target: Path, desk: Desk) -> str:
        from huggingface_hub import get_token, hf_hub_url

        url = hf_hub_url(
            self.repository, sibling.rfilename, repo_type="dataset", revision=self.revision, endpoint=_endpoint()
        )
        published = sibling.lfs.sha256 if sibling.lfs else None
        name = f"{self.repository}/{self.revision}/{sibling.rfilename}"
        remote = Remote(url, published, names=(name,), token=get_token())
        digest = download(remote, target, desk, allow_private=self.allow_private)
        if published is None:
            _check_blob(target, sibling)
        return digest


def _endpoint() -> str:
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _flat_names(paths: dict[str, Any]) -> dict[str, str]:
    """Return the paths by names that begin with the split: `default/train/0000.parquet` is `train-0000.parquet`.

    Raises DataError when two would be called the same: the repository has several configurations.
    """
    found: dict[str, str] = {}
    for path in paths:
        *folders, name = checked_name(path, folder=False).parts
        if not SPLIT_FIRST.fullmatch(PurePosixPath(name).stem) and folders:
            name = f"{folders[-1]}-{name}"
        if name in found:
            raise DataError(
                f"Two files would be called {name}: {found[name]} and {path}", expected="one configuration",
                fix=f'files: ["{path.partition("/")[0]}/*"], for instance',
            )  # fmt: skip
        found[name] = path
    return found


def _copied(mirrored: dict[str, Path], folder: Path, desk: Desk) -> dict[str, dict[str, str]]:
    files = {}
    for name, path in _flat_names(mirrored).items():
        desk.progress.log(f"{path}: from the mirror")
        with atomic_file(folder / name) as temporary:
            shutil.copyfile(mirrored[path], temporary)
        files[name] = {"path": path, "sha256": sha256_of_file(folder / name)}
    return files


def _check_blob(path: Path, sibling: RepoSibling) -> None:
    """Raise DataError unless a file kept in git itself, and not in LFS, has git's checksum."""
    found = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    if sibling.blob_id != found.hexdigest():
        path.unlink()
        raise DataError(
            f"The file isn't the one of that commit: git's checksum is {found.hexdigest()}, not {sibling.blob_id}",
            where=sibling.rfilename, fix="run again",
        )  # fmt: skip
