"""`python -m dse.sweep sr=0.125,0.25`: train every configuration of a grid, leave one table."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dse import archives, config, image_folder, results
from dse.archives import Store
from dse.cost import cost
from dse.runner import Failed, Finished, Runner, Told
from dse.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

EXECUTE = "dse.execute:run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 1 some failed, 2 wrong, 130 interrupted)."""
    return guarded(_main, sys.argv[1:] if arguments is None else list(arguments))


def _main(arguments: list[str]) -> int:
    request = config.read(
        "sweep",
        "Train every configuration of a grid from scratch; leave records, a table, figures.",
        arguments,
        page="figure3a",
    )
    config.check_folder(request.folder)
    if request.plan:
        print(plan(request.trials))
        return 0
    failures = run(request.trials, request.folder, request.workers, request.store)
    draw(request.folder, results.write_tables(request.folder))
    return 1 if failures else 0


def guarded(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; its mistakes become lines and exit code 2, an interruption 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        return command(arguments)
    except config.Mistakes as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        return 2
    except results.Damaged as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that vanished: records are whole or absent
        print(f"stopped: {error}; after mending it the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130


def plan(trials: Sequence[Trial]) -> str:
    """What would run: a line per trial with its exact size and MACs, and what is swept."""
    rows = [trial.question for trial in trials]
    swept = [key for key in rows[0] if len({row[key] for row in rows}) > 1]
    lines = [f"{'trial':<20} {'params':>11} {'bytes':>12} {'MACs':>15}  swept"]
    for trial, row in zip(trials, rows, strict=True):
        price = cost(trial.architecture, trial.protocol.image_size)
        lines.append(
            f"{trial.trial_id:<20} {price.params:>11,} {price.size_bytes:>12,} "
            f"{price.macs:>15,}  {' '.join(f'{key}={row[key]}' for key in swept)}".rstrip()
        )
    return "\n".join([*lines, f"{len(trials)} trials"])


def run(trials: Sequence[Trial], folder: Path, workers: int, store: Store) -> int:
    """Train what has no record in `folder` yet; returns how many trials failed.

    A failed trial costs nothing but itself: it is told at once and left in its `failure.json`.
    Raises `config.Mistakes` where the data of some trial are not there or not the declared ones.
    """
    done = results.finished(folder, [trial.trial_id for trial in trials])
    todo = [trial for trial in trials if trial.trial_id not in done]
    check_data(todo, store)
    print(f"{len(trials)} trials, {len(done)} done before, {len(todo)} to do", file=sys.stderr)
    failures = 0
    with Progress(todo) as progress, Runner(EXECUTE, min(workers, len(todo) or 1)) as runner:
        for trial in todo:
            runner.submit(trial.trial_id, (trial, folder, store))
        for event in runner.events():
            trial_id = str(event.key)
            if isinstance(event, Told):
                progress.told(trial_id, *event.value)
            elif isinstance(event, Finished):
                progress.ended(trial_id, _summary(event.value))
            elif isinstance(event, Failed):
                failures += 1
                _leave_word(folder, trial_id, event)
                progress.ended(trial_id, f"failed: {event.reason}", important=True)
    return failures


def check_data(trials: Sequence[Trial], store: Store) -> None:
    """Make sure that the data of `trials` are there and genuine, before torch is imported.

    Raises `config.Mistakes`, a line for each set that is not.
    """
    sizes: dict[str, set[int]] = {}
    for trial in trials:
        sizes.setdefault(trial.protocol.data, set()).add(trial.protocol.image_size)
    mistakes = []
    for name, image_sizes in sizes.items():
        try:
            archives.prepare(name, store, image_sizes, tell=_say)
        except (archives.Missing, archives.Unfit) as error:
            mistakes.append(str(error))
    folders = {t.protocol.manifest: t.protocol for t in trials if t.protocol.data == "image_folder"}
    for protocol in folders.values():
        try:
            image_folder.prepare(protocol, store)
        except archives.Unfit as error:
            mistakes.append(str(error))
    if mistakes:
        raise config.Mistakes(mistakes)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _leave_word(folder: Path, trial_id: str, event: Failed) -> None:
    """A trial's failure in its folder; where that cannot be written, the message must do."""
    try:
        results.fail(folder, trial_id, {"reason": event.reason, "details": event.details})
    except OSError as error:
        tqdm.write(f"{trial_id}: its failure could not be written: {error}", file=sys.stderr)


def _summary(row: dict[str, Any]) -> str:
    return f"{row['status']}, top-1 {row['top1']:.2f} %, {row['size_bytes']:,} bytes"


class Progress:
    """What is done, what runs, and the time left: a bar on a terminal, else a line a trial."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._epochs = {t.trial_id: t.protocol.recipe.epochs for t in trials}
        self._left = dict(self._epochs)
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=sum(self._epochs.values()),
            unit=" epochs",
            disable=not (self._terminal and trials),
            bar_format="{l_bar}{bar}| {elapsed} gone, {remaining} left{postfix}",
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def told(self, trial_id: str, epoch: int, accuracy: float) -> None:
        """A trial has finished an epoch; `accuracy` is `val_top1` in percent."""
        self._advance(trial_id, self._epochs[trial_id] - epoch)
        self._bar.set_postfix_str(f"{trial_id[:6]} at {accuracy:.1f} %", refresh=False)

    def ended(self, trial_id: str, text: str, *, important: bool = False) -> None:
        """A trial has ended; `important` texts stay above the bar."""
        self._advance(trial_id, 0)
        del self._left[trial_id]
        count = f"[{len(self._epochs) - len(self._left)}/{len(self._epochs)}]"
        if important or not self._terminal:
            tqdm.write(f"{count} {trial_id} {text}", file=sys.stderr)
        self._bar.set_description_str(count)

    def _advance(self, trial_id: str, left: int) -> None:
        self._bar.update(self._left[trial_id] - left)
        self._left[trial_id] = left


def draw(folder: Path, table: pd.DataFrame) -> dict[str, bytes]:
    """Draw what the sweeps in `table` give, into `folder`; say where; return the SVG of each.

    A figure that this table gave before stays as it is.
    """
    from dse import figures

    files: dict[str, bytes] = {}
    drawn: dict[str, bytes] = {}
    stamp = figures.stamp(table)
    for name, figure in figures.FIGURES.items():
        paths = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
        found = tuple(path.read_bytes() if path.exists() else b"" for path in paths)
        try:
            if not all(stamp.encode() in content for content in found):
                found = figures.encoded(figure(table), "svg", "png", description=stamp)
        except figures.NoSweep:
            continue
        files |= {path.name: content for path, content in zip(paths, found, strict=True)}
        drawn[name] = found[0]
    for name, tabulated in figures.TABLES.items():
        try:
            rows = tabulated(table)
        except figures.NoSweep:
            continue
        files[f"{name}.csv"] = rows.to_csv(index=False).encode()
        files[f"{name}.md"] = figures.markdown(rows).encode()
    print(folder / "table.csv")
    for name, content in files.items():
        results.write(folder / name, content)
        print(folder / name)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
