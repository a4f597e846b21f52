"""The page: one file, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

import base64
import re

import pandas as pd

from dse.analysis.report import Section, page

HOSTILE = "<script>alert(1)</script>"


def test_a_page_holds_its_figures_and_tables() -> None:
    table = pd.DataFrame({"bypass": ["none"], "top1": [57.512], "params": [1248424]})
    html = page("Title", "Summary.", [Section(title="A", svg=b"<svg/>", table=table)]).decode()
    assert base64.b64encode(b"<svg/>").decode() in html
    assert "<td>57.51</td>" in html
    assert "<td>1,248,424</td>" in html


def test_texts_are_escaped_and_nothing_is_loaded() -> None:
    table = pd.DataFrame({HOSTILE: [HOSTILE]})
    section = Section(title=HOSTILE, text=[HOSTILE], table=table)
    html = page(HOSTILE, HOSTILE, [section]).decode()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 7  # title twice, summary, heading, paragraph, two cells
    assert not re.search(r'(src|href)="(?!data:)', html)


def test_unknown_numbers_leave_their_cells_empty() -> None:
    html = page("t", "s", [Section(title="x", table=pd.DataFrame({"gain": [float("nan")]}))])
    assert b"<td></td>" in html
    assert b"nan" not in html
