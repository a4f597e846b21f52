"""What each rule of early stopping saves and loses on SqueezeBench.

    python benchmarks/early_stopping.py [--bench results/reference/squeezebench] [--studies 20]

Networks are drawn at random, trained in turn, and stopped by the rule: studies of 216 networks, and
the whole space. Of each seed's curves: the share of the epochs that are spent, and what of the
result of full training is kept: the best network, or the front of accuracy against size (its share
of members, and of hypervolume). Constants of the rules were chosen on seed 0, so that the other
seeds judge them. Prints a table and keeps it in results/reference/arena/early_stopping.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from arena import OUT, ROOT, bench
from simulate import Known

from dse.analysis.front import hypervolume, pareto
from dse.analysis.rendering import markdown
from dse.search.stopping import STOPPERS

GUESS, STUDY = 10.0, 216


def measure(known: Known, rule: str, order: np.ndarray) -> tuple[float, ...]:
    """Of one study: the share of the epochs spent; whether the best is kept, and the points lost;
    the shares of the front's members and of its hypervolume kept."""
    epochs = known.curves.shape[1]
    costs = dict(enumerate(known.costs.tolist()))
    curves: dict[int, list[float]] = {}
    for network in order.tolist():
        curves[network] = []
        for value in known.curves[network].tolist():
            curves[network].append(value)
            if STOPPERS[rule](curves, costs, network, epochs):
                break
    whole = np.array([len(curve) == epochs for curve in curves.values()])
    ends, sizes = known.curves[order, -1], np.log2(known.costs[order])
    front = pareto(sizes, ends[None])[0]
    reference = float(np.log2(known.costs.max())), GUESS
    areas = [hypervolume(sizes[some], ends[some], reference) for some in (whole, whole | True)]
    spent = sum(map(len, curves.values())) / epochs / len(order)
    lost = ends.max() - ends[whole].max()
    return spent, lost == 0, lost, (whole & front).sum() / front.sum(), areas[0] / areas[1]


def drawn(seed: int, count: int, studies: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The networks of each study, in order: of some small studies, then of the whole space."""
    for size, number in ((STUDY, studies), (count, 1)):
        rng = np.random.default_rng(seed)
        yield size, [rng.permutation(count)[:size] for _ in range(number)]


def arguments(description: str) -> argparse.Namespace:
    """The arguments of the command: the folder of the networks, and how many small studies."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--bench", type=Path, default=ROOT / "squeezebench")
    parser.add_argument("--studies", type=int, default=20)
    return parser.parse_args()


def main() -> None:
    options = arguments(str(__doc__))
    lines = []
    for seed, (_, known) in bench(options.bench).items():
        for rule in STOPPERS:
            for size, orders in drawn(seed, len(known.points), options.studies):
                found = np.mean([measure(known, rule, order) for order in orders], axis=0)
                spent, best, lost, members, area = found
                shares = [f"{100 * share:.1f}" for share in (spent, best, members, area)]
                about = f"{seed} (chosen on it)" if seed == 0 else str(seed)
                line = [about, rule, f"{size:,}", shares[0], shares[1], f"{lost:.2f}", *shares[2:]]
                lines.append(line)
                print(line, flush=True)
    head = ["seed", "rule", "networks", "epochs spent (%)", "best kept (%)", "lost (points)"]
    text = markdown([*head, "front kept (%)", "hypervolume kept (%)"], lines)
    (OUT / "early_stopping.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
