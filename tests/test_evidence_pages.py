"""The tests that the pages on reliability and security name are there, for every row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.evidence_pages import PAGES, ROOT, TEST, rows

ROWS = 44  # of faults and bad inputs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = {test for _, tests in rows(page) for test in tests}
    assert named
    for test in named:
        file, _, name = test.partition("::")
        function, _, case = name.partition("[")
        text = (ROOT / "tests" / file).read_text()
        assert f"def {function}(" in text, test
        assert not case or f'"{case.removesuffix("]")}"' in text, test


def test_every_fault_has_its_row_and_its_test() -> None:
    numbers = [int(found[1]) for line, _ in rows(PAGES[0]) if (found := re.match(r"\| (\d+) \|", line))]
    assert numbers == list(range(1, ROWS + 1))


def test_every_claim_has_a_test() -> None:
    claims = [line for line in PAGES[1].read_text().splitlines() if line.startswith("| **")]
    assert len(claims) >= 10
    assert all(TEST.search(claim) for claim in claims)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_result_that_is_told_is_a_pass(page: Path) -> None:
    for line, _ in rows(page):
        assert re.search(r"\|( \d+ passed)? *\|$", line), line  # or nothing: not run since it was changed
