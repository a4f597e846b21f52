"""Check that the statistics err as often as they say: false positives and intervals.

    python benchmarks/calibration.py [--experiments 10000]

Comparisons of 8 to 12 paired seeds without an effect: how often a difference is decided, and how
often the 95% interval holds the true mean. Differences are simulated, or those of 400 networks
that differ in their seed alone (results/reference/same_configuration), paired at random. Plateaus
that begin at a known value: how often their interval holds it, and how often a claim is wrong.
Seeds that are added until a difference is decided: how often one is, without an effect. Two equal
networks: how often the larger one seems sure to be on the front. Prints the tables of
docs/statistics.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

import dse
from dse.analysis.compare import judged
from dse.analysis.pairs import Pairs
from dse.analysis.plateau import MARGIN, beyond, ends, starts
from dse.analysis.rendering import markdown
from dse.analysis.statistics import ALPHA, interval, resampled_means, resamples, sign_flip_p

REFERENCE = Path(__file__).parents[1] / "results/reference"
SAME = REFERENCE / "same_configuration/accuracies.csv"
COUNTS = (8, 9, 10, 11, 12)
PLANTED = ((8, 0.3), (5, 1.0), (5, 2.0), (8, 2.0))
"""Seeds and noise of the plateaus."""
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


def failing(random: np.random.Generator) -> Draw:
    """Differences whose mean is 0, of two networks one of which fails with a tenth of the seeds."""
    return lambda size: np.where(random.random(size) < 0.1, -60, 0) + random.normal(6, 1.5, size)


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


def shapes() -> dict[str, Floats]:
    """True accuracies of the values of an axis."""
    table = dse.load(REFERENCE / "cifar10")
    paper = {"network": "squeezenet", "sr": 0.5, "bypass": "none", "pool_after": "1-4-8"}
    rows = table[np.logical_and.reduce([table[name] == value for name, value in paper.items()])]
    return {
        "0, 3, then 6 three times": np.array([0.0, 3.0, 6.0, 6.0, 6.0]),
        "0, then 6 eight times": np.array([0.0, *[6.0] * 8]),
        "CIFAR-10, nine shares of 3x3": rows.groupby("pct3x3")["top1"].mean().to_numpy(float),
        "0, 0.3, 0.6 to 2.4": np.arange(9) * 0.3,
        "0 eight times, then 0.51": np.array([*[0.0] * 8, 0.51]),
        "0 eight times, then 1": np.array([*[0.0] * 8, 1.0]),
        "0 eight times, then 1.5": np.array([*[0.0] * 8, 1.5]),
        "0 four times, then 1": np.array([*[0.0] * 4, 1.0]),
    }


def located(
    random: np.random.Generator, means: Floats, count: int, noise: float, experiments: int
) -> tuple[float, float, float, float]:
    """Percent of intervals that hold where the plateau begins, are too late, and too early; and of
    those that end at the last value."""
    (start,) = starts(means[None], MARGIN)
    found = np.array(
        [
            ends(means[:, None] + random.normal(0, noise, (len(means), count)), MARGIN)
            for _ in range(experiments)
        ]
    )
    late, early = 100 * np.mean(found[:, 0] > start), 100 * np.mean(found[:, 1] < start)
    last = 100 * np.mean(found[:, 1] == len(means) - 1)
    return 100 - float(late + early), float(late), float(early), float(last)


def claimed(random: np.random.Generator, count: int, experiments: int) -> tuple[float, ...]:
    """Percent of wrong claims on one step, each where it is most often wrong.

    "Still rises" where there is no rise; "rises by at most the margin" where it rises by just
    that; and a claim that it rises by no more contradicted there.
    """
    samples = random.normal(0, 0.5, (experiments, count))
    rises = [sign_flip_p(sample) <= ALPHA and sample.mean() > 0 for sample in samples]
    stops = [interval(sample + MARGIN).high <= MARGIN for sample in samples]
    just = [step(MARGIN + one) for one in random.spawn(1)[0].normal(0, 0.5, (experiments, count))]
    exceeds = [beyond(judged([one]), MARGIN)[0].direction == "higher" for one in just]
    return tuple(100 * float(np.mean(wrong)) for wrong in (rises, stops, exceeds))


def step(differences: Floats) -> Pairs:
    """The pairs of one step along an axis."""
    values = tuple(differences.tolist())
    return Pairs(
        column="sr", before=0.75, after=1.0, answer="top1", differences=values, left_out=0,
        setting={},
    )  # fmt: skip


def added(random: np.random.Generator, first: int, most: int, follow: bool) -> bool:
    """Whether a difference without an effect is decided while seeds are added.

    From `first` to at most `most` seeds, one at a time, or to `follow` as many as "about N more
    seeds" says.
    """
    sample = random.normal(0, 1, first)
    while not (one := judged([step(sample)])[0]).decided:
        more = one.seeds_needed if follow else 1
        if more is None or len(sample) + max(more, 1) > most:
            return False
        sample = np.append(sample, random.normal(0, 1, max(more, 1)))
    return True


def sure(random: np.random.Generator, count: int, experiments: int) -> float:
    """Percent of experiments in which the larger of two equal networks is on the front in at least
    95% of the resamples."""
    draws = resamples(count)
    means = [resampled_means(random.normal(0, 1, (2, count)), draws) for _ in range(experiments)]
    return 100 * float(np.mean([(one[:, 1] > one[:, 0]).mean() >= 0.95 for one in means]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=10_000)
    experiments = parser.parse_args().experiments
    random = np.random.default_rng(20261126)
    same = pd.read_csv(SAME)["top1"].to_numpy(float)
    kinds = simulated(random) | {"400 real trainings, paired at random": trained(same, random)}
    kinds["one of two networks fails with a tenth of the seeds"] = failing(np.random.default_rng(7))
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
    rows = [
        [name, seeds, noise, *located(random, accuracies, seeds, noise, experiments // 5)]
        for name, accuracies in shapes().items()
        for seeds, noise in PLANTED
    ]
    header = ["accuracies", "seeds", "noise", "held", "too late", "too early", "to the last"]
    print(markdown(header, rows))
    rows = [[f"{count} seeds", *claimed(random, count, experiments)] for count in (6, 8, 12)]
    header = ["wrong claims, percent", "still rises", "rises by at most the margin"]
    print(markdown([*header, "rises by more than the margin"], rows))
    ways = {"one at a time, from 6 to 20": (6, 20, False), "as said, from 8 to 30": (8, 30, True)}
    for name, way in ways.items():
        share = 100 * np.mean([added(random, *way) for _ in range(experiments)])
        print(f"Decided without an effect where seeds are added {name}: {share:.1f}%")
    for count in (3, 4, 5, 8, 12):
        print(f"front_share of at least 95% by luck, {count} seeds: ", end="")
        print(f"{sure(random, count, experiments):.1f}%")
    print(f"the 400: mean {same.mean():.2f}%, standard deviation {same.std(ddof=1):.2f} points")


if __name__ == "__main__":
    main()
