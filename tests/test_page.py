"""A page of sections: one file, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

import base64
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pandas as pd

from dse.report.page import Curve, Figure, Point, Section, Table, page

HOSTILE = '</script><script>alert(1)</script><b title="x">&'


class Reader(HTMLParser):
    """The elements of a page, its cells and its texts."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.texts: list[str] = []
        self.open = ""
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = tag
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = "" if self.open == tag else self.open

    def handle_data(self, data: str) -> None:
        if self.open == "td":
            self.cells[-1] += data
        if self.open not in ("style", "script"):
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def made(curves: dict[str, Curve] | None = None, **parts: Any) -> bytes:
    """A page of one section."""
    section = Section(**{"id": "a", "title": "A", **parts})
    return page("Title", ["Lead."], ["High"], {"Fact": "1"}, [section], curves or {})


def test_a_page_holds_its_figures_and_tables() -> None:
    frame = pd.DataFrame({"bypass": ["none"], "top1": [57.512], "params": [1248424]})
    figure = Figure(name="figure3a", svg=b"<svg/>", caption="Figure 3(a)", remarks="One run.")
    html = made(figures=[figure], tables=[Table(caption="T", frame=frame)])
    (image,) = Reader(html).all("img")
    assert base64.b64decode(str(image["src"]).partition(",")[2]) == b"<svg/>"
    assert image["alt"] == "Figure 3(a). One run."
    assert Reader(html).cells == ["none", "57.51", "1,248,424"]


def test_cells_are_sorted_by_their_exact_values() -> None:
    frame = pd.DataFrame(
        {"bypass": ["simple", "none"], "top1": [200 / 3, math.nan], "sr": [1 / 3, 0.5]}
    )
    values = [cell.get("data-v") for cell in Reader(made(tables=[Table("T", frame)])).all("td")]
    assert values == ["1", repr(200 / 3), None, "0", None, None]
    assert Reader(made(tables=[Table("T", frame)])).cells[4] == ""  # an unknown accuracy
    unknown = frame.assign(low=math.nan)  # in every row
    assert len(Reader(made(tables=[Table("T", unknown)])).cells) == 6


def test_texts_are_sorted_by_the_numbers_in_them() -> None:
    columns = {
        "at most": ["512 KB", "2 MB", "1 MB", "16 KB"],
        "change": ["", "-0.1 [-0.4, 0.1]", "-1.0 [-1.4, -0.6]", "+0.2 [0.0, 0.4]"],
        "settings": ["bits=6 density=0.3", "bits=16", "bits=6 density=0.25", "bits=6"],
        "pool_after": ["1-4-8", "1-3-5", "1-4-8", ""],  # as the alphabet has it
    }
    page = Reader(made(tables=[Table("T", pd.DataFrame(columns))]))
    values = [cell.get("data-v") for cell in page.all("td")]
    assert [values[n::4] for n in range(4)] == [
        ["1", "3", "2", "0"],
        [None, "1", "0", "2"],
        ["2", "3", "1", "0"],
        [None] * 4,
    ]


def test_every_text_is_escaped_and_nothing_is_loaded() -> None:
    table = Table(HOSTILE, pd.DataFrame({HOSTILE: [HOSTILE]}), {HOSTILE: HOSTILE}, [HOSTILE])
    html = page(
        HOSTILE,
        [HOSTILE],
        [HOSTILE],
        {HOSTILE: HOSTILE},
        [
            Section(
                id="a",
                title=HOSTILE,
                headline=HOSTILE,
                text=[HOSTILE],
                points=[Point(text=HOSTILE, verdict=HOSTILE, more=[HOSTILE])],
                figures=[
                    Figure(name=HOSTILE, svg=HOSTILE.encode(), caption=HOSTILE, remarks=HOSTILE)
                ],
                commands=[HOSTILE],
                tables=[table],
                details={HOSTILE: {HOSTILE: HOSTILE}},
            )
        ],
        {HOSTILE: ([1.0], [2.0], [3.0])},
    )
    reader = Reader(html)
    kinds = [attributes.get("type") for attributes in reader.all("script")]
    assert kinds == ["application/json", None]  # the curves and the page's own
    assert not any(attributes.get("title") == "x" for attributes in reader.all("b"))
    links = [a.get(name) for _, a in reader.elements for name in ("src", "href") if a.get(name)]
    assert all(re.match("data:|#", str(link)) for link in links)
    assert len(links) >= 2
    assert reader.texts.count(HOSTILE) >= 15


def test_curves_are_data_with_a_gap_where_they_are_unknown() -> None:
    html = made({"ab": ([1, 2], [10.04, math.nan], [99.96, 50.0])}).decode()
    (text,) = re.findall('<script type="application/json" id="curves">(.*?)</script>', html)
    assert json.loads(text) == {"ab": [[1, 2], [10, None], [100, 50]]}


def test_a_lone_surrogate_of_a_folder_name_is_written_as_an_escape() -> None:
    assert b"\\udcff" in page("a\udcff", [], [], {}, [], {})
