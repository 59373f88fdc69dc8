"""Named sets by torchvision's names, from a mirror or from their own sites, in one form wherever they come from."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from graftwork.desk import Desk
from graftwork.errors import DataError, listed
from graftwork.files import sha256_of_file
from graftwork.images import RawImages
from graftwork.survey import Outline
from graftwork_plugins.classic import named_sets
from graftwork_plugins.classic.canonical import arrays_of, sum_of, write_npz
from graftwork_plugins.classic.named_sets import Arrays, Files, NamedSet
from graftwork_plugins.classic.own_files import ANY
from graftwork_plugins.classic.published import Published, published
from graftwork_plugins.npz import Npz

Name = Literal[
    "mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn", "stl10", "flowers102", "oxford_iiit_pet",
    "eurosat",
]  # fmt: skip
FILE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class TorchvisionSet:
    """One of torchvision's named sets: <name>.npz for images of one size, else class folders.

    The mirror is looked in first: for <name>.npz, for the set's own files, then for the .npz files named in `accept`,
    which may stand in for the whole set: origin.json tells of one that does. The set itself is the same to the last
    byte wherever it came from; that is logged. Its own files have checksums; so have the arrays in mnist.npz and
    fashion_mnist.npz. Of other sets' .npz files in the mirror only numbers and shape of the images are known, so that
    whoever put them there is believed.
    """

    PUBLISHED: ClassVar[dict[str, Outline]] = {  # the names, each with what is known before it is obtained
        name: chosen.outline for name, chosen in named_sets.SETS.items()
    }

    name: Name
    accept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = [name for name in self.accept if not FILE_STEM.fullmatch(name)]
        if wrong:
            raise ValueError(f"accept: {wrong[0]!r} isn't the name of a file in the mirror, without .npz")
        if self.accept and not isinstance(named_sets.SETS[self.name].form, Arrays):
            raise ValueError(f"accept: nothing can stand in for {self.name}, which is a set of pictures")

    def obtain(self, folder: Path, desk: Desk) -> dict[str, Any]:
        """Write the set into the folder. Raises DataError for what can't be had or isn't the set."""
        chosen = named_sets.SETS[self.name]
        told = {"name": self.name, "title": chosen.title, "homepage": chosen.homepage, "licence": chosen.licence}
        if isinstance(chosen.form, Arrays) and (file := _mirrored(desk, self.name)):
            _log_files("the mirror", {file.name: file}, desk)
            return told | self._from_npz(chosen.form, file, folder, whole=True)
        files = published(self.name)
        if found := _own_files(files, (self.name, chosen.folder, ""), desk):
            _log_files("the mirror", found, desk)
            return told | self._from_own_files(chosen, found, folder)
        for name in self.accept:
            if isinstance(chosen.form, Arrays) and (file := _mirrored(desk, name)):
                desk.progress.log(f"{file.name} stands in for {chosen.title}")
                return told | self._from_npz(chosen.form, file, folder, whole=False) | {"stands_in": name}
        partial = desk.partial / "torchvision" / self.name
        found = self._fetched(files, partial, desk)
        _log_files(f"the network, {', '.join(file.urls[0] for file in files)}", found, desk)
        told |= self._from_own_files(chosen, found, folder)
        shutil.rmtree(partial, ignore_errors=True)
        return told

    def _from_npz(self, form: Arrays, file: Path, folder: Path, *, whole: bool) -> dict[str, Any]:
        raw = Npz().load(file, ANY)
        if (whole and form.sha256) or raw.classes == tuple(map(str, range(len(raw.classes)))):  # numbers, or no names
            raw = RawImages(raw.images, raw.labels, form.classes, raw.split)
        _write(raw, form, folder / f"{self.name}.npz", file, whole=whole)
        return self._told(folder)

    def _from_own_files(self, chosen: NamedSet, files: Files, folder: Path) -> dict[str, Any]:
        first = next(iter(files.values()))
        if isinstance(chosen.form, Arrays):
            _write(chosen.form.read(files), chosen.form, folder / f"{self.name}.npz", first, whole=True)
            return self._told(folder)
        if (count := chosen.form.unfold(files, folder)) != chosen.form.count:
            raise DataError(
                f"The set has {count:,} pictures", where=str(first), expected=f"{chosen.form.count:,}",
                fix="fetch it anew",
            )  # fmt: skip
        return {"files": _digests(files)}

    def _told(self, folder: Path) -> dict[str, Any]:
        """Tell of the archive that was written: of what it was made differs by where that came from."""
        return {"files": _digests({f"{self.name}.npz": folder / f"{self.name}.npz"})}

    def _fetched(self, files: Sequence[Published], folder: Path, desk: Desk) -> Files:
        """Download what isn't there yet into a folder that survives a kill; try each file's places in turn."""
        from graftwork.downloads import Remote, download

        chosen = named_sets.SETS[self.name]
        for file in files:
            names = (f"{self.name}/{file.name}", f"{chosen.folder}/{file.name}".lstrip("/"))
            failures = []
            for url in () if file.is_at(folder / file.name) else file.urls:
                try:
                    download(Remote(url, md5=file.md5, names=names), folder / file.name, desk)
                    break
                except DataError as error:
                    failures.append(f"{url}: {error.what}")
            if len(failures) == len(file.urls):
                raise self._not_to_be_had(files, failures, desk)
        return {file.name: folder / file.name for file in files}

    def _not_to_be_had(self, files: Sequence[Published], failures: Sequence[str], desk: Desk) -> DataError:
        chosen = named_sets.SETS[self.name]
        whole = f"{self.name}.npz, or " if isinstance(chosen.form, Arrays) else ""
        return DataError(
            f"{chosen.title} can't be had: {'; '.join(failures)}", where=str(desk.mirror or "no mirror is set"),
            expected=f"in the mirror: {whole}{listed(f'{self.name}/{file.name}' for file in files)}",
            fix="go online and run again, or put the files into the mirror",
        )  # fmt: skip


def _mirrored(desk: Desk, name: str) -> Path | None:
    file = desk.mirror / f"{name}.npz" if desk.mirror else None
    return file if file is not None and file.is_file() else None


def _own_files(files: Sequence[Published], folders: Sequence[str], desk: Desk) -> Files | None:
    """Return a set's own files where they all stand in one folder of the mirror; others of these names are told of."""
    if desk.mirror is None:
        return None
    for folder in dict.fromkeys(folders):
        paths = {file.name: desk.mirror / folder / file.name for file in files}
        if not all(path.is_file() for path in paths.values()):
            continue
        other = [file.name for file in files if not file.is_at(paths[file.name])]
        if not other:
            return paths
        place = f"the mirror's folder {folder}" if folder else "the mirror"
        desk.progress.log(f"Not the published files, passed over in {place}: {listed(other)}")
    return None


def _write(raw: RawImages, form: Arrays, target: Path, source: Path, *, whole: bool) -> None:
    """Check that it is the set, or for a stand-in like it, and write it."""
    if raw.split is None:
        raise DataError(
            "The archive has no training and test images of its own", where=str(source),
            expected="x_train, y_train, x_test, y_test", fix="take another file into the mirror",
        )  # fmt: skip
    counts = tuple(int((raw.split == part).sum()) for part in ("train", "test"))
    if raw.images.shape[1:] != form.shape or (whole and counts != (form.train, form.test)):
        raise DataError(
            f"There are {counts[0]:,} training and {counts[1]:,} test images of (C, H, W) {raw.images.shape[1:]}",
            where=str(source), expected=f"{form.train:,} and {form.test:,} of {form.shape}",
            fix="take the whole set into the mirror; a part of it, under another name, may be named in accept",
        )  # fmt: skip
    raw.check(str(source))
    arrays = arrays_of(raw)
    if whole and form.sha256 and sum_of(arrays) != form.sha256:
        raise DataError(
            f"The images or labels aren't those of the set: their sha256 is {sum_of(arrays)}", where=str(source),
            expected=form.sha256, fix="take the set itself into the mirror; another one, under another name, may be "
            "named in accept",
        )  # fmt: skip
    write_npz(target, arrays)


def _log_files(origin: str, files: Files, desk: Desk) -> None:
    told = "; ".join(f"{file['name']}, sha256 {file['sha256']}" for file in _digests(files))
    desk.progress.log(f"From {origin}: {told}")


def _digests(files: Files) -> list[dict[str, str]]:
    return [{"name": name, "sha256": sha256_of_file(path)} for name, path in files.items()]
