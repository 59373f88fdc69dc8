"""Unfold the archives of the sets of pictures into class folders; every place written to is one of our own tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from graftwork.errors import DataError, listed
from graftwork.torchvision_operators import define_missing
from graftwork_plugins.classic.members import opened, read_members
from graftwork_plugins.classic.own_files import read_mat

MOST_BYTES = 64 << 20  # of one picture
MOST_IN_ALL = 4 << 30
EUROSAT = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop", "Residential",
    "River", "SeaLake",
)  # fmt: skip
PET = re.compile(r"(?P<file>(?P<breed>[A-Za-z]+(_[A-Za-z]+)*)_\d+) \d+ [12] \d+")

Place = Callable[[PurePosixPath], str | None]  # from a path in the archive to one below the folder; None: passed over


def flowers(files: dict[str, Path], folder: Path) -> int:
    """Write train, validation and test/<class>/image_00001.jpg and so on; the split that the authors give."""
    define_missing()
    from torchvision.datasets import Flowers102

    labels = read_mat(files["imagelabels.mat"], ("labels",))["labels"].reshape(-1)
    parts = read_mat(files["setid.mat"], ("trnid", "valid", "tstid"))
    places: dict[str, str] = {}
    for part, key in (("train", "trnid"), ("validation", "valid"), ("test", "tstid")):
        for number in parts[key].reshape(-1).tolist():
            if not (1 <= number <= len(labels) and 1 <= labels[number - 1] <= len(Flowers102.classes)):
                raise DataError(f"There is no flower {number}", where=str(files["setid.mat"]), fix="fetch it anew")
            file = f"image_{number:05d}.jpg"
            places[file] = f"{part}/{Flowers102.classes[labels[number - 1] - 1]}/{file}"
    return _unfold(files["102flowers.tgz"], folder, lambda path: places.get(path.name), len(places))


def pets(files: dict[str, Path], folder: Path) -> int:
    """Write train and test/<breed>/<picture>.jpg; train is what the authors call trainval."""
    lists = read_members(files["annotations.tar.gz"], ("trainval.txt", "test.txt"), 1 << 20, MOST_IN_ALL)
    places: dict[str, str] = {}
    for part, name in (("train", "trainval.txt"), ("test", "test.txt")):
        for line in lists.get(name, b"").decode("ascii", "replace").splitlines():
            found = PET.fullmatch(line.strip())
            if found is None:
                raise DataError(f"{name} has a line that isn't known: {line[:60]!r}", fix="fetch the archive anew")
            places[f"{found['file']}.jpg"] = f"{part}/{found['breed'].replace('_', ' ').title()}/{found['file']}.jpg"
    return _unfold(files["images.tar.gz"], folder, lambda path: places.get(path.name), len(places))


def eurosat(files: dict[str, Path], folder: Path) -> int:
    """Write <class>/<picture>.jpg; the set has no split of its own."""
    return _unfold(files["EuroSAT.zip"], folder, _eurosat_place)


def _eurosat_place(path: PurePosixPath) -> str | None:
    known = path.parent.name in EUROSAT and re.fullmatch(rf"{path.parent.name}_\d+\.jpg", path.name)
    return f"{path.parent.name}/{path.name}" if known else None


def _unfold(archive: Path, folder: Path, place: Place, expected: int | None = None) -> int:
    """Write the pictures that have a place and return their number; raise DataError where some of `expected` miss."""
    written: set[str] = set()
    with opened(archive, MOST_IN_ALL) as members:
        for member in members:
            target = place(member.path)
            if target is None:
                continue
            if target in written:
                raise DataError(f"The picture {target!r} is there twice", where=str(archive), fix="fetch it anew")
            written.add(target)
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.read(MOST_BYTES))
    if expected is not None and len(written) != expected:
        raise DataError(
            f"The archive holds {len(written):,} of the {expected:,} pictures: {listed(sorted(written), 3)}",
            where=str(archive), fix="fetch it anew",
        )  # fmt: skip
    return len(written)
