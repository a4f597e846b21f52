"""One self-contained HTML page of paragraphs, figures and tables."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import pandas as pd

from dse.analysis.rendering import cell

PAGE = jinja2.Template(
    """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto;
       padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 0.85rem; display: block; overflow-x: auto; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #e4e4e4; text-align: right;
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
p.note { color: #555; }
</style>
<h1>{{ title }}</h1>
<p>{{ summary }}</p>
{% for section in sections %}
<h2>{{ section.title }}</h2>
{% for line in section.text %}<p>{{ line }}</p>
{% endfor %}
{% if section.svg %}<img alt="{{ section.title }}" src="data:image/svg+xml;base64,
{{- base64(section.svg).decode() }}">
{% endif %}
{% if section.table is not none %}
<table>
<tr>{% for name in section.table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in section.table.itertuples(index=False) %}
<tr>{% for value in row %}<td>{{ cell(value) }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endif %}
{% endfor %}
</html>
""",
    autoescape=True,
    trim_blocks=True,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One part of a page: paragraphs, then an SVG figure, then a table; all are optional."""

    title: str
    text: Sequence[str] = ()
    svg: bytes = b""
    table: pd.DataFrame | None = None


def page(title: str, summary: str, sections: Sequence[Section]) -> bytes:
    """The page as UTF-8 HTML: no script, nothing loaded from elsewhere, all text escaped."""
    html: str = PAGE.render(
        title=title, summary=summary, sections=sections, cell=cell, base64=b64encode
    )
    return f"{html}\n".encode()
