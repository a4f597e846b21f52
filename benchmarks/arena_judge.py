"""How well the samplers of benchmarks/arena.py searched SqueezeBench.

    python benchmarks/arena_judge.py [--bench results/reference/squeezebench]

A search sees the validation accuracy of one seed; what it chooses by that is judged by the mean
test accuracy of the other complete seeds, over which the best network and the front are found by
looking at all networks. (With one complete seed the judge is that seed's own test accuracy, and the
table says so.) `regret` is how far the chosen network is below the best one, in percentage points;
`hypervolume` the share of the true front's that the chosen front has, of accuracy above guessing
against the logarithm of `size_bytes`. Compared with the samplers: training the networks with the
most MACs or parameters, in that order; for the front, those with the most MACs for their size.
Writes the tables to results/reference/arena and the figure to docs/arena.png,
and prints the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from arena import OUT, ROOT, SEARCHES, bench
from scipy.stats import kendalltau, spearmanr

from dse.analysis.front import pareto
from dse.analysis.hypervolume import hypervolume
from dse.analysis.rendering import markdown

SAMPLERS = ("random", "annealing", "nsga2", "tpe", "gp")
FREE = ("macs", "params")
STYLES = {
    "random": ("0.45", "-"),
    "annealing": ("#d55e00", "-"),
    "nsga2": ("#009e73", "--"),
    "tpe": ("#0072b2", "-"),
    "gp": ("#cc79a7", "-."),
    "macs": ("k", ":"),
    "params": ("#e69f00", ":"),
}
DOCS = ROOT.parents[1] / "docs"
BUDGETS = (20, 40, 60, 108)
"""Trained networks, or as many epochs, in the table."""
GUESS = 10.0
RESAMPLES = 2000


class Judge(NamedTuple):
    """What one seed's searches saw, and the judge's accuracy of each network."""

    seen: np.ndarray
    true: np.ndarray
    sizes: np.ndarray
    epochs: int
    free: dict[str, np.ndarray]

    def quality(self, networks: np.ndarray, epochs: np.ndarray, objective: str) -> np.ndarray:
        """After each trial: the regret, or the share of the hypervolume."""
        whole = np.where(epochs == self.epochs, self.seen[networks], -np.inf)
        if objective == "accuracy":
            best = np.maximum.accumulate(whole)
            place = np.maximum.accumulate(np.where(whole == best, np.arange(len(whole)), 0))
            regret = self.true.max() - self.true[networks[place]]
            return np.where(np.isfinite(best), regret, np.nan)
        most = self._area(np.arange(len(self.true)), self.true)
        steps = range(1, len(networks) + 1)
        ended = np.isfinite(whole)
        return np.array([self._area(networks[:n][ended[:n]], self.seen) for n in steps]) / most

    def _area(self, networks: np.ndarray, chosen_by: np.ndarray) -> float:
        """The true hypervolume of the front that is chosen from some networks."""
        front = networks[pareto(self.sizes[networks], chosen_by[networks][None])[0]]
        reference = float(self.sizes.max()), GUESS
        return hypervolume(self.sizes[front], self.true[front], reference)


def judges(folder: Path) -> dict[int, Judge]:
    """The judge of each complete seed's searches."""
    every = bench(folder)
    found = {}
    for seed, (table, known) in every.items():
        others = [t["top1"].to_numpy() for other, (t, _) in every.items() if other != seed]
        found[seed] = Judge(
            seen=table["val_top1"].to_numpy(float),
            true=np.mean(others or [table["top1"].to_numpy()], axis=0),
            sizes=np.log2(table["size_bytes"].to_numpy(float)),
            epochs=known.curves.shape[1],
            free={name: table[name].to_numpy(float) for name in FREE},
        )
    return found


def searches(found: dict[int, Judge]) -> Iterator[tuple[str, str, str, np.ndarray, np.ndarray]]:
    """Sampler, objective, stopping; and of each search the epochs spent, in whole trainings, and
    the quality after each trial."""
    for sampler in SAMPLERS:
        path = OUT / f"{sampler}.parquet"
        rows = pd.read_parquet(path) if path.exists() else pd.DataFrame()
        keys = ["objective", "stopping", "repetition", "seed"]
        for (objective, stopping, _, seed), one in rows.groupby(keys) if len(rows) else ():
            judge = found[seed]
            networks, epochs = one["network"].to_numpy(int), one["epochs"].to_numpy(int)
            quality = judge.quality(networks, epochs, objective)
            yield sampler, objective, stopping, epochs.cumsum() / judge.epochs, quality
    for name in FREE:
        for judge in found.values():
            order = np.argsort(-judge.free[name], kind="stable")[: BUDGETS[-1]]
            spent, whole = np.arange(1, len(order) + 1.0), np.full(len(order), judge.epochs)
            yield name, "accuracy", "none", spent, judge.quality(order, whole, "accuracy")
            if name == "macs":
                order = layers(judge.sizes, judge.free[name])[: BUDGETS[-1]]
                yield name, "front", "none", spent, judge.quality(order, whole, "front")


def layers(sizes: np.ndarray, macs: np.ndarray) -> np.ndarray:
    """The networks on the front of MACs against size, then those on the front of the rest, ..."""
    left, order = np.arange(len(sizes)), np.arange(0)
    while len(left):
        front = pareto(sizes[left], macs[left][None])[0]
        order, left = np.append(order, left[front]), left[~front]
    return order


def at_budgets(spent: np.ndarray, quality: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """The quality at each budget; NaN below the first trial, and more than a training beyond the
    last one."""
    place = np.searchsorted(spent, budgets + 1e-9, side="right") - 1
    known = (place >= 0) & (budgets <= spent[-1] + 1)
    return np.where(known, quality[np.maximum(place, 0)], np.nan)


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over the repetitions (repetitions, budgets), and their 95% bootstrap intervals."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    counts = np.stack([np.bincount(draw, minlength=len(values)) for draw in draws])
    known = np.isfinite(values)
    enough = known.mean(axis=0) > 0.9
    sums, weights = counts @ np.nan_to_num(values), counts @ known
    means = sums / np.where(weights, weights, 1)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    mean = np.nan_to_num(values).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return tuple(np.where(enough, one, np.nan) for one in (mean, low, high))


def summary(found: dict[int, Judge]) -> pd.DataFrame:
    """Sampler, objective, stopping, budget in whole trainings -> searches, mean, low, high."""
    runs: dict[tuple[str, str, str], list[np.ndarray]] = {}
    budgets = np.arange(1, BUDGETS[-1] + 1)
    for *key, spent, quality in searches(found):
        runs.setdefault(tuple(key), []).append(at_budgets(spent, quality, budgets))
    frames = []
    for (sampler, objective, stopping), values in runs.items():
        mean, low, high = mean_interval(np.array(values))
        frame = pd.DataFrame({"budget": budgets, "mean": mean, "low": low, "high": high})
        frames.append(
            frame.assign(
                sampler=sampler, objective=objective, stopping=stopping, searches=len(values)
            )
        )
    return pd.concat(frames).dropna(subset="mean")


def table(result: pd.DataFrame, objective: str, stopping: str) -> str:
    """A line for each sampler, a column for each budget."""
    some = result[(result["objective"] == objective) & (result["stopping"] == stopping)]
    scale, digits = (1, 2) if objective == "accuracy" else (100, 1)
    lines = []
    for sampler, rows in some.groupby("sampler", sort=False):
        cells, count = [], rows["searches"].iloc[0]
        shape = "{} ({} to {})" if count > 2 else "{}"
        for budget in BUDGETS:
            at = rows[rows["budget"] == budget]
            values = (
                [f"{scale * at[name].iloc[0]:.{digits}f}" for name in ("mean", "low", "high")]
                if len(at)
                else []
            )
            cells.append(shape.format(*values) if values else "-")
        lines.append([sampler, count, *cells])
    return markdown(["sampler", "searches", *(f"{b} trainings" for b in BUDGETS)], lines)


def ranks(found: dict[int, Judge]) -> str:
    """How well what is known for free, and one seed's validation accuracy, rank the networks."""
    lines = []
    for name in (*FREE, "one seed's val_top1"):
        pairs = [(j.free.get(name, j.seen), j.true) for j in found.values()]
        spearman = np.mean([spearmanr(*pair).statistic for pair in pairs])
        kendall = np.mean([kendalltau(*pair).statistic for pair in pairs])
        top = [
            j.true.max() - j.true[values.argmax()]
            for j, (values, _) in zip(found.values(), pairs, strict=True)
        ]
        lines.append([name, f"{spearman:.3f}", f"{kendall:.3f}", f"{np.mean(top):.2f}"])
    return markdown(["ranked by", "Spearman", "Kendall", "regret of the first (points)"], lines)


def draw(result: pd.DataFrame, note: str) -> None:
    """Regret and hypervolume against trainings, without early stopping and with it."""
    panels = (
        ("accuracy", "none", "networks trained"),
        ("front", "none", "networks trained"),
        ("accuracy", "median", "epochs spent, in whole trainings (median rule)"),
        ("front", "front", "epochs spent, in whole trainings (front rule)"),
    )
    figure, axes = plt.subplots(2, 2, figsize=(8.6, 7), layout="constrained")
    for ax, (objective, stopping, label) in zip(axes.flat, panels, strict=True):
        some = result[(result["objective"] == objective) & (result["stopping"] == stopping)]
        for sampler, rows in some.groupby("sampler", sort=False):
            colour, line = STYLES[sampler]
            scale = 1 if objective == "accuracy" else 100
            ax.plot(rows["budget"], scale * rows["mean"], line, color=colour, label=sampler)
            if sampler not in FREE:
                ends = scale * rows["low"], scale * rows["high"]
                ax.fill_between(rows["budget"], *ends, color=colour, alpha=0.15, linewidth=0)
        if objective == "accuracy":
            ax.set(ylabel="regret (percentage points)", yscale="log")
            ax.set_yticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
            ax.minorticks_off()
        else:
            ax.set(ylabel="hypervolume (% of the true front's)", ylim=(60, 100.5))
        ax.set(xlabel=label, xlim=(1, BUDGETS[-1]))
        ax.grid(color="0.9")
    axes[0, 0].legend(ncols=2)
    figure.supxlabel(note, fontsize=8)
    figure.savefig(DOCS / "arena.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--bench", type=Path, default=ROOT / "squeezebench")
    found = judges(parser.parse_args().bench)
    result = summary(found)
    result.to_csv(OUT / "arena.csv", index=False, float_format="%.6g")
    seen = ", ".join(map(str, found))
    judged = "the other complete seeds'" if len(found) > 1 else "the same seed's"
    ends = "bands: 95% intervals of the mean"
    note = f"seeds seen: {seen}; judged by {judged} mean test accuracy; {ends}"
    parts = [note, "## Rank correlations with the judge", ranks(found)]
    for objective, stopping in SEARCHES:
        what = "regret, points" if objective == "accuracy" else "hypervolume, %"
        parts += [f"## {what}; early stopping: {stopping}", table(result, objective, stopping)]
    text = "\n\n".join(part.rstrip() for part in parts) + "\n"
    (OUT / "arena.md").write_text(text, encoding="utf-8")
    print(text)
    draw(result, note)


if __name__ == "__main__":
    main()
