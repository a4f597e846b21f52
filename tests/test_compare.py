"""Paired comparisons of made-up records find the planted effects, and claim no others."""

from __future__ import annotations

import itertools
import math
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import planted
from sample_compressed import compressed_record
from sample_records import record
from scipy import stats

import dse
from dse import compare as command
from dse.analysis.axes import NoSweep, sweep
from dse.analysis.compare import (
    Comparison,
    compare,
    compare_means,
    comparisons,
    fewest_seeds,
    judged,
)
from dse.analysis.pairs import Pairs, mixed_pairs, unlearned
from dse.analysis.statistics import interval, seeds_for_power, sign_flip_p
from dse.results import records
from dse.results.files import COMPRESSED
from dse.space.architecture import LAYOUTS
from dse.trial.compression import Settings

BYPASSES = ("none", "simple", "complex")
GAINS = {"none": 0.0, "simple": 1.5, "complex": -1.5}


def wired(question: object) -> float:
    return 60 + GAINS[question["bypass"]] + 10 * question["sr"]  # type: ignore[index]


def by_value(found: list[Comparison]) -> dict[object, Comparison]:
    return {one.pairs.after: one for one in found}


# Planted effects ------------------------------------------------------------------------------


def test_planted_effects_are_found_with_their_direction() -> None:
    found = {
        (one.pairs.before, one.pairs.after): one
        for one in compare(planted(wired, bypass=BYPASSES), "bypass")
    }
    assert found.keys() == {("none", "simple"), ("none", "complex"), ("simple", "complex")}
    for (before, after), one in found.items():
        effect = GAINS[after] - GAINS[before]
        assert one.difference.low < effect < one.difference.high
        assert one.difference.mean == pytest.approx(effect, abs=0.4)
        assert one.verdict == ("higher" if effect > 0 else "lower")
        assert math.copysign(1, one.effect) == math.copysign(1, effect)


def test_the_values_in_the_other_order_give_the_opposite() -> None:
    table = planted(wired, bypass=BYPASSES)
    (one,) = compare(table, "bypass", ["none", "simple"])
    (back,) = compare(table, "bypass", ["simple", "none"])
    assert back.difference.mean == -one.difference.mean
    assert (back.difference.low, back.difference.high) == (
        -one.difference.high,
        -one.difference.low,
    )
    assert (back.p, back.effect) == (one.p, -one.effect)
    assert (one.verdict, back.verdict) == ("higher", "lower")


def test_the_order_of_the_rows_does_not_matter() -> None:
    table = planted(wired, sr=(0.25, 0.5), bypass=BYPASSES)
    upside_down = table[::-1].reset_index(drop=True)
    assert compare(table, "bypass") == compare(upside_down, "bypass")
    assert comparisons(table) == comparisons(upside_down)


def test_no_effect_is_not_decided_and_says_how_many_seeds_it_would_take() -> None:
    (one,) = compare(planted(lambda question: 60.0, bypass=("none", "simple")), "bypass")
    assert one.p > 0.05
    assert one.difference.low < 0 < one.difference.high
    assert one.verdict.startswith("not decided; this takes about")
    assert one.seeds_needed
    assert f"{one.seeds_needed} more seeds" in one.sentence


def test_numbers_are_those_of_the_pairs() -> None:
    """Against scipy, on differences made by hand."""
    gains = [0.4, 1.1, -0.2, 0.8, 0.5, 0.9, 1.3, 0.1]
    table = planted(lambda q: 60 + gains[q["seed"]] * (q["bypass"] == "simple"), spread=0.0,
                    bypass=("none", "simple"))  # fmt: skip
    (one,) = compare(table, "bypass")
    assert sorted(one.pairs.differences) == pytest.approx(sorted(gains))
    assert one.difference.mean == pytest.approx(np.mean(gains))
    half = stats.t.ppf(0.975, 7) * stats.sem(gains)
    assert one.difference.high - one.difference.low == pytest.approx(2 * half)
    assert one.effect == pytest.approx(np.mean(gains) / np.std(gains, ddof=1))
    assert one.p == 6 / 256  # the signs as they are, of -0.2, or of -0.2 and 0.1 changed
    assert (one.family, one.adjusted_p, one.seeds_needed) == (1, one.p, 0)
    assert one.sentence == (
        "bypass=simple: +0.6 points of top-1 [0.2, 1.0] compared with none, 8 seeds, "
        "p = 0.023: higher."
    )


# A family of comparisons ----------------------------------------------------------------------


def test_each_setting_of_the_other_axes_is_compared_by_itself() -> None:
    table = planted(lambda q: 60 + (3 if q["sr"] == 0.5 else -3) * (q["bypass"] == "simple"),
                    sr=(0.25, 0.5), bypass=("none", "simple"))  # fmt: skip
    low, high = compare(table, "bypass")
    assert (low.pairs.setting, high.pairs.setting) == ({"sr": 0.25}, {"sr": 0.5})
    assert low.difference.mean == pytest.approx(-3, abs=0.4)
    assert high.difference.mean == pytest.approx(3, abs=0.4)
    assert "at sr=0.25" in low.sentence
    assert low.family == high.family == 2
    assert low.adjusted_p == 2 * low.p
    assert "(Holm, 2 comparisons)" in low.sentence


def test_settings_are_compared_together_too() -> None:
    table = planted(lambda q: 60 + (4 if q["sr"] == 0.5 else 1) * (q["bypass"] == "simple"),
                    sr=(0.25, 0.5), bypass=("none", "simple"))  # fmt: skip
    (one,) = compare_means(table, "bypass", ["simple", "none"])
    assert one.difference.mean == pytest.approx(-2.5, abs=0.4)
    assert "mean over 2 settings" in one.sentence
    assert one.sentence.endswith("lower.")
    assert compare_means(table[table.sr == 0.5], "bypass") == []
    known = [
        table[table.sr <= highest].assign(
            data="image_folder", manifest=f"2-9-3-{own * 20}", trial_id=lambda t: t.trial_id + "0"
        )
        for own, highest in (("1", 0.5), ("2", 0.25))
    ]
    known[1]["trial_id"] += "0"
    (one,) = compare_means(pd.concat(known), "bypass")
    assert "mean over 3 settings of 2 data sets" in one.sentence


def test_a_sweep_is_compared_with_the_first_value_of_each_axis() -> None:
    found = comparisons(planted(wired, sr=(0.25, 0.5), bypass=BYPASSES))
    assert [(one.pairs.column, one.pairs.before, one.pairs.after) for one in found] == [
        ("sr", 0.25, 0.5),
        ("bypass", "none", "simple"),
        ("bypass", "none", "complex"),
    ]
    means = [one.difference.mean for one in found]
    assert means == pytest.approx([2.5, 1.5, -1.5], abs=0.3)
    assert [one.verdict for one in found] == ["higher", "higher", "lower"]
    assert [one.pairs.settings for one in found] == [3, 2, 2]
    assert [one.adjusted_p for one in found] == pytest.approx([3 / 128] * 3)


def test_a_sweeps_effect_is_the_mean_over_settings_that_all_its_seeds_have() -> None:
    table = planted(lambda q: 60 + 4 * q["sr"] * (q["bypass"] == "simple"), spread=0.0,
                    sr=(0.25, 0.5, 1.0), bypass=("none", "simple"))  # fmt: skip
    lost = (table["sr"] == 1.0) & (table["seed"] > 2) & (table["bypass"] == "simple")
    found = {one.pairs.column: one for one in comparisons(table[~lost])}
    assert found["bypass"].pairs.settings == 2
    assert found["bypass"].difference.mean == pytest.approx(1.5)
    assert found["bypass"].difference.count == 8


def test_a_last_seed_that_few_settings_have_leaves_no_setting_out() -> None:
    """Bypass gains at one of three settings, and loses at the two that lack the last seed."""
    table = planted(lambda q: 60 + (4 if q["sr"] == 0.5 else -4) * (q["bypass"] == "simple"),
                    spread=0.0, sr=(0.25, 0.5, 1.0), bypass=("none", "simple"))  # fmt: skip
    found = comparisons(table[(table["sr"] == 0.5) | (table["seed"] < 7)])[-1]
    assert found.difference.mean == pytest.approx(-4 / 3)
    assert "mean over 3 settings, 7 seeds, 1 seed left out" in found.sentence


def test_settings_that_are_left_out_are_counted() -> None:
    table = planted(wired, sr=(0.25, 0.5, 1.0), bypass=("none", "simple"))
    two = comparisons(table[(table["sr"] < 1.0) | (table["seed"] < 2)])[-1]
    assert "mean over 2 of 3 settings, 8 seeds, p" in two.sentence
    one = comparisons(table[(table["sr"] == 1.0) | (table["seed"] < 2)])[-1]
    assert "at sr=1 (1 of 3 settings), 8 seeds, p" in one.sentence


@pytest.mark.parametrize(("family", "seeds"), [(1, 6), (2, 7), (4, 8), (8, 9), (14, 10)])
def test_fewest_seeds_are_those_with_which_a_family_can_be_decided(family: int, seeds: int) -> None:
    assert fewest_seeds(family) == seeds
    assert family * 2 / 2**seeds <= 0.05 < family * 2 / 2 ** (seeds - 1)


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_too_few_seeds_decide_nothing_however_large_the_difference(seeds: int) -> None:
    (one,) = compare(planted(wired, seeds=range(seeds), bypass=("none", "simple")), "bypass")
    assert one.smallest_adjusted_p == 2 / 2**seeds
    assert one.verdict == f"not decided; needs at least 6 seeds, has {seeds}"
    assert ("too few seeds for an interval" in one.sentence) == (seeds < 3)
    assert "nan" not in one.sentence


def test_data_sets_are_not_compared() -> None:
    table = planted(wired, bypass=BYPASSES[:2])
    both = [table, table.assign(data="cifar10", trial_id="c" + table["trial_id"])]
    assert {one.pairs.column for one in comparisons(pd.concat(both))} == {"bypass"}
    with pytest.raises(NoSweep, match="accuracies on different data sets cannot be compared"):
        compare(pd.concat(both), "data")


def test_more_comparisons_need_more_seeds() -> None:
    """Six seeds decide one comparison; of three, none."""
    table = planted(wired, seeds=range(6), bypass=BYPASSES)
    (one,) = compare(table, "bypass", ["none", "simple"])
    assert one.verdict == "higher"
    for one in compare(table, "bypass"):
        assert one.smallest_adjusted_p == 3 / 32
        assert one.verdict == "not decided; needs at least 7 seeds, has 6"


def test_more_comparisons_need_more_seeds_for_the_same_power() -> None:
    table = planted(lambda q: 60 + 0.4 * (q["bypass"] != "none"), spread=0.4, bypass=BYPASSES)
    for one in compare(table, "bypass"):
        seeds = seeds_for_power(one.effect, 0.05 / 3)
        assert (seeds or math.inf) > (seeds_for_power(one.effect) or math.inf)
        assert one.seeds_needed == (seeds and max(seeds - 8, 0))


# Odd tables -----------------------------------------------------------------------------------


def test_equal_answers_are_not_decided() -> None:
    (one,) = compare(planted(lambda q: 60.0, spread=0.0, bypass=("none", "simple")), "bypass")
    assert (one.difference, one.p) == (interval([0.0] * 8), 1.0)
    assert math.isnan(one.effect)
    assert one.seeds_needed is None
    assert one.sentence.endswith("p = 1: not decided; equal for every seed.")


def test_a_difference_without_spread_is_decided() -> None:
    table = planted(lambda q: 60 + (q["bypass"] == "simple"), spread=0.0, bypass=("none", "simple"))
    (one,) = compare(table, "bypass")
    assert one.effect == math.inf
    assert (one.p, one.seeds_needed, one.verdict) == (2 / 256, 0, "higher")


def test_seeds_without_a_pair_are_left_out_and_counted() -> None:
    table = planted(wired, seeds=range(10), bypass=("none", "simple"))
    table = table[~((table["bypass"] == "none") & (table["seed"] == 0))]
    table.loc[(table["bypass"] == "simple") & (table["seed"] == 1), "top1"] = math.nan
    (one,) = compare(table, "bypass")
    assert (one.difference.count, one.pairs.left_out) == (8, 2)
    assert "8 seeds, 2 seeds left out, p =" in one.sentence
    assert one.difference.mean == pytest.approx(1.5, abs=0.4)


def test_what_cannot_be_compared_is_a_clear_line() -> None:
    table = planted(wired, bypass=("none", "simple"))
    unshared = table[(table["bypass"] == "none") == (table["seed"] < 4)]
    with pytest.raises(NoSweep, match="no seed has two of `bypass` none, simple with all else eq"):
        compare(unshared, "bypass")
    assert comparisons(unshared) == []
    with pytest.raises(NoSweep, match="`sr` has one value only"):
        compare(table, "sr")
    with pytest.raises(NoSweep, match="`bypass` must be one of none, simple, got 'complex'"):
        compare(table, "bypass", ["none", "complex"])
    with pytest.raises(NoSweep, match="`seed` is not one of the axes: bypass"):
        compare(table, "seed")
    with pytest.raises(NoSweep, match="the table has no column `top1`"):
        compare(table.drop(columns="top1"), "bypass")
    with pytest.raises(NoSweep, match="there are no trials"):
        comparisons(table[:0])
    with pytest.raises(ValueError, match="the table must hold each trial once"):
        compare(pd.concat([table, table]), "bypass")
    with pytest.raises(
        ValueError, match="two trials have the same keys and seed: bypass=simple seed=0"
    ):
        compare(table.assign(seed=0), "bypass")
    confounded = planted(wired, sr=(0.25, 0.5), bypass=("none", "simple"))
    confounded = confounded[(confounded["sr"] == 0.5) == (confounded["bypass"] == "simple")]
    (one,) = compare(confounded, "bypass", ["simple", "none"])  # which is sr 0.25 and 0.5 as well
    assert (one.pairs.column, one.pairs.before) == ("sr, bypass", "0.5, simple")
    layouts = [LAYOUTS[name] for name in ("px8", "px16", "px32")]
    stems = [planted(wired, **{k: [v] for k, v in asdict(one).items()}) for one in layouts]
    table = pd.concat(stems, ignore_index=True)  # two of the three have the same `pool_after`
    with pytest.raises(NoSweep, match="in `pool_after` alone: conv1_filters varies with it"):
        compare(table, "pool_after")


# The command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sr 0.25 is better than 0.125, by 1 to 8 points; sr 0.5 has one seed only that they lack."""
    folder = tmp_path_factory.mktemp("results")
    for seed in range(8):
        records.save(folder, record(sr=0.125, seed=seed, top1=50.0 + 5 * seed), {})
        records.save(folder, record(sr=0.25, seed=seed, top1=51.0 + 6 * seed), {})
    records.save(folder, record(sr=0.5, seed=9, top1=60.0), {})
    return folder


def test_the_command_prints_a_table_and_a_sentence(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = subprocess.run(
        [sys.executable, "-m", "dse.compare", folder, "sr=.125,0.25"],
        capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    common, header, _, row, _, sentence = done.stdout.splitlines()
    assert common == "compared with 0.125, 8 seeds, in points:"
    names = ["sr", "top-1", "95% interval", "p", "Holm's p", "d_z"]
    assert re.split("  +", header) == names  # as it is decided, there is no "more seeds"
    values = ["0.25", "+4.50", "2.45 to 6.55", "0.0078", "0.0078", "1.84"]
    assert re.split("  +", row.rstrip()) == values
    assert sentence == (
        "sr=0.25: +4.5 points of top-1 [2.5, 6.5] compared with 0.125, 8 seeds, p = 0.0078: higher."
    )
    assert done.stderr == ""
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("y", "unit", "row", "sentence"),
    [
        ("val_top1", "points of val_top1", "+0.00", "+0.0 points of val_top1 [0.0, 0.0] compared"),
        ("seconds", "seconds", "-1,500", "-1,500 seconds [-1,500, -1,500] compared with 0.125, "),
        ("val_loss", "val_loss", "-0.00150", "-0.00150 val_loss [-0.00150, -0.00150] compared"),
    ],
)
def test_any_answer_can_be_compared(
    tmp_path: Path, y: str, unit: str, row: str, sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Lower is said where it is lower, whether that is better or not."""
    for sr, seed in itertools.product((0.125, 0.25), range(8)):
        gain = sr == 0.25
        one = record(sr=sr, seed=seed, top1=50.0, val_loss=2 - 0.0015 * gain)
        circumstance = replace(one.circumstance, seconds=2000.0 - 1500 * gain)
        records.save(tmp_path, replace(one, circumstance=circumstance), {})
    assert command.main([str(tmp_path), "sr=0.125,0.25", f"y={y}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("in points:") == unit.startswith("points")
    assert re.split("  +", lines[1])[1] == unit.removeprefix("points of ")
    assert re.split("  +", lines[3])[1] == row
    assert lines[-1].startswith(f"sr=0.25: {sentence}")
    if y != "val_top1":
        assert lines[-1].endswith("p = 0.0078: lower.")


def test_sizes_follow_from_other_keys(capsys: pytest.CaptureFixture[str]) -> None:
    demo = Path(__file__).parents[1] / "results/reference/demo"
    sizes = dse.load(demo)["size_bytes"].unique()[:2]
    assert command.main([str(demo), f"size_bytes={sizes[0]},{sizes[1]}"]) == 2
    line = "`size_bytes` cannot be compared: it follows from other keys; compare pct3x3 or sr or"
    assert capsys.readouterr().err.startswith(line)


def test_seeds_are_selected(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(folder), "sr=0.125,0.25", "seed=0,1,7"]) == 0
    assert (
        "+3.7 points of top-1 [-5.7, 13.1] compared with 0.125, 3 seeds, "
        in capsys.readouterr().out
    )


def test_a_selection_by_a_result_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for conditions, what in {
        ("top1>0", "status=learned"): "top1 and status, results",
        ("seconds>0",): "seconds, a result",
        ("params>0", "seed<7", "device=cpu"): "",
    }.items():
        assert command.main([str(folder), "sr=0.125,0.25", *conditions]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        said = f"Trials were selected by {what}: means, intervals and p are of those that remain."
        assert (last == said) == bool(what)
        assert ("selected by" in last) == bool(what)


def test_values_that_share_no_seed_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([str(folder), "sr=0.25,0.125,0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "sr=0.125: -4.5 points" in lines[-3]
    assert lines[-3].endswith("lower.")
    assert lines[-2:] == [
        "sr=0.25 and 0.5 are not compared: no seed has both with all else equal.",
        "sr=0.125 and 0.5 are not compared: no seed has both with all else equal.",
    ]


def test_layouts_are_compared_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They differ in two fields; px16 and px32 in one. Only one of them selects trials."""
    for layout, gain in {"px8": 0, "px16": 2, "px32": 1}.items():
        for sr, seed in itertools.product((0.125, 0.25), range(3)):
            one = record(sr=sr, seed=seed, top1=50.0 + seed + gain)
            trial = replace(one.trial, layout=LAYOUTS[layout])
            records.save(tmp_path, replace(one, trial=trial), {})
    assert command.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "no key has two values; give one of sr, layout two values, as in sr=0.125,0.25\n"
    )
    for arguments, sentence in {
        "layout=px8,px16 sr=0.125": "layout=px16: +2.0 points of top-1 [2.0, 2.0] compared",
        "layout=px16,px32 sr=0.125": "conv1_filters=64: -1.0 points of top-1 [-1.0, -1.0] compared",
        "sr=0.125,0.25 layout=px16": "sr=0.25: +0.0 points of top-1 [0.0, 0.0] compared",
    }.items():
        assert command.main([str(tmp_path), *arguments.split()]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith(sentence)
    assert command.main([str(tmp_path), "pool_after=1-4,1-4-8"]) == 2
    assert capsys.readouterr().err == (
        f"`pool_after` must vary by itself in {tmp_path}, and conv1_filters varies with it: "
        "compare `layout`\n"
    )


def test_keys_that_vary_together_are_compared_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a page of one's own changes them; any of the keys may be named."""
    for (width, sr), seed in itertools.product(((64, 0.25), (96, 0.5)), range(3)):
        one = record(sr=sr, seed=seed, top1=width + seed / 10)
        shape = replace(one.trial.metaparameters, base_e=width)
        records.save(tmp_path, replace(one, trial=replace(one.trial, metaparameters=shape)), {})
    assert command.main([str(tmp_path), "base_e=64"]) == 2
    assert capsys.readouterr().err == (
        "no key has two values; give base_e two values, as in base_e=64,96\n"
    )
    for words, other in {"base_e=64,96": "sr", "sr=0.25,0.5": "base_e"}.items():
        assert command.main([str(tmp_path), words]) == 0
        *_, line, remark = capsys.readouterr().out.splitlines()
        assert line.startswith("base_e, sr=96, 0.5: +32.0 points of top-1")
        key = words.partition("=")[0]
        assert remark == f"`{key}` varies together with {other}: they are compared as one."
    records.save(tmp_path, record(sr=0.5, top1=10.0), {})  # now sr varies by itself too
    assert command.main([str(tmp_path), "sr=0.25,0.5", "top1>50"]) == 0
    *_, line, remark, _ = capsys.readouterr().out.splitlines()
    assert line.startswith("base_e, sr=96, 0.5: +32.0 points of top-1")
    assert remark == "`sr` varies together with base_e: they are compared as one."


def test_only_other_keys_than_those_of_a_layout_vary_together_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No data sets are suggested either: they cannot be compared."""
    for layout, sr, top1 in (("px8", 0.25, 60.0), ("px16", 0.5, 61.0), ("px8", 0.5, 10.0)):
        for name in ("digits", "cifar10"):
            one = record(sr=sr, top1=top1)
            protocol = replace(one.trial.protocol, data=name)
            trial = replace(one.trial, layout=LAYOUTS[layout], protocol=protocol)
            records.save(tmp_path, replace(one, trial=trial), {})
    assert command.main([str(tmp_path), "layout=px8,px16", "data=digits", "top1>50"]) == 0
    *_, remark, _ = capsys.readouterr().out.splitlines()
    assert remark == "`layout` varies together with sr: they are compared as one."
    assert command.main([str(tmp_path)]) == 2
    assert "; give one of sr, layout two values, as in sr=0.25,0.5\n" in capsys.readouterr().err


def test_a_layout_that_differs_in_one_field_is_compared_by_this(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for layout in ("px16", "px32"):
        one = record()
        trial = replace(one.trial, layout=LAYOUTS[layout])
        records.save(tmp_path, replace(one, trial=trial), {})
    assert command.main([str(tmp_path), "layout=px16,px32"]) == 2
    assert capsys.readouterr().err == (
        "`layout` is a key where several fields of named layouts vary, and here conv1_filters "
        "varies: use conv1_filters=VALUE\n"
    )


@pytest.mark.parametrize("value", [0.5, "0.5"])
def test_one_value_is_no_list_of_values(value: object) -> None:
    with pytest.raises(TypeError, match=f"`values` must be a list of values, got {value!r}"):
        compare(pd.DataFrame(), "sr", value)  # type: ignore[arg-type]


GIVE_SR = "no key has two values; give sr two values, as in sr=0.125,0.25\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["srr=1,2"], "unknown key `srr`; did you mean `sr`?"),
        (["sr=0.125,0.3"], "`sr` must be one of 0.125, 0.25, 0.5, got 0.3"),
        (["sr=0.25"], GIVE_SR),
        (["sr=0.125,0.25", "sr>0.2"], "no trial has sr=0.125 sr>0.2\n"),
        (
            ["sr=0.25,0.5", "epochs=20,40"],
            "one key must have two or more values, got sr and epochs",
        ),
        (["top1=50,51"], "`top1` cannot be compared: it is a result; compare sr\n"),
        (["sr=0.25,.250"], "the values of `sr` must differ, got 0.25,.250"),
        (["seed=0,1"], "`seed` cannot be compared: trials are paired by it"),
        (["epochs=20,40"], "`epochs` is 20 in every trial, got 40"),
        (["sr=0.25,0.5", "seed=9"], "no trial has sr=0.25 seed=9"),
        (["sr=0.25,0.5"], "no seed has two of `sr` 0.25, 0.5 with all else equal"),
        (["0.25"], "arguments must be key=value"),
        (["sr=0.125,0.25", "y=pct3x3"], "`y` must be a numeric result, such as val_top1"),
        (["sr=0.125,0.25", "y=layout"], "`y` must be a numeric result, such as val_top1"),
        (["sr=0.125,0.25", "y=status"], "`y` must be a numeric result, such as val_top1"),
        (
            ["sr=0.125,0.25", "y=los"],
            "`y` must be a column of the table, got los; did you mean `loss`?",
        ),
        (["y=loss"], GIVE_SR),
        ([], GIVE_SR),
    ],
)
def test_a_mistake_is_one_line(
    folder: Path, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([str(folder), *arguments]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.startswith(line)
    assert errors.count("\n") == 1


def test_a_folder_without_trials_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty/trials").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").touch()
    for name, line in {
        "none": "`folder` must be a results folder, got",
        "other": "`folder` must be a results folder, got",
        "empty": "there are no finished trials in",
    }.items():
        assert command.main([str(tmp_path / name), "sr=1,2"]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith(line)
        assert errors.count("\n") == 1


def test_a_folder_that_has_its_table_only_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(Path(__file__).parents[1] / "results/reference/demo/table.csv", tmp_path)
    assert command.main([str(tmp_path), "bypass=none,simple"]) == 0
    assert "8 seeds, p = 0.0078: higher." in capsys.readouterr().out


def test_different_devices_are_named_below_a_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Path(__file__).parents[1] / "results/reference/demo/table.csv"
    table = pd.read_csv(source, keep_default_na=False)
    table.loc[table["bypass"] == "simple", "device"] = "NVIDIA H200"
    table.to_csv(tmp_path / "table.csv", index=False)
    for values, last in (
        (
            "none,simple",
            "Trained on different devices: cpu (8 trials), NVIDIA H200 (8 trials). "
            "In 8 of 8 pairs the two devices differ.",
        ),
        ("none,complex", "8 seeds, p = "),
    ):
        assert command.main([str(tmp_path), f"bypass={values}", "sr=0.125"]) == 0
        assert last in capsys.readouterr().out.splitlines()[-1]


def test_devices_are_those_of_the_trials_in_pairs() -> None:
    """Seeds 0 to 3 are on a GPU, and the bypass of one of them not; seed 9 has no pair."""
    table = planted(wired, seeds=(*range(8), 9), bypass=("none", "simple"))
    table["device"] = table["seed"].map(lambda seed: "GPU" if seed < 4 else "cpu")
    table = table[(table["seed"] < 9) | (table["bypass"] == "none")]
    found = sweep(table)
    axis = found.axis("bypass")
    same = "Trained on different devices: GPU (8 trials), cpu (8 trials). Both trials of each pair"
    assert mixed_pairs(found, axis, ["none", "simple"]).startswith(same)
    found.rows.loc[(found.rows["bypass"] == "simple") & (found.rows["seed"] == 0), "device"] = "cpu"
    one = mixed_pairs(found, axis, ["none", "simple"])
    assert one.endswith("cpu (9 trials), GPU (7 trials). In 1 of 8 pairs the two devices differ.")
    alike = sweep(table[table["seed"] > 3])
    assert mixed_pairs(alike, alike.axis("bypass"), ["none", "simple"]) == ""
    versions = "dse=1 torch=" + alike.rows["seed"].astype(str)  # the same in each pair
    alike = sweep(alike.rows.assign(versions=versions))
    assert mixed_pairs(alike, alike.axis("bypass"), ["none", "simple"]) == ""
    alike.rows.loc[(alike.rows["bypass"] == "simple") & (alike.rows["seed"] > 5), "versions"] = (
        "dse=2 torch=2"
    )
    text = "In 2 of 4 pairs the two versions of torch differ."
    assert mixed_pairs(alike, alike.axis("bypass"), ["none", "simple"]) == text


def test_losses_of_trials_that_did_not_learn_are_named() -> None:
    """Only where losses are compared, and only of trials in pairs: seed 9 has none."""
    table = planted(wired, seeds=(*range(8), 9), bypass=("none", "simple")).assign(loss=1.0)
    table = table[(table["seed"] < 9) | (table["bypass"] == "none")]
    failed = table["seed"].isin([3, 9]) & (table["bypass"] == "none")
    for status, said in (
        ("never_learned", "1 of 16 trials in these pairs did not learn and may have huge losses; "),
        ("learned", ""),
    ):
        table.loc[failed, "status"] = status
        found = sweep(table)
        values = ["none", "simple"]
        assert unlearned(found, found.axis("bypass"), values) == ""
        of_losses = unlearned(replace(found, measure="loss"), found.axis("bypass"), values)
        assert of_losses == (said and f"{said}status=learned leaves them out.")


def test_a_loss_of_trials_that_did_not_learn_has_a_remark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for sr, status in ((0.125, "learned"), (0.25, "diverged")):
        records.save(tmp_path, record(sr=sr, status=status, val_loss=1.0), {})
    assert command.main([str(tmp_path), "sr=0.125,0.25", "y=val_loss"]) == 0
    assert "1 of 2 trials in these pairs did not learn" in capsys.readouterr().out


def test_compressed_networks_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with the one that was retrained uncompressed for as many epochs."""
    folder = Path(__file__).parents[1] / "results/reference/cifar10_30_epochs"
    wanted = ["method=none,deep_compression", "network=squeezenet"]
    assert command.main([str(folder), *wanted]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "method=deep_compression compared with none, at retrain_epochs=8, 5 seeds, in points:"
    )
    assert lines[1].split()[:3] == ["sr", "density", "top-1"]
    assert [line.split()[:3] for line in lines[3:5]] == [
        ["0.125", "0.25", "-2.65"],
        ["0.25", "0.25", "-1.49"],
    ]


def test_a_file_of_a_network_as_it_was_trained_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        one = compressed_record(seed=seed)
        records.save(tmp_path, record(seed=seed), {})
        for method, epochs in (("none", 0), ("prune", 0)):
            own = replace(one, settings=Settings(method=method, retrain_epochs=epochs))
            records.save_row(tmp_path, own.compressed_id, own.row(), {}, COMPRESSED)
    assert command.main([str(tmp_path), "method=none,prune"]) == 0
    assert "compared with none, 2 seeds" in capsys.readouterr().out


def test_keys_that_are_not_read_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[1] / "results/reference/cifar10_30_epochs"
    assert command.main([str(folder), "method=none,prune"]) == 0
    out = capsys.readouterr().out
    assert "at network=alexnet retrain_epochs=8, 5 seeds" in out
    assert "at network=squeezenet sr=0.125 retrain_epochs=8, 5 seeds" in out
    assert re.search(r"at retrain_epochs=8, 5 seeds, in points:\nnetwork +sr +top-1 ", out)
    assert re.search(r"alexnet {8,}[+-]", out)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("cifar10_30_epochs", ["method=none,deep_compression", "sr<0.2"], "at retrain_epochs=8"),
        (
            "cifar10_30_epochs",
            ["method=none,deep_compression", "sr!=0.5"],
            "mean over 4 settings, 5 seeds",
        ),
        ("cifar10_30_epochs", ["network=squeezenet,alexnet", "sr=0.25"], "network=alexnet: +1.7 p"),
        (
            "compression",
            ["method=none,deep_compression", "bits<6", "sr=0.5"],
            "mean over 2 settings, 5 seeds",
        ),
    ],
)
def test_a_key_selects_among_the_trials_that_read_it(
    name: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that do not because of the values that are compared stay; others do not."""
    folder = Path(__file__).parents[1] / "results/reference" / name
    assert command.main([str(folder), *arguments]) == 0
    assert words in capsys.readouterr().out.splitlines()[-1]


def test_a_key_that_no_compared_trial_reads_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[1] / "results/reference/cifar10_30_epochs"
    for words, name in {
        "method=none,svd bits=8": "bits",
        "sr=0.125,0.25 network=alexnet": "sr",
    }.items():
        assert command.main([str(folder), *words.split()]) == 2
        line = f"`{name}` is not read by any of the trials selected\n"
        assert capsys.readouterr().err == line


def test_that_nothing_could_be_decided_is_said() -> None:
    table = planted(wired, seeds=range(3), sr=[n / 16 for n in range(1, 13)], bypass=BYPASSES[:2])
    (line,) = command.lines(compare(table, "bypass"))
    decided = "0 of 12 differences are decided."
    assert line == f"{decided} With 12 comparisons it takes at least 9 seeds to decide any."
    more = planted(wired, seeds=range(9), sr=[n / 16 for n in range(1, 13)], bypass=BYPASSES[:2])
    assert not any("at least" in one for one in command.lines(compare(more, "bypass")))


def test_above_30_seeds_too_many_comparisons_cannot_be_decided() -> None:
    def verdicts(count: int) -> set[str]:
        one = Pairs(
            column="sr",
            before=0.25,
            after=0.5,
            answer="top1",
            differences=(1.0, 2.0, *[-1.0, 1.0] * (count // 2 - 1)),
            left_out=0,
            setting={},
        )
        return {one.verdict for one in judged([one] * 600)}

    assert verdicts(10) == {"not decided; needs 15 to 30 seeds, has 10"}
    assert verdicts(20) == {"not decided; so small a difference takes more than 30 seeds"}
    assert verdicts(40) == {"not decided; needs 15 to 30 seeds, has 40"}


def test_differences_of_large_numbers_are_compared_with_their_rounding() -> None:
    table = planted(wired, seeds=range(6), bypass=BYPASSES[:2]).sort_values(["bypass", "seed"])
    before = [4999.9, 5000.2, 4999.6, 4999.7, 5000.5, 4999.9]
    table["seconds"] = [*before, 4999.6, 4999.5, 5000.4, 5000.5, 5000.3, 5000.4]
    (one,) = compare(table, "bypass", answer="seconds")
    assert one.pairs.largest == 5000.5
    assert one.p == sign_flip_p([-0.3, -0.7, 0.8, 0.8, -0.2, 0.5])


def test_a_damaged_record_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trials" / ("0" * 20) / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert command.main([str(tmp_path), "sr=1,2"]) == 1
    assert capsys.readouterr().err.startswith(f"{path} is damaged")


def test_help_and_a_missing_argument(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in ((["--help"], 0), ([], 2)):
        with pytest.raises(SystemExit) as end:
            command.main(arguments)
        assert end.value.code == code
    out, errors = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 82
    assert errors == "the following arguments are required: results/NAME, key=value; see --help\n"
