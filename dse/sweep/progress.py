"""Progress of a sweep: which trials are done, running, waiting and failed, and the time left."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tqdm import tqdm

from dse.runner.events import Event, Failed, Finished, Reported, Retried, Started, Waiting
from dse.space.cost import cost
from dse.sweep.messages import duration, resume_command, say
from dse.sweep.timing import TYPICAL, Rates, Work, epoch_work, fit, judging_epochs, wall_time
from dse.trial.names import short_id
from dse.trial.question import Trial

EVERY, PUBLISH = 30.0, 1.0
"""Seconds between two lines where stderr is no terminal, and between two published messages."""

OBSERVED = 1000
"""How many of the trials that ended last the rates are fitted to."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A trial's name, its number of epochs, the work of one, and the test part's in epochs."""

    name: str
    epochs: int
    work: Work
    last: float


@dataclass(kw_only=True, slots=True)
class Running:
    """A running trial; times are in seconds on one clock.

    `began` is None where the start was not seen; `first` is when an epoch was first reported, after
    `skipped` epochs; `latest` is the time of the last report, and `val_top1` is in percent.
    """

    began: float | None
    latest: float
    first: float | None = None
    skipped: int = 0
    epoch: int = 0
    val_top1: float = 0.0

    def report(self, now: float, epoch: int, val_top1: float) -> None:
        """Note that `epoch` epochs are done."""
        if self.first is None or epoch <= self.epoch:  # the first report, or a dead run restarted
            self.began = self.began if self.first is None else None
            self.first, self.skipped = now, epoch
        self.latest, self.epoch, self.val_top1 = now, epoch, val_top1


class Observed(NamedTuple):
    """What a trial took: the work of an epoch, its seconds, and those before the first epoch and
    after the last one (None: not known)."""

    work: Work
    epoch: float
    start: float | None
    end: float | None


class Progress:
    """Which trials are done, running, waiting and failed, and the time left.

    It is shown as a bar on a terminal, else as lines. The same goes to `publish` as a mapping, at
    most once in `PUBLISH` seconds. `names` are those of at least these trials, by id; `rates` are
    those of a calibration, None without one.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        names: Mapping[str, str],
        workers: int,
        publish: Callable[[Mapping[str, Any]], None] = lambda message: None,
        rates: Rates | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trials = {t.trial_id: _expected(t, names[t.trial_id]) for t in trials}
        self._workers, self._publish, self._rates, self._clock = workers, publish, rates, clock
        self._left = dict.fromkeys(self._trials)
        self._running: dict[str, Running] = {}
        self._waiting: set[str] = set()
        self._failed = 0
        self._observed: deque[Observed] = deque(maxlen=OBSERVED)
        self._published, self._shown = -math.inf, clock()
        self._terminal = sys.stderr.isatty()
        self._total = sum(trial.epochs for trial in self._trials.values())
        self._bar = tqdm(
            total=self._total,
            disable=not self._terminal,
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}{postfix}",
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def take(self, event: Event) -> None:
        """Note what happened to a trial, and show it."""
        trial_id, now = str(event.key), self._clock()
        if isinstance(event, Started):
            self._running[trial_id] = Running(began=now, latest=now)
        elif isinstance(event, Reported):
            self._waiting.discard(trial_id)  # the other sweep stopped training it
            running = self._running.setdefault(trial_id, Running(began=None, latest=now))
            running.report(now, *event.value)
        else:
            self._take_end(event, self._running.pop(trial_id, None), now)
        self._show(now)

    def _take_end(self, event: Event, running: Running | None, now: float) -> None:
        trial_id = str(event.key)
        name = self._trials[trial_id].name
        if isinstance(event, Waiting):
            self._waiting.add(trial_id)
        elif isinstance(event, Finished):
            if event.value and running and (observed := self._observe(trial_id, running, now)):
                self._observed.append(observed)
            self._end(trial_id, f"{name}: {_result(event.value)}")
        elif isinstance(event, Failed):
            self._failed += 1
            self._end(
                trial_id, f"{name} ({short_id(trial_id)}): failed: {event.reason}", important=True
            )
        elif isinstance(event, Retried):
            say(f"{name}: retrying after attempt {event.attempt}: {event.reason}")

    def _end(self, trial_id: str, text: str, *, important: bool = False) -> None:
        """Note that a trial has ended; on a terminal only an `important` text is printed."""
        self._left.pop(trial_id, None)
        self._waiting.discard(trial_id)
        if important or not self._terminal:
            say(f"[{len(self._trials) - len(self._left)}/{len(self._trials)}] {text}")

    def _observe(self, trial_id: str, running: Running, ended: float | None) -> Observed | None:
        """What a trial took, which `ended` then or is still running; None if it is too early."""
        end = None if ended is None else ended - running.latest
        start, timed = None, running.epoch - running.skipped
        if running.first is not None and timed > 0:
            epoch = (running.latest - running.first) / timed
            if running.began is not None and running.skipped == 1:
                start = max(running.first - running.began - epoch, 0.0)
        elif ended is not None and running.first is not None and running.began is not None:
            epoch = running.latest - running.began  # its only epoch
        else:
            return None
        work = self._trials[trial_id].work
        return Observed(work, epoch, start, end) if epoch > 0 else None  # 0: reported together

    def seconds_left(self) -> float | None:
        """Estimated seconds until this sweep's own trials are done; None where nothing is known.

        The seconds of an epoch follow from the fitted rates. For the start of a trial the least
        seen is taken, since the first trials also wait for the workers' imports. Trials that other
        sweeps train are left out.
        """
        running = [self._observe(i, r, None) for i, r in self._running.items()]
        seen = [*self._observed, *filter(None, running)]
        rates = self._rates
        if seen:
            expected = TYPICAL if rates is None else rates
            rates = fit([o.work for o in seen], [o.epoch for o in seen], expected)
        if rates is None:
            return None
        start = min((o.start for o in seen if o.start is not None), default=0.0)
        ends = [o.end / o.epoch for o in seen if o.end is not None]
        now, fitted, times = self._clock(), rates, []

        def needed(trial: Expected, epochs: int) -> float:
            """Seconds of the last `epochs` of a trial, and of judging the test part."""
            return float(trial.work @ fitted) * (epochs + (median(ends) if ends else trial.last))

        for i, r in self._running.items():
            epochs = self._trials[i].epochs - r.epoch
            rest = needed(self._trials[i], epochs) + (0 if r.epoch else start) - (now - r.latest)
            # a trial may be silent for long in a queue: only the present epoch can be over
            times.append(max(rest, needed(self._trials[i], epochs - 1) if epochs else 0.0))
        idle = [i for i in self._left if i not in self._running and i not in self._waiting]
        times += [start + needed(self._trials[i], self._trials[i].epochs) for i in idle]
        return wall_time(times, self._workers)

    def message(self) -> dict[str, Any]:
        """The state of the sweep for `dse.status`: texts, and the command that resumes it."""
        seconds = self.seconds_left()
        return {
            "summary": self._summary(seconds),
            "seconds_left": seconds,
            "running": {
                i: f"epoch {r.epoch} of {self._trials[i].epochs}, val_top1 {r.val_top1:.1f} %"
                for i, r in self._running.items()
            },
            "names": {i: self._trials[i].name for i in self._running},
            "folder": str(Path.cwd()),
            "command": resume_command(),
        }

    def _summary(self, seconds: float | None) -> str:
        counts = {
            "failed": self._failed,
            "running": len(self._running),
            "waiting for other sweeps": len(self._waiting),
        }
        done = len(self._trials) - len(self._left) - self._failed
        texts = [f"{done} of {len(self._trials)} done"]
        texts += [f"{count} {state}" for state, count in counts.items() if count]
        return ", ".join(texts if seconds is None else [*texts, f"about {duration(seconds)} left"])

    def _show(self, now: float) -> None:
        if now - self._published < PUBLISH:
            return
        self._published = now
        message = self.message()
        self._publish(message)
        running = [f"{message['names'][i]}: {text}" for i, text in message["running"].items()]
        text = "; ".join([message["summary"], *running])
        if self._terminal:
            left = sum(self._trials[i].epochs for i in self._left)
            self._bar.n = self._total - left + sum(r.epoch for r in self._running.values())
            self._bar.set_postfix_str(text)
        elif now - self._shown >= EVERY:
            self._shown = now
            say(text)


def _expected(trial: Trial, name: str) -> Expected:
    protocol, size = trial.protocol, cost(trial.architecture, trial.protocol.image_size)
    work = epoch_work(protocol, size.macs, size.activations)
    return Expected(name, protocol.recipe.epochs, work, judging_epochs(protocol))


def _result(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "done by another sweep"
    return f"{row['status']}, top-1 {row['top1']:.2f} %, {row['size_bytes']:,} bytes"
