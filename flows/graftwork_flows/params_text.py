"""Change values in the text of params.yaml, and nothing else: its comments and its order stay."""

from __future__ import annotations

import re
from dataclasses import dataclass

ENTRY = re.compile(r"^(?P<indent> *)(?P<key>[\w]+):(?P<value>.*?)(?P<comment> +#.*)?$")


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

    def with_value(self, key: str, value: str) -> ParamsText:
        """Return it with another value, on one line, under a dotted key; the line's comment stays."""
        start, end = self._place(key)
        found = ENTRY.match(self.lines[start])
        assert found is not None
        line = f"{found['indent']}{found['key']}: {value}{found['comment'] or ''}"
        return ParamsText((*self.lines[:start], line, *self.lines[end:]))

    def with_block(self, key: str, *block: str) -> ParamsText:
        """Return it with a block, indented as it stands under its key, in the place of a key's value."""
        start, end = self._place(key)
        indent = " " * (2 * key.count(".") + 2)
        name = self.lines[start].partition(":")[0]
        return ParamsText((*self.lines[:start], f"{name}:", *(indent + line for line in block), *self.lines[end:]))

    def without(self, key: str) -> ParamsText:
        """Return it without a key, and without the remarks right above it."""
        start, end = self._place(key)
        while self.lines[start - 1].lstrip().startswith("#"):
            start -= 1
        return ParamsText((*self.lines[:start], *self.lines[end:]))

    def with_remarks(self, key: str, *remarks: str) -> ParamsText:
        """Return it with comment lines above a key."""
        start, _ = self._place(key)
        indent = self.lines[start][: -len(self.lines[start].lstrip())]
        return ParamsText((*self.lines[:start], *(f"{indent}# {remark}" for remark in remarks), *self.lines[start:]))

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
