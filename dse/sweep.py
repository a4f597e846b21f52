"""`python -m dse.sweep sr=0.125,0.25`: train every configuration of a grid, leave one table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dse import config, results
from dse.cost import cost, size_label
from dse.runner import Failed, Finished, Runner
from dse.trial import Trial


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 1 some failed, 2 wrong, 130 interrupted)."""
    try:
        request = config.read(
            "sweep",
            "Train every configuration of a grid from scratch; leave records, a table, a figure.",
            sys.argv[1:] if arguments is None else arguments,
            page="figure3a",
        )
        config.check_folder(request.folder)
    except config.Mistakes as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        return 2
    if request.plan:
        print(plan(request.trials))
        return 0
    try:
        failures = run(request.trials, request.folder, request.workers)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    finish(request.folder)
    return 1 if failures else 0


def plan(trials: Sequence[Trial]) -> str:
    """What would run: a line per trial with its exact size and MACs."""
    lines = [f"{'trial':<20} {'params':>11} {'MB':>6} {'MACs':>15}  swept"]
    first = trials[0].question
    swept = [k for k in first if len({t.question[k] for t in trials}) > 1]
    for trial in trials:
        price = cost(trial.architecture, trial.protocol.image_size)
        values = " ".join(f"{k}={trial.question[k]}" for k in swept)
        lines.append(
            f"{trial.trial_id:<20} {price.params:>11,} {size_label(price.size_bytes):>6} "
            f"{price.macs:>15,}  {values}"
        )
    return "\n".join([*lines, f"{len(trials)} trials"])


def run(trials: Sequence[Trial], folder: Path, workers: int) -> int:
    """Train what is not there yet; returns how many failed."""
    done = results.finished(folder, [trial.trial_id for trial in trials])
    todo = [trial for trial in trials if trial.trial_id not in done]
    print(f"{len(trials)} trials, {len(done)} done before", file=sys.stderr)
    failures = finished = 0
    with Runner("dse.execute:run", workers) as runner:
        for trial in todo:
            runner.submit(trial, (trial, folder))
        for event in runner.events():
            if isinstance(event, Finished):
                finished += 1
                row = event.value
                print(
                    f"[{finished + failures}/{len(todo)}] {row['trial_id']} {row['status']} "
                    f"top1={row['top1']:.2f} size_bytes={row['size_bytes']}",
                    file=sys.stderr,
                )
            elif isinstance(event, Failed):
                failures += 1
                trial_id = event.key.trial_id  # type: ignore[attr-defined]
                results.fail(folder, trial_id, {"reason": event.reason, "details": event.details})
                print(f"{trial_id} failed: {event.reason}", file=sys.stderr)
    return failures


def finish(folder: Path) -> None:
    """Rebuild the table and redraw the figure from the records; say where they are."""
    from dse import figures

    table = results.write_tables(folder)
    print(folder / "table.csv")
    for name, page in figures.FIGURE_3.items():
        if table[page.column].nunique() > 1:
            figure = figures.figure3(table, name, 10)
            for kind in ("svg", "png"):
                path = folder / f"{name}.{kind}"
                results.write(path, figures.encoded(figure, kind))
                print(path)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code) if code == 130 else sys.exit(code)
