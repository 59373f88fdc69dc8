"""Put values into Markdown so that they are shown, never obeyed: whatever a template inserts is escaped."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# Of a text within a line; what counts at a line's start alone (#, -, 1.) is no danger, as no template begins one so.
MARKS = re.compile(r"([\\`*_\[\]|~$])")
WITHIN_WORDS = re.compile(r"(?<=\w)\\_(?=\w)")  # where an underscore is no mark: names stay legible as text


class Ready(str):
    """Markdown that a filter made, to be inserted as it is."""

    __slots__ = ()


def escaped(value: object) -> str:
    """Return a value on one line with every mark of Markdown and HTML taken literally."""
    return value if isinstance(value, Ready) else MARKS.sub(r"\\\1", html.escape(one_line(value), quote=False))


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of one set of columns as a table, the first column to the left, the others to the right."""
    columns = list(rows[0])
    lines = [columns, ["---"] + ["---:" for _ in columns[1:]]]
    lines += [[WITHIN_WORDS.sub("_", escaped(row[column])) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def one_line(value: object) -> str:
    """Return a value as text on one line; what can't be shown, such as a change of direction, becomes �."""
    text = re.sub(r"\s+", " ", str(value))
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)


def as_code(value: object) -> Ready:
    """Return a value between backticks, more of them than it holds. Not for a table: a bar would end its cell."""
    text = one_line(value)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return Ready(f"{fence}{space}{text}{space}{fence}")


def as_yaml(value: object) -> Ready:
    """Return a value as YAML on one line: JSON is."""
    return Ready(json.dumps(one_line(value) if isinstance(value, str) else value, ensure_ascii=False))


def environment() -> Environment:
    """Return what turns a template into Markdown: every value is escaped, and nothing may be missing."""
    found = Environment(
        autoescape=False,  # that is HTML's; `finalize` escapes for Markdown
        finalize=escaped,
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"code": as_code, "yaml": as_yaml}
    return found
