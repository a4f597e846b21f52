"""What an analysis gives, as the output of a notebook's cell."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from dse.analysis.rendering import markdown
from dse.figures.plotting import encoded
from dse.report.page import Point, Section, Table, cells

PIXELS = 100
"""Per inch of a figure, where it is shown; its image is finer."""
COLOURS = 256
"""With so many an image of a figure has a third of the bytes, and no difference is seen."""
NOTHING = "*Not shown: these trials do not allow it.*"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Output:
    """Text (Markdown), or an image (PNG) of `width` pixels, that a notebook shows."""

    markdown: str = ""
    png: bytes = b""
    width: int = 0

    def __repr__(self) -> str:
        return self.markdown or "<figure>"

    def _repr_markdown_(self) -> str | None:
        return self.markdown or None

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        return (self.png, {"width": self.width}) if self.png else None


def show(analysis: Callable[..., Any] | Figure, *args: Any, **settings: Any) -> Output:
    """What `analysis` gives for its arguments, or a line that says why it gives nothing; or a
    figure that was drawn already.

    A figure is shown as an image, a table or a section of the report as Markdown, and anything
    else as a list of sentences. A `ValueError`, such as that of a table without the trials that the
    analysis needs, is shown as a line, and so is an `OSError`, such as that of a missing file.
    """
    try:
        found = analysis if isinstance(analysis, Figure) else analysis(*args, **settings)
    except (ValueError, OSError) as error:
        return Output(markdown=f"*Not shown: {error}.*")
    if isinstance(found, Figure):
        return Output(
            png=_smaller(*encoded(found, "png")), width=round(PIXELS * found.get_figwidth())
        )
    return Output(markdown="\n\n".join(filter(None, _texts(found))) or NOTHING)


def _smaller(png: bytes) -> bytes:
    """An image with `COLOURS` colours."""
    image, stream = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(stream, "png", optimize=True)
    return stream.getvalue()


def _texts(found: Any) -> Iterator[str]:
    """Paragraphs, lists and tables in Markdown."""
    if isinstance(found, Section):
        yield f"**{found.headline}**" if found.headline else ""
        yield from found.text
        yield "\n".join(map(_point, found.points))
        for table in found.tables:
            yield from _texts(table)
    elif isinstance(found, Table):
        yield f"*{found.caption}*"
        yield from _texts(found.frame)
    elif isinstance(found, pd.DataFrame):
        columns = cells(Table("", found))
        rows = zip(*([text for text, _ in column.cells] for column in columns), strict=True)
        yield markdown([column.name for column in columns], rows)
    elif isinstance(found, str):
        yield found
    else:
        yield "\n".join(f"- {getattr(one, 'sentence', one)}" for one in found)


def _point(point: Point) -> str:
    verdict = f"**{point.verdict}** – " if point.verdict else ""
    return "\n".join([f"- {verdict}{point.text}", *(f"  - {line}" for line in point.more)])
