"""How well the samplers of benchmarks/arena.py searched SqueezeBench.

    python benchmarks/arena_judge.py [--bench results/reference/squeezebench]

A search sees the validation accuracy of one seed; what it chooses by that is judged by the mean
test accuracy of the other complete seeds, over which the best network and the front are found by
looking at all networks. (With one complete seed the judge is that seed's own test accuracy, and the
table says so.) `regret` is how far the chosen network is below the best one, in percentage points,
on average over the networks that are tied for the highest validation accuracy seen so far;
`hypervolume` the share of the true front's that the chosen front has, of accuracy above guessing
against the logarithm of `size_bytes`. Compared with the samplers: training the networks with the
most MACs or parameters, in that order; for the front, those with the most MACs for their size.
Equal ones are trained in random order. Writes the tables to results/reference/arena and the figure
to docs/arena.png, and prints the tables.
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
from arena_tables import BUDGETS, Runs, Searches, at_budgets, differences, means, summary
from scipy.stats import kendalltau, spearmanr

from dse.analysis.front import hypervolume, pareto
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
CAPTION = """\
macs, params: the networks with the most MACs or parameters first; hypervolume: the most MACs for \
their size first.
Means over the searches (those of gp end after 60 networks); bands: {ends}.
{judged_by}."""
DOCS = ROOT.parents[1] / "docs"
GUESS = 10.0
REPETITIONS = 51
"""Of `FREE`, as many as of a sampler: what they leave to chance is the order of equal networks."""


class Judge(NamedTuple):
    """What one seed's searches saw, and the judge's accuracy of each network."""

    seen: np.ndarray
    true: np.ndarray
    sizes: np.ndarray
    epochs: int
    free: dict[str, np.ndarray]

    def quality(self, networks: np.ndarray, epochs: np.ndarray, objective: str) -> np.ndarray:
        """After each trial: the regret, or the share of the hypervolume."""
        ended = epochs == self.epochs
        known = (networks[:n][ended[:n]] for n in range(1, len(networks) + 1))
        if objective == "accuracy":
            return np.array(
                [self.regret(some, self.seen) if len(some) else np.nan for some in known]
            )
        most = self._area(np.arange(len(self.true)), self.true)
        return np.array([self._area(some, self.seen) for some in known]) / most

    def regret(self, networks: np.ndarray, chosen_by: np.ndarray) -> float:
        """Of the network with the highest value; the mean of those that are tied for it."""
        values = chosen_by[networks]
        return self.true.max() - self.true[networks[values == values.max()]].mean()

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


def searches(found: dict[int, Judge]) -> Iterator[tuple[str, str, str, int, np.ndarray]]:
    """Sampler, objective, stopping; and of each search its seed and its quality at each budget."""
    for sampler in SAMPLERS:
        path = OUT / f"{sampler}.parquet"
        rows = pd.read_parquet(path) if path.exists() else pd.DataFrame()
        keys = ["objective", "stopping", "repetition", "seed"]
        for (objective, stopping, _, seed), one in rows.groupby(keys) if len(rows) else ():
            judge = found[seed]
            networks, epochs = one["network"].to_numpy(int), one["epochs"].to_numpy(int)
            quality = judge.quality(networks, epochs, objective)
            spent = epochs.cumsum() / judge.epochs
            yield sampler, objective, stopping, seed, at_budgets(spent, quality)
    some, count = next(iter(found.values())), BUDGETS[-1]
    orders = [(name, "accuracy", -some.free[name]) for name in FREE]
    orders.append(("macs", "front", layers(some.sizes, some.free["macs"], count)))
    for name, objective, key in orders:
        for repetition in range(REPETITIONS):
            seed = [*found][repetition % len(found)]
            chance = np.random.default_rng(repetition).permutation(len(key))
            order, judge = np.lexsort((chance, key))[:count], found[seed]
            quality = judge.quality(order, np.full(count, judge.epochs), objective)
            yield name, objective, "none", seed, at_budgets(np.arange(1.0, count + 1), quality)


def collected(found: dict[int, Judge]) -> Runs:
    """All searches of a sampler, objective and early stopping together."""
    kinds: dict[tuple[str, str, str], list[tuple[int, np.ndarray]]] = {}
    for *kind, seed, quality in searches(found):
        kinds.setdefault(tuple(kind), []).append((seed, quality))
    return {kind: Searches(*map(np.array, zip(*some, strict=True))) for kind, some in kinds.items()}


def layers(sizes: np.ndarray, macs: np.ndarray, count: int) -> np.ndarray:
    """0 for the networks on the front of MACs against size, 1 for those on the front of the rest,
    ...; infinity for those that are not among the first `count`."""
    left, result = np.arange(len(sizes)), np.full(len(sizes), np.inf)
    for layer in range(count):
        front = pareto(sizes[left], macs[left][None])[0]
        result[left[front]] = layer
        left = left[~front]
        if len(sizes) - len(left) >= count:
            break
    return result


def ranks(found: dict[int, Judge]) -> str:
    """How well what is known for free, and one seed's validation accuracy, rank the networks."""
    lines = []
    for name in (*FREE, "one seed's val_top1"):
        pairs = [(j.free.get(name, j.seen), j.true) for j in found.values()]
        spearman = np.mean([spearmanr(*pair).statistic for pair in pairs])
        kendall = np.mean([kendalltau(*pair).statistic for pair in pairs])
        every = np.arange(len(pairs[0][0]))
        top = [j.regret(every, j.free.get(name, j.seen)) for j in found.values()]
        first = f"{np.mean(top):.2f} ({', '.join(f'{one:.2f}' for one in top)})"
        lines.append([name, f"{spearman:.3f}", f"{kendall:.3f}", first])
    return markdown(
        ["ranked by", "Spearman", "Kendall", "regret of the first, points (by seed)"], lines
    )


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
            ax.set(ylabel="regret (percentage points)", yscale="log", ylim=(0.05, 25))
            ax.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
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
    runs = collected(found)
    result = summary(runs)
    result.to_csv(OUT / "arena.csv", index=False, float_format="%.6g")
    seen = ", ".join(map(str, found))
    judged = "the other complete seeds'" if len(found) > 1 else "the same seed's"
    judged_by = f"Seeds seen: {seen}; judged by {judged} mean test accuracy"
    ends = "95% intervals, from searches resampled within each seed"
    note = f"{judged_by}; in brackets: {ends}; of {' and '.join(FREE)}, the means of each seed"
    parts = [note, "## Rank correlations with the judge", ranks(found)]
    for objective, stopping in SEARCHES:
        what = "regret, points" if objective == "accuracy" else "hypervolume, %"
        lines = means(runs, objective, stopping, seeds_of=FREE)
        parts += [f"## {what}; early stopping: {stopping}", lines]
        if stopping == "none":
            bases = (b for b in ("random", "gp") if (b, objective, stopping) in runs)
            parts += [differences(runs, objective, base) for base in bases]
    text = "\n\n".join(part.rstrip() for part in parts) + "\n"
    (OUT / "arena.md").write_text(text, encoding="utf-8")
    print(text)
    draw(result, CAPTION.format(ends=ends, judged_by=judged_by))


if __name__ == "__main__":
    main()
