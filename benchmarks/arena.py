"""Let every sampler search SqueezeBench; benchmarks/arena_judge.py says how well they did.

    python benchmarks/arena.py [--samplers tpe ...] [--bench results/reference/squeezebench]

Repetition r sees the validation accuracies of seed r % 3 only. Each sampler searches for the
highest accuracy (without early stopping, with the median rule, with halving) and for the front of
accuracy against size (without, and with the front rule). What is trained, and for how many epochs,
is kept in results/reference/arena/<sampler>.parquet; the same command adds what is missing, for
example when more seeds of the bench are complete. gp has fewer repetitions and trials, and no early
stopping: it takes half a second a trial. One process and thread; samplers may run in parallel.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from simulate import Known, search

import dse
from dse.results import curves
from dse.search.samplers import SAMPLERS, build
from dse.search.space import Choice, Space
from dse.search.stopping import STOPPERS

ROOT = Path(__file__).parents[1] / "results/reference"
OUT = ROOT / "arena"
AXES = ("base_e", "incr_e", "pct3x3", "sr", "bypass", "pool_after")
SEEDS = 3
SEARCHES = (
    ("accuracy", "none"),
    ("front", "none"),
    ("accuracy", "median"),
    ("accuracy", "halving"),
    ("front", "front"),
)
"""What is searched, and what stops trials early."""
KEY = ["objective", "stopping", "repetition"]


def bench(folder: Path) -> dict[int, tuple[pd.DataFrame, Known]]:
    """By seed that is complete: the table in the order of the grid, and what a search sees."""
    table = dse.load(folder)
    values = {name: tuple(sorted(table[name].unique().tolist())) for name in AXES}
    space = Space(axes=tuple(Choice(name=name, values=values[name]) for name in AXES))
    points = list(space.points())
    found = {}
    for seed, rows in table.groupby("seed"):
        if len(rows) < len(points):
            print(f"seed {seed} has {len(rows):,} of {len(points):,} networks: left out")
            continue
        ordered = rows.set_index(list(AXES)).loc[[tuple(p.values()) for p in points]].reset_index()
        known = Known(
            space=space,
            points=points,
            costs=ordered["size_bytes"].to_numpy(float),
            curves=_curves(folder, ordered),
        )
        found[int(seed)] = (ordered, known)
    return found


def _curves(folder: Path, rows: pd.DataFrame) -> np.ndarray:
    """Validation accuracies (networks, epochs), that of the record after the end of a diverged
    one's curve."""
    frame, _ = curves.load(folder, rows["trial_id"])
    wide = frame.pivot(index="trial_id", columns="epoch", values="val_top1")
    every = wide.reindex(rows["trial_id"]).reindex(columns=range(1, int(rows["epochs"].max()) + 1))
    result = every.to_numpy(float, copy=True)
    result[:, -1] = rows["val_top1"]
    return np.where(np.isnan(result), rows["val_top1"].to_numpy(float)[:, None], result)


def one(sampler: str, known: Known, trials: int, objective: str, stopping: str, seed: int):
    """The networks that one search trains, and their epochs."""
    stops = STOPPERS.get(stopping)
    trained = search(
        known,
        lambda number: build(sampler, seed=seed, number=number, n_trials=trials),
        n_trials=trials,
        two_objectives=objective == "front",
        stop=partial(stops, epochs=known.curves.shape[1]) if stops else None,
    )
    return [one.network for one in trained], [one.epochs for one in trained]


def add(sampler: str, repetitions: int, trials: int, seeds: dict[int, Known]) -> None:
    """Add the searches of a sampler that are not in its file."""
    path = OUT / f"{sampler}.parquet"
    kept = pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=KEY)
    done = set(kept[KEY].itertuples(index=False, name=None))
    for objective, stopping in SEARCHES:
        if sampler == "gp" and stopping != "none":
            continue
        for repetition in range(repetitions):
            seed = repetition % SEEDS
            if seed not in seeds or (objective, stopping, repetition) in done:
                continue
            networks, epochs = one(sampler, seeds[seed], trials, objective, stopping, repetition)
            new = pd.DataFrame({"network": networks, "epochs": epochs}, dtype="int16")
            new = new.assign(objective=objective, stopping=stopping, repetition=repetition)
            kept = pd.concat([kept, new.assign(seed=seed)]) if len(kept) else new.assign(seed=seed)
            kept.to_parquet(path, index=False)
        print(f"{sampler}: {objective}, stopping {stopping} done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--samplers", nargs="+", default=[*SAMPLERS], choices=[*SAMPLERS])
    parser.add_argument("--bench", type=Path, default=ROOT / "squeezebench")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    seeds = {seed: known for seed, (_, known) in bench(options.bench).items()}
    OUT.mkdir(parents=True, exist_ok=True)
    for sampler in options.samplers:
        repetitions, trials = (21, 60) if sampler == "gp" else (51, 108)
        add(sampler, repetitions, trials, seeds)


if __name__ == "__main__":
    main()
