"""Put findings into words: the same sentence in the report, the terminal and the Prefect UI."""

from __future__ import annotations

from graftwork.evidence import Interval, VerdictName
from graftwork.findings import Findings, StrategyFindings

OUTCOMES = {
    "positive": "Transfer helped",
    "neutral": "Transfer made no difference",
    "negative": "Transfer hurt",
    "inconclusive": "Transfer can't be judged yet",
}
BY_ITSELF = {
    "positive": "helped",
    "neutral": "made no difference",
    "negative": "hurt",
    "inconclusive": "can't be told from scratch",
}

MOST_CLAUSES = 5  # of more strategies, each gets its name alone


def headline(findings: Findings) -> str:
    """Return the verdict on the strategy that validation chose, then a clause for each other."""
    chosen = findings.chosen
    if chosen.gain is None or chosen.verdict is None:
        return f"From scratch: {percent(chosen.accuracy.mean)}. No strategy that transfers was run."
    first = (
        f"{OUTCOMES[chosen.verdict]}: {chosen.name} reaches {percent(chosen.accuracy.mean)} against "
        f"{percent(findings.scratch.accuracy.mean)} from scratch, {points(chosen.gain)} points, "
        f"with {findings.training_images} labelled images."
    )
    others = [found for found in findings.transfers if found is not chosen]
    if len(others) > MOST_CLAUSES:
        return " ".join([first, *_grouped(others)])
    return " ".join([first, *(_clause(found, chosen.verdict) for found in others)])


def _grouped(others: list[StrategyFindings]) -> list[str]:
    """Return one sentence for each verdict, with the names of all that came out so."""
    names = {word: [found.name for found in others if found.verdict == word] for word in BY_ITSELF}
    return [f"{BY_ITSELF[word].capitalize()}: {', '.join(held)}." for word, held in names.items() if held]


def _clause(found: StrategyFindings, before: VerdictName) -> str:
    assert found.gain is not None and found.verdict is not None
    also = " too" if found.verdict == before == "positive" else ""
    return f"{found.name} {BY_ITSELF[found.verdict]}{also} ({points(found.gain)})."


def percent(fraction: float) -> str:
    """Return 0.842 as `84.2 %`."""
    return f"{100 * fraction:.1f} %"


def points(gain: Interval) -> str:
    """Return a gain as `+4.8 [3.9, 5.7]`, in percentage points."""
    mean, low, high = (100 * value for value in (gain.mean, gain.low, gain.high))
    return f"{_signed(mean)} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
