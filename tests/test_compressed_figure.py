"""The figure of compressed networks shows the planted fronts, and can be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import crowded, text
from planted_compressed import EIGHT, FOUR, SR, SVD, compressed_networks
from test_budgets import rising

from dse.analysis.axes import NoSweep, TooMany, sweep
from dse.figures import scales
from dse.figures.compressed import FRONTS, compressed
from dse.figures.plots import plot
from dse.report.compression import compression
from dse.trial.compression import METHODS

TABLE = compressed_networks([EIGHT, FOUR, SVD], rising, sr=SR)


def means(table: pd.DataFrame, method: str, bits: int, sr: float, name: str) -> float:
    rows = table[(table["method"] == method) & (table["bits"] == bits) & (table["sr"] == sr)]
    return float(rows[name].mean())


def test_the_planted_fronts_are_joined_and_every_method_has_a_mark() -> None:
    figure = compressed(sweep(TABLE), note="As planted.")
    (axes,) = figure.axes
    uncompressed, other = ([x for x in axes.lines if x.get_label() == name] for name, _ in FRONTS)
    (line,) = uncompressed
    expected = [means(TABLE, "none", 8, sr, "file_bytes") / 2**10 for sr in SR]
    assert list(line.get_xdata()) == pytest.approx(expected)
    assert list(line.get_ydata()) == pytest.approx([means(TABLE, "none", 8, s, "top1") for s in SR])
    (line,) = other  # of each size, 4 bits with 6 points less, then 8 bits
    assert list(line.get_ydata())[:2] == pytest.approx(
        [means(TABLE, "ristretto", 4, 0.125, "top1"), means(TABLE, "ristretto", 4, 0.25, "top1")]
    )
    assert max(line.get_xdata()) == pytest.approx(
        means(TABLE, "ristretto", 8, 1.0, "file_bytes") / 2**10
    )
    words = text(figure)
    for way in ("uncompressed", "svd", "ristretto, bits 8", "ristretto, bits 4", "As planted."):
        assert way in words
    assert "KB of 2" in axes.get_xlabel()
    assert axes.get_xscale() == "log"
    assert not crowded(figure)


def test_the_networks_on_a_front_have_a_number_and_a_name() -> None:
    """The same number where they are compressed as where they are not."""
    figure = compressed(sweep(TABLE))
    (axes,) = figure.axes
    near = {}
    for mark in axes.texts:
        near.setdefault(mark.get_text(), set()).add(round(mark.xy[1], 6))
    for number, sr in enumerate(SR, 1):
        assert f"({number}) sr {sr:g}." in text(figure)
        assert round(means(TABLE, "none", 8, sr, "top1"), 6) in near[str(number)]
        assert round(means(TABLE, "ristretto", 4, sr, "top1"), 6) in near[str(number)]
    figure.draw_without_rendering()
    places = axes.transData.transform([mark.xy for mark in axes.texts]) * 72 / figure.dpi
    for number, mark in enumerate(axes.texts):  # as it is drawn
        near = np.hypot(*(places - (places[number] + mark.get_position())).T)
        assert mark.arrow_patch or near.argmin() == number
    (single,) = compressed(sweep(TABLE[TABLE["sr"] == SR[0]])).axes
    assert not single.texts


def test_settings_that_vary_together_are_in_no_name_and_one_point_is_no_front() -> None:
    made = [({"method": "prune", "retrain_epochs": 2}, 4.0, 1.0)]
    table = compressed_networks(made, rising, sr=SR[:2])
    assert "method, retrain_epochs" in [axis.name for axis in sweep(table).axes]
    figure = compressed(sweep(table))
    assert f"(1) sr {SR[0]:g}. (2) sr {SR[1]:g}." in figure.remarks
    names = [name for name, _ in FRONTS]
    lines = [line.get_label() for line in figure.axes[0].lines]
    assert set(names) <= set(lines)
    single = compressed(sweep(table[table["sr"] == SR[0]]))
    assert not set(names) & {line.get_label() for line in single.axes[0].lines}


def test_networks_at_chance_are_on_no_front_and_counted() -> None:
    """They stretch no axis either."""
    bad = (TABLE["method"] == "ristretto") & (TABLE["bits"] == 4) & (TABLE["sr"] <= 0.25)
    table = TABLE.assign(status=TABLE["status"].mask(bad, "never_learned"))
    table.loc[bad, ["top1", "val_top1"]] = 9.7
    figure = compressed(sweep(table))
    drawn = [y for line in figure.axes[0].lines for y in line.get_ydata()]
    assert 9.7 not in drawn
    assert figure.axes[0].get_ylim()[0] > 9.7
    assert "Not shown: 2 networks at chance with every seed." in text(figure)
    assert compressed(sweep(TABLE.assign(status="diverged"))).axes[0].lines


def test_the_file_of_a_network_as_it_was_trained_has_no_mark() -> None:
    own = TABLE[TABLE["compressed_id"] == ""]
    files = own.assign(compressed_id=own["trial_id"], file_bytes=own["file_bytes"] // 2)
    figures = compressed(sweep(TABLE)), compressed(sweep(pd.concat([TABLE, files])))
    points, others = ([line.get_xydata().tolist() for line in f.axes[0].lines] for f in figures)
    assert points == others


def test_marks_differ_without_colour() -> None:
    figure = compressed(sweep(TABLE))
    named = [line for line in figure.axes[0].lines if not line.get_label().startswith(("_", "fr"))]
    looks = {(line.get_marker(), str(line.get_markerfacecolor())) for line in named}
    assert len(looks) == len(named) == 4
    assert len({line.get_marker() for line in named}) == 3  # one of them with two settings


def test_every_method_has_a_colour() -> None:
    assert set(scales.METHODS) == set(METHODS)


def test_a_method_looks_the_same_in_any_figure() -> None:
    axes, other = compressed(sweep(TABLE)).axes[0], plot(TABLE, "file_bytes", hue="method").axes[0]
    looks = {line.get_label(): line for line in other.lines}
    for line in axes.lines:
        method = str(line.get_label()).partition(",")[0].replace("uncompressed", "none")
        if same := looks.get(f"method {method}"):
            assert (same.get_color(), same.get_marker()) == (
                line.get_markeredgecolor(), line.get_marker()
            )  # fmt: skip


def test_what_cannot_be_drawn_is_a_line() -> None:
    with pytest.raises(NoSweep, match="no network is compressed"):
        compressed(sweep(TABLE[TABLE["compressed_id"] == ""]))
    many = [({"method": "svd", "energy": 0.5 + n / 100}, 2.0, 0.0) for n in range(20)]
    with pytest.raises(TooMany, match=r"21 ways.* `python -m dse.plot results/NAME compressed`"):
        compressed(sweep(compressed_networks(many, rising, range(1), sr=SR[:1])))


def test_the_report_answers_what_is_better_at_a_number_of_bytes() -> None:
    measured = TABLE.assign(stored_density=1.0, epochs_total=20)
    section = compression(measured)
    (first, *_) = [point.text for point in section.points]
    assert first.startswith("Within 128 KB, sr 1, ristretto, bits 4 compared with sr 0.125: +2")
    tables = {table.caption: table.frame for table in section.tables}
    frame = tables["At a number of bytes: a small network, or a large one compressed?"]
    row = frame[frame["at most"] == "256 KB"].iloc[0]
    assert row["uncompressed"].startswith("sr 0.25: 250,000 bytes")
    assert row["difference"].startswith("+2")
    frame = tables["Table 2, here and in the paper"]
    assert len(frame) == 4 * len(SR)
    row = frame[(frame["method"] == "none") & (frame["sr"] == "0.125")].iloc[0]
    assert (row["bytes"], row["paper's size"]) == (125_000, "4.8MB")
    assert "change" not in frame  # no uncompressed network has been retrained
