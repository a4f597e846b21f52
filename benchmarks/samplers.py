"""Whether each sampler finds what is known to be best, in a made-up space of the shape of ours.

    python benchmarks/samplers.py [--samplers tpe ...] [--spaces 20] [--trials 270]

Each of `--spaces` made-up spaces (dse.search.synthetic) is searched once for the highest accuracy
and once for the front of accuracy against size. Samplers see accuracies with noise and are judged
by those without. One process, one thread; prints a table, and keeps its rows in
results/reference/arena/synthetic.csv, where rows of the same sampler and trials are replaced.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from simulate import search
from synthetic import synthetic

from dse.analysis.front import hypervolume
from dse.analysis.rendering import markdown
from dse.analysis.statistics import interval, share
from dse.search.samplers import SAMPLERS, build

OUT = Path(__file__).parents[1] / "results/reference/arena/synthetic.csv"
GUESS = 10.0
FRONT = 0.99
"""The share of the hypervolume of the true front that counts as found."""


def measure(sampler: str, space: int, trials: int) -> dict[str, object]:
    """Both searches of one space: what was found, and the sampler's own time a trial."""
    known, true = synthetic(space)
    seen, costs = known.curves[:, -1], np.log2(known.costs)
    row: dict[str, object] = {"sampler": sampler, "trials": trials, "space": space}
    start = time.process_time()
    for two in (False, True):
        trained = search(
            known,
            lambda number: build(sampler, seed=space, number=number, n_trials=trials),
            n_trials=trials,
            two_objectives=two,
        )
        networks = np.array([one.network for one in trained])
        if two:
            ref = (float(costs.max()), GUESS)
            whole = hypervolume(costs, true, ref)
            row["hypervolume"] = hypervolume(costs[networks], true[networks], ref) / whole
        else:
            row["optimum"] = bool(true.argmax() in networks)
            row["regret"] = true.max() - true[networks[seen[networks].argmax()]]
    row["milliseconds"] = 1000 * (time.process_time() - start) / (2 * trials)
    return row


def table(rows: pd.DataFrame) -> str:
    """A line for each sampler: means over the spaces, with 95% intervals."""
    lines = []
    for (sampler, trials), some in rows.groupby(["sampler", "trials"], sort=False):
        found, count = some["optimum"].sum(), len(some)
        whole = int((some["hypervolume"] >= FRONT).sum())
        regret, volume = interval(some["regret"]), interval(some["hypervolume"], within=(0, 1))
        lines.append(
            (
                sampler,
                f"{trials} ({count} spaces)",
                f"{found} of {count} ({100 * share(int(found), count).mean:.0f}%)",
                f"{regret.mean:.2f} ({max(regret.low, 0):.2f} to {regret.high:.2f})",
                f"{100 * volume.mean:.1f} ({100 * volume.low:.1f} to {100 * volume.high:.1f})",
                f"{whole} of {count}",
                f"{some['milliseconds'].median():.1f}",
            )
        )
    head = ["sampler", "trials", "optimum trained", "regret of the chosen (points)"]
    head += ["hypervolume (% of the true front's)", "at least 99%", "ms per trial"]
    return markdown(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    known = [name for name in SAMPLERS if name != "gp"]
    parser.add_argument("--samplers", nargs="+", default=known, choices=[*SAMPLERS])
    parser.add_argument("--spaces", type=int, default=20)
    parser.add_argument("--trials", type=int, default=270)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    for sampler in options.samplers:
        new = pd.DataFrame(
            [measure(sampler, space, options.trials) for space in range(options.spaces)]
        )
        old = pd.read_csv(OUT) if OUT.exists() else new[:0]
        kept = old[(old["sampler"] != sampler) | (old["trials"] != options.trials)]
        pd.concat([kept, new]).to_csv(OUT, index=False, float_format="%.6g")
        print(table(new), flush=True)


if __name__ == "__main__":
    main()
