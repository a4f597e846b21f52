"""A report in a real browser: it sorts, filters, shows curves, and fits on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browser import Browser, found
from test_page import HOSTILE

from dse.report import build
from dse.report.page import Section, Table
from dse.report.page import page as html
from dse.results.tables import load

DEMO = Path(__file__).parents[1] / "results/reference/demo"
SVG = (
    b"<svg xmlns='http://www.w3.org/2000/svg' xmlns:dc='http://purl.org/dc/elements/1.1/' "
    b"width='864' height='374'><dc:description>One run &amp; no more.</dc:description></svg>"
)
TOP1 = 'Array.from(document.querySelectorAll("tr[data-id]"), r => r.cells[at("top1")].textContent)'
AT = (
    "const at = name => Array.from(document.querySelectorAll('table.trials th'))"
    ".findIndex(cell => cell.textContent === name)"
)
VISIBLE = 'Array.from(document.querySelectorAll("tr[data-id]")).filter(r => !r.hidden).length'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = found()
    if program is None:
        pytest.skip("there is no Chromium on PATH")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the demo, with a figure and a wide and hostile name."""
    table = load(DEMO)
    contents = build.Contents(
        title=HOSTILE + "a-long-name-" * 20,
        table=table,
        command=f"python -m dse.report {'sr=0.125,' * 60}0.5",
        figures={"figure3a": SVG},
        curves=build.read_curves(DEMO, table["trial_id"][1:]),
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(build.report(contents))
    return path


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Browser]:
    """The report, just opened; at the end of a test the console must be empty."""
    browser.size(1440)
    browser.open(path)
    browser.run(AT)
    yield browser
    assert browser.messages == []


def test_a_hostile_name_stays_text(page: Browser) -> None:
    assert HOSTILE in page.run("document.querySelector('h1').textContent")
    assert page.run("document.querySelectorAll('script').length") == 2


def test_nothing_overflows(page: Browser) -> None:
    for width in (390, 1440):
        page.size(width)
        page.click("tr[data-id]:nth-of-type(2)")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        inside = "Array.from(document.querySelectorAll('p, li, dd, pre, figure, .box, .chart svg'))"
        assert page.run(f"{inside}.every(e => e.getBoundingClientRect().right <= innerWidth)")
    assert page.run("document.querySelector('img').naturalWidth") == 864


def test_a_narrow_screen_has_the_captions_and_the_names_of_rows(page: Browser) -> None:
    caption = "document.querySelector('figcaption').innerText"
    assert "One run" not in page.run(caption)  # the figure itself is large enough
    page.size(390)
    assert "One run & no more." in page.run(caption)
    cell = "document.querySelector('tr[data-id] td')"
    left = f"{cell}.getBoundingClientRect().left"
    before = page.run(left)
    page.run(f"{cell}.closest('.box').scrollLeft = 200")
    assert page.run(f"{cell}.closest('.box').scrollLeft") == 200
    assert page.run(left) == before


def test_a_click_on_a_column_sorts_by_its_numbers(page: Browser) -> None:
    before = page.run(TOP1)
    column = page.run("at('top1')") + 1
    header = f"table.trials th:nth-of-type({column}) button"
    sort = "document.querySelector('table.trials th[aria-sort]')?.ariaSort"
    page.click(header)
    assert page.run(sort) == "ascending"
    assert page.run(TOP1) == sorted(before, key=float) != before
    page.press("Enter", 13)  # the button has the focus
    assert page.run(sort) == "descending"
    assert page.run(TOP1) == sorted(before, key=float, reverse=True)
    page.click(header)
    assert page.run(sort) is None
    assert page.run(TOP1) == before


def test_the_filter_keeps_what_it_says(page: Browser) -> None:
    table = load(DEMO)
    small = (table["size_bytes"] <= 54_120) & (table["bypass"] == "none")
    for text, expected in {
        "seed=0": (table["seed"] == 0).sum(),
        "sr=0.125,1.0 bypass=none": (
            table["sr"].isin([0.125, 1]) & (table["bypass"] == "none")
        ).sum(),
        "top1>=80.5": (table["top1"] >= 80.5).sum(),
        "seed=0 top1<80": ((table["seed"] == 0) & (table["top1"] < 80)).sum(),
        "simple": (table["bypass"] == "simple").sum(),
        "nothing": 0,
        "SR = 0.125 , 1 top1 > 80%": (table["sr"].isin([0.125, 1]) & (table["top1"] > 80)).sum(),
        "size_bytes<=54,120 bypass==None": small.sum(),
        "size_bytes=54,120": (table["size_bytes"] == 54_120).sum(),
        "size_bytes=54120": (table["size_bytes"] == 54_120).sum(),
        "sr!=0.125": (table["sr"] != 0.125).sum(),
        "sr != 0.125,1 seed=0": (~table["sr"].isin([0.125, 1]) & (table["seed"] == 0)).sum(),
        "top1>80 seed=": (table["top1"] > 80).sum(),
        "seed=99": 0,
        'outcome="learned" "simp': (table["bypass"] == "simple").sum(),
    }.items():
        page.click("#filter")
        page.run("document.querySelector('#filter').select()")
        page.type(text)
        assert page.run(VISIBLE) == expected, text
        shown = page.run("document.querySelector('output').value")
        assert shown == f"{expected} of {len(table)} trials"
    for text, line in {
        "srr=1": "There is no column srr.",
        "seed=0 =1": "No column stands before =",
        "top1>abc": "top1 > needs a number, got abc",
        "bypass<3": "bypass holds no numbers.",
        "outcome=at chance": "outcome has no value at",
        'outcome!="at chance"': "outcome has no value at chance",
        "bypass=simple,1": "bypass has no value 1",  # its place in the order of the page
        "sr=abc": "sr has no value abc",
    }.items():
        page.run("document.querySelector('#filter').select()")
        page.type(text)
        assert page.run("document.querySelector('output').value") == line
        assert page.run(VISIBLE) == len(table)


def test_the_filter_reads_names_and_values_with_spaces_and_commas(
    browser: Browser, tmp_path: Path
) -> None:
    frame = pd.DataFrame(
        {
            "base_e, incr_e": ["8, 8", "16, 8", "8, 16"],
            "base_e": [8, 16, 8],
            "outcome": ["at chance", "learned", "at chance"],
        }
    )
    table = Table("T", frame, ids=["a", "b", "c"])
    path = tmp_path / "page.html"
    path.write_bytes(html("T", [], [], {}, [Section(id="a", title="A", tables=[table])], {}))
    browser.open(path)
    for text, expected in {
        "base_e, incr_e=8, 8": 1,
        "Base_E, incr_e = 8, 8, 16, 8": 2,
        "base_e!=8 outcome=learned,": 1,
        '"base_e, incr_e"!="8, 8" outcome=At chance': 1,
        "base_e=8 outcome=at chance": 2,
        "outcome=learned, at chance": 3,
    }.items():
        browser.click("#filter")
        browser.run("document.querySelector('#filter').select()")
        browser.type(text)
        assert browser.run(VISIBLE) == expected, text
        assert browser.run("document.querySelector('output').value") == f"{expected} of 3 trials"
    assert browser.messages == []


def test_a_click_on_a_row_shows_its_curve(page: Browser) -> None:
    chart = "document.querySelectorAll('tr[data-id] + tr td.chart')"
    second = "tr[data-id]:nth-of-type(2)"
    page.click(f"{second} td:nth-of-type(4)")
    assert page.run(f"{chart}.length") == 1
    lines = page.run(f"Array.from({chart}[0].querySelectorAll('path'), p => p.getAttribute('d'))")
    assert max(line.count("L") for line in lines) == 19  # 20 epochs
    assert page.run(f"document.querySelector('{second} button').ariaExpanded") == "true"
    page.click("table.trials th:nth-of-type(2) button")  # the curve stays with its row
    assert page.run(f"{chart}[0].parentNode.previousSibling.className") == "open"
    page.click("tr.open button")
    assert page.run(f"{chart}.length") == 0
    page.press("Enter", 13)
    assert page.run(f"{chart}.length") == 1


def test_a_trial_without_a_curve_says_so(page: Browser) -> None:
    page.click("tr[data-id]:nth-of-type(1) button")
    assert "No curve is kept" in page.run("document.querySelector('td.chart').textContent")


def test_a_figure_can_be_saved(page: Browser) -> None:
    link = "document.querySelector('figcaption a')"
    assert page.run(f"{link}.download") == "figure3a.svg"
    assert page.run(f"{link}.href === document.querySelector('img').src")
