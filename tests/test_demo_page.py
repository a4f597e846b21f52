"""The documentation has the numbers of the records of the demo and of CIFAR-10.

`python tests/test_demo_page.py` prints what `docs/demo.md` should say.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dse.analysis.axes import configurations, sweep
from dse.analysis.compare import compare, judged
from dse.analysis.compression_tables import readable_table2
from dse.analysis.pairs import Pairs, pairs
from dse.analysis.plateau import PAPER, claims, plateaus
from dse.analysis.rendering import signed
from dse.analysis.summary import summary
from dse.analysis.table2 import table2
from dse.api import load_compressed
from dse.results import tables
from dse.trial.names import outcomes, written

ROOT = Path(__file__).parents[1]
FIXED = {"sr": 0.125, "pct3x3": 0.5, "bypass": "none"}
SWEEPS = {
    "sr": ("Figure 3(a)", {}, [(0.125, 1.0)]),
    "pct3x3": ("Figure 3(b)", {"sr": 0.5}, [(0.01, 0.99)]),
    "bypass": ("Table 3", {}, [("none", "simple"), ("none", "complex"), ("simple", "complex")]),
}
"""The axis of each sweep: its name in the paper, what it fixes, and what is compared in it."""


def demo() -> pd.DataFrame:
    return tables.load(ROOT / "results/reference/demo")


def rows_of(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """The trials of one sweep."""
    fixed = {name: value for name, value in (FIXED | SWEEPS[axis][1]).items() if name != axis}
    return table[(table[list(fixed)] == list(fixed.values())).all(axis=1)]


def lines(table: pd.DataFrame) -> list[str]:
    """What the page says of a table: outcomes, a table for each sweep, plateaus, comparisons."""
    said, known, beyond = [f"{len(table)} networks: {outcomes(table)}."], list[Pairs](), []
    for axis, (title, _, compared) in SWEEPS.items():
        rows = rows_of(table, axis)
        found = sweep(rows)
        points = configurations(found)
        ends = zip(points["low"], points["high"], strict=True)
        said += [
            row(f"{title}, {axis}", *map(written, points[axis])),
            f"|{'---|' * (len(points) + 1)}",
            row("top-1, %", *(f"{mean:.1f}" for mean in points["mean"])),
            row("95% interval", *(f"{low:.1f} to {high:.1f}" for low, high in ends)),
        ]
        known += pairs(found, found.axis(axis), compared)
        if axis in PAPER:
            beyond += [one.sentence for one in plateaus(rows, axis)]
            beyond += [one.sentence for one in claims(rows, axis, PAPER[axis])]
    sentences = [*(one.sentence for one in judged(known)), *beyond]
    return [*said, *(f"- {sentence}" for sentence in sentences)]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def words(*texts: str) -> str:
    """Texts with a single space between words, however their lines are broken."""
    return " ".join(" ".join(texts).split())


def test_the_demo_page_has_the_numbers_of_the_records() -> None:
    text = words((ROOT / "docs/demo.md").read_text(encoding="utf-8"))
    assert not [line for line in lines(demo()) if words(line) not in text]


def test_the_page_says_what_the_seeds_that_the_choice_did_not_see_say() -> None:
    rows = rows_of(demo(), "bypass")
    unseen = rows[rows["seed"] > 2]
    (one,) = compare(unseen, "bypass", ["simple", "complex"])
    said = f"{signed(one.difference, one.unit)}, {one.probability}, which five seeds cannot decide."
    assert said in words((ROOT / "docs/demo.md").read_text(encoding="utf-8"))


def test_the_example_of_a_closing_table_is_that_of_the_records() -> None:
    rows = rows_of(demo(), "sr")
    assert summary(rows, len(rows)) in (ROOT / "docs/sweeps.md").read_text(encoding="utf-8")


def test_the_page_of_cifar10_has_the_accuracies_after_30_epochs() -> None:
    """And after 8, with the same seeds."""
    text = words((ROOT / "docs/cifar10.md").read_text(encoding="utf-8"))
    early = tables.load(ROOT / "results/reference/cifar10")
    usual = (
        (early["pct3x3"] == 0.5) & (early["bypass"] == "none") & (early["pool_after"] == "1-4-8")
    )
    early = early[(usual | (early["network"] == "alexnet")) & (early["seed"] < 5)]
    before = early.groupby(["network", "sr"])["top1"].mean()
    points = configurations(sweep(tables.load(ROOT / "results/reference/cifar10_30_epochs")))
    assert len(points) == 6
    for point in points.to_dict("records"):
        mean, low, high = (f"{point[name]:.1f}" for name in ("mean", "low", "high"))
        assert f"| {before[point['network'], point['sr']]:.1f} | {mean} [{low}, {high}] |" in text


def significant(factor: float) -> str:
    """Three significant digits, with zeros."""
    return f"{factor:#.3g}".rstrip(".")


def compressed_rows() -> list[str]:
    """The table of the networks that were compressed after 30 epochs on CIFAR-10."""
    found = table2(load_compressed(ROOT / "results/reference/cifar10_30_epochs"))
    said, last = [], ""
    for one, words_of in zip(
        found.to_dict("records"), readable_table2(found).to_dict("records"), strict=True
    ):
        network = {"alexnet": "AlexNet"}.get(one["network"], f"`sr` {one['sr']}")
        method = one["method"]
        if method == "none":
            method = "none, retrained" if int(one["retrain_epochs"]) else "as trained"
        method += "".join(
            f", {text}"
            for text in (
                f"{one['bits']} bits" if one["bits"] != 32 else "",
                f"density {one['density']}" if one["density"] != "" else "",
            )
            if text
        )
        mean, low, high = (f"{one[name]:z.2f}" for name in ("change", "change_low", "change_high"))
        change = f"{mean} [{low}, {high}]" if words_of["change"] else ""  # no ties, as in tenths
        factors = [significant(one[name]) for name in ("ratio", "factor")]
        said.append(
            row(
                "" if network == last else network,
                method,
                f"{words_of['bytes']:,}",
                *factors,
                words_of["top-1"],
                change,
                f"{one['top5']:.1f}",
            )
        )
        last = network
    return said


def test_the_page_of_cifar10_has_the_compressed_networks() -> None:
    text = words((ROOT / "docs/cifar10.md").read_text(encoding="utf-8"))
    assert len(compressed_rows()) == 35
    assert not [line for line in compressed_rows() if words(line) not in text]


if __name__ == "__main__":
    print(*compressed_rows(), "", sep="\n")
    print(*lines(demo()), "", summary(rows_of(demo(), "sr"), len(rows_of(demo(), "sr"))), sep="\n")
