"""Find class folders and the pictures in them, with or without folders of splits above; refuse what leads elsewhere."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from graftwork.annotations import SPLIT_NAMES
from graftwork.decoding import EXTENSIONS
from graftwork.desk import TOLD
from graftwork.errors import DataError, listed
from graftwork.names import printable
from graftwork.picture_files import is_hidden, is_picture, pictures_below, stays_inside

LAYOUT = "<path>/<class>/*.jpg, or <path>/{train,validation,test}/<class>/*.jpg"


@dataclass(frozen=True)
class Entry:
    """A picture, the class that its folder names, and its split, or an empty text."""

    file: Path
    label: str
    split: str


def scan(root: Path) -> list[Entry]:
    """List the pictures in a fixed order; refuse links out of the root, empty class folders, an empty root."""
    if not root.is_dir():
        what = "The path is a file" if root.is_file() else "The folder is missing"
        raise DataError(what, where=str(root), expected=LAYOUT, fix="correct path in params.yaml")
    entries = []
    for split, folder in _class_folders(root):
        files = _files_below(folder, root)
        if not files:
            raise DataError(
                f"The class folder {folder.name!r} holds no images", where=str(folder),
                expected=f"files ending in {', '.join(EXTENSIONS)}", fix="add images, or remove the folder",
            )  # fmt: skip
        entries += [Entry(file, unicodedata.normalize("NFC", folder.name), split) for file in files]
    return entries


def _class_folders(root: Path) -> list[tuple[str, Path]]:
    parts = _split_folders(root)
    found = [(split, folder) for part, split in parts.items() for folder in _folders(part)]
    if not parts:
        found = [("", folder) for folder in _folders(root)]
    if not found or (parts and "train" not in {split for split, _ in found}):
        empty = next((part for part, split in parts.items() if split == "train"), root)
        raise DataError("The folder holds no class folders", where=str(empty), expected=LAYOUT, fix="add images")
    return found


def _split_folders(root: Path) -> dict[Path, str]:
    """Return the folders of splits, each with its split; none where all folders are classes.

    Two such names are enough, in any case: a class called `test` may stand among others. Raises DataError where other
    folders stand beside them, two are of one split, or none is for training.
    """
    folders = _folders(root)
    names = {folder: folder.name.casefold() for folder in folders}
    parts = {folder: SPLIT_NAMES[name] for folder, name in names.items() if name in SPLIT_NAMES}
    if len(parts) < 2:
        return {}
    for part in parts:
        if part.is_symlink():
            raise _link(part, root)
    others = [printable(folder.name) for folder in folders if folder not in parts]
    if others or len(set(parts.values())) < len(parts) or "train" not in parts.values():
        beside = f", and beside them {listed(others, 5)}" if others else ""
        raise DataError(
            f"There are folders called {' and '.join(part.name for part in parts)}{beside}", where=str(root),
            expected=LAYOUT,
            fix=f"{'move the others elsewhere' if others else 'keep one folder of a split, train among them'}, "
            "or rename those that are classes",
        )  # fmt: skip
    return parts


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def _files_below(folder: Path, root: Path) -> list[Path]:
    """Return the pictures below a class folder; links to files inside the root are followed, no others."""
    if folder.is_symlink():
        raise _link(folder, root)
    found = sorted(pictures_below(folder))
    for path in found:
        if path.is_symlink() and (path.is_dir() or not stays_inside(path, root)):
            raise _link(path, root)
    return [path for path in found if is_picture(path)]


def _link(path: Path, root: Path) -> DataError:
    return DataError(
        "A link leads out of the data folder, or to a folder", where=str(path), expected=f"files inside {root}",
        fix="replace the link by the files themselves",
    )  # fmt: skip


def class_names(found: list[Entry], root: Path) -> list[str]:
    """Return the sorted names; raise for two that a person, or another file system, can't tell apart."""
    folders = {entry.file.relative_to(root).parts[1 if entry.split else 0] for entry in found}
    seen: dict[str, str] = {}
    for name in sorted(folders):
        alike = unicodedata.normalize("NFKC", name).casefold()
        if alike in seen:
            raise DataError(
                f"Two class folders differ only in case or Unicode form: {seen[alike]!r} ({seen[alike]!a}) and "
                f"{name!r} ({name!a})", where=str(root), fix="merge or rename them",
            )  # fmt: skip
        seen[alike] = name
    return sorted({entry.label for entry in found})


def outside(root: Path) -> dict[str, int]:
    """Count, as a remark on the data, the pictures that lie in no class folder."""
    above = (root, *_split_folders(root))
    count = sum(is_picture(file) and file.is_file() for folder in above for file in folder.iterdir())
    return {"outside the class folders, which are not read": count} if count else {}


def ignored(root: Path) -> dict[str, int]:
    """Count the files that were passed over, by extension; what an origin tells of the folder isn't the data's."""
    counts: Counter[str] = Counter()
    for folder, _, names in os.walk(root):
        hidden = any(map(is_hidden, Path(folder).relative_to(root).parts))
        for file in (Path(folder, name) for name in names):
            if hidden or is_hidden(file.name):
                counts["(hidden)"] += 1
            elif file.suffix.lower() not in EXTENSIONS and file != root / TOLD:
                counts[printable(file.suffix.lower()) or "(none)"] += 1
    return dict(sorted(counts.items()))
