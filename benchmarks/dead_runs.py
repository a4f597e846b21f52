"""Measure after how many lifeless steps a run can be given up as dead: recall and false alarms.

    python benchmarks/dead_runs.py [--runs 400] [--workers 2] [--out results/reference/dead_runs]

Trains random points of the space on the digits to their end (100 or 280 steps), without
detection, under recipes that often kill a network and recipes that do not. Then, for each number
N of steps in a row after warm-up, counts

- recall: how many of the runs that never learned `dead_after=N` would have ended early;
- false alarms: how many of the runs that ended above chance it would have ended. A real training
  also checks the validation set before it gives up; this is left out here.

Both for `lifeless`, and for the loss alone (its mean over N steps is at least 0.99 of a blind
guess's). Writes `runs.csv`, a row per run, and `curve.csv`, a row per criterion and N, with 95%
Wilson intervals.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import random
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from dse.analysis.statistics import share
from dse.data.memory import load
from dse.runner.events import Failed, Finished
from dse.runner.runner import Runner, Workers
from dse.runner.task import Reporter
from dse.sweep.request import read_request
from dse.training.initial import initialise
from dse.training.loop import train
from dse.training.network import SqueezeNet
from dse.training.step import StepReport, TrainStep, lifeless
from dse.trial.question import Trial, trial_from
from dse.trial.record import status_of

COUNTS = (1, 2, 5, 10, 20, 30, 50, 80, 100, 150)
RECIPES = {
    "robust": {},
    "robust, lr 1": {"lr": 1.0},
    "robust, no warm-up or clipping, ReLU on scores": {"warmup": 0, "clip": 0, "head_relu": True},
    "he, no norm": {"norm": "none", "lr": 0.04},
    "he, no norm, ReLU on scores": {"norm": "none", "lr": 0.04, "head_relu": True},
    "he, no norm, lr 0.01": {"norm": "none", "lr": 0.01},
    "published": {
        "norm": "none", "head_relu": True, "lr": 0.04, "warmup": 0, "nesterov": False,
        "weight_decay": 0.0002, "clip": 0, "init": "xavier",
    },
    "published, lr 0.2": {
        "norm": "none", "head_relu": True, "lr": 0.2, "warmup": 0, "nesterov": False,
        "weight_decay": 0.0002, "clip": 0, "init": "xavier",
    },
}  # fmt: skip


def trials(count: int) -> list[tuple[str, Trial]]:
    """`count` random points, recipes in turn, half of them with small batches."""
    plain = read_request("sweep", "", [], page="squeezenet").trials[0].question
    draw = random.Random(20261121)
    drawn = []
    for number in range(count):
        name = list(RECIPES)[number % len(RECIPES)]
        width = draw.choice((8, 16, 32))
        point = {
            "base_e": width,
            "incr_e": draw.choice((width // 2, width)),
            "freq": draw.choice((1, 2, 4)),
            "sr": round(draw.uniform(0.0625, 1), 3),
            "pct3x3": round(draw.uniform(0.01, 0.99), 3),
            "bypass": draw.choice(("none", "simple", "complex")),
            "pool_after": draw.choice(("1-4-8", "1-4", "4-8")),
            "batch_size": draw.choice((32, 96)),
            "dead_after": 0,
            "ladder": "none",
            "seed": number,
        }
        drawn.append((name, trial_from({**plain, **point, **RECIPES[name]})))
    return drawn


def work(trial: Trial, report: Reporter) -> dict[str, Any]:
    """Train one network; return how it ended and when each criterion would have ended it."""
    del report
    torch.set_num_threads(1)
    protocol = trial.protocol
    images = load(protocol)
    network = SqueezeNet(trial.architecture).to(memory_format=torch.channels_last)
    initialise(network, protocol.recipe.init, trial.seed)
    losses: list[float] = []
    still: list[bool] = []

    class Watched(TrainStep):
        """Records each step's loss, and whether it was lifeless."""

        def __call__(self, x: torch.Tensor, y: torch.Tensor) -> StepReport:
            report = super().__call__(x, y)
            if report.steps:
                losses.append(report.loss / report.images)
                still.append(lifeless(network.parameters(), losses[-1], 10))
            return report

    trained = train(
        network,
        images,
        lambda: images.batches(images.validation, 1024),
        protocol.recipe,
        seed=trial.seed,
        train_step=Watched,
    )
    judged = trained.validation
    status = status_of(
        val_top1=judged.top1,
        guess=judged.guess,
        missed=judged.missed,
        step=trained.diverged_step,
    )
    warm = round(protocol.recipe.warmup * images.steps(protocol.recipe.batch_size))
    bound = 0.99 * math.log(10)
    stops = {}
    for count in COUNTS:
        ends = range(warm + count, len(losses) + 1)
        stops[f"lifeless_{count}"] = next((e for e in ends if all(still[e - count : e])), -1)
        stops[f"loss_{count}"] = next(
            (e for e in ends if statistics.fmean(losses[e - count : e]) >= bound), -1
        )
    first = trained.curve[0].val_top1 if trained.curve else float("nan")
    return {
        "status": status, "val_top1": judged.top1, "val_top1_after_epoch_1": first,
        "steps": trained.steps, **stops,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/reference/dead_runs"))
    options = parser.parse_args()
    rows: dict[int, dict[str, Any]] = {}
    asked = trials(options.runs)
    with Runner("dead_runs:work", Workers(count=options.workers)) as runner:
        for number, (_, trial) in enumerate(asked):
            runner.submit(number, trial)
        for event in runner.events():
            if isinstance(event, Failed):
                sys.exit(f"run {event.key} failed: {event.reason}\n{event.details}")
            if isinstance(event, Finished):
                name, trial = asked[event.key]
                keys = ("base_e", "incr_e", "freq", "sr", "pct3x3", "bypass", "batch_size", "seed")
                point = {key: trial.question[key] for key in keys}
                rows[event.key] = {"recipe": name, **point, **event.value}
                print(f"\r{len(rows)} of {len(asked)}", end="", file=sys.stderr)
    table = [rows[number] for number in sorted(rows)]
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / "runs.csv", table)
    _write(options.out / "curve.csv", curve(table))
    ended = [row for row in table if row["status"] in ("learned", "partly_dead")]
    early = sum(row["val_top1_after_epoch_1"] < 20 for row in ended)
    print(f"{early} of {len(ended)} runs that end above chance are below 20% after one epoch")


def curve(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Recall and false alarms for each criterion and N."""
    groups = {
        "recall": [r for r in table if r["status"] == "never_learned"],
        "false_alarms": [r for r in table if r["status"] in ("learned", "partly_dead")],
    }
    lines = []
    for way, count in itertools.product(("lifeless", "loss"), COUNTS):
        line: dict[str, Any] = {"way": way, "steps": count}
        for name, group in groups.items():
            if not group:
                continue
            hits = sum(r[f"{way}_{count}"] >= 0 for r in group)
            known = share(hits, len(group))
            line |= {name: f"{hits}/{len(group)}", f"{name}_low": round(known.low, 4)}
            line |= {f"{name}_high": round(known.high, 4)}
        lines.append(line)
        print(line)
    return lines


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
