"""A self-contained HTML page of sections: text, figures, tables that sort, learning curves."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from dse.analysis.axes import ORDER
from dse.analysis.labels import KILO, MEANINGS, MEGA, is_numeric
from dse.trial.names import written
from dse.trial.question import QUESTION

DECIMALS = {"loss": 4, "seconds": 1} | dict.fromkeys(
    ("front_share", "file_bytes", "epochs_total", "params", "size_bytes"), 0
)
"""How many decimals a measured number has, where it is not 2."""
DIGITS = dict.fromkeys(("p", "Holm's p", "allreduce_seconds", "download_seconds"), 3)
"""Numbers that have so many digits instead."""
NUMBER = re.compile(r"((?<![\w.])[+-])?\b(\d[\d,]*(?:\.\d+)?)(?: ?(KB|MB))?\b")
UNITS = {"KB": KILO, "MB": MEGA}


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A sentence of a list, with a verdict such as "agrees" and more lines on it, or without."""

    text: str
    verdict: str = ""
    more: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """An SVG figure, the name of its file, its title, and the caption that is drawn in it."""

    name: str
    svg: bytes
    caption: str
    remarks: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its caption, its cells, what its columns mean, and for trials their ids.

    `ids` maps each row to a learning curve; without it rows cannot be opened.
    """

    caption: str
    frame: pd.DataFrame
    about: Mapping[str, str] = field(default_factory=dict)
    ids: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One part of a page; what is empty is left out.

    `id` is the end of its address, and `headline` a line of it for the top of the page.
    """

    id: str
    title: str
    headline: str = ""
    text: Sequence[str] = ()
    points: Sequence[Point] = ()
    figures: Sequence[Figure] = ()
    commands: Sequence[str] = ()
    tables: Sequence[Table] = ()
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_filled(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.text or self.points or self.figures or self.commands or self.tables)


Curve = tuple[Sequence[float], ...]
"""The columns `CURVE` of a trial: epochs, and accuracies after each, percent."""
CURVE = ("epoch", "train_top1", "val_top1")


def page(
    title: str,
    lead: Sequence[str],
    highlights: Sequence[str],
    facts: Mapping[str, str],
    sections: Sequence[Section],
    curves: Mapping[str, Curve],
) -> bytes:
    """The page as UTF-8 HTML: nothing is loaded from elsewhere, and all text is escaped."""
    script = _source("page.js")
    html = _template().render(
        title=title,
        lead=lead,
        highlights=highlights,
        facts=facts,
        sections=sections,
        cells=cells,
        meanings=lambda columns: {one.name: one.about for one in columns if one.about},
        zip=zip,
        base64=b64encode,
        style=_source("page.css"),
        script=script,
        script_hash=f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        curves=_json(curves),
    )
    return f"{html}\n".encode(errors="backslashreplace")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_source("page.html.jinja"))


def _source(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip()


def _json(curves: Mapping[str, Curve]) -> str:
    """The curves as compact JSON that a page may hold, rounded to 0.1% for drawing."""
    plain = {
        key: [[None if np.isnan(v) else round(float(v), 1) for v in values] for values in curve]
        for key, curve in curves.items()
    }
    text = json.dumps(plain, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(".0,", ",").replace(".0]", "]")


# Cells --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column's cells: the text of each, and the value that it is sorted by where that differs."""

    name: str
    about: str
    is_number: bool
    cells: Sequence[tuple[str, str]]


def cells(table: Table) -> list[Column]:
    """The columns of a table, without those that are unknown in all rows.

    Numbers have a fixed number of decimals, and are sorted unrounded; texts are sorted by the
    numbers in them where these come in another order than their digits.
    """
    known = table.frame.dropna(axis="columns", how="all") if len(table.frame) else table.frame
    return [_column(str(name), known[name], table.about) for name in known]


def _column(name: str, values: pd.Series[Any], about: Mapping[str, str]) -> Column:
    numeric = is_numeric(values)
    plain = values.tolist()
    if not numeric:
        texts = [_text(v) for v in plain]
        order = ORDER.get(name) or _by_numbers(texts)
        rank = {text: str(at) for at, text in enumerate(order)}
        sort = [rank.get(text, "") for text in texts]
    else:
        texts = [_number(name, v) for v in plain]
        exact = ["" if v != v else repr(v) for v in plain]
        sort = ["" if a == b else a for a, b in zip(exact, texts, strict=True)]
    return Column(
        name=name,
        about=about.get(name, MEANINGS.get(name, "")),
        is_number=numeric,
        cells=list(zip(texts, sort, strict=True)),
    )


def _by_numbers(texts: Sequence[str]) -> list[str]:
    """Texts in the order of the numbers in them; none where the alphabet gives the same.

    >>> _by_numbers(["1 MB", "16 KB", "9 KB"]), _by_numbers(["-0.1 [-0.3, 0.1]", "-0.2 [-0.5, 0]"])
    (['9 KB', '16 KB', '1 MB'], ['-0.2 [-0.5, 0]', '-0.1 [-0.3, 0.1]'])
    """
    plain = sorted({*texts} - {""})
    order = sorted(plain, key=_pieces)
    return [] if order == plain else order


def _pieces(text: str) -> list[Any]:
    """The texts and the numbers of a text, in turn."""
    pieces: list[Any] = []
    end = 0
    for found in NUMBER.finditer(text):
        sign, digits, unit = found.groups("")
        number = float(f"{sign}{digits.replace(',', '')}") * UNITS.get(unit, 1)
        pieces += [text[end : found.start()], number]
        end = found.end()
    return [*pieces, text[end:]]


def _text(value: Any) -> str:
    """A value that is no number as a cell shows it; unknown is empty."""
    if value is None or value is pd.NA or value != value:
        return ""
    return ("no", "yes")[value] if isinstance(value, bool) else written(value)


def _number(name: str, value: float) -> str:
    """A number as a cell shows it; unknown is empty.

    >>> [_number(name, 0.125) for name in ("sr", "top1", "p")], _number("size_bytes", 54120)
    (['0.125', '0.12', '0.125'], '54,120')
    >>> _number("loss", 2.25), _number("loss", 9.352e29)
    ('2.2500', '9.4e+29')
    """
    if value != value:
        return ""
    if name in QUESTION:
        return written(value)
    if isinstance(value, int):
        return f"{value:,}"
    if name in DIGITS:
        return str(np.format_float_positional(value, DIGITS[name], fractional=False, trim="-"))
    if name == "loss" and value >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.{DECIMALS.get(name, 2)}f}"
