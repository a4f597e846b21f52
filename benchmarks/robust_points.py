"""Test whether the robust recipe trains everywhere: random points of the space, on the digits.

    python benchmarks/robust_points.py [--points 300] [--workers 2] [--root results]

Trains points drawn from the whole space (sr .0625 to 1, pct3x3 .01 to .99, every bypass, several
widths, growths and layouts) with the robust recipe and one seed each, and prints how many died,
with a 95% Wilson interval. Records go to <root>/robust_points; the same command resumes.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from dse.analysis.statistics import share
from dse.data.store import Store
from dse.results import tables
from dse.runner.runner import Workers
from dse.sweep import launch
from dse.sweep.request import read_request
from dse.trial.question import Trial, trial_from

LAYOUTS = ("px8", "px16", "px32")
POOLS = ("1-4-8", "1-3-5", "4-8", "1-4")


def points(count: int) -> list[Trial]:
    """`count` random points, each with a seed of its own."""
    draw = random.Random(20261121)
    plain = {
        layout: read_request("sweep", "", [f"layout={layout}"], page="squeezenet")
        .trials[0]
        .question
        for layout in LAYOUTS
    }
    drawn = []
    for number in range(count):
        width = draw.choice((8, 16, 24, 32))
        values = {
            "base_e": width,
            "incr_e": draw.choice((0, width // 2, width)),
            "freq": draw.choice((1, 2, 3, 4)),
            "sr": round(draw.uniform(0.0625, 1), 4),
            "pct3x3": round(draw.uniform(0.01, 0.99), 3),
            "bypass": draw.choice(("none", "simple", "complex")),
            "pool_after": draw.choice(POOLS),
            "norm": "batch",
            "head_relu": False,
            "dropout": 0.2,
            "seed": number,
        }
        drawn.append(trial_from({**plain[draw.choice(LAYOUTS)], **values}))
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--root", type=Path, default=Path("results"))
    options = parser.parse_args()
    folder = options.root / "robust_points"
    failed = launch.run(points(options.points), folder, Workers(count=options.workers), Store())
    table = tables.write_tables(folder)
    print(table["status"].value_counts().to_string())
    for name, ends in (("died", ["never_learned", "diverged"]), ("partly dead", ["partly_dead"])):
        hits = int(table["status"].isin(ends).sum())
        known = share(hits, len(table))
        print(
            f"{name}: {hits} of {len(table)}, "
            f"95% interval {100 * known.low:.1f} to {100 * known.high:.1f}%"
        )
    print(f"least val_top1: {table['val_top1'].min():.1f}%; {failed} failed to run")


if __name__ == "__main__":
    main()
