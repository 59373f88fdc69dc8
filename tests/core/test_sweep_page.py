"""The sweep's page: the verdict first, safe with any text, complete in itself, and the same for the same findings."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest

from graftwork import label_curves
from graftwork.layout import Layout
from graftwork.sweep_findings import Point, SweepFindings, find_sweep
from graftwork.sweep_page import render_sweep
from graftwork.sweep_verdicts import sweep_headline
from tests.core.sweeps import sweep_settings, write_cells
from tests.core.test_page import HOSTILE, PROVENANCE, Elements, visible


def make(folder: Path, sources: tuple[str, ...] = ("source",)) -> SweepFindings:
    write_cells(Layout(folder), sources)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_curves, "REPEATS", 50)
        return find_sweep(sweep_settings(sources), Layout(folder))


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> SweepFindings:
    return make(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def page(findings: SweepFindings) -> str:
    return render_sweep(findings, sweep_settings(), PROVENANCE)


@pytest.fixture(scope="module")
def timed_page(findings: SweepFindings) -> str:
    """The same where this machine knows all seconds."""
    timed = replace(findings, points=tuple(replace(one, seconds=1.5) for one in findings.points))
    return render_sweep(timed, sweep_settings(), PROVENANCE)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> SweepFindings:
    return make(tmp_path_factory.mktemp("two"), ("source", "other"))


def tables(page: str) -> list[str]:
    """Return the tables of the budgets."""
    found = re.findall(r'aria-label="\d+ labels? a class".*?</table>', page, flags=re.DOTALL)
    assert found
    return found


def rows(table: str) -> list[str]:
    return re.findall(r'<th scope="row"><span class="name">(.*?)</span>', table)


def drawings(page: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)


def test_the_verdict_comes_before_the_first_table_and_drawing(findings: SweepFindings, page: str) -> None:
    first, *rest = (str(escape(words, quote=False)).replace("'", "&#39;") for words in sweep_headline(findings))
    hero = page.index(f'<p class="verdict">{first.replace(">", "&gt;")}')
    assert page.index("<body>") < hero < min(page.index("<table"), page.index("<svg"))
    assert all(words in page for words in rest)


def test_every_budget_has_its_table_with_scratch_once_and_every_transfer(page: str) -> None:
    assert [rows(table) for table in tables(page)] == [["scratch", "better", "worse"]] * 3
    for table in tables(page):
        assert table.count("control") == 1 and table.count('class="tag">chosen') == 1


def test_the_settings_of_the_strategies_that_were_swept_are_told_and_no_others(findings: SweepFindings) -> None:
    swept = {"scratch": (), "better": ("full_copy",), "worse": ("full_copy", "freeze")}
    settings = sweep_settings(strategies={**swept, "idle": ("full_copy", "lora")})
    told = render_sweep(findings, settings, PROVENANCE)
    assert 'class="name">worse</span></th><td>' in told and "idle" not in told and "lora" not in told


def test_of_several_sources_each_transfer_names_its_own_and_scratch_stands_once(of_two: SweepFindings) -> None:
    page = render_sweep(of_two, sweep_settings(("source", "other")), PROVENANCE)
    names = ["scratch", "better from source", "worse from source", "better from other", "worse from other"]
    assert [rows(table) for table in tables(page)] == [names] * 3
    stored = next(drawing for drawing in drawings(page) if "against stored" in drawing.partition(">")[0])
    assert stored.count(">scratch<") <= 1
    for name in names[1:]:
        assert name in drawings(page)[0].partition(">")[0], "the curves' own label names them"


def test_what_a_transfer_is_worth_stands_in_its_row(page: str) -> None:
    table = tables(page)
    worth = [re.findall(r'<td class="number">([^<]*)</td>', part)[-3] for part in re.split("</tr>", table[2])[2:4]]
    assert worth == ["&gt;20", "20"]
    assert ">5</td>" in table[0].partition("</tr>")[2].partition("</tr>")[0], "scratch is worth its own labels"


def test_the_page_refers_to_nothing_outside(page: str) -> None:
    assert "://" not in page and "@import" not in page and "<script" not in page
    for target in re.findall(r"""(?:src|href|action|data)=["']([^"']*)""", page):
        assert target.startswith(("data:image/png;base64,", "#"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_equal_findings_give_equal_bytes_and_matplotlibs_settings_are_left_alone(page: str, tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert render_sweep(make(tmp_path), sweep_settings(), PROVENANCE) == page
    assert dict(matplotlib.rcParams) == before


def test_ids_are_unique_and_every_reference_has_its_target(timed_page: str) -> None:
    ids = re.findall(r'\sid="([^"]*)"', timed_page)
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]*)"', timed_page) + re.findall(r"url\(#([^)]*)\)", timed_page)
    assert set(references) <= set(ids)


def test_hostile_names_are_shown_and_not_obeyed(of_two: SweepFindings) -> None:
    sources = {"source": HOSTILE[0], "other": HOSTILE[-1]}

    def named(point: Point, name: str) -> Point:
        return replace(point, strategy=name, source=sources[point.source])

    points = [named(one, "scratch") for one in of_two.points if one.strategy == "scratch"]
    points += [named(one, text) for text in HOSTILE for one in of_two.points if one.strategy == "better"]
    names = {"strategies": ("scratch", *HOSTILE), "sources": tuple(sources.values())}
    hostile = replace(of_two, points=tuple(points), **names)
    page = render_sweep(hostile, sweep_settings(("source", "other")), PROVENANCE)
    assert page.count("</svg>") == 2
    seen = Elements()
    seen.feed(page)
    assert "<!--" not in page and not seen.tags & {"script", "b", "i"}
    assert not [name for name in seen.attributes if name.startswith("on")]
    for text in HOSTILE:
        assert str(escape(f"{text} from {HOSTILE[-1]}")).replace("&quot;", "&#34;") in page


def test_plots_are_well_formed_and_named(page: str) -> None:
    assert len(drawings(page)) == 2
    for drawing in drawings(page):
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img" and root.get("aria-label")


def test_one_label_and_one_transfer_have_a_page_too(findings: SweepFindings) -> None:
    kept = [replace(one, labels_per_class=1) for one in findings.with_labels(5) if one.strategy != "worse"]
    small = replace(findings, points=tuple(kept), budgets=(1,), strategies=("scratch", "better"))
    page = render_sweep(small, sweep_settings(), PROVENANCE)
    assert [rows(table) for table in tables(page)] == [["scratch", "better"]]
    assert len(drawings(page)) == 2
    words = visible(re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    assert "1 labels" not in words and words.count("1 label a class") >= 4


def test_time_is_drawn_only_where_all_of_it_is_known(findings: SweepFindings, timed_page: str) -> None:
    assert len(drawings(timed_page)) == 3 and tables(timed_page)[0].count(">1.5</td>") == 3
    partly = (*(replace(one, seconds=1.5) for one in findings.points[:-1]), findings.points[-1])
    page = render_sweep(replace(findings, points=partly), sweep_settings(), PROVENANCE)
    assert len(drawings(page)) == 2 and tables(page)[-1].count(">–</td>\n</tr>") == 1


def test_only_a_verdict_that_stands_makes_a_gain_bold(findings: SweepFindings, page: str) -> None:
    standing = [o for o in findings.points if o.judgement and o.judgement.verdict in ("positive", "negative")]
    assert len(re.findall("<strong>", page)) == len(standing) > 0
