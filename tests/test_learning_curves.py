"""Learning curves are read from trials and drawn as means over exactly the seeds that have them."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from drawn import crowded, text
from swept import SEEDS, SR, WIRES, made, swept

from dse.analysis.axes import NoSweep, TooMany, sweep
from dse.figures.learning_curves import learning_curves
from dse.results import curves, files

HEADER = "attempt,epoch,step,lr,train_loss,train_top1,val_top1,val_loss\n"


def write(folder: Path, trial_id: str, content: str) -> None:
    home = files.trial_folder(folder, trial_id)
    home.mkdir(parents=True)
    (home / "curve.csv").write_text(content)


def test_curves_are_read_and_the_last_attempt_counts(tmp_path: Path) -> None:
    write(tmp_path, "a1", HEADER + "1,1,5,0.1,2.5,10,11,2.4\n2,1,5,0.1,nan,20,21,inf\n")
    write(tmp_path, "b2", "epoch,lr,train_loss,train_top1,val_top1,val_loss\n1,0.1,2,30,31,2\n")
    write(tmp_path, "c3", HEADER + "1,1,5,0.1\n")
    write(tmp_path, "d4", "")
    table, missing = curves.load(tmp_path, ["a1", "b2", "c3", "d4", "e5"])
    assert table["trial_id"].tolist() == ["a1", "b2"]
    assert table["val_top1"].tolist() == [21, 31]
    assert math.isnan(table["train_loss"][0])
    assert math.isnan(table["val_loss"][0])
    assert missing == ["c3", "d4", "e5"]


def planted(table: pd.DataFrame, epochs: int = 10) -> pd.DataFrame:
    """Curves that rise to the accuracy of each trial."""
    return pd.DataFrame(
        [
            {
                "trial_id": row.trial_id,
                "epoch": epoch,
                "val_top1": row.val_top1 * epoch / epochs,
                "train_loss": 3 - 2 * epoch / epochs,
            }
            for row in table.itertuples()
            for epoch in range(1, epochs + 1)
        ]
    )


def test_lines_are_means_over_the_seeds_in_the_planted_order() -> None:
    table = made(swept(sr=SR[:3]))
    figure = learning_curves(table, planted(table))
    (axes,) = figure.axes
    lines = [line for line in axes.lines if len(line.get_xdata()) == 10]
    ends = [line.get_ydata()[-1] for line in lines]
    assert ends == pytest.approx(table.groupby("sr")["val_top1"].mean().tolist())
    assert all(list(line.get_ydata()) == sorted(line.get_ydata()) for line in lines)
    bands = [collection.get_datalim(axes.transData) for collection in axes.collections]
    assert all(band.y1 > end for band, end in zip(bands, ends, strict=True))
    assert "Mean and 95% interval over 3 seeds; thin lines: each trial." in text(figure)
    assert crowded(figure) == []


def test_an_interval_ends_at_the_bottom_of_a_logarithmic_axis() -> None:
    """Its lower end may be below 0, where matplotlib would fill the plot."""
    table = made(swept(sr=SR[:2]))
    known = planted(table).assign(val_loss=2.0)
    first = table["trial_id"][0]
    known.loc[(known["trial_id"] == first) & (known["epoch"] == 2), "val_loss"] = 50.0
    (axes,) = learning_curves(sweep(table), known, "val_loss", log=["y"]).axes
    lowest = min(path.vertices[:, 1].min() for c in axes.collections for path in c.get_paths())
    assert lowest == pytest.approx(axes.get_ylim()[0])
    (axes,) = learning_curves(sweep(table), known, "val_loss", log=["none"]).axes
    assert min(path.vertices[:, 1].min() for c in axes.collections for path in c.get_paths()) < 0


def test_with_col_each_value_has_a_panel() -> None:
    table = made(swept(sr=SR[:3], bypass=WIRES))
    figure = learning_curves(sweep(table), planted(table), col="bypass")
    for axes, wire in zip(figure.axes, WIRES, strict=True):
        lines = [line for line in axes.lines if len(line.get_xdata()) == 10]
        expected = table[table["bypass"] == wire].groupby("sr")["val_top1"].mean()
        assert [line.get_ydata()[-1] for line in lines] == pytest.approx(expected.tolist())
    assert [text.get_text() for text in figure.legends[0].texts] == [f"sr {sr}" for sr in SR[:3]]
    assert crowded(figure) == []


def test_a_mean_ends_where_the_first_of_its_trials_does() -> None:
    """Else it would rise when a bad trial ends."""
    table = made(swept(sr=SR[:2]))
    known = planted(table)
    first = table.sort_values(["sr", "seed"])["trial_id"].iloc[0]
    known.loc[(known["trial_id"] == first) & (known["epoch"] > 4), "val_top1"] = math.nan
    figure = learning_curves(sweep(table), known)
    longest = [max(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) > 1]
    assert 4 in longest
    assert 10 in longest
    assert "A mean ends where the first of its trials does." in text(figure)


def test_trials_without_a_curve_are_counted() -> None:
    table = made(swept(sr=SR[:2]))
    known = planted(table)
    figure = learning_curves(sweep(table), known[known["trial_id"] != table["trial_id"][0]])
    assert "Not shown: 1 trial without a curve." in text(figure)
    with pytest.raises(NoSweep, match="no trial has a curve of val_top1"):
        learning_curves(sweep(table), known.head(0))


def test_one_run_of_each_configuration_is_a_line() -> None:
    table = made(swept(sr=SR, seed=(0,)))
    figure = learning_curves(sweep(table), planted(table), "train_loss", log=("y",))
    assert len([line for line in figure.axes[0].lines if len(line.get_xdata()) == 10]) == len(SR)
    assert figure.axes[0].get_yscale() == "log"
    assert "One run each." in text(figure)
    assert not figure.axes[0].collections


def test_the_learning_rate_may_vary_and_be_measured() -> None:
    """A search for `lr` has it as an axis, and every curve has a column of that name."""
    table = made(swept(lr=(0.05, 0.1)))
    known = planted(table).assign(lr=0.01)
    for y in ("val_top1", "lr"):
        figure = learning_curves(sweep(table), known, y)
        assert len({line.get_label() for line in figure.axes[0].lines} & {"lr 0.05", "lr 0.1"}) == 2


def test_a_long_legend_leaves_the_plot_its_height() -> None:
    values = [round(0.03 * n, 2) for n in range(1, 11)]
    few, many = made(swept(sr=SR[:2])), made(swept(pct3x3=values, bypass=("none", "simple")))
    heights = []
    for table in (few, many):
        figure = learning_curves(sweep(table), planted(table))
        figure.draw_without_rendering()
        heights.append(figure.axes[0].bbox.height)
    assert heights[1] > 0.8 * heights[0]


def test_too_many_lines_are_refused() -> None:
    values = [round(0.02 * n, 2) for n in range(1, 32)]
    table = made(swept(pct3x3=values))
    assert len(table) == 31 * len(SEEDS)
    with pytest.raises(TooMany, match="31 lines, and at most 30"):
        learning_curves(sweep(table), planted(table))


@pytest.mark.parametrize(
    ("y", "label"),
    [
        ("lr", "learning rate"),
        ("train_loss", "training loss (nats per image)"),
        ("train_top1", "training top-1 (%)"),
        ("val_loss", "loss on the validation set (nats per image)"),
    ],
)
def test_the_label_is_of_one_epoch(y: str, label: str) -> None:
    table = made(swept(sr=SR[:2], seed=(0,)))
    known = planted(table).assign(lr=0.1, train_top1=20.0, val_loss=2.0)
    assert learning_curves(sweep(table), known, y).axes[0].get_ylabel() == label


def test_learning_rates_have_round_ticks() -> None:
    """They are no values of the field `lr`."""
    table = made(swept(sr=SR[:2], seed=(0,)))
    known = planted(table).assign(lr=lambda rows: rows["epoch"] / 30)
    (axes,) = learning_curves(sweep(table), known, "lr").axes
    assert all(len(tick.get_text()) <= 5 for tick in axes.get_yticklabels())


def test_values_in_a_legend_are_in_order() -> None:
    sets = [
        swept(sr=(0.125,), lr=(0.01,), epochs=(3, 5)),
        swept(sr=(0.25,), lr=(0.1,), epochs=(1, 4)),
    ]
    table = made(*sets)
    figure = learning_curves(sweep(table), planted(table), hue="sr")
    legend = [one.get_text() for one in figure.legends[0].get_texts()]
    assert legend[2:] == [f"epochs {n}" for n in (1, 3, 4, 5)]


def test_a_legend_names_what_tells_lines_apart() -> None:
    """Not the network of those with an sr, which is the same; many markers are one sentence."""
    table = made(swept(sr=SR[:2], bypass=WIRES))
    other = table[table["sr"] == SR[0]].head(1)
    other = other.assign(network="alexnet", trial_id=other["trial_id"] + "a")
    table = pd.concat([table, other], ignore_index=True)
    figure = learning_curves(sweep(table), planted(table), hue="sr")
    texts = [one.get_text() for one in figure.legends[0].get_texts()]
    assert texts[3:] == ["network alexnet", *(f"bypass {wire}" for wire in WIRES)]
    assert "Lines of one colour" not in figure.remarks
    pct = [n / 20 for n in range(1, 7)]
    many = made(swept(sr=SR[:2], pct3x3=pct, bypass=("none", "simple"), seed=(0,)))
    many = pd.concat([many, other], ignore_index=True)
    figure = learning_curves(sweep(many), planted(many), hue="sr")
    assert "Lines of one colour differ in pct3x3, bypass." in figure.remarks
    texts = [one.get_text() for one in figure.legends[0].get_texts()]
    assert texts == ["sr 0.125", "sr 0.25", "no value of sr"]


def test_no_two_markers_are_equal() -> None:
    table = made(swept(sr=SR[:2], pct3x3=[n / 20 for n in range(1, 16)], seed=(0,)))
    figure = learning_curves(sweep(table), planted(table), hue="sr")
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 10]
    marks = {(line.get_color(), line.get_marker(), line.get_fillstyle()) for line in drawn}
    assert len(marks) == len(drawn) == 30
