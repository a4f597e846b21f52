"""What real files of the released network have shown about the paper's 0.47 MB.

The records are those of `benchmarks/released.py`, which `docs/released.md` explains.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from dse.paper.evidence import Evidence

MILLION = Decimal(1_000_000)
AGREEMENT = 95
"""Percent of images whose first class a file must keep to be called as accurate."""


def folder() -> Path:
    """The folder of the records: in an installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "paper" / "released"
    checkout = package.parent / "results" / "reference" / "released"
    return installed if installed.is_dir() else checkout


def record(name: str) -> dict[str, Any]:
    """The record in a file of that folder."""
    found: dict[str, Any] = json.loads((folder() / name).read_text(encoding="utf-8"))
    return found


def smallest_kept(frontier: Mapping[str, Any]) -> Decimal:
    """The size, MB, of the smallest file as accurate as the released network: it keeps the first
    class of enough images, and the 95% interval of its change of top-1 has 0 in it.

    Raises `ValueError` where there is none.

    >>> points = [{"bytes": 400_000, "agreement": 96, "top1_change_interval": [-1, 1]}]
    >>> smallest_kept({"points": [*points, {**points[0], "bytes": 300_000, "agreement": 80}]})
    Decimal('0.4')
    """
    sizes = [
        point["bytes"]
        for point in frontier["points"]
        if point["agreement"] >= AGREEMENT
        and point["top1_change_interval"][0] <= 0 <= point["top1_change_interval"][1]
    ]
    return Decimal(min(sizes)) / MILLION


RECORDED: Mapping[str, Evidence] = {
    f"table2.squeezenet_6bit.{reading}": Evidence(
        kind="measured", comparison=comparison, function=function, inputs=(record(name),)
    )
    for reading, comparison, function, name in (
        ("plain", "rounded", lambda own: Decimal(own["plain_bytes"]) / MILLION, "six_bits.json"),
        ("entropy_coded", "rounded", lambda own: Decimal(own["bytes"]) / MILLION, "six_bits.json"),
        ("enough", "at most", smallest_kept, "frontier.json"),
    )
}
"""By the claim's id."""
