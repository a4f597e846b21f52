"""The published numbers as data: complete, consistent with each other, and only data."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest

from dse.paper import published as paper
from dse.paper.claims import CLAIMS
from dse.paper.published import FIGURE_3A, FIGURE_3B, TABLE_1, TABLE_2, TABLE_3
from dse.paper.related import RELEASED_ENTRIES, RELEASED_FILLERS
from dse.paper.remarks import REMARKS


def test_table_1_has_the_papers_fifteen_rows() -> None:
    # arXiv:1602.07360, Table 1
    layers = "input conv1 maxpool1 fire2 fire3 fire4 maxpool4 fire5 fire6 fire7 fire8 maxpool8"
    assert [row.layer for row in TABLE_1] == [*layers.split(), "fire9", "conv10", "avgpool10"]


def test_table_1s_rows_add_up_to_its_totals() -> None:
    assert sum(row.params or 0 for row in TABLE_1) == paper.TABLE_1_PARAMS == 1_248_424
    assert sum(row.params_after or 0 for row in TABLE_1) == paper.TABLE_1_PARAMS_AFTER == 421_098


@pytest.mark.parametrize("row", [row for row in TABLE_1 if row.params], ids=lambda r: r.layer)
def test_every_layer_with_weights_has_its_densities_and_bits(row: paper.Table1Row) -> None:
    assert len(row.kept) == (3 if row.s1x1 else 1)
    assert all(0 < share <= 100 for share in row.kept)
    assert row.bits == 6
    assert row.params_after is not None
    assert row.params is not None
    assert row.params_after <= row.params


def test_fire_modules_of_table_1_follow_their_metaparameters() -> None:
    # section 5.1: base_e = incr_e = 128, freq = 2, pct3x3 = 0.5, SR = 0.125
    fires = [row for row in TABLE_1 if row.depth == 2]
    assert len(fires) == 8
    for i, row in enumerate(fires):
        e = 128 + 128 * (i // 2)
        assert (row.s1x1, row.e1x1, row.e3x3, row.output[2]) == (e // 8, e // 2, e // 2, e)


def test_figure_3_has_its_fourteen_points() -> None:
    # arXiv:1602.07360, Figure 3
    assert [p.value for p in FIGURE_3A] == [0.125, 0.25, 0.5, 0.75, 1.0]
    assert [p.size_label for p in FIGURE_3A] == ["4.8", "7.6", "13", "19", "24"]
    assert [p.top5 for p in FIGURE_3A] == [80.3, 83.4, 85.4, 86.0, 86.1]
    assert [p.printed for p in FIGURE_3A] == [80.3, None, 85.3, 86.0, None]
    assert [p.value for p in FIGURE_3B] == [0.01, *(n / 8 for n in range(1, 8)), 0.99]
    labels = " ".join(p.size_label for p in FIGURE_3B)
    assert labels == "5.7 7.4 9.3 11 13 15 17 19 21"
    assert [p.top5 for p in FIGURE_3B] == [76.3, 80.9, 84.0, 84.7, 85.3, 85.6, 85.4, 85.5, 85.3]
    assert [p.printed for p in FIGURE_3B if p.printed] == [76.3, 85.3, 85.3]


def test_tables_2_and_3() -> None:
    # arXiv:1602.07360, Tables 2 and 3
    assert [row.size for row in TABLE_2] == ["240", "48", "27", "6.9", "4.8", "0.66", "0.47"]
    assert [row.ratio for row in TABLE_2] == [1, 5, 9, 35, 50, 363, 510]
    assert [row.top1 for row in TABLE_2] == [57.2, 56.0, 57.2, 57.2, 57.5, 57.5, 57.5]
    assert [row.top5 for row in TABLE_2] == [80.3, 79.4, 80.3, 80.3, 80.3, 80.3, 80.3]
    cells = [(row.bypass, row.top1, row.top5, row.size_label) for row in TABLE_3]
    assert cells == [
        ("none", 57.5, 80.3, "4.8"),
        ("simple", 60.4, 82.5, "4.8"),
        ("complex", 58.8, 82.0, "7.7"),
    ]


def test_one_network_is_in_four_places() -> None:
    vanilla = next(row for row in TABLE_2 if row.key == "squeezenet")
    assert vanilla.top5 == TABLE_3[0].top5 == FIGURE_3A[0].top5
    assert vanilla.size == TABLE_3[0].size_label == FIGURE_3A[0].size_label


def test_the_solvers_schedule() -> None:
    # forresti/SqueezeNet, SqueezeNet_v1.0/solver.prototxt and train_val.prototxt
    assert paper.SOLVER.images_per_step == 512
    assert paper.OLD_SOLVER.images_per_step == 1024
    assert paper.SOLVER.epochs == paper.OLD_SOLVER.epochs == pytest.approx(67.9, abs=0.05)
    tested = paper.SOLVER.test_iter * paper.SOLVER.test_batch_size
    assert tested == paper.IMAGENET_VALIDATION_IMAGES


def test_the_released_file_has_a_count_for_each_convolution() -> None:
    # songhan/SqueezeNet-Deep-Compression, compressed_SqueezeNet.net: its first 26 numbers
    assert len(RELEASED_ENTRIES) == 26
    assert sum(RELEASED_ENTRIES) == 415_921 + RELEASED_FILLERS


def test_claims_are_complete_and_distinct() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) >= 40
    for claim in CLAIMS:
        assert claim.source
        assert claim.statement
        assert claim.published
    assert set(REMARKS) <= {claim.id for claim in CLAIMS}


def test_published_numbers_are_numbers_or_shapes() -> None:
    words = {"section3.3.pools"}
    for claim in CLAIMS:
        for part in claim.published.replace(",", "").replace("/", "x").split("x"):
            assert claim.id in words or Decimal(part) > 0


def test_all_values_are_frozen() -> None:
    values = (CLAIMS[0], TABLE_1[0], TABLE_2[0], TABLE_3[0], FIGURE_3A[0], paper.SOLVER)
    for value in values:
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            value.source = "elsewhere"  # type: ignore[union-attr, misc]


def test_the_data_need_only_the_standard_library() -> None:
    code = "import sys, dse.paper.claims; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "pandas", "matplotlib"} & set(out.stdout.split())
