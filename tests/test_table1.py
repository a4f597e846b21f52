"""Table 1 for any network, and cell for cell against the paper's."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from dse.paper.published import TABLE_1, Table1Row
from dse.paper.table1 import is_published, pruned, table1
from dse.space.architecture import LAYOUTS, V1_0, V1_1, Metaparameters, generate
from dse.space.cost import cost

NETWORK = generate(Metaparameters())


def test_table_1_cell_for_cell() -> None:
    columns = [field.name for field in fields(Table1Row)]
    ours = pruned(table1(NETWORK, 227))
    differing = {
        (printed.layer, column)
        for row, printed in zip(ours, TABLE_1, strict=True)
        for column in columns
        if getattr(row, column) != getattr(printed, column)
    }
    assert differing == {
        ("input", "output"),
        ("fire8", "params_after"),
        ("maxpool8", "output"),
        ("conv10", "kept_filter"),
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bypass", ["none", "simple", "complex"])
def test_table_1_of_any_network_adds_up_to_its_cost(layout: str, bypass: str) -> None:
    architecture = generate(Metaparameters(bypass=bypass, sr=0.125), LAYOUTS[layout])
    rows = table1(architecture, 64)
    assert sum(row.params or 0 for row in rows) == cost(architecture, 64).params
    assert sum(row.depth or 0 for row in rows) == 18
    assert rows[-1].output[:2] == (1, 1)


def test_only_v1_0_is_the_published_network() -> None:
    assert is_published(NETWORK)
    assert is_published(generate(Metaparameters(), LAYOUTS["v1_0_caffe"]))
    for metaparameters, layout in (
        (Metaparameters(sr=0.25), V1_0),
        (Metaparameters(bypass="simple"), V1_0),
        (Metaparameters(), V1_1),
        (Metaparameters(), replace(V1_0, norm="batch")),
    ):
        assert not is_published(generate(metaparameters, layout))


def after_pruning(fire8_e3x3: int) -> int:
    """Table 1's total after pruning, with another density of fire8's e3x3."""
    printed = [
        replace(row, kept=(100, 50, fire8_e3x3)) if row.layer == "fire8" else row for row in TABLE_1
    ]
    return sum(row.params_after or 0 for row in pruned(table1(NETWORK, 227), printed))


def test_421_098_needs_fire8_at_30_percent() -> None:
    totals = {share: after_pruning(share) for share in range(25, 40)}
    assert [share for share, total in totals.items() if total == 421_098] == [30]
    assert totals[33] == 425_522
