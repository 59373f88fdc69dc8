"""Run the tests that docs/reliability.md and docs/security.md name, and write what came out into the last column.

python -m tests.evidence_pages [OPTIONS OF PYTEST]
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "reliability.md", ROOT / "docs" / "security.md")
TEST = re.compile(r"`([\w/]+\.py::test_\w+(?:\[[^`]*\])?)`")


class Outcomes:
    """What became of each test, by its name without and with its parameters."""

    def __init__(self) -> None:
        self.found: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: its call, or whatever kept it from being called."""
        if report.when == "call" or report.outcome != "passed":
            name = report.nodeid.removeprefix("tests/")
            for each in {name, name.partition("[")[0]}:
                self.found[each][report.outcome] += 1

    def of(self, tests: list[str]) -> str:
        """Return `4 passed`, or whatever became of these."""
        total = sum((self.found[test] for test in tests), Counter())
        missing = any(not self.found[test] for test in tests)
        told = [f"{count} {outcome}" for outcome, count in sorted(total.items())]
        return ", ".join([*told, "not run"] if missing or not told else told)


def rows(page: Path) -> list[tuple[str, list[str]]]:
    """Return a page's table rows that name tests, with the tests."""
    return [(line, found) for line in page.read_text().splitlines() if (found := TEST.findall(line))]


def main() -> int:
    """Run them all, and write the pages anew."""
    tests = sorted({test.partition("[")[0] for page in PAGES for _, found in rows(page) for test in found})
    outcomes = Outcomes()
    code = pytest.main(["-q", *sys.argv[1:], *(f"tests/{test}" for test in tests)], plugins=[outcomes])
    for page in PAGES:
        text = page.read_text()
        for line, found in rows(page):
            *cells, _result, _end = line.split("|")
            text = text.replace(line, "|".join([*cells, f" {outcomes.of(found)} ", ""]))
        page.write_text(text)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
