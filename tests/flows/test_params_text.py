"""Values change in the text of params.yaml, and nothing else does."""

from __future__ import annotations

from graftwork_flows.params_text import ParamsText

TEXT = """\
# About all.
image: # all of them
  size: 28 # pixels
  channels: 1

# Where from.
data:
  # The first.
  source:
    path: a # here
    labels: null
  # The second.
  target:
    path: b
end: 1
"""


def changed(text: ParamsText) -> list[tuple[str, str]]:
    """Return the pairs of lines that differ, where their number is the same."""
    return [pair for pair in zip(TEXT.splitlines(), str(text).splitlines(), strict=True) if pair[0] != pair[1]]


def test_a_text_comes_back_as_it_was() -> None:
    assert str(ParamsText.of(TEXT)) == TEXT


def test_a_value_changes_and_its_comment_stays() -> None:
    assert changed(ParamsText.of(TEXT).with_value("image.size", "64")) == [
        ("  size: 28 # pixels", "  size: 64 # pixels")
    ]
    assert changed(ParamsText.of(TEXT).with_value("data.target.path", "c")) == [("    path: b", "    path: c")]


def test_a_whole_block_can_be_replaced_by_a_value_or_another_block() -> None:
    one_line = str(ParamsText.of(TEXT).with_value("image", "{size: 8}"))
    assert "image: {size: 8} # all of them\n\n# Where from." in one_line
    block = str(ParamsText.of(TEXT).with_block("data.source", "path: z", "labels: 3"))
    assert "  source:\n    path: z\n    labels: 3\n  # The second." in block


def test_what_is_taken_out_takes_its_remark_along() -> None:
    text = str(ParamsText.of(TEXT).without("data.source"))
    assert "data:\n  # The second.\n  target:" in text and "first" not in text


def test_remarks_take_the_place_of_those_above_their_key() -> None:
    text = str(ParamsText.of(TEXT).with_remarks("data.target", "one", "two"))
    assert "    labels: null\n  # one\n  # two\n  target:" in text and "second" not in text


def test_a_comment_can_be_replaced_and_passed_on_to_another_keys_entry() -> None:
    replaced = ParamsText.of(TEXT).with_value("image.size", "8", "in all")
    assert changed(replaced) == [("  size: 28 # pixels", "  size: 8 # in all")]
    assert changed(ParamsText.of(TEXT).with_comments_of("data.source", "data.target")) == [
        ("    path: b", "    path: b # here")
    ]


def test_what_stands_there_can_be_read() -> None:
    text = ParamsText.of(TEXT)
    assert text.value("data.source.path") == "a" and text.block("image") == ["size: 28 # pixels", "channels: 1"]
    assert text.block("end") == [] and text.has("data.target") and not text.has("data.other")
