"""How few epochs thresholds on learning curves can spend in hindsight that keep 95% of a front.

    python benchmarks/early_stopping_bound.py [--bench results/reference/squeezebench]

The bound is for rules that, after each epoch, stop a network whose score is too far below the best
final accuracy of the networks that cost no more. They are given what no real rule has: they know
the final accuracies of the whole study in advance, or of all networks that came earlier in it,
whether stopped or not; and a threshold for each epoch, chosen for the very studies that judge it,
so that on average 95% of a front's members are never stopped and the fewest epochs are spent. The
choice is exact: a mixed-integer program, whose proven lower bound is printed next to the schedule
that was found. Studies are those of benchmarks/early_stopping.py. Scores:

    accuracy     the mean validation accuracy of the last two epochs
    prediction   a linear prediction of the last one from all epochs, their squares and the
                 network's keys and costs, fitted to the final accuracies of the whole space

Prints a table and keeps it in results/reference/arena/early_stopping_bound.md: some ten minutes.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from arena import AXES, OUT, bench
from early_stopping import arguments, drawn
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix
from simulate import Known

from dse.analysis.front import pareto
from dse.analysis.rendering import markdown

GOAL, SECONDS, LAST, RIDGE = 0.95, 60, 2, 1e-3


def accuracy(_: pd.DataFrame, curves: np.ndarray) -> np.ndarray:
    """The mean of the last epochs, before the last epoch of all (networks, epochs - 1)."""
    return np.stack(
        [curves[:, max(0, e - LAST) : e].mean(axis=1) for e in range(1, curves.shape[1])], axis=1
    )


def prediction(table: pd.DataFrame, curves: np.ndarray) -> np.ndarray:
    """The final accuracy by ridge regression (networks, epochs - 1)."""
    keys = pd.get_dummies(table[list(AXES)].astype(str), dtype=float)
    costs = np.log2(table[["size_bytes", "macs", "activations"]].to_numpy(float))
    end, found = curves[:, -1], []
    for e in range(1, curves.shape[1]):
        x = np.c_[curves[:, :e], curves[:, :e] ** 2, costs, keys]
        x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
        weights = np.linalg.solve(
            x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ (end - end.mean())
        )
        found.append(end.mean() + x @ weights)
    return np.stack(found, axis=1)


def rivals(costs: np.ndarray, ends: np.ndarray, earlier: bool) -> np.ndarray:
    """The best final accuracy of the others that cost no more, of all or of those before."""
    n = np.arange(len(costs))
    known = n[None] < n[:, None] if earlier else n[None] != n[:, None]
    return np.where((costs[None] <= costs[:, None]) & known, ends[None], -np.inf).max(axis=1)


def fewest(margins: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """The share of the epochs that the best thresholds found spend, and its proven lower bound.

    A network is stopped at the first epoch at which its margin (networks, epochs - 1) is not above
    that epoch's threshold. `weights` are the shares of the members, 0 for other networks.

    Stopping one at an epoch loses all members with no higher margin then: x says which members are
    lost, z how many of the lowest are below each epoch's threshold, y where a network is stopped.
    """
    count, epochs = len(margins), margins.shape[1] + 1
    members = np.flatnonzero(weights)
    below, chains = np.empty(margins.shape, int), []
    for e, margin in enumerate(margins.T):
        order = members[np.argsort(margin[members], kind="stable")]
        allowed = np.searchsorted(np.cumsum(weights[order]), 1 - GOAL + 1e-9, side="right")
        chains.append(order[:allowed].tolist())
        below[:, e] = np.searchsorted(margin[order], margin, side="right")
        below[below[:, e] > allowed, e] = -1
    free = np.where((below == 0).any(axis=1), (below == 0).argmax(axis=1) + 1, epochs)
    x = {member: n for n, member in enumerate(sorted(set().union(*chains)))}
    if not x:  # no member may be lost
        return 2 * (free.mean() / epochs,)
    gains, terms, most = [0.0] * len(x), [], []

    def constrain(parts: list[tuple[int, float]], value: float) -> None:
        terms.extend((len(most), variable, factor) for variable, factor in parts)
        most.append(value)

    z = {}
    for e, chain in enumerate(chains):
        for k, member in enumerate(chain, 1):
            z[e, k] = len(gains)
            gains.append(0.0)
            constrain([(z[e, k], 1), (x[member], -1)], 0)
            if k > 1:
                constrain([(z[e, k], 1), (z[e, k - 1], -1)], 0)
    kinds = Counter(
        (end, *((e, k) for e, k in enumerate(row[: end - 1].tolist()) if k > 0))
        for end, row in zip(free.tolist(), below, strict=True)
    )
    for (end, *choices), number in kinds.items():
        first = len(gains)
        for e, k in choices:
            constrain([(len(gains), 1), (z[e, k], -1)], 0)
            gains.append(-number * (end - e - 1))
        if choices:
            constrain([(n, 1) for n in range(first, len(gains))], 1)
    constrain([(n, weights[member]) for member, n in x.items()], 1 - GOAL + 1e-9)
    rows, columns, factors = zip(*terms, strict=True)
    shape = len(most), len(gains)
    found = milp(
        gains,
        constraints=LinearConstraint(coo_matrix((factors, (rows, columns)), shape), ub=most),
        integrality=np.arange(len(gains)) < len(x),
        bounds=Bounds(0, 1),
        options={"time_limit": SECONDS},
    )
    spent, bound = (
        (free.sum() + value) / count / epochs for value in (found.fun, found.mip_dual_bound)
    )
    return spent, bound


def measure(known: Known, scores: np.ndarray, orders: list[np.ndarray], earlier: bool):
    """The fewest epochs over some studies, and the lower bound."""
    margins, weights = [], []
    for order in orders:
        costs, ends = known.costs[order], known.curves[order, -1]
        front = pareto(np.log2(costs), ends[None])[0]
        best = rivals(costs, ends, earlier)
        margins.append(np.where(np.isinf(best), np.inf, -best)[:, None] + scores[order])
        weights.append(front / front.sum() / len(orders))
    return fewest(np.concatenate(margins), np.concatenate(weights))


def main() -> None:
    options = arguments(str(__doc__))
    lines = []
    for seed, (table, known) in bench(options.bench).items():
        for size, orders in drawn(seed, len(known.points), options.studies):
            for score in (accuracy, prediction):
                for earlier in (False, True):
                    spent, bound = measure(known, score(table, known.curves), orders, earlier)
                    of = "networks before it" if earlier else "all networks"
                    ends = [f"{100 * share:.1f}" for share in (spent, bound)]
                    lines.append([str(seed), f"{size:,}", score.__name__, of, *ends])
                    print(lines[-1], flush=True)
    head = ["seed", "networks", "score", "knows the final accuracies of"]
    text = markdown([*head, "epochs spent (%)", "at least (%)"], lines)
    (OUT / "early_stopping_bound.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
