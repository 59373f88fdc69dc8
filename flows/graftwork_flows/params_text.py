"""Change values in the text of params.yaml, and nothing else: its comments and its order stay."""

from __future__ import annotations

import re
from dataclasses import dataclass

QUOTED = r'"(?:\\.|[^"\\])*"'  # in which ` #` begins no comment
ENTRY = re.compile(rf"^(?P<indent> *)(?P<key>\w+):(?P<value>(?:{QUOTED}|[^\"])*?)(?P<comment> +#.*)?$")


@dataclass(frozen=True)
class ParamsText:
    """The lines of a YAML file in block style, two spaces a level."""

    lines: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> ParamsText:
        """Return the text's lines."""
        return cls(tuple(text.splitlines()))

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"

    def has(self, key: str) -> bool:
        """Tell whether a dotted key is there."""
        try:
            self._place(key)
        except StopIteration:
            return False
        return True

    def value(self, key: str) -> str:
        """Return a value that stands on its key's line."""
        return self._entry(key)["value"].strip()

    def block(self, key: str) -> list[str]:
        """Return the lines of a value that stands below its key, without their indent; none for another value."""
        start, end = self._place(key)
        return [line[2 * key.count(".") + 2 :] for line in self.lines[start + 1 : end]]

    def with_value(self, key: str, value: str, comment: str = "") -> ParamsText:
        """Return it with another value, on one line, under a dotted key; the line's comment stays, or is replaced."""
        start, end = self._place(key)
        found = self._entry(key)
        told = f" # {comment}" if comment else found["comment"] or ""
        line = f"{found['indent']}{found['key']}: {value}{told}"
        return ParamsText((*self.lines[:start], line, *self.lines[end:]))

    def with_comments_of(self, other: str, key: str) -> ParamsText:
        """Return it with the comments of another key's entries on those of the same name that have none."""
        text = self
        start, end = self._place(other)
        for line in self.lines[start + 1 : end]:
            found = ENTRY.match(line)
            if found and found["comment"] and text.has(inner := f"{key}.{found['key']}"):
                told = text._entry(inner)["comment"] or found["comment"]
                text = text.with_value(inner, text.value(inner), told.lstrip(" #"))
        return text

    def with_block(self, key: str, *block: str) -> ParamsText:
        """Return it with a block, indented as it stands under its key, in the place of a key's value."""
        start, end = self._place(key)
        indent = " " * (2 * key.count(".") + 2)
        name = self.lines[start].partition(":")[0]
        return ParamsText((*self.lines[:start], f"{name}:", *(indent + line for line in block), *self.lines[end:]))

    def without(self, key: str) -> ParamsText:
        """Return it without a key, and without the remarks right above it."""
        start, end = self._place(key)
        return ParamsText((*self.lines[: self._above(start)], *self.lines[end:]))

    def with_remarks(self, key: str, *remarks: str) -> ParamsText:
        """Return it with these comment lines above a key, in the place of those that were there."""
        start, _ = self._place(key)
        indent = self.lines[start][: -len(self.lines[start].lstrip())]
        told = (f"{indent}# {remark}" for remark in remarks)
        return ParamsText((*self.lines[: self._above(start)], *told, *self.lines[start:]))

    def _above(self, start: int) -> int:
        """Return the first line of the remarks that stand right above a line."""
        while start and self.lines[start - 1].lstrip().startswith("#"):
            start -= 1
        return start

    def _entry(self, key: str) -> re.Match[str]:
        found = ENTRY.match(self.lines[self._place(key)[0]])
        assert found is not None
        return found

    def _place(self, key: str) -> tuple[int, int]:
        """Return the first line of a dotted key, and the line after its value."""
        start, end = 0, len(self.lines)
        for depth, part in enumerate(key.split(".")):
            head = f"{'  ' * depth}{part}:"
            start = next(n for n in range(start, end) if self.lines[n].startswith(head))
            end = self._end(start, 2 * depth)
        return start, end

    def _end(self, start: int, indent: int) -> int:
        """Return the line after a value; remarks between it and the next thing belong to the latter."""
        last = start
        for number in range(start + 1, len(self.lines)):
            line = self.lines[number]
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if len(line) - len(line.lstrip()) <= indent:
                break
            last = number
        return last + 1
