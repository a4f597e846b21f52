"""Records of compressed networks: identity, files that appear whole and once, tables."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sample_compressed import compressed_record
from sample_records import record

from dse.analysis.axes import sweep
from dse.analysis.compressed import beyond_margin, by_settings, compared, summary
from dse.report.compression import compression
from dse.results import atomic, compressed, records, tables
from dse.results.files import COMPRESSED, RECORD, Damaged, trial_folder
from dse.results.locks import claim, held
from dse.sweep.captions import caption
from dse.trial.compressed import COLUMNS, MEASURED, compressed_from
from dse.trial.compression import METHODS, SETTINGS, Settings, compressed_id, effective, used
from dse.trial.densities import densities
from dse.trial.record import ANSWER


def save(folder: Path, **settings: Any) -> str:
    one = compressed_record(**settings)
    files = {compressed.FILE: b"f"}
    assert records.save_row(folder, one.compressed_id, one.row(), files, COMPRESSED)
    return one.compressed_id


@pytest.mark.parametrize("method", METHODS)
def test_settings_without_effect_change_nothing_and_others_the_identity(method: str) -> None:
    own = Settings(method=method)
    others: dict[str, Any] = {
        "bits": 4,
        "density": 0.5,
        "densities": "conv10:0.2",
        "quality": 1.0,
        "rounds": 3,
        "bias_bits": 0,
        "energy": 0.5,
        "factors": 0.5,
        "margin": 1.0,
        "coder": "huffman",
        "retrain_epochs": 9,
        "retrain_lr": 0.2,
        "phase": "sparse",
    }
    assert {"method", *others} == set(SETTINGS)
    for name in others:
        changed = replace(own, **{name: others[name]})
        same = compressed_id("a", changed) == compressed_id("a", own)
        assert same == (name not in used(changed)) == (effective(changed) == own)
    assert compressed_id("a", own) != compressed_id("b", own)


def test_a_threshold_by_quality_has_no_density_and_no_retraining_no_rate() -> None:
    own = {"density": 0.2, "densities": "conv1:0.5", "retrain_epochs": 0, "retrain_lr": 0.5}
    one = Settings(method="prune", quality=1, **own)
    assert effective(one) == Settings(method="prune", quality=1, retrain_epochs=0)


def test_densities_that_mean_the_same_are_one_value() -> None:
    texts = ("conv10:.20-fire8.squeeze:1-conv1:1e-3", "conv1:0.001-fire8.squeeze:1.0-conv10:0.2")
    ids = {compressed_id("a", Settings(method="prune", densities=text)) for text in texts}
    assert ids == {compressed_id("a", Settings(method="prune", densities=texts[1]))}
    assert Settings(densities=texts[0]).densities == "conv1:0.001-fire8.squeeze:1-conv10:0.2"
    tiny = Settings(densities="fc8:1e-7-conv10_split2:0.5-fire9.expand3x3:0.25-fire9.squeeze:1")
    assert list(densities(tiny.densities).values()) == [1e-7, 1, 0.25, 0.5]


def test_old_settings_keep_their_id() -> None:
    settings = Settings(method="prune", density=0.5)
    assert compressed_id("a", settings) == "feda142c9ad10fd8227c"


def test_long_densities_are_cut_off_in_summaries_and_stay_distinct(tmp_path: Path) -> None:
    records.save(tmp_path, record(), {})
    long = [f"conv1:0.5-fire2.squeeze:0.5-fire2.expand3x3:0.5-conv10:{d}" for d in (0.1, 0.2)]
    for text in long:
        save(tmp_path, method="prune", densities=text)
    rows = compared(load(tmp_path))
    assert rows["densities"].tolist() == long
    assert rows["settings"].nunique() == 2
    assert all(len(text) < 60 for text in rows["settings"])
    for text, alone in zip(rows["settings"], (rows[:1], rows[1:]), strict=True):
        assert f" {text} " in summary(alone, 1).splitlines()[-1]


def test_a_record_is_a_row_and_a_changed_value_is_refused(tmp_path: Path) -> None:
    one = compressed_record(method="svd", energy=0.8)
    row = one.row()
    assert tuple(row) == COLUMNS
    assert compressed_from(row).row() == row
    old = {name: value for name, value in row.items() if name not in ("weight_bits", "densities")}
    assert compressed_from(old).row() == row | {"weight_bits": 0.0, "densities": "none"}
    with pytest.raises(ValueError, match="`compressed_id` must be"):
        compressed_from(row | {"energy": 0.7})
    with pytest.raises(ValueError, match="`trial_id` must be"):
        compressed_from(row | {"seed": 7})
    own = save(tmp_path, method="svd", energy=0.8)
    assert compressed.read(tmp_path, own).row() == row
    path = trial_folder(tmp_path, own, COMPRESSED) / RECORD
    path.write_bytes(path.read_bytes().replace(b"0.8", b"0.7"))
    with pytest.raises(Damaged, match="remove its folder to compress the network again"):
        compressed.read(tmp_path, own)


def test_one_table_holds_trials_uncompressed_and_compressed(tmp_path: Path) -> None:
    one = record()
    records.save(tmp_path, one, {})
    empty = compressed.load(tmp_path, tables.load(tmp_path))
    assert list(empty) == [*COLUMNS, *compressed.COSTS]
    save(tmp_path, method="prune")
    save(tmp_path, method="deep_compression", bits=6)
    table = compressed.load(tmp_path, tables.load(tmp_path))
    assert table["method"].tolist() == ["deep_compression", "none", "prune"]
    none = table[table["method"] == "none"].iloc[0]
    assert none["file_bytes"] == none["fp32_bytes"] == one.answer.size_bytes
    assert none["epochs_total"] == one.trial.protocol.recipe.epochs
    assert table["macs"].tolist() == [one.answer.macs] * 3
    shared = [name for name in MEASURED if name in ANSWER]
    assert [none[name] for name in shared] == [getattr(one.answer, name) for name in shared]
    assert list(tables.load(tmp_path)["trial_id"]) == [one.trial.trial_id]


def test_the_first_record_stays_and_a_failure_is_replaced(tmp_path: Path) -> None:
    one = compressed_record()
    records.fail(tmp_path, one.compressed_id, {"name": "one", "reason": "none"}, COMPRESSED)
    assert list(records.failures(tmp_path, COMPRESSED)) == [one.compressed_id]
    assert not records.failures(tmp_path)
    save(tmp_path)
    late = compressed_record(top1=1.0)
    assert not records.save_row(tmp_path, late.compressed_id, late.row(), {}, COMPRESSED)
    assert compressed.read(tmp_path, one.compressed_id).row() == one.row()
    assert not records.failures(tmp_path, COMPRESSED)


def test_a_claim_is_of_its_kind_and_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    own = save(tmp_path)
    place = tmp_path / COMPRESSED
    with claim(tmp_path, own, COMPRESSED) as state, claim(tmp_path, own) as of_trial:
        assert (state, of_trial) == ("done", "mine")
        with claim(tmp_path, own, COMPRESSED) as second:
            assert second == "done"
    with claim(tmp_path, "0" * 20, COMPRESSED) as state:
        assert state == "mine"
        assert held(tmp_path, "0" * 20, COMPRESSED)
        assert not held(tmp_path, "0" * 20)
    (place / f".{'1' * 20}.{'a' * 16}").mkdir()
    atomic.tidy(tmp_path)
    assert [path.name for path in place.iterdir()] == [own]


def test_a_loss_that_is_not_finite_is_read_as_nan(tmp_path: Path) -> None:
    one = compressed_record(loss=math.inf)
    records.save_row(tmp_path, one.compressed_id, one.row(), {}, COMPRESSED)
    assert math.isnan(compressed.read(tmp_path, one.compressed_id).measured.loss)


def test_each_network_is_compared_with_its_own_trial(tmp_path: Path) -> None:
    for seed, top1 in ((0, 50.0), (1, 60.0)):
        records.save(tmp_path, record(seed=seed, top1=top1, size_bytes=1000), {})
    assert summary(compared(load(tmp_path)), 4) == "0 of 4 compressed networks done"
    for seed, top1 in ((0, 48.0), (1, 61.0)):
        for bits, size in ((8, 100), (4, 50)):
            one = compressed_record(
                seed=seed, bits=bits, top1=top1, file_bytes=size, fp32_bytes=1000
            )
            records.save_row(tmp_path, one.compressed_id, one.row(), {}, COMPRESSED)
    rows = compared(load(tmp_path))
    assert rows["top1_change"].tolist() == [-2, -2, 1, 1]
    assert rows["settings"].tolist() == ["bits=4", "bits=8"] * 2
    found = by_settings(rows)
    assert found["ratio"].tolist() == [20, 10]
    assert found["top1_change"].tolist() == [-0.5, -0.5]
    lines = summary(rows, 4).splitlines()
    assert lines[2].split() == ["deep_compression", "bits=4", "2", "50", "20.0", "54.50", "-0.50"]
    assert lines[-2] == "Part of a change is due to retraining: method=none shows how much."
    assert lines[-1].startswith("fixed: density=0.33 densities=none quality=0 ")
    *_, row, _, fixed = summary(rows[rows["bits"] == 8], 2).splitlines()  # of the command's own
    assert row.split() == ["deep_compression", "2", "100", "10.0", "54.50", "-0.50"]
    assert fixed.startswith("fixed: bits=8 density=0.33 ")


def test_each_network_is_compared_with_equal_training_without_compression(tmp_path: Path) -> None:
    for seed in (0, 1):
        records.save(tmp_path, record(seed=seed, top1=50.0), {})
    made = [("none", 8, 8, 0, 56.0), ("none", 8, 4, 0, 90.0), ("none", 8, 8, 1, 58.0)]
    made += [("prune", 8, 8, 0, 55.0), ("prune", 8, 8, 1, 55.0), ("prune", 8, 2, 0, 51.0)]
    for method, bits, epochs, seed, top1 in made:
        one = compressed_record(
            method=method, bits=bits, retrain_epochs=epochs, seed=seed, top1=top1
        )
        records.save_row(tmp_path, one.compressed_id, one.row(), {}, COMPRESSED)
    rows = compared(load(tmp_path))
    assert rows.loc[rows["method"] == "none", "control_change"].isna().all()
    pruned = rows[rows["method"] == "prune"].set_index(["retrain_epochs", "seed"])["control_change"]
    assert pruned[8].to_dict() == {0: -1, 1: -3}
    assert pruned[2].isna().all()
    text = summary(rows, 6)
    assert "vs none: compared with the uncompressed network retrained for as many epochs" in text
    assert [line.split()[-2:] for line in text.splitlines() if line.startswith("prune")] == [
        ["51.00", "+1.00"],
        ["+5.00", "-2.00"],
    ]


def test_networks_in_fixed_point_that_lose_more_than_their_margin_are_counted(
    tmp_path: Path,
) -> None:
    records.save(tmp_path, record(val_top1=50.0), {})
    for bits, margin, val_top1 in ((8, 0.5, 49.5), (6, 0.5, 49.4), (4, 1.0, 49.1), (2, 1.0, 12.0)):
        one = compressed_record(method="ristretto", bits=bits, margin=margin, val_top1=val_top1)
        records.save_row(tmp_path, one.compressed_id, one.row(), {}, COMPRESSED)
    one = compressed_record(method="svd", val_top1=10.0)
    records.save_row(tmp_path, one.compressed_id, one.row(), {}, COMPRESSED)
    rows = compared(load(tmp_path))
    (line,) = beyond_margin(rows)
    some = "2 of 4 ristretto networks; where no width is within it, the widest is taken"
    assert line == f"val_top1 is lower than as trained by more than the margin in {some}"
    assert line in summary(rows, 5).splitlines()
    assert line in [point.text for point in compression(load(tmp_path)).points]
    assert not beyond_margin(rows[rows["bits"].isin((8, 4))])  # svd too, at its default
    assert not beyond_margin(rows[rows["method"] == "svd"])


def test_settings_that_a_method_does_not_read_are_no_axes(tmp_path: Path) -> None:
    records.save(tmp_path, record(), {})
    for settings in ({"method": "svd"}, {"method": "ristretto", "bits": 6}):
        one = compressed_record(**settings)
        records.save_row(tmp_path, one.compressed_id, one.row(), {}, COMPRESSED)
    found = sweep(load(tmp_path))
    assert [axis.name for axis in found.axes] == ["method", "retrain_epochs"]
    assert found.fixed["bits"] == 6
    assert found.axis("method").values == ("none", "ristretto", "svd")
    assert "bits 6" in caption(load(tmp_path))


def load(folder: Path) -> pd.DataFrame:
    return compressed.load(folder, tables.load(folder))
