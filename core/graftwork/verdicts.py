"""Put findings into words: the same sentence in the report, the terminal and the Prefect UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.evidence import Interval

if TYPE_CHECKING:
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
    return " ".join([lead(findings), *others(findings)])


def lead(findings: Findings) -> str:
    """Return the verdict on the strategy that validation chose."""
    chosen = findings.chosen
    if chosen.gain is None or chosen.verdict is None:
        return f"From scratch: {percent(chosen.accuracy.mean)}. No strategy that transfers was run."
    why = f" once {corrected_for(findings)}" if chosen.undone else ""
    return (
        f"{OUTCOMES[chosen.verdict]}{why}: {chosen.name} reaches {percent(chosen.accuracy.mean)} against "
        f"{percent(findings.scratch.accuracy.mean)} from scratch, {points(chosen.gain)} points, "
        f"with {findings.training_images} labelled images."
    )


def others(findings: Findings) -> list[str]:
    """Return a clause for each of the other strategies; of many, one for each verdict."""
    chosen = findings.chosen
    rest = [found for found in findings.transfers if found is not chosen]
    if len(rest) <= MOST_CLAUSES:
        return [_clause(findings, found) for found in rest]
    named: dict[str, list[str]] = {}
    for found in sorted(rest, key=lambda found: (list(BY_ITSELF).index(str(found.verdict)), found.undone)):
        named.setdefault(_said(findings, found).capitalize(), []).append(found.name)
    return [f"{said}: {', '.join(names)}." for said, names in named.items()]


def corrected_for(findings: Findings) -> str:
    """Return what Holm's correction takes account of."""
    return f"corrected for {len(findings.transfers)} strategies"


def _clause(findings: Findings, found: StrategyFindings) -> str:
    assert found.gain is not None
    also = " too" if found.verdict == findings.chosen.verdict == "positive" else ""
    return f"{found.name} {_said(findings, found)}{also} ({points(found.gain)})."


def _said(findings: Findings, found: StrategyFindings) -> str:
    """Return a verdict in words; of an interval off zero, why it is none."""
    assert found.verdict is not None
    return BY_ITSELF[found.verdict] + (f" once {corrected_for(findings)}" if found.undone else "")


def percent(fraction: float) -> str:
    """Return 0.842 as `84.2 %`."""
    return f"{100 * fraction:.1f} %"


def points(gain: Interval) -> str:
    """Return a gain as `+4.8 [3.9, 5.7]`, in percentage points."""
    mean, low, high = (100 * value for value in (gain.mean, gain.low, gain.high))
    return f"{_signed(mean)} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def figure(value: float | None) -> str:
    """Return a number with three digits that count, or a dash for none."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def size(count: int) -> str:
    """Return a number of bytes as `1.4 MB`, with decimal units."""
    value, units = float(count), ["bytes", "kB", "MB", "GB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"
