"""Names that aren't ours – of files, of classes – as a terminal and a line of text can show them."""

from __future__ import annotations


def printable(text: object) -> str:
    """Return a text with what a terminal would obey, or can't show, written out."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in str(text))
