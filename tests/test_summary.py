"""The closing table of a sweep: its configurations, the best of them, and how trials ended."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
from sample_records import record

from dse.analysis.axes import sweep
from dse.analysis.summary import LINES, best, summary
from dse.results import records, tables
from dse.space.architecture import LAYOUTS
from dse.sweep import closing
from dse.sweep.signals import guarded


def trials(*rows: dict[str, Any]) -> pd.DataFrame:
    """A table of records; `rows` are what they have of their own."""
    base = record().row() | {"classes_predicted": 10, "macs": 1}
    return pd.DataFrame([base | {"trial_id": f"{n:020}"} | row for n, row in enumerate(rows)])


def accuracies(values: dict[float, list[float]], shift: float = 0.0) -> pd.DataFrame:
    """A sweep over sr: top1 of each seed, and val_top1 higher by `shift`."""
    return trials(
        *(
            {"sr": sr, "seed": seed, "top1": top1, "val_top1": top1 + shift, "params": 10_000}
            for sr, tops in values.items()
            for seed, top1 in enumerate(tops)
        )
    )


def test_a_tie_is_said_and_the_smallest_network_named() -> None:
    tied = {"val_top1": 90.0, "top1": 80.0}
    table = trials(
        {"sr": 0.5, "size_bytes": 20, **tied},
        {"sr": 0.25, "size_bytes": 10, **tied},
        {"sr": 1.0, "size_bytes": 5, "val_top1": 70.0, "top1": 99.0},
    )
    assert list(best(sweep(table))) == [
        "best by validation accuracy: sr=0.25; on the test set 80.0%",
        "2 configurations are tied at this accuracy; the smallest is named",
    ]


def test_each_configuration_has_its_mean_and_interval_over_the_seeds() -> None:
    """Student's t of 2 degrees of freedom is 4.3027: 4.3027 * 1 / sqrt(3) is 2.5."""
    table = accuracies({0.5: [80, 81, 82], 0.125: [98, 99, 100], 1.0: [70, 72, 74]}, shift=1)
    lines = summary(table, 9).splitlines()
    assert lines == [
        "9 trials: 9 learned; means over the seeds, accuracies in percent",
        "sr     top1   95% interval  val_top1  seeds  params  size_bytes",
        "0.125  99.0  [96.5, 100.0]     100.0      3  10,000           1",
        "0.5    81.0   [78.5, 83.5]      82.0      3  10,000           1",
        "1      72.0   [67.0, 77.0]      73.0      3  10,000           1",
        "best by validation accuracy: sr=0.125; on the test set 99.0% [96.5, 100.0]",
    ]


def test_below_three_seeds_there_is_no_interval() -> None:
    text = summary(accuracies({0.5: [80, 90], 1.0: [70, 60]}), 4)
    assert "interval" not in text
    assert "[" not in text
    assert text.endswith("best by validation accuracy: sr=0.5; on the test set 85.0%")
    mixed = summary(accuracies({0.5: [80, 90], 1.0: [70, 70, 70]}), 5)
    assert mixed.endswith("on the test set 85.0% (2 seeds; others have 3)")
    three = accuracies({0.5: [90], 0.75: [80, 80], 1.0: [70, 70, 70]})
    assert summary(three, 6).endswith("on the test set 90.0% (1 seed; others have up to 3)")
    assert [line.count("[") for line in mixed.splitlines()] == [0, 0, 0, 1, 0]


def test_the_validation_part_chooses_never_the_test_set() -> None:
    rows = trials(
        *({"sr": n / 100, "top1": 100 - n / 10, "val_top1": n / 10} for n in range(1, 101))
    )
    head, names, *shown, more, best = summary(rows, 100).splitlines()
    assert names.startswith("sr ")
    assert [line.split()[0] for line in shown] == [f"{n / 100:g}" for n in range(100, 80, -1)]
    assert len(shown) == LINES
    assert more == "and 80 more in table.csv"
    assert best == "best by validation accuracy: sr=1; on the test set 90.0%"
    assert head == "100 trials: 100 learned; accuracies in percent"


def test_of_one_configuration_none_is_the_best() -> None:
    (line,) = best(sweep(accuracies({0.5: [80.0, 82.0]})))
    assert line == "accuracy: on the test set 81.0%"


def test_of_equal_networks_the_smaller_is_the_best() -> None:
    rows = trials({"sr": 0.5, "size_bytes": 9}, {"sr": 0.75, "size_bytes": 8})
    assert "accuracy: sr=0.75; on" in summary(rows, 2)


def test_outcomes_are_in_words_and_failed_trials_are_counted() -> None:
    ends = {
        0.125: {"status": "never_learned"},
        0.25: {"status": "partly_dead", "classes_predicted": 7, "data": "digits"},
        0.5: {"status": "diverged", "diverged_step": 12, "loss": math.nan, "val_loss": math.nan},
        1.0: {"status": "learned", "val_top1": 50},
    }
    rows = trials(*({"sr": sr, "manifest": "none", **end} for sr, end in ends.items()))
    head, _, *shown, best = summary(rows, 7).splitlines()
    assert head == (
        "4 of 7 trials done: 1 learned, 1 at chance, 1 never predicted some class, "
        "1 with a non-finite loss or gradient; accuracies in percent"
    )
    assert [line.rpartition("  ")[2] for line in shown] == [
        "at chance",
        "3 of 10 classes never predicted",
        "non-finite loss or gradient at step 12",
        "learned",
    ]
    assert best.startswith("best by validation accuracy: sr=1; on the test set ")
    ids = "1" + rows["trial_id"]
    several = pd.concat([rows, rows.assign(seed=1, status="learned", trial_id=ids)])
    assert "1 learned, 1 at chance\n" in summary(several, 8)


def test_where_no_network_learned_none_is_the_best() -> None:
    rows = trials(*({"sr": sr, "status": "never_learned"} for sr in (0.5, 1.0)))
    assert summary(rows, 2).endswith("\nno network learned")


def test_each_data_set_has_its_own_best() -> None:
    rows = trials(
        *(
            {"data": data, "image_size": side, "sr": sr, "top1": top1, "val_top1": top1}
            for data, side, best in (("digits", 12, 0.5), ("cifar10", 32, 1.0))
            for sr in (0.5, 1.0)
            for top1 in (90.0 if sr == best else 80.0,)
        )
    )
    assert summary(rows, 4).splitlines()[-2:] == [
        "best by validation accuracy on digits: sr=0.5; on the test set 90.0%",
        "best by validation accuracy on cifar10: sr=1; on the test set 90.0%",
    ]


def test_keys_that_vary_together_are_named_each() -> None:
    """In a search over intervals each network has values of its own; the line can be typed."""
    table = trials(
        {"sr": 0.25, "pct3x3": 0.3, "val_top1": 80.0}, {"sr": 0.5, "pct3x3": 0.7, "val_top1": 90.0}
    )
    assert [axis.name for axis in sweep(table).axes] == ["pct3x3, sr"]
    (line,) = best(sweep(table))
    assert line.startswith("best by validation accuracy: pct3x3=0.7 sr=0.5;")


def test_networks_of_a_search_are_ranked() -> None:
    values = {0.25: 80.0, 0.5: 90.0, 1.0: 85.0}
    table = trials(*({"sr": sr, "val_top1": value} for sr, value in values.items()))
    for keys, order in (((), ["0.25", "0.5", "1"]), (("sr",), ["0.5", "1", "0.25"])):
        rows = summary(table, 3, keys).splitlines()[2:5]
        assert [row.split()[0] for row in rows] == order


def test_alexnet_has_no_layout() -> None:
    layouts = {name: replace(record().trial, layout=LAYOUTS[name]).question for name in LAYOUTS}
    table = trials(
        {**layouts["px8"], "top1": 70.0, "val_top1": 70.0},
        {**layouts["px16"], "top1": 75.0, "val_top1": 75.0},
        {**layouts["px8"], "network": "alexnet", "top1": 90.0, "val_top1": 90.0},
    )
    _, header, *rows, line = summary(table, 3).splitlines()
    assert header.split()[:2] == ["network", "layout"]
    assert sorted(row.split()[:2] for row in rows) == [
        ["alexnet", "-"],
        ["squeezenet", "px16"],
        ["squeezenet", "px8"],
    ]
    assert line == "best by validation accuracy: network=alexnet; on the test set 90.0%"


def test_one_trial_and_none() -> None:
    assert summary(trials({"status": "never_learned", "top1": 9.96}), 1).splitlines() == [
        "1 trial: at chance; accuracies in percent",
        "top1  val_top1  seeds  params  size_bytes  outcome",
        "10.0       1.0      1       1           1  at chance",
    ]
    assert summary(trials().reindex(columns=[*record().row()]), 3) == "0 of 3 trials done"


def test_the_three_sweeps_of_the_paper_fit_100_columns() -> None:
    points = [
        *((sr, 0.5, "none") for sr in (0.125, 0.25, 0.5, 0.75, 1.0)),
        *((0.5, share, "none") for share in (0.01, 0.125, 0.25, 0.375, 0.625, 0.75, 0.875, 0.99)),
        *((0.125, 0.5, bypass) for bypass in ("simple", "complex")),
    ]
    rows = trials(
        *(
            {"sr": sr, "pct3x3": share, "bypass": bypass, "seed": seed, "top1": 80 + seed / 10,
             "params": 1_248_424, "size_bytes": 4_993_696}
            for (sr, share, bypass), seed in itertools.product(points, range(8))
        )
    )  # fmt: skip
    lines = summary(rows, 120).splitlines()
    assert len(lines) == 19  # all are tied, which is said
    assert max(map(len, lines)) <= 100


def test_it_needs_neither_torch_nor_matplotlib() -> None:
    code = "import dse.analysis.summary, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib", "hydra"} & set(done.stdout.split())


def test_a_search_shows_each_of_its_keys_and_the_ids_of_the_best() -> None:
    """Also those with one value among the points so far, and those that move together."""
    together = {8: ("none", "1-4-8"), 16: ("simple", "1-3-5")}
    table = trials(
        *(
            {"base_e": base, "bypass": bypass, "pool_after": pool, "val_top1": base + seed,
             "seed": seed, "trial_id": f"{base:03}{seed}0123456789abcdef"}
            for base, (bypass, pool) in together.items()
            for seed in (0, 1)
        )
    )  # fmt: skip
    keys = ["base_e", "bypass", "pool_after", "sr"]
    assert "sr" not in summary(table, 4)
    lines = summary(table, 4, keys).splitlines()
    assert sorted(lines[1].split()[:4]) == keys
    best = lines[-1].partition(": ")[2]
    assert sorted(best.partition(";")[0].split()) == [
        *("base_e=16", "bypass=simple", "pool_after=1-3-5", f"sr={table['sr'][0]}")
    ]
    assert best.endswith("; trials 01600123, 01610123")
    assert summary(table[:1], 1, keys).endswith("; trial 00800123")


@pytest.mark.parametrize("place", ["tables.write_tables", "draw"])
def test_a_sweep_that_cannot_write_what_it_leaves_prints_its_table(
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    every = [record(sr) for sr in (0.125, 0.5)]
    for one in every:
        records.save(tmp_path, one, {})
    full = OSError(28, "No space left on device (9 bytes)", str(tmp_path / ".drawn.1"))
    monkeypatch.setattr(f"dse.sweep.closing.{place}", Mock(side_effect=full))

    def command(_: list[str]) -> int:
        closing.close([one.trial for one in every], tmp_path, "")
        return 0

    assert guarded(command, []) == 1
    out, err = capsys.readouterr()
    assert out == summary(tables.load(tmp_path), 2) + "\n"
    lost, stopped = err.splitlines()
    assert lost == f"not all of the table, figures and report could be written to {tmp_path}"
    disk = f"the disk of {tmp_path} is full (or out of inodes): No space left on device (9 bytes)"
    assert stopped.startswith(f"stopped: {disk}; once this is fixed, resume with: ")
