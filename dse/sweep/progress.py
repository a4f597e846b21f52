"""Progress of a command: which tasks are done, running, waiting and failed, and the time left.

The tasks of a sweep are its trials; those of a compression are compressed networks.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from dse.results.drivers import COMMANDS
from dse.results.files import TRIALS
from dse.runner.events import (
    Event,
    Failed,
    Finished,
    Interrupted,
    Reported,
    Retried,
    Started,
    Waiting,
)
from dse.sweep.messages import resume_command, say
from dse.sweep.timing import TYPICAL, Length, Rates, fit, wall_time
from dse.trial.names import duration, outcome, short_id

EVERY, PUBLISH, IDLE = 30.0, 1.0, 10.0
"""Seconds between two lines where stderr is no terminal, and at least between two published
messages; at most between these where nothing happens."""

REPEATED, LISTED = 600.0, 8
"""Seconds after which a line is repeated that has not changed; maximum number of running tasks that
a line lists."""

BAR, NARROW = "{{percentage:3.0f}}%|{{bar:{length}}}| {{elapsed}}{{postfix}}", 100
"""What tqdm shows; terminals of fewer columns have a shorter bar."""

OBSERVED = 1000
"""How many of the tasks that ended last the rates are fitted to."""


@dataclass(kw_only=True, slots=True)
class Run:
    """What was seen of a task that runs or has ended: times in seconds on one clock, or NaN.

    `began` is its start; `first` is when an epoch was first reported, after `skipped` epochs;
    `latest` is the last report, and `ended` the end. `val_top1` is in percent.
    """

    began: float
    latest: float
    first: float = math.nan
    ended: float = math.nan
    skipped: int = 0
    epoch: int = 0
    val_top1: float = 0.0

    def report(self, now: float, epoch: int, val_top1: float) -> None:
        """Note that `epoch` epochs are done."""
        reported = not math.isnan(self.first)
        if not reported or epoch <= self.epoch:  # a dead run starts from scratch
            self.began = math.nan if reported else self.began
            self.first, self.skipped = now, epoch
        self.latest, self.epoch, self.val_top1 = now, epoch, val_top1

    @property
    def epoch_seconds(self) -> float:
        """Seconds of an epoch; 0 or NaN where too little was seen."""
        if self.epoch > self.skipped:
            return (self.latest - self.first) / (self.epoch - self.skipped)
        return 0.0 if math.isnan(self.ended) else self.latest - self.began  # its only epoch

    @property
    def start_seconds(self) -> float:
        """Seconds before the first epoch; NaN where an epoch's are not known."""
        separable = self.epoch > self.skipped == 1
        return self.first - self.began - self.epoch_seconds if separable else math.nan


def _columns() -> int:
    """Columns of the terminal that stderr is, now; 80 where it does not say."""
    with suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", ""))) > 0:
            return columns - 1  # some terminals wrap a line that is full
    with suppress(OSError, ValueError):
        if (columns := os.get_terminal_size(sys.stderr.fileno()).columns) > 0:
            return columns - 1
    return 79


def trained(row: Mapping[str, Any]) -> str:
    """What a trial's row says of its training, in words."""
    return f"{outcome(row)}, top-1 {row['top1']:.2f}%, {row['size_bytes']:,} bytes"


class Progress:
    """Which tasks are done, running, waiting and failed, and the time left.

    It is shown as a bar on a terminal, else as lines. The same goes to `publish` as a mapping, at
    most once in `PUBLISH` seconds. `lengths` and `names` are those of the tasks, by id; `rates` are
    those of a calibration, None without one. `result` says in words what a task returned, and
    `kind` is one of `dse.results.files.KINDS`.
    """

    def __init__(
        self,
        lengths: Mapping[str, Length],
        names: Mapping[str, str],
        workers: int,
        publish: Callable[[Mapping[str, Any]], None] = lambda message: None,
        rates: Rates | None = None,
        clock: Callable[[], float] = time.monotonic,
        result: Callable[[Mapping[str, Any]], str] = trained,
        kind: str = TRIALS,
    ) -> None:
        self._epochs = {i: length.epochs for i, length in lengths.items()}
        self._lengths, self._unknown, self._found = dict(lengths), 0, 0
        self._untried = 0
        self._result, self._kind = result, kind
        self._names, self._workers = dict(names), workers
        self._publish, self._rates, self._clock = publish, rates, clock
        self._left: dict[str, int] = dict(self._epochs)
        self._running: dict[str, Run] = {}
        self._waiting: set[str] = set()
        self._cancelled: set[str] = set()
        self._failed = 0
        self._ended: deque[tuple[str, Run]] = deque(maxlen=OBSERVED)
        self._published, self._shown, self._changed = -math.inf, clock(), False
        self._said = ""
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=sum(self._epochs.values()),
            disable=not self._terminal,
            ncols=_columns(),
            nrows=20,  # on a terminal that does not say, it would not be shown
            bar_format=BAR.format(length=20),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, key: str, name: str, length: Length) -> None:
        """Include a task that was not known at first."""
        self._names[key], self._lengths[key] = name, length
        self._epochs[key] = self._left[key] = length.epochs
        self._bar.total = sum(self._epochs.values())

    def expect(self, number: int, found: int, untried: int = 0) -> None:
        """Count `number` more tasks, which will be added later, `found`, which were done, and
        `untried`, which are left to another command."""
        self._unknown, self._found, self._untried = number, found, untried

    @property
    def _count(self) -> int:
        return len(self._epochs) + self._unknown + self._found + self._untried

    @property
    def _ends(self) -> int:
        return len(self._epochs) - len(self._left) + self._found

    @property
    def _done(self) -> int:
        return self._ends - self._failed

    def take(self, event: Event) -> None:
        """Note what happened to a task, and show it."""
        trial_id, now = str(event.key), self._clock()
        if isinstance(event, Started):
            self._running[trial_id] = Run(began=now, latest=now)
        elif isinstance(event, Reported):
            self._waiting.discard(trial_id)  # the other sweep stopped training it
            run = self._running.setdefault(trial_id, Run(began=math.nan, latest=now))
            run.report(now, *event.value[:2])
        else:
            self._take_end(event, trial_id, self._running.pop(trial_id, None), now)
        self._changed = True
        self._show(now)

    def turn(self) -> None:
        """Show what has changed, and how the time has passed."""
        now = self._clock()
        if self._changed or now - self._published >= IDLE:
            self._show(now)

    def _take_end(self, event: Event, trial_id: str, run: Run | None, now: float) -> None:
        name = self._names[trial_id]
        if isinstance(event, Waiting):
            self._waiting.add(trial_id)
        elif isinstance(event, Finished):
            if event.value and run:
                run.ended = now
                self._ended.append((trial_id, run))
            done = f"done by another {COMMANDS[self._kind]}"
            self._end(trial_id, f"{name}: {self._result(event.value) if event.value else done}")
        elif isinstance(event, Failed):
            self._failed += 1
            text = f"{name} ({short_id(trial_id)}): failed: {event.reason}"
            self._end(trial_id, text, important=True)
        elif isinstance(event, Retried):
            say(f"{name}: retrying after attempt {event.attempt}: {event.reason}")
        elif isinstance(event, Interrupted) and trial_id in self._cancelled:
            self._end(trial_id, f"{name}: stopped early")

    def cancelled(self, key: str) -> None:
        """Note that a task was asked to stop early, which is an end like others."""
        self._cancelled.add(key)

    def _end(self, trial_id: str, text: str, *, important: bool = False) -> None:
        """Note that a task has ended; on a terminal only an `important` text is printed."""
        self._left.pop(trial_id, None)
        self._waiting.discard(trial_id)
        if important or not self._terminal:
            say(f"[{self._ends}/{self._count}] {text}")

    def seconds_left(self) -> float | None:
        """Estimated seconds until this command's own tasks are done; None where nothing is known,
        or all tasks that are left are carried out by other commands.

        The seconds of an epoch follow from the fitted rates. For the start of a task the least
        seen is taken, since the first tasks also wait for the workers' imports. Tasks that other
        commands carry out are left out.
        """
        seen = [(i, r) for i, r in [*self._ended, *self._running.items()] if r.epoch_seconds > 0]
        rates = TYPICAL if self._rates is None else self._rates
        if seen:
            seconds = [run.epoch_seconds for _, run in seen]
            rates = fit([self._lengths[i].epoch for i, _ in seen], seconds, rates)
        elif self._rates is None:
            return None
        starts = [run.start_seconds for _, run in seen if math.isfinite(run.start_seconds)]
        start = max(min(starts, default=0.0), 0.0)
        tests = [(r.ended - r.latest) / r.epoch_seconds for _, r in seen if r.ended > r.latest]
        judging = median(tests) if tests else None
        now, times = self._clock(), []

        def needed(trial_id: str, epochs: int) -> float:
            """Seconds of the last `epochs` of a task, and of judging after them."""
            length = self._lengths[trial_id]
            after = length.judging if judging is None else judging
            return float(length.epoch @ rates) * (epochs + after)

        for i, run in self._running.items():
            epochs = self._epochs[i] - run.epoch
            rest = needed(i, epochs) + (0 if run.epoch else start) - (now - run.latest)
            # a task may wait in a queue for long: at most the present epoch has passed
            times.append(max(rest, needed(i, epochs - 1) if epochs else 0.0))
        idle = [i for i in self._left if i not in self._running and i not in self._waiting]
        times += [start + needed(i, self._epochs[i]) for i in idle]
        if self._unknown:
            typical = median(start + needed(i, epochs) for i, epochs in self._epochs.items())
            times += [typical] * self._unknown
        if self._waiting and not times:  # only for what other commands carry out
            return None
        return wall_time(times, self._workers)

    def message(self) -> dict[str, Any]:
        """The state of the command for `dse.status`: texts, and the command that resumes it."""
        seconds = self.seconds_left()
        return {
            "kind": self._kind,
            "summary": self._summary(seconds),
            "seconds_left": seconds,
            "done": self._done,
            "failed": self._failed,
            "count": self._count,
            "running": {i: self._state(i, run) for i, run in self._running.items()},
            "names": {i: self._names[i] for i in self._running},
            "folder": str(Path.cwd()),
            "command": resume_command(),
        }

    def _state(self, i: str, run: Run) -> str:
        """How far a task is, and its accuracy where an epoch is done."""
        last = self._epochs[i] - self._lengths[i].others
        if not last:
            return "running"
        after = f", val_top1 {run.val_top1:.1f}%" if run.epoch else ""
        return f"epoch {min(run.epoch, last)} of {last}{after}"

    def _summary(self, seconds: float | None) -> str:
        counts = {
            "failed": self._failed,
            "running": len(self._running),
            f"waiting for other {COMMANDS[self._kind]}s": len(self._waiting),
        }
        texts = [f"{self._done} of {self._count} done"]
        texts += [f"{count} {state}" for state, count in counts.items() if count]
        return ", ".join(texts if seconds is None else [*texts, f"about {duration(seconds)} left"])

    def _show(self, now: float) -> None:
        if now - self._published < PUBLISH:
            return
        self._published, self._changed = now, False
        message = self.message()
        self._publish(message)
        running = [f"{message['names'][i]}: {text}" for i, text in message["running"].items()]
        if more := running[LISTED:]:
            running[LISTED:] = [f"and {len(more)} more"]
        text = "; ".join([message["summary"], *running])
        if self._terminal:
            self._bar.ncols = _columns()
            self._bar.bar_format = BAR.format(length=8 if self._bar.ncols < NARROW else 20)
            done = sum(epochs for i, epochs in self._epochs.items() if i not in self._left)
            self._bar.n = done + sum(run.epoch for run in self._running.values())
            self._bar.set_postfix_str(text)
        elif now - self._shown >= (REPEATED if text == self._said else EVERY):
            self._shown, self._said = now, text
            say(text)
