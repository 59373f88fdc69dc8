"""Find the picture files below a folder: by one rule, whether they are trained on or predicted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from graftwork.decoding import EXTENSIONS

OF_MACOS = "__MACOSX"  # a folder that macOS adds to a zip, with a file of attributes for each of its files


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is none of the data: its name begins with a dot, or it is macOS's."""
    return name.startswith(".") or name == OF_MACOS


def is_picture(path: Path) -> bool:
    """Tell by its name whether a file is read as a picture."""
    return path.suffix.lower() in EXTENSIONS and not is_hidden(path.name)


def _fail(error: OSError) -> None:
    raise error


def pictures_below(root: Path, failed: Callable[[OSError], object] = _fail) -> Iterator[Path]:
    """Yield the pictures below a folder in a fixed order, and whatever is a link, for whoever asks to judge.

    Hidden ones are passed over, and links to folders aren't entered. `failed` is told of what can't be looked at.
    """
    for folder, below, names in os.walk(root, onerror=failed):
        below[:] = sorted(name for name in below if not is_hidden(name))
        for path in (Path(folder, name) for name in (*below, *sorted(names)) if not is_hidden(name)):
            if _is_picture_or_link(path, failed):
                yield path


def _is_picture_or_link(path: Path, failed: Callable[[OSError], object]) -> bool:
    try:
        return path.is_symlink() or (is_picture(path) and path.is_file())
    except OSError as error:  # of a folder that may be listed and not entered
        failed(error)
        return False


def stays_inside(link: Path, root: Path) -> bool:
    """Tell whether a link leads to something below a folder; one that leads nowhere, or in a circle, doesn't."""
    try:
        return link.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False
