"""Intervals against tables, scipy and simulation; differences over paired seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dse.analysis.statistics import (
    PERCENT,
    holm,
    interval,
    power,
    resampled_means,
    resamples,
    seeds_for_power,
    share,
    sign_flip_p,
    smallest_p,
)

SAME = Path(__file__).parents[1] / "results/reference/same_configuration/accuracies.csv"


@pytest.mark.parametrize(
    ("count", "t"),
    # The 97.5% points of Student's t in any printed table, for count - 1 degrees of freedom.
    [(3, 4.303), (4, 3.182), (5, 2.776), (11, 2.228), (31, 2.042), (121, 1.980)],
)
def test_half_width_is_the_tables_t_times_the_standard_error(count: int, t: float) -> None:
    values = [float(v) for v in range(count)]
    result = interval(values)
    error = np.std(values, ddof=1) / math.sqrt(count)
    assert result.mean == pytest.approx((count - 1) / 2)
    assert (result.high - result.mean) / error == pytest.approx(t, abs=6e-4)
    assert result.mean - result.low == pytest.approx(result.high - result.mean)
    assert result.count == count


@pytest.mark.parametrize("values", [[90.1, 91.7, 88.4], [3.0, -5.0, 4.0], [1e-9, 2e-9, 4e-9, 9e-9]])
def test_the_interval_is_scipys(values: Sequence[float]) -> None:
    result = interval(values)
    theirs = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (result.low, result.high) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_95_of_100_intervals_hold_the_true_mean(count: int) -> None:
    """The share of 10,000 is within 0.7 points (three standard deviations of a binomial)."""
    random = np.random.default_rng(20261120)
    samples = random.normal(87.0, 2.5, size=(10_000, count))
    result = [interval(sample) for sample in samples]
    covered = np.mean([i.low <= 87.0 <= i.high for i in result])
    assert covered == pytest.approx(0.95, abs=0.007)


def test_equal_values_have_no_spread() -> None:
    result = interval([12.5, 12.5, 12.5])
    assert (result.low, result.mean, result.high) == (12.5, 12.5, 12.5)


@pytest.mark.parametrize("values", [[91.0], [91.0, 91.0], [90.0, 92.0]])
def test_one_or_two_values_have_no_interval(values: Sequence[float]) -> None:
    result = interval(values)
    assert (result.mean, result.count) == (91.0, len(values))
    assert math.isnan(result.low)
    assert math.isnan(result.high)


def test_an_interval_of_accuracies_stays_within_0_and_100_percent() -> None:
    top, bottom = interval([95.0, 100.0, 100.0], PERCENT), interval([5.0, 0.0, 0.0], PERCENT)
    assert (top.high, bottom.low) == (100.0, 0.0)
    assert top.low == interval([95.0, 100.0, 100.0]).low  # the other end is as it was
    assert bottom.high == interval([5.0, 0.0, 0.0]).high


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="`values` must hold at least one value, got none"):
        interval([])


def test_an_unknown_value_makes_the_mean_unknown() -> None:
    result = interval([1.0, math.nan, 3.0], PERCENT)
    assert math.isnan(result.mean)
    assert math.isnan(result.low)
    assert math.isnan(result.high)


# Shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 10, 300])
def test_a_share_has_wilsons_ends(count: int) -> None:
    """The ends are the shares p whose distance to the observed one is z deviations of p."""
    for hits in range(0, count + 1, max(count // 7, 1)):
        known = share(hits, count)
        assert known.mean == hits / count
        assert known.count == count
        assert 0 <= known.low <= known.mean <= known.high <= 1
        for end in {known.low, known.high} - {0.0, 1.0}:
            distance = 1.959963984540054 * math.sqrt(end * (1 - end) / count)
            assert abs(known.mean - end) == pytest.approx(distance, rel=1e-9)


def test_none_of_many_leaves_a_chance() -> None:
    assert share(0, 300).low == 0.0
    assert share(0, 300).high == pytest.approx(0.01264, abs=1e-5)
    assert share(300, 300).high == 1.0
    assert share(300, 300).low == pytest.approx(1 - share(0, 300).high)


@pytest.mark.parametrize(("hits", "count"), [(-1, 3), (4, 3), (0, 0)])
def test_a_share_of_nothing_is_refused(hits: int, count: int) -> None:
    with pytest.raises(ValueError, match="`hits` must be in 0 "):
        share(hits, count)


# Tests of paired differences ------------------------------------------------------------------


def brute_force_p(differences: Sequence[float]) -> float:
    """The share of all choices of signs whose sum is as far from 0 as the one seen."""
    signs = itertools.product((-1, 1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(one, differences, strict=True))) for one in signs]
    return sum(total >= abs(sum(differences)) - 1e-9 for total in sums) / len(sums)


@pytest.mark.parametrize(
    "differences",
    [
        [1.0],
        [0.0],
        [0.0, 0.0, 0.0],
        [2.0, 2.0, 2.0, -2.0],
        [0.1, 0.2, -0.3],  # a sum of 0 up to rounding
        [5.0, 1.2, -0.7, 0.3, 0.0, 2.2, -1.1],
        [1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7, 8.8],
    ],
)
def test_the_permutation_p_counts_every_choice_of_signs(differences: list[float]) -> None:
    assert sign_flip_p(differences) == brute_force_p(differences)
    assert sign_flip_p([-d for d in differences]) == sign_flip_p(differences)
    assert sign_flip_p(differences[::-1]) == sign_flip_p(differences)


@pytest.mark.parametrize("largest", [1e8, -1e10, 1e13])
def test_one_huge_difference_hides_no_others(largest: float) -> None:
    """Signs are counted with exact fractions."""
    differences = [largest, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    exact = [Fraction(d) for d in differences]
    signs = itertools.product((-1, 1), repeat=len(exact))
    sums = [abs(sum(s * d for s, d in zip(one, exact, strict=True))) for one in signs]
    as_far = sum(total >= abs(sum(exact)) for total in sums)
    assert sign_flip_p(differences) == as_far / len(sums)


def test_equal_sums_of_differences_of_accuracies_are_equal() -> None:
    """0.02, -0.01 and 0.01 up to 1e-14: three of four choices of signs are at least 0.02 from 0."""
    differences = [75.14 - 75.12, 99.93 - 99.94, 50.33 - 50.32]
    assert sum(differences) > 0.02 > differences[0] - differences[1] - differences[2]
    assert sign_flip_p(differences) == 0.75
    before = [4999.9, 5000.2, 4999.6, 4999.7, 5000.5, 4999.9]
    after = [4999.6, 4999.5, 5000.4, 5000.5, 5000.3, 5000.4]
    differences = [y - x for x, y in zip(before, after, strict=True)]
    exact = sign_flip_p([-0.3, -0.7, 0.8, 0.8, -0.2, 0.5])
    assert sign_flip_p(differences) < sign_flip_p(differences, largest=5000.5) == exact


def test_the_permutation_p_is_scipys() -> None:
    differences = np.random.default_rng(3).normal(0.5, 1, 12)
    theirs = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=2**12, vectorized=False
    )
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue)


def test_with_many_seeds_p_is_that_of_random_signs() -> None:
    """Exact with 30; with 31 within three standard deviations of the t test's."""
    random = np.random.default_rng(5)
    for count in (30, 31, 60):
        differences = random.normal(0.3, 1, count)
        assert sign_flip_p(differences) == pytest.approx(
            stats.ttest_1samp(differences, 0).pvalue, abs=0.015
        )
        assert sign_flip_p(differences) == sign_flip_p(differences)
    assert sign_flip_p([1.0] * 100) == smallest_p(100) == 1 / 10_001


@pytest.mark.parametrize("count", [1, 2, 6, 8, 30])
def test_the_smallest_p_is_that_of_equal_signs(count: int) -> None:
    assert sign_flip_p(np.arange(1.0, count + 1)) == smallest_p(count) == 2 / 2**count


def test_holms_p_is_the_published_example() -> None:
    """Holm (1979): the smallest is multiplied by the number of tests, the next by one less."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_bounds_the_chance_of_any_false_rejection() -> None:
    ps = np.random.default_rng(8).random((4000, 5))
    any_rejected = np.mean([min(holm(one)) <= 0.05 for one in ps])
    assert any_rejected == pytest.approx(1 - 0.99**5, abs=0.011)  # 3 standard deviations


@pytest.mark.parametrize(
    ("effect", "seeds"),
    # Two-sided paired t test at 5% with a power of 80%, as G*Power 3.1 prints it.
    [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (-0.5, 34)],
)
def test_seeds_for_a_power_are_those_of_published_tables(effect: float, seeds: int) -> None:
    assert seeds_for_power(effect) == seeds
    assert power(effect, seeds) >= 0.8 > power(effect, seeds - 1)


@pytest.mark.parametrize(("effect", "family", "seeds"), [(1.5, 1, 7), (1.2, 3, 11), (2.0, 36, 12)])
def test_so_many_seeds_decide_four_of_five_differences(
    effect: float, family: int, seeds: int
) -> None:
    """By the test that decides; of 1,000, within three standard deviations."""
    level, random = 0.05 / family, np.random.default_rng(4)
    assert seeds_for_power(effect, level) == seeds
    enough, fewer = (
        np.mean([sign_flip_p(one) <= level for one in random.normal(effect, 1, (1000, count))])
        for count in (seeds, seeds - 1)
    )
    assert enough > 0.8 - 0.038
    assert fewer < 0.8 + 0.038


def test_power_is_the_share_of_simulated_tests_that_reject() -> None:
    samples = np.random.default_rng(9).normal(0.8, 1, (20_000, 8))
    for level in (0.05, 0.01):
        rejected = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue <= level)
        assert power(0.8, 8, level) == pytest.approx(rejected, abs=0.011)


def test_power_without_an_effect_is_the_level() -> None:
    assert power(0.0, 8, 0.05) == pytest.approx(0.05)
    assert power(0.0, 3, 0.01) == pytest.approx(0.01)


def test_no_effect_needs_more_seeds_than_are_counted() -> None:
    assert seeds_for_power(0.0) is None
    assert seeds_for_power(1e-3) is None
    assert seeds_for_power(math.nan) is None
    assert seeds_for_power(0.5, 0.05 / 500) is not None
    assert seeds_for_power(0.5, 0.05 / 501) is None  # more than 30, with which p is not so small
    assert smallest_p(10_000) > 0.05 / 501


@pytest.mark.parametrize(("effect", "level", "seeds"), [(-math.inf, 0.05, 6), (9.0, 0.05 / 8, 9)])
def test_the_largest_effect_takes_the_fewest_seeds_that_can_decide(
    effect: float, level: float, seeds: int
) -> None:
    assert seeds_for_power(effect, level) == seeds
    assert smallest_p(seeds) <= level < smallest_p(seeds - 1)


# Calibration: at full size in benchmarks/calibration.py -----------------------------------------


@pytest.mark.parametrize("count", [8, 10, 12])
def test_one_of_20_comparisons_without_an_effect_is_decided(count: int) -> None:
    """Of 3,000, within three standard deviations: 1.2 points."""
    samples = np.random.default_rng(count).normal(0, 1, (3000, count))
    false = np.mean([sign_flip_p(sample) <= 0.05 for sample in samples])
    assert false == pytest.approx(0.05, abs=0.012)


def test_real_trainings_that_differ_in_their_seed_alone_are_rarely_decided() -> None:
    """400 networks of one configuration, paired at random, ten pairs an experiment."""
    accuracies = pd.read_csv(SAME)["top1"].to_numpy()
    random, false, held = np.random.default_rng(10), 0, 0
    for _ in range(1500):
        chosen = random.choice(accuracies, 20, replace=False)
        differences = chosen[:10] - chosen[10:]
        known = interval(differences)
        false += sign_flip_p(differences) <= 0.05
        held += known.low <= 0 <= known.high
    assert len(accuracies) == 400
    assert false / 1500 == pytest.approx(0.05, abs=0.017)  # three standard deviations
    assert held / 1500 == pytest.approx(0.95, abs=0.017)


def test_resampled_means_vary_as_means_do_and_together() -> None:
    values = np.random.default_rng(2).normal(0, 1, (2, 8))
    values[1] = values[0] + 3  # the same seeds' luck
    means = resampled_means(values, resamples(8))
    assert means.std(axis=0) == pytest.approx(values.std(axis=1, ddof=1) / 8**0.5, rel=0.05)
    assert means[:, 1] - means[:, 0] == pytest.approx(3)
    values[1, 2] = math.nan
    assert not np.isnan(resampled_means(values, resamples(8))).any()
    assert resampled_means(np.array([[5.0]]), resamples(1)) == pytest.approx(5)
