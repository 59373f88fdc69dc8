"""Parse YAML without surprises: no objects, no duplicate keys, no bombs, and a line for every key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from graftwork.errors import SettingsError

MOST_NODES = 20_000


@dataclass(frozen=True)
class YamlSource:
    """A parsed YAML file: its values, and where each of them stands."""

    path: Path
    values: dict[str, Any]
    root: Node | None
    overridden: tuple[str, ...] = ()  # keys set from outside the file, as `finetune.lr`

    def place(self, location: tuple[str | int, ...]) -> str:
        """Return `params.yaml, line 12` for the deepest part of `location` that is in the file."""
        for key in self.overridden:
            if location[: key.count(".") + 1] == tuple(key.split(".")):
                return f"--set {key}"
        node, line = self.root, 0
        for part in location:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return f"{self.path}, line {line + 1}" if line else str(self.path)


def read_yaml(path: Path) -> YamlSource:
    """Read a YAML mapping; raise SettingsError with line and column for whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(
            f"There is no {path.name} here", where=str(path.absolute().parent),
            fix="graftwork init, or cd into the workspace",
        ) from None  # fmt: skip
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The file can't be read: {error}", where=str(path), expected="UTF-8 text", fix=f"ls -l {path}"
        ) from None
    try:
        root = _yaml().compose(text)
        if root is not None and _expanded_size(root, {}, set()) > MOST_NODES:
            raise SettingsError(
                "The YAML expands to far too many values", where=str(path),
                expected=f"at most {MOST_NODES:,}", fix="remove the aliases (*name)",
            )  # fmt: skip
        values = _yaml().load(text)
    except DuplicateKeyError as error:
        raise _duplicate_key(path, error) from None
    except ConstructorError as error:
        raise _broken(path, error, "a plain value; tags such as !!python/object are never executed") from None
    except YAMLError as error:
        raise _broken(path, error, "valid YAML") from None
    if not isinstance(values, dict):
        raise SettingsError(
            f"The file holds {_kind(values)}", where=str(path), expected="keys with values",
            fix="graftwork init in an empty folder writes a good one to compare with",
        )  # fmt: skip
    return YamlSource(path, values, root)


def parse_value(text: str) -> Any:
    """Parse one scalar or flow collection as YAML would, so that `1e-3` is a number and `no` a word."""
    try:
        return _yaml().load(text)
    except YAMLError:
        return text


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)  # pure: YAML 1.2, as DVC reads it


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _duplicate_key(path: Path, error: DuplicateKeyError) -> SettingsError:
    first = error.context_mark.line + 1 if error.context_mark else "?"
    second = error.problem_mark.line + 1 if error.problem_mark else "?"
    problem = str(error.problem).partition(" with value")[0]
    lines = f"lines {first} (its mapping begins) and {second} (the second one)"
    return SettingsError(problem[0].upper() + problem[1:], where=f"{path}, {lines}", fix="remove one of the two")


def _broken(path: Path, error: YAMLError, expected: str) -> SettingsError:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
    problem = (error.problem if isinstance(error, MarkedYAMLError) else None) or str(error)
    return SettingsError(f"The YAML can't be read: {problem}", where=where, expected=expected, fix="mend that line")


def _expanded_size(node: Node, sizes: dict[int, int], open_nodes: set[int]) -> int:
    """Count the values that a node stands for with its aliases written out, visiting each node once."""
    if id(node) in open_nodes:
        return MOST_NODES + 1  # an alias to something that contains it
    if id(node) not in sizes:
        open_nodes.add(id(node))
        children = _children(node)
        sizes[id(node)] = 1 + sum(_expanded_size(child, sizes, open_nodes) for child in children)
        open_nodes.discard(id(node))
    return sizes[id(node)]


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _child(node: Node | None, part: str | int) -> tuple[Node, int] | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    return None
