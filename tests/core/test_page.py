"""The report page: safe with any text, complete in itself, and the same for the same findings."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from graftwork.calibration import Reliability, binned
from graftwork.class_tables import MATRIX_CLASSES
from graftwork.cost import Cost
from graftwork.evidence import RULES, Interval, paired_gain, student_interval, verdict
from graftwork.findings import Findings, StrategyFindings
from graftwork.page import render
from graftwork.pictures import gains_png_url
from graftwork.plots import colours, curve, shorten
from graftwork.provenance import Provenance
from graftwork.scoring import TITLES, SourceScores
from graftwork.settings import Settings
from graftwork.verdicts import headline

HOSTILE = ("<script>alert(1)</script>", "$\\frac{1}$", "x" * 300, '" onload="a', "貓\n</svg><!--")
SCRATCH = (0.60, 0.64, 0.62)
PROVENANCE = Provenance("0123456789ab", "Linux <b>", {"graftwork": "0.1.0"}, {"data/raw/source": "d41d8cd98f00"})


def tensor(name: str, kind: str, trainable: bool | None = True) -> dict[str, Any]:
    sha256 = "ab" * 32 if kind == "copied" else ""
    return {"name": name, "kind": kind, "shape": [2, 3], "trainable": trainable, "why": "", "sha256": sha256}


def answers(sureness: float) -> Reliability:
    confidence = torch.linspace(0.3, 1, 40, dtype=torch.float64) ** (1 / sureness)
    return binned(confidence, torch.arange(40) % 3 > 0)


def strategy(name: str, per_seed: tuple[float, ...], classes: int, seconds: float | None = 1.5) -> StrategyFindings:
    gain = None if name == "scratch" else paired_gain(per_seed, SCRATCH, 0.95)
    rows = [[5 if row == column else 1 for column in range(classes)] for row in range(classes)]
    counts = {"copied": 1, "adapted": 0, "dropped": 0, "new": 1}
    tensors = [tensor("stem.weight", "copied", None), tensor("head.weight", "new")]
    return StrategyFindings(
        name=name,
        stack=() if name == "scratch" else ("full_copy",),
        accuracy=student_interval(per_seed, 0.95),
        per_seed=per_seed,
        validation_accuracy=sum(per_seed),
        gain=gain,
        bootstrap=None if gain is None else Interval(gain.mean, gain.low - 0.01, gain.high + 0.012),
        verdict=None if gain is None else verdict(gain, 0.01),
        p=None if gain is None else 0.01,
        calibration_error=0.08,
        scaled_calibration_error=0.03,
        reliability=(answers(2.0), answers(1.0)),
        confusion=tuple(map(tuple, rows)),
        cost=Cost(500, 1000, stored_bytes=2000, whole_bytes=4000),
        similarity=0.9,
        seconds=seconds,
        history=[
            {"seed": seed, "epoch": epoch, "loss": 1.0, "validation_accuracy": value * epoch / 2}
            for seed, value in enumerate(per_seed)
            for epoch in (1.0, 2.0)
        ],
        manifest={"strategy": name, "coverage": 0.9, "counts": counts, "tensors": tensors},
    )


def make_findings(classes: tuple[str, ...] = ("cat", "dog"), *extra: StrategyFindings) -> Findings:
    shifts = {"scratch": 0.0, "better": 0.2, "worse": -0.2, "same": 0.001}
    found = [strategy(name, tuple(a + shift for a in SCRATCH), len(classes)) for name, shift in shifts.items()]
    unclear = strategy("unclear", (0.7, 0.55, 0.66), len(classes), seconds=None)
    return Findings(
        strategies=(*found, unclear, *extra),
        classes=classes,
        scores=(SourceScores("source", 9, dict.fromkeys(TITLES, Interval(0.5, 0.4, 0.6)), {}, None),),
        recommendations={},
        source_classes=("car", "<i>bus</i>"),
        source_accuracy=0.9,
        source_history=[{"seed": 0.0, "epoch": 1.0, "loss": 1.0, "validation_accuracy": 0.9}],
        source_seconds=None,
        training_images=100,
        test_images=300,
        confidence=0.95,
        margin=0.01,
        seeds=(7, 8, 9),
    )


def make_settings(augmentation: tuple[object, ...] = ("flip",)) -> Settings:
    def data(uses: tuple[object, ...]) -> dict[str, Any]:
        sizes = {"validation": 10, "test": 10}
        return {"dataset": "npz", "path": "a", **sizes, "augmentation": uses, "image": None, "storage": "auto"}

    training = {"epochs": 2, "batch_size": 2, "optimizer": "sgd", "lr": 0.1}
    engine = {"device": "cpu", "threads": 1, "precision": "float32", "memory_format": "contiguous"}
    return Settings.model_validate({
        "versions": {}, "local_plugins": "plugins", "seed": 0, "seeds": (7, 8, 9),
        "image": {"size": 8, "channels": 1},
        "sources": ("source",), "data": {"source": data(()), "target": data(augmentation)}, "model": "mlp",
        "pretrain": training,
        "transfer": {"minimum_coverage": 0.5}, "finetune": training, "engine": engine,
        "strategies": {"scratch": (), "better": ("full_copy",)},
        "evidence": {"confidence": 0.95, "margin": 0.01},
    })  # fmt: skip


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("samples")
    paths = {name: folder / f"{name}.png" for name in ("source", "target")}
    for path in paths.values():
        Image.new("L", (16, 8)).save(path)
    return paths


@pytest.fixture(scope="module")
def page(samples: dict[str, Path]) -> str:
    return render(make_findings(), make_settings(), PROVENANCE, samples)


class Elements(HTMLParser):
    """Collects the tags and attributes that a browser would obey."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def visible(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_the_verdict_comes_before_the_first_table(page: str) -> None:
    hero = page.index('<p class="verdict">Transfer helped: better reaches 82.0')
    assert page.index("<body>") < hero < page.index("<table")


def test_every_strategy_and_every_verdict_appears(page: str) -> None:
    for name, word in {
        "better": "positive",
        "worse": "negative",
        "same": "neutral",
        "unclear": "inconclusive",
    }.items():
        row = page[page.index(f'<span class="name">{name}</span>') :].partition("</tr>")[0]
        assert f"chip {word}" in row
    for rule in RULES.values():
        assert escape(rule) in page


def test_only_a_difference_outside_the_noise_is_bold(page: str) -> None:
    assert re.findall(r"<strong>(.*?)</strong>", page) == ["+20.0", "−20.0"]


def test_seconds_of_another_machine_are_a_dash(page: str) -> None:
    row = page[page.index('<span class="name">unclear</span>') :].partition("</tr>")[0]
    assert row.rstrip().endswith('<td class="number">–</td>')


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_not_obeyed(text: str, samples: dict[str, Path]) -> None:
    hostile = strategy(text, (0.9, 0.91, 0.92), 2)
    page = render(make_findings((text, "dog"), hostile), make_settings(), PROVENANCE, samples)
    seen = Elements()
    seen.feed(page)
    assert "<!--" not in page
    assert not seen.tags & {"script", "b", "i"}
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert page.count("</svg>") == 4
    assert str(escape(text)).replace("&quot;", "&#34;") in page


def test_the_page_refers_to_nothing_outside(page: str) -> None:
    assert "://" not in page
    assert "@import" not in page
    for target in re.findall(r"""(?:src|href|action|data)=["']([^"']*)""", page):
        assert target.startswith(("data:image/png;base64,", "#"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_equal_findings_give_equal_bytes(page: str, samples: dict[str, Path]) -> None:
    assert render(make_findings(), make_settings(), PROVENANCE, samples) == page


def test_ids_are_unique_and_every_reference_has_its_target(page: str) -> None:
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]*)"', page) + re.findall(r"url\(#([^)]*)\)", page)
    assert set(references) <= set(ids)


def test_plots_are_well_formed_named_and_follow_the_text_colour(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img" and root.get("aria-label")
        assert "currentColor" in drawing and "#010203" not in drawing


def test_drawing_leaves_matplotlibs_settings_alone(samples: dict[str, Path]) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    render(make_findings(), make_settings(), PROVENANCE, samples)
    assert dict(matplotlib.rcParams) == before


def test_captions_tell_whether_the_data_is_augmented(page: str) -> None:
    assert "augmented anew each time by flip" in visible(page)
    assert visible(page).count("this data is not augmented") == 1
    assert page.count('<img class="sample small"') == 2


def test_many_classes_get_their_commonest_mistakes_in_the_matrix_place(samples: dict[str, Path]) -> None:
    classes = tuple(f"class {number}" for number in range(MATRIX_CLASSES + 1))
    page = render(make_findings(classes), make_settings(), PROVENANCE, samples)
    assert "The commonest mistakes" in page
    assert 'class="matrix"' not in page


def test_scratch_alone_has_a_page_too(samples: dict[str, Path]) -> None:
    findings = make_findings()
    page = render(replace(findings, strategies=findings.strategies[:1]), make_settings(), PROVENANCE, samples)
    assert "No strategy that transfers was run" in visible(page)


def test_a_class_that_is_never_predicted_has_no_precision(samples: dict[str, Path]) -> None:
    findings = make_findings()
    blind = tuple(replace(found, confusion=((9, 0), (9, 0))) for found in findings.strategies)
    page = render(replace(findings, strategies=blind), make_settings(), PROVENANCE, samples)
    assert '<td class="number">0.0 %</td><td class="number">–</td>' in page


def test_a_curve_tells_mean_lowest_and_highest_of_each_epoch() -> None:
    rows = [{"epoch": epoch, "validation_accuracy": value} for epoch, value in ((2.0, 0.5), (1.0, 0.2), (1.0, 0.4))]
    found = curve(rows)
    assert found.epochs == (1.0, 2.0)
    assert found.mean == pytest.approx((0.3, 0.5))
    assert (found.low, found.high) == ((0.2, 0.5), (0.4, 0.5))


def test_long_names_end_in_an_ellipsis_and_stand_on_one_line() -> None:
    assert shorten("a\nb\x00c", 10) == "a b c"
    assert shorten("x" * 300, 10) == "x" * 9 + "…"


def test_more_strategies_than_colours_still_have_colours() -> None:
    assert len(colours([f"s{number}" for number in range(20)])) == 21


def test_the_png_shows_any_name() -> None:
    accuracy = {**vars(Interval(0.5, 0.4, 0.6)), "per_seed": [0.4, 0.6]}
    url = gains_png_url({"strategies": {name: {"accuracy": accuracy} for name in ("scratch", *HOSTILE[:4])}})
    assert url.startswith("data:image/png;base64,")


def test_the_headline_judges_every_strategy_and_says_too_only_after_another_that_helped() -> None:
    words = headline(make_findings())
    assert words.startswith("Transfer helped: better reaches 82.0 % against 62.0 % from scratch, +20.0 [")
    for clause in ("worse hurt (−20.0", "same made no difference (+0.1", "unclear can't be told from scratch"):
        assert clause in words
    assert "helped too" not in words
    assert " also helped too (+10.0" in headline(make_findings(("a", "b"), strategy("also", (0.7, 0.74, 0.72), 2)))


def test_of_many_strategies_the_headline_names_each_under_its_verdict() -> None:
    many = [strategy(f"more_{index}", tuple(a + 0.1 for a in SCRATCH), 2) for index in range(4)]
    words = headline(make_findings(("a", "b"), *many))
    assert "Helped: more_0, more_1, more_2, more_3." in words
    assert "Hurt: worse." in words and "Made no difference: same." in words
    assert "Can't be told from scratch: unclear." in words


def undone(findings: Findings, *names: str) -> Findings:
    """Return the findings with what the correction for several doesn't let stand."""
    return replace(findings, strategies=tuple(
        replace(found, verdict="inconclusive") if found.name in names else found for found in findings.strategies
    ))  # fmt: skip


def test_where_the_correction_undoes_a_verdict_the_words_say_so(samples: dict[str, Path]) -> None:
    findings = undone(make_findings(), "better", "worse")
    words = headline(findings)
    assert words.startswith("Transfer can't be judged yet once corrected for 4 strategies: better reaches 82.0 %")
    assert "worse can't be told from scratch once corrected for 4 strategies (−20.0" in words
    assert "unclear can't be told from scratch (" in words
    page = render(findings, make_settings(), PROVENANCE, samples)
    assert page.count('href="#corrected"') == 2 and page.count('id="corrected"') == 1
    assert "alone lies off zero, but not once corrected for 4 strategies (Holm)" in visible(page)


def test_of_many_strategies_those_undone_by_the_correction_stand_apart() -> None:
    many = [strategy(f"more_{index}", tuple(a + 0.1 for a in SCRATCH), 2) for index in range(4)]
    words = headline(undone(make_findings(("a", "b"), *many), "more_1", "more_2"))
    assert "Helped: more_0, more_3." in words
    assert "from scratch: unclear. Can't be told from scratch once corrected for 8 strategies: more_1, more_2." in words


def test_without_a_corrected_verdict_no_footnote_stands(page: str) -> None:
    assert "corrected" not in re.sub(r"<dl class=\"rules\">.*?</dl>", "", page, flags=re.DOTALL)


def test_both_intervals_stand_in_the_table_and_what_each_covers_is_said(page: str) -> None:
    row = page[page.index('<span class="name">same</span>') :].partition("</tr>")[0]
    assert "[+0.1, +0.1]" in row and "[−0.9, +1.3]" in row
    assert "covers seeds" in visible(page) and "resamples them 2,000 times" in visible(page)


def test_bins_and_costs_are_there_for_those_who_see_no_plot(page: str) -> None:
    assert "Bins of scratch" in page and "Bins of better" in page
    assert page.count("93.3 – 100.0") == 2
    assert '<td class="number">500</td>' in page and "2 kB</td>" in page


def test_time_is_drawn_only_where_all_of_it_is_known(samples: dict[str, Path], page: str) -> None:
    findings = make_findings()
    timed = tuple(replace(found, seconds=1.0 + place) for place, found in enumerate(findings.strategies))
    assert "Time isn’t drawn" in page
    complete = render(replace(findings, strategies=timed), make_settings(), PROVENANCE, samples)
    assert "Time isn’t drawn" not in complete and complete.count("</svg>") == 5


def test_metrics_hold_no_seconds_and_tell_both_intervals_and_costs() -> None:
    whole = make_findings().metrics()
    assert (whole["target"]["seeds"], whole["target"]["seed_numbers"]) == (3, [7, 8, 9])
    found = whole["strategies"]["better"]
    assert set(found["gain"]["bootstrap"]) == {"low", "high"}
    assert found["trainable_share"] == 0.5
    assert found["cost"] == {
        "trainable_parameters": 500, "parameters": 1000, "stored_bytes": 2000, "whole_bytes": 4000,
    }  # fmt: skip
    assert "seconds" not in str(found)


def section(page: str, title: str) -> str:
    """Return one section, from its heading on."""
    return page[page.index(f"<h2>{title}</h2>") :].partition("</section>")[0]


def scores(source: str, mean: float, **more: Any) -> SourceScores:
    held = dict.fromkeys(TITLES, Interval(mean, mean - 0.125, mean + 0.125))
    usual = {"source": source, "images": 40, "scores": held, "untrained": {"logme": -0.75}, "frechet_distance": 12.5}
    return SourceScores(**usual | more)


def choice(name: str, fate: str = "chosen") -> dict[str, Any]:
    tried = [
        {"name": name, "stack": [], "accuracies": [0.75, 0.85], "fate": fate},
        {"name": "scratch", "stack": [], "accuracies": [0.5], "fate": "out after 1 training"},
    ]
    return {"name": name, "stack": [], "reasons": ["It did best."], "tried": tried, "left_out": {"lora": "too dear"}}


@pytest.fixture(scope="module")
def full_page(samples: dict[str, Path]) -> str:
    """A page of two sources, the second without some scores, and of two strategies that were chosen."""
    held = {**dict.fromkeys(TITLES), "logme": Interval(0.25, 0.125, 0.375)}
    second = scores("other", 0.25, scores=held, frechet_distance=None)
    choices = {"better": choice("freeze"), "same": {**choice("full_copy"), "left_out": {}}}
    findings = replace(make_findings(), scores=(scores("source", 0.5), second), recommendations=choices)
    return render(findings, make_settings(), PROVENANCE, samples)


def test_every_score_of_every_source_stands_beside_no_training_at_all_dashes_where_there_is_none(
    full_page: str,
) -> None:
    found = section(full_page, "Source and target")
    assert "from 40 of its labelled training images" in visible(found) and "95 % bootstrap" in visible(found)
    assert all(f'<th scope="col" class="number">{name}</th>' in found for name in ("source", "other", "untrained"))

    def row(title: str) -> list[str]:
        cells = found[found.index(f'<th scope="row">{title}') :].partition("</tr>")[0]
        return [visible(cell).strip() for cell in re.findall(r"<td.*?</td>", cells)]

    assert row("LogME") == ["0.5 [0.375, 0.625]", "0.25 [0.125, 0.375]", "\N{MINUS SIGN}0.75"]
    assert row("Fréchet distance") == ["12.5", "–", "–"]
    for title in TITLES.values():
        assert title == "LogME" or row(title) == ["0.5 [0.375, 0.625]", "–", "–"]


def test_how_alike_features_still_are_is_told_of_every_strategy(page: str) -> None:
    found = section(page, "Source and target")
    assert found.count('<td class="number">0.90</td>') == len(make_findings().strategies)


def test_how_a_strategy_was_chosen_is_told_with_all_that_was_tried_and_left_out(full_page: str) -> None:
    found = section(full_page, "How better was chosen")
    assert "It did best." in found and "the test images had no part in it" in visible(found)
    rows = [visible(row).strip() for row in re.findall(r"<tr.*?</tr>", found, flags=re.DOTALL)[1:]]
    assert [re.sub(" +", " ", row) for row in rows] == [
        "freeze 80.0 % 2 chosen", "scratch 50.0 % 1 out after 1 training",
    ]  # fmt: skip
    assert found.count('class="chosen"') == 1
    assert "1 that were not tried" in found and "lora too dear." in visible(found)


def test_where_nothing_was_chosen_or_left_out_nothing_is_said_of_it(page: str, full_page: str) -> None:
    assert "was chosen</h2>" not in page
    found = section(full_page, "How same was chosen")
    assert "full_copy" in found and "not tried" not in found


def test_hostile_sources_and_candidates_are_shown_and_not_obeyed(samples: dict[str, Path]) -> None:
    hostile = {text: {**choice(text, fate=text), "reasons": [text], "left_out": {text: text}} for text in HOSTILE}
    sources = tuple(scores(text, 0.5) for text in HOSTILE)
    findings = replace(make_findings(), scores=sources, recommendations=hostile)
    page = render(findings, make_settings(), PROVENANCE, samples)
    seen = Elements()
    seen.feed(page)
    assert "<!--" not in page and not seen.tags & {"script", "b", "i"}
    assert not [name for name in seen.attributes if name.startswith("on")]
    for text in HOSTILE:
        assert page.count(str(escape(text)).replace("&quot;", "&#34;")) >= 6
