"""Find the data that a user named: look at what lies at a path, or look a published set's name up."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from graftwork.errors import DataError, SettingsError, did_you_mean
from graftwork.names import printable
from graftwork.recognition import part_of
from graftwork.registry import Registry
from graftwork.settings import Use
from graftwork.survey import Outline, Survey, survey

PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")  # what YAML takes for a text


@dataclass(frozen=True)
class Found:
    """A data set as params.yaml names it; `origin` is how a published one is obtained, else nothing."""

    outline: Outline
    dataset: str
    path: str
    lines: tuple[str, ...]  # what to tell of it
    name: str = ""  # a published one's
    origin: str = ""


def find(asked: str, option: str, folder: Path, registry: Registry) -> Found:
    """Return the data at a path, or of a published name, for a workspace in `folder`.

    Raises DataError for data that can't be read, SettingsError for what is neither path nor name.
    """
    path = path_of(asked, option)
    if path.exists():
        return _at(path, folder, registry)
    known = _published(registry)
    if asked not in known:
        raise SettingsError(
            f"{asked!r} is neither a path that is there nor a name that is known", where=option,
            expected=f"{_KINDS[option]}, or one of: {', '.join(sorted(known))}",
            fix=did_you_mean(asked, known) or "correct the path",
        )  # fmt: skip
    return known[asked]


def path_of(asked: str, option: str) -> Path:
    """Return the whole path that a user means. Raises SettingsError for one that can't be, or that no text can name."""
    try:
        path = Path(asked).expanduser().resolve()
        path.exists()  # it may be too long to be asked for
        str(path).encode()
    except UnicodeEncodeError:
        problem = "it isn't UTF-8, as params.yaml is"
    except (OSError, RuntimeError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    else:
        return path
    raise SettingsError(
        f"The path {asked!r} can't be used: {problem}", where=option, expected="a path that can be",
        fix="correct the path, or rename what it leads to",
    )  # fmt: skip


_KINDS = {"--target": "a path", "--source": "a path, timm:NAME"}


def _at(path: Path, folder: Path, registry: Registry) -> Found:
    """Look at the data at a path; where that is a list of files, or one file of several, at the folder of them."""
    use, said = None, []
    if part := part_of(path):
        use = _use_of_folder(path, part, registry)
        said = [f"{printable(path.name)} goes with other files in {printable(path.parent)}: that folder is the data"]
        path = path.parent
    found = _surveyed(path, use, folder, registry)
    dataset = found.dataset if use is None or not use.settings else f"{{{use.name}: {_flow(use.settings)}}}"
    return Found(found.outline, dataset, as_seen_from(folder, path), (*said, *found.lines()))


def _use_of_folder(file: Path, plugin: str, registry: Registry) -> Use:
    """Return the plugin for a file's folder: as it is read by itself, or where it holds several tables, by this one."""
    use = Use.model_validate(plugin)
    if plugin != "table":
        return use
    try:
        survey(file.parent, registry, use)
    except DataError:
        return Use.model_validate({plugin: {"file": file.name}})
    return use


def _flow(settings: dict[str, object]) -> str:
    return "{" + ", ".join(f"{key}: {quoted(str(value))}" for key, value in settings.items()) + "}"


def _surveyed(path: Path, use: Use | None, folder: Path, registry: Registry) -> Survey:
    """Look at data that may be read: of two classes or more, with nothing of the workspace's own in it."""
    made = [folder / "data" / name for name in ("raw", "prepared", "origins")]
    if any(own.is_relative_to(path) for own in made):
        raise SettingsError(
            "The workspace would write into this data", where=str(path), expected=f"a folder beside {made[0]}",
            fix=f"move the data into {folder / 'data' / 'NAME'}, or make the workspace elsewhere",
        )  # fmt: skip
    found = survey(path, registry, use)
    if len(found.classes) < 2:
        raise DataError(
            f"There is one class only: {printable(found.classes[0])}", where=str(path), expected="two classes or more",
            fix="add images of another class, or name the folder above it",
        )  # fmt: skip
    _require_enough(found, path)
    return found


def _require_enough(found: Survey, path: Path) -> None:
    """Raise DataError unless every class has an image for each split that has to be cut, and one to train on."""
    cut = [split for split in ("validation", "test") if split not in found.splits]
    counts = found.training
    fewest = min(range(len(counts)), key=counts.__getitem__)
    if counts[fewest] <= len(cut):
        name, images = printable(found.classes[fewest]), f"{counts[fewest]} image{'s' * (counts[fewest] != 1)}"
        raise DataError(
            f"The class {name!r} has {images}, which is too few to split", where=str(path),
            expected=f"at least {len(cut) + 1} images a class, one each for {' and '.join(['training', *cut])}",
            fix="add images to it, or take the class out",
        )  # fmt: skip


def _published(registry: Registry) -> dict[str, Found]:
    """Return the published data sets that the origin plugins know, by name."""
    result: dict[str, Found] = {}
    for plugin in registry.named("origin"):
        names: dict[str, Outline] = getattr(plugin.factory, "PUBLISHED", {})
        for name, outline in names.items():
            folder = f"data/origins/{name}"
            path = f"{folder}/{name}.npz" if outline.dataset == "npz" else folder
            result[name] = Found(outline, outline.dataset, path, _told(name, outline), name, plugin.as_yaml(name))
    return result


def _told(name: str, outline: Outline) -> tuple[str, ...]:
    parts = ", ".join(f"{count:,} {split or 'images'}" for split, count in outline.images.items())
    colour = "grey" if outline.channels == 1 else "colour"
    return (
        f"{name}, a published set, obtained by the first run: {outline.classes} classes",
        f"{parts}; {colour}, {outline.side} pixels",
    )


def as_seen_from(folder: Path, path: Path) -> str:
    """Return a path inside the workspace relative to it, another as it is; in quotes where YAML needs them."""
    return quoted(path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix())


def quoted(text: str) -> str:
    """Return a text as YAML writes it: on one line, whatever it holds."""
    if PLAIN.fullmatch(text):
        return text
    marks = json.dumps(text, ensure_ascii=False)
    return "".join(mark if mark.isprintable() else f"\\U{ord(mark):08x}" for mark in marks)
