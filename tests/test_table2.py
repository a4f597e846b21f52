"""Table 2 from made-up records: each column is what its definition says."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from dse.analysis.axes import NoSweep
from dse.analysis.table2 import table2
from dse.space.architecture import LAYOUTS
from dse.trial.compression import Settings
from dse.trial.protocol import Protocol
from dse.trial.question import Trial

QUESTION = Trial(layout=LAYOUTS["px16"], protocol=Protocol()).question | {"network": "squeezenet"}


NONE: dict[str, Any] = {"method": "none", "retrain_epochs": 0}


def row(trial: str, top1: float, file_bytes: int, seed: int = 0, **changes: Any) -> dict[str, Any]:
    settings = {name: getattr(Settings(), name) for name in Settings.__slots__}
    fp32_bytes = 40_000 if changes.get("network") == "alexnet" else 10_000
    measured = {"file_bytes": file_bytes, "fp32_bytes": fp32_bytes, "top1": top1, "top5": 99.0}
    own = {"trial_id": trial, "compressed_id": f"{trial} {sorted(changes.items())}"}
    own |= {"compressed_id": ""} if NONE.items() <= changes.items() else {}
    return {**own, **QUESTION, "seed": seed, **settings, **measured, **changes}


def small() -> pd.DataFrame:
    """Three seeds of SqueezeNet and one of AlexNet: as trained, retrained, and compressed."""
    rows = [row("big", 80, 40_000, network="alexnet", **NONE)]
    rows.append(row("big", 79, 8_000, network="alexnet", method="svd"))
    for seed, gain in enumerate((0.0, 1.0, 2.0)):
        trial = f"trial{seed}"
        rows.append(row(trial, 70 + seed, 10_000, seed, **NONE))
        rows.append(row(trial, 75 + seed, 10_000, seed, method="none"))
        for bits, size in ((8, 1_000), (6, 500 + 10 * seed)):
            rows.append(row(trial, 75 + seed + gain, size, seed, bits=bits))
    return pd.DataFrame(rows).sample(frac=1, random_state=3)


def test_columns_follow_their_definitions() -> None:
    found = table2(small())
    assert found["network"].tolist() == ["alexnet", "alexnet", *["squeezenet"] * 4]
    assert found["method"].tolist() == ["none", "svd", "none", "none", *["deep_compression"] * 2]
    six = found[found["bits"] == 6].iloc[0]
    assert (six["seeds"], six["fp32_bytes"], six["file_bytes"]) == (3, 10_000, 510)
    assert six["ratio"] == pytest.approx(10_000 / 510)
    assert six["factor"] == pytest.approx(40_000 / 510)
    assert six["top1"] == pytest.approx(77)
    assert six["change"] == pytest.approx(1)  # from the retrained network, not from the trial
    assert six["change_low"] < 1 < six["change_high"]
    assert (six["paper_size"], six["paper_top1"]) == ("0.47MB", 57.5)
    svd = found[found["method"] == "svd"].iloc[0]
    assert (svd["bits"], svd["paper_size"], svd["factor"]) == (32, "48MB", 5)
    assert math.isnan(svd["change"])  # no uncompressed network was retrained for as long
    assert math.isnan(svd["top1_low"])  # one seed has no interval


def test_what_varies_between_trials_has_rows_of_its_own() -> None:
    wide = small()
    wide = pd.concat([wide, wide.assign(sr=0.5, trial_id=wide["trial_id"] + "w")])
    found = table2(wide)
    assert len(found) == 2 * len(table2(small()))
    assert set(found["sr"]) == {"", "0.125", "0.5"}  # AlexNet has none


def test_the_file_of_a_network_as_it_was_trained_is_not_counted_as_one_more() -> None:
    files = [row(f"trial{n}", 70 + n, 9_000, n, compressed_id=f"{n}", **NONE) for n in range(3)]
    pd.testing.assert_frame_equal(
        table2(pd.concat([small(), pd.DataFrame(files)])), table2(small())
    )


def test_a_network_is_compared_with_one_of_its_phase() -> None:
    pruned, control = (
        row("trial0", top1, 900, method=method, phase="sparse")
        for method, top1 in (("prune", 60), ("none", 62))
    )
    alone = table2(pd.concat([small(), pd.DataFrame([pruned])]))
    assert alone[alone["method"] == "prune"]["change"].isna().all()
    both = table2(pd.concat([small(), pd.DataFrame([pruned, control])]))
    assert both[both["method"] == "prune"]["change"].tolist() == [-2]
    assert both[both["bits"] == 6]["change"].tolist() == pytest.approx([1])


def test_without_a_control_for_each_seed_there_is_no_change() -> None:
    lacking = small().query("not (method == 'none' and retrain_epochs > 0 and seed == 2)")
    assert table2(lacking).query("method == 'deep_compression'")["change"].isna().all()


def test_a_file_is_compared_with_the_alexnet_for_its_data() -> None:
    other = small().assign(data="cifar10").replace({"fp32_bytes": {40_000: 80_000}})
    other["trial_id"] += "c"
    found = table2(pd.concat([small(), other])).query("bits == 6")
    factors = dict(zip(found["data"], found["factor"], strict=True))
    assert factors == pytest.approx({"digits": 40_000 / 510, "cifar10": 80_000 / 510})


def test_the_paper_s_numbers_are_next_to_its_network_only() -> None:
    bypass = small().assign(bypass="simple")
    found = table2(bypass[bypass["network"] == "squeezenet"])
    assert found["paper_top1"].isna().all()


def test_the_networks_of_a_further_kind_have_rows_too() -> None:
    others = small().replace({"network": {"squeezenet": "vgg"}})
    others["trial_id"] = "v" + others["trial_id"]
    found = table2(pd.concat([small(), others]))
    assert found["network"].unique().tolist() == ["alexnet", "squeezenet", "vgg"]
    assert found.query("network == 'vgg'")["paper_top1"].isna().all()


def test_settings_are_in_the_order_of_their_values() -> None:
    rows = [row("trial0", 70, 900, method="none", retrain_epochs=n) for n in (9, 100, 10)]
    found = table2(pd.concat([small(), pd.DataFrame(rows)]))
    own = found.query("network == 'squeezenet' and method == 'none'")
    assert own["retrain_epochs"].tolist() == ["0", "8", "9", "10", "100"]


def test_without_alexnet_there_is_no_factor() -> None:
    found = table2(small().query("network == 'squeezenet'"))
    assert found["factor"].isna().all()
    assert found["ratio"].notna().all()


def test_a_table_without_networks_is_refused() -> None:
    with pytest.raises(NoSweep, match="no networks"):
        table2(small()[:0])
    with pytest.raises(NoSweep, match="`file_bytes`"):
        table2(small().drop(columns="file_bytes"))
    with pytest.raises(ValueError, match="the table must hold each compressed network once"):
        table2(pd.concat([small(), small()]))
