"""A file at a URL, pinned by its sha256; archives are unpacked."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from graftwork.addresses import parsed, shown
from graftwork.archives import Limits, extract, is_archive
from graftwork.desk import Desk
from graftwork.digests import Checksums, digests_of
from graftwork.downloads import Remote, download
from graftwork.errors import DataError
from graftwork.files import atomic_file, make_folder
from graftwork.member_names import checked_name
from graftwork.secrets import has_secret

PACKED = (".zip", ".tar", ".tgz", ".txz", ".tbz2", ".gz", ".xz", ".bz2")  # .npz and .pt are zips to be left whole
Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]


@dataclass(frozen=True)
class Url:
    """One file over https or http. Without its sha256 it is fetched once, to tell which that is.

    An archive is unpacked if the URL, or `name`, ends like one; `extract` says otherwise. `name` is what the file is
    called, in the mirror too; null: the URL's last part. `${NAME}` anywhere in the URL is taken from the environment
    when it is sent; a login in clear is refused. `allow_private` lets the URL lead into private networks. The file, and
    what comes out of an archive, have at most `most_bytes`, `most_members`, and `most_ratio` bytes a byte.
    """

    url: str
    sha256: Sha256 | None = None
    extract: bool | None = None
    name: str | None = None
    allow_private: bool = False
    most_bytes: Annotated[int, Field(gt=0)] = Limits.most_file_bytes
    most_members: Annotated[int, Field(gt=0)] = Limits.most_members
    most_ratio: Annotated[float, Field(gt=0)] = Limits.most_ratio

    def __post_init__(self) -> None:
        if has_secret(self.url):
            raise ValueError(
                "url: a login here would end up in git, dvc.lock and logs; name it, https://${LOGIN}@host/…"
            )
        try:
            path = checked_name(self.file_name, folder=False)
        except DataError as error:
            raise ValueError(error.what) from None
        if len(path.parts) != 1:
            raise ValueError(f"name: {self.name!r} must be a file's name, without a slash")

    @property
    def file_name(self) -> str:
        """What the file is called."""
        if self.name is not None:
            return self.name
        url = parsed(self.url)
        return url.path.rstrip("/").rpartition("/")[2] or url.host

    def obtain(self, folder: Path, desk: Desk) -> dict[str, Any]:
        """Write the file, or what the archive holds. Raises DataError for what can't be had or isn't the file."""
        staging = desk.partial / f"url-{hashlib.sha256(self.url.encode()).hexdigest()[:32]}"
        fetched = staging / self.file_name
        digest = self._fetch(fetched, desk)
        if self.sha256 is None:
            raise DataError(
                f"The sha256 of {self.file_name} isn't given; what came has {digest}", where=shown(self.url),
                expected="the sha256 that its publisher tells",
                fix=f"if that is the file you want, add under origins: sha256: {digest}",
            )  # fmt: skip
        unpacked = self._place(fetched, folder, desk)
        shutil.rmtree(staging, ignore_errors=True)
        return {"url": shown(self.url), "sha256": digest, "file": self.file_name, "unpacked_files": unpacked}

    def _fetch(self, fetched: Path, desk: Desk) -> str:
        """Return the file's sha256; a file that an earlier run fetched, to be checked by a person, is taken."""
        if fetched.is_file():
            digest, wrong = digests_of(fetched, Checksums(self.sha256), desk.progress)
            if wrong is None:
                return digest
            fetched.unlink()
        make_folder(fetched.parent)
        remote = Remote(self.url, self.sha256, names=(self.file_name,), names_secrets=True)
        return download(remote, fetched, desk, allow_private=self.allow_private, most_bytes=self.most_bytes)

    def _place(self, fetched: Path, folder: Path, desk: Desk) -> int:
        """Unpack or move the file into the folder; return how many files came out of it."""
        packed = self.file_name.lower().endswith(PACKED)
        if packed if self.extract is None else self.extract:
            limits = Limits(self.most_members, self.most_bytes, self.most_bytes, self.most_ratio)
            return len(extract(fetched, folder, limits, desk.progress))
        if self.extract is None and is_archive(fetched):
            desk.progress.log(f"{self.file_name} is kept as it is; extract: true would unpack it")
        with atomic_file(folder / self.file_name) as temporary:
            shutil.move(fetched, temporary)
        return 0
