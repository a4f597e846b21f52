"""Check that the statistics err as often as they say: false positives and intervals.

    python benchmarks/calibration.py [--experiments 10000]

Comparisons of 8 to 12 paired seeds without an effect: how often a difference is decided, and how
often the 95% interval holds the true mean. Differences are simulated, or those of 400 networks
that differ in their seed alone (results/reference/same_configuration), paired at random. Plateaus
that begin at a known value: how often their interval holds it, and how often a claim is wrong.
Prints the tables of docs/statistics.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from dse.analysis.plateau import MARGIN, starts
from dse.analysis.rendering import markdown
from dse.analysis.statistics import (
    ALPHA,
    interval,
    resampled_means,
    resamples,
    sign_flip_p,
)

SAME = Path(__file__).parents[1] / "results/reference/same_configuration/accuracies.csv"
COUNTS = (8, 9, 10, 11, 12)
Floats = npt.NDArray[np.float64]
Draw = Callable[[tuple[int, int]], Floats]


def simulated(random: np.random.Generator) -> dict[str, Draw]:
    """Differences of pairs without an effect, in points: their mean is 0."""
    skewed = lambda size: random.gamma(1, 3, size)  # noqa: E731
    return {
        "normal": lambda size: random.normal(0, 1.5, size),
        "normal, in steps of 1 of 360 images": lambda size: (
            np.round(random.normal(0, 1.5, size) * 3.6) / 3.6
        ),
        "of two skewed accuracies": lambda size: skewed(size) - skewed(size),
    }


def trained(values: Floats, random: np.random.Generator) -> Draw:
    """Differences of real trainings, paired at random; no network is twice in an experiment."""

    def draw(size: tuple[int, int]) -> Floats:
        experiments, count = size
        chosen = np.stack(
            [random.choice(values, 2 * count, replace=False) for _ in range(experiments)]
        )
        return chosen[:, :count] - chosen[:, count:]

    return draw


def means(values: Floats, random: np.random.Generator) -> Draw:
    """Accuracies of real trainings, minus the mean of all."""
    return lambda size: (
        np.stack([random.choice(values, size[1], replace=False) for _ in range(size[0])])
        - values.mean()
    )


def decided(samples: Floats) -> float:
    """Percent of experiments whose difference is decided."""
    return 100 * float(np.mean([sign_flip_p(sample) <= ALPHA for sample in samples]))


def covered(samples: Floats) -> float:
    """Percent of experiments whose 95% interval holds the true mean, 0."""
    known = [interval(sample) for sample in samples]
    return 100 * float(np.mean([one.low <= 0 <= one.high for one in known]))


def located(random: np.random.Generator, count: int, experiments: int) -> float:
    """Percent of plateaus, planted at the third of five values, that their interval holds."""
    rise = np.array([0.0, 3.0, 6.0, 6.0, 6.0])[:, None]
    held = 0
    for _ in range(experiments):
        data = rise + random.normal(0, 1.0, (len(rise), count))
        places = starts(resampled_means(data, resamples(count)), MARGIN)
        low, high = np.quantile(places, [0.025, 0.975], method="inverted_cdf")
        held += low <= 2 <= high
    return 100 * held / experiments


def claimed(random: np.random.Generator, count: int, experiments: int) -> tuple[float, float]:
    """Percent of wrong claims on one step, each where it is most often wrong.

    "Still rises" where there is no rise, and "rises by at most the margin" where it rises by just
    that.
    """
    samples = random.normal(0, 0.5, (experiments, count))
    rises = [sign_flip_p(sample) <= ALPHA and sample.mean() > 0 for sample in samples]
    stops = [interval(sample + MARGIN).high <= MARGIN for sample in samples]
    return 100 * float(np.mean(rises)), 100 * float(np.mean(stops))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=10_000)
    experiments = parser.parse_args().experiments
    random = np.random.default_rng(20261126)
    same = pd.read_csv(SAME)["top1"].to_numpy(float)
    kinds = simulated(random) | {"400 real trainings, paired at random": trained(same, random)}
    header = ["differences", *(f"n = {count}" for count in COUNTS)]
    false, held = [], []
    for name, draw in kinds.items():
        samples = [draw((experiments, count)) for count in COUNTS]
        false.append([name, *map(decided, samples)])
        held.append([name, *map(covered, samples)])
    alone = means(same, random)
    name = "accuracies of the 400, against their mean"
    held.append([name, *(covered(alone((experiments, count))) for count in COUNTS)])
    print("Decided although there is no effect, percent:\n", markdown(header, false), sep="\n")
    print("95% intervals that hold the true mean, percent:\n", markdown(header, held), sep="\n")
    few = (3, 5, 8, 12)
    rows = [[f"{count} seeds", located(random, count, experiments // 5)] for count in few]
    print(markdown(["plateau", "intervals that hold its start, percent"], rows))
    rows = [[f"{count} seeds", *claimed(random, count, experiments)] for count in (6, 8, 12)]
    print(markdown(["wrong claims, percent", "still rises", "rises by at most the margin"], rows))
    print(f"the 400: mean {same.mean():.2f}%, standard deviation {same.std(ddof=1):.2f} points")


if __name__ == "__main__":
    main()
