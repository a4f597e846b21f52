"""Figures can be read: nothing overlaps, axes have labels, lines differ in grey print; and their
files are the same whatever the settings of the user's matplotlib."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import pandas as pd
import pytest
from drawn import crowded
from matplotlib.figure import Figure
from swept import PCT, SR, WIRES, shuffled, swept

from dse.figures.paper import downsample, figure3a, figure3b, widths
from dse.figures.plotting import encoded
from dse.results import tables

REFERENCE = Path(__file__).parents[1] / "results/reference"
CASES: dict[str, Callable[[], Figure]] = {
    "3a": lambda: figure3a(shuffled(swept(sr=SR)), NOTE),
    "3b": lambda: figure3b(shuffled(swept(pct3x3=PCT)), NOTE),
    "3a, 3 lines": lambda: figure3a(shuffled(swept(sr=SR, pct3x3=PCT[2:5])), NOTE),
    "3a, 10 lines": lambda: figure3a(shuffled(swept(sr=SR, lr=RATES)), NOTE),
    "3b, 9 lines": lambda: figure3b(
        shuffled(swept(pct3x3=PCT, bypass=WIRES, freq=(1, 2, 4), seed=(0,))), NOTE
    ),
    "downsample": lambda: downsample(
        shuffled(swept(pool_after=("1-2-3", "1-3-5", "1-4-8", "4-6-8", "5-7-9", "7-8-9"))), NOTE
    ),
    "downsample, 3 lines": lambda: downsample(
        shuffled(swept(pool_after=("1-2-3", "1-3-5", "1-4-8", "4-6-8"), sr=(0.125, 0.25, 0.5)))
    ),
    "widths": lambda: widths(shuffled(swept(base_e=(8, 16, 32), incr_e=(8, 16), freq=(1, 2, 4)))),
    "demo, 3a": lambda: figure3a(tables.load(REFERENCE / "demo"), NOTE),
    "demo, 3b": lambda: figure3b(tables.load(REFERENCE / "demo"), NOTE),
}  # fmt: skip
RATES = [n / 10 for n in range(1, 11)]
NOTE = "Fixed: data cifar10, lr 0.01, epochs 8. Not shown: 30 other trials in this folder. " * 2


@pytest.mark.parametrize("name", CASES)
def test_no_texts_overlap_and_every_axis_has_a_label(name: str) -> None:
    figure = CASES[name]()
    assert crowded(figure) == []
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_crowded_texts_are_found() -> None:
    figure = Figure()
    figure.text(0.5, 0.5, "one")
    figure.text(0.51, 0.5, "two")
    figure.text(0.99, 0.1, "outside")
    assert crowded(figure) == [("one", "two"), ("outside", "the edge")]


def test_lines_at_the_same_places_do_not_hide_each_other() -> None:
    axes = CASES["downsample, 3 lines"]().axes[0]
    places = {
        round(container.lines[0].get_transform().transform((0.2, 50))[0], 1)
        for container in axes.containers
    }
    assert len(places) == 3


def test_lines_differ_in_grey_print() -> None:
    """No two lines share a marker, and neighbours have other dashes."""
    axes = CASES["3a, 10 lines"]().axes[0]
    drawn = [container.lines[0] for container in axes.containers]
    assert (
        len({line.get_marker() for line in drawn})
        == len({line.get_color() for line in drawn})
        == 10
    )
    for one, two in itertools.pairwise(drawn):
        assert one._dash_pattern != two._dash_pattern  # type: ignore[attr-defined]


# Files -------------------------------------------------------------------------------------------

HOSTILE = """
text.usetex: True
font.size: 40
font.family: monospace
axes.facecolor: red
savefig.dpi: 7
savefig.bbox: tight
figure.autolayout: True
svg.fonttype: none
lines.linestyle: none
axes.prop_cycle: cycler('color', ['k'])
"""


@functools.cache
def digests() -> list[str]:
    """The SHA-256 of one figure in both formats."""
    figure = figure3a(pd.DataFrame(swept(sr=SR[:2], lr=(0.01, 0.1))), "A note.")
    return [hashlib.sha256(content).hexdigest() for content in encoded(figure, "svg", "png")]


@pytest.mark.parametrize(
    ("content", "backend"),
    [(HOSTILE, "QtAgg"), pytest.param("font.size: \ud83d", "Qt4Agg", marks=pytest.mark.slow)],
)
def test_the_same_table_gives_the_same_bytes_whatever_the_users_settings(
    tmp_path: Path, content: str, backend: str
) -> None:
    """TeX, which is not installed; a backend that is not installed, and one that is not known; a
    file that cannot be decoded."""
    (tmp_path / "matplotlibrc").write_text(content, errors="surrogatepass")
    settings = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1",
                "MPLBACKEND": backend, "PYTHONPATH": str(Path(__file__).parent)}  # fmt: skip
    there = subprocess.run(
        [sys.executable, "-c", THERE],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert there.stdout.split() == [*digests(), backend]


THERE = """
import os
from dse.figures.importing import import_matplotlib
import_matplotlib()
import test_readable
print(*test_readable.digests(), os.environ["MPLBACKEND"])
"""


def test_a_users_own_style_and_our_figures_leave_each_other_alone() -> None:
    """A figure is saved and shown as everywhere, and the user's settings stay as they were."""
    table = pd.DataFrame(swept(sr=SR[:2], lr=(0.01, 0.1)))
    expected = saved(figure3a(table))
    with mpl.rc_context(), mpl.style.context("dark_background"):
        mpl.rcParams.update({"text.usetex": True, "font.size": 30})
        before = dict(mpl.rcParams)
        assert saved(figure3a(table)) == expected
        assert dict(mpl.rcParams) == before


def saved(figure: Figure) -> tuple[bytes, bytes]:
    """A figure as a user saves it, and as a notebook shows it."""
    one, two = io.BytesIO(), io.BytesIO()
    figure.savefig(one, format="svg", metadata={"Date": None})
    figure.canvas.print_figure(two, format="png", facecolor=figure.get_facecolor(), dpi=72)
    return one.getvalue(), two.getvalue()


def test_figures_are_encoded_in_the_format_asked_for() -> None:
    figure = figure3a(pd.DataFrame(swept(sr=SR[:2])))
    png, svg = encoded(figure, "png", "svg")
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">II", png[16:24]) == (840, 990)  # 5.6 by 6.6 inches at 150 dpi
    assert b"<svg" in svg[:1000]
    assert b"<dc:date>" not in svg
