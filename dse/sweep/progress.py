"""A sweep told as it goes: what is done, runs, waits and failed, and how long the rest takes."""

from __future__ import annotations

import heapq
import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from tqdm import tqdm

from dse.runner.events import Event, Failed, Finished, Reported, Retried, Started, Waiting
from dse.space.cost import cost
from dse.sweep.messages import duration, resume_command, say
from dse.trial.names import trial_names
from dse.trial.protocol import Protocol, epoch_steps
from dse.trial.question import Trial

EVERY, PUBLISH = 30.0, 1.0
"""Seconds between two lines of progress on what is no terminal, and between two words to others."""

LAWS = tuple(itertools.product((100, 400, 1600), (5e8, 2e9, 8e9)))
"""What training may take, in multiply-accumulates: to make, keep and read an activation, and for a
step whatever its network. On the processors measured networks with five times the MACs take not
twice the time; the small ones take little more than their steps."""

SEEN = 1000
"""How many of the trials that ended last say how long others take."""

WAITED = 3.0
"""A trial that takes so many times as long as is usual has waited: it was queued again."""

NOISE = 0.2
"""How far the seconds that one trial's epochs take are from any law, as a share of them, about."""


@dataclass(kw_only=True, slots=True)
class Running:
    """A trial that runs: when it began (None: unseen), and when it told of which epochs.

    Times are seconds of one clock; `first` is that of the first epoch told of, after `skipped`
    epochs, `told` that of the last one; `val_top1` is in percent.
    """

    began: float | None
    told: float
    first: float | None = None
    skipped: int = 0
    epoch: int = 0
    val_top1: float = 0.0


class Pace(NamedTuple):
    """What was seen of one trial: the work of an epoch by each law, and its seconds; those before
    the first epoch (None where they could not be told apart); those after the last (None while it
    runs).
    """

    works: Sequence[float]
    seconds: float
    start: float | None = None
    end: float | None = None


class Progress:
    """What is done, runs, waits and failed, and the time left: a bar on a terminal, else lines.

    The same goes to `publish` as a mapping, once in `PUBLISH` seconds at most.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        workers: int,
        publish: Callable[[Mapping[str, Any]], None] = lambda word: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._epochs = {t.trial_id: t.protocol.recipe.epochs for t in trials}
        self._works = {t.trial_id: _works(t) for t in trials}
        self._test = {  # the last judgement, as a share of an epoch
            t.trial_id: t.protocol.facts.test / _pictures(t.protocol) for t in trials
        }
        self._work = {  # by the middle one of the laws, for the bar
            i: works[len(LAWS) // 2] * (self._epochs[i] + self._test[i])
            for i, works in self._works.items()
        }
        self._workers, self._publish, self._clock = workers, publish, clock
        self._names = trial_names(trials)
        self._left = dict.fromkeys(self._epochs)
        self._running: dict[str, Running] = {}
        self._waiting: set[str] = set()
        self._failed = 0
        self._seen: deque[Pace] = deque(maxlen=SEEN)
        self._published, self._shown = -math.inf, clock()
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=sum(self._work.values()),
            disable=not self._terminal,
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed} gone{postfix}",
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def take(self, event: Event) -> None:
        """Note what happened to a trial, and show it."""
        trial_id, now = str(event.key), self._clock()
        if isinstance(event, Started):
            self._running[trial_id] = Running(began=now, told=now)
        elif isinstance(event, Reported):
            self._waiting.discard(trial_id)  # the other sweep gave it up
            running = self._running.setdefault(trial_id, Running(began=None, told=now))
            epoch, running.val_top1 = event.value
            if running.first is None or epoch <= running.epoch:  # a dead run was restarted
                running.began = running.began if running.first is None else None
                running.first, running.skipped = now, epoch
            running.told, running.epoch = now, epoch
        else:
            self._take_end(event, self._running.pop(trial_id, None), now)
        self._show(now)

    def _take_end(self, event: Event, running: Running | None, now: float) -> None:
        trial_id = str(event.key)
        if isinstance(event, Waiting):
            self._waiting.add(trial_id)
        elif isinstance(event, Finished):
            if event.value and running and (pace := self._pace(trial_id, running, now)):
                self._seen.append(pace)
            self._end(trial_id, _summary(event.value))
        elif isinstance(event, Failed):
            self._failed += 1
            self._end(trial_id, f"failed: {event.reason}", important=True)
        elif isinstance(event, Retried):
            say(f"{trial_id} is tried again after attempt {event.attempt}: {event.reason}")

    def seconds_left(self) -> float | None:
        """Estimated seconds until this sweep's own trials are done; None where nothing is known.

        The seconds of an epoch follow from its work, by what was seen so far (`believed`). Before
        its first epoch a trial takes the least that was seen (the first ones wait for the workers'
        imports), and after the last one the share of an epoch that was seen. What other sweeps
        train is left out.
        """
        now = self._clock()
        running = [self._pace(i, r, None) for i, r in self._running.items()]
        seen = [*self._seen, *(pace for pace in running if pace)]
        if not seen:
            return None
        rates = believed(seen)
        start = min((pace.start for pace in seen if pace.start is not None), default=0.0)
        ended = [pace for pace in seen if pace.end is not None]
        ends = sum(pace.end or 0.0 for pace in ended) / (sum(p.seconds for p in ended) or 1.0)

        def left(trial_id: str, epochs: int) -> float:
            epoch: float = sum(map(mul, rates, self._works[trial_id]))
            return epoch * (epochs + (ends if ended else self._test[trial_id]))

        times = []
        for i, r in self._running.items():
            epochs = self._epochs[i] - r.epoch
            rest = left(i, epochs) + (0 if r.epoch else start) - (now - r.told)
            least = left(i, epochs - 1) if epochs else 0.0  # it may wait in a queue
            times.append(max(rest, least))
        idle = [i for i in self._left if i not in self._running and i not in self._waiting]
        return span([*times, *(start + left(i, self._epochs[i]) for i in idle)], self._workers)

    def _pace(self, trial_id: str, running: Running, ended: float | None) -> Pace | None:
        """What was seen of a trial, which has `ended` then or runs; None where it is too little."""
        works, began = self._works[trial_id], running.began
        end = None if ended is None else ended - running.told
        timed = running.epoch - running.skipped
        if running.first is not None and timed > 0:
            seconds, start = (running.told - running.first) / timed, None
            if began is not None and running.skipped == 1:
                start = max(running.first - began - seconds, 0.0)
        elif ended is None or began is None or running.first is None:  # it told of no epoch
            return None
        else:
            seconds, start = running.told - began, None
        return Pace(works, seconds, start, end) if seconds > 0 else None  # else they came together

    def word(self) -> dict[str, Any]:
        """How the sweep stands, for others: texts, and the command that goes on with it."""
        seconds = self.seconds_left()
        return {
            "summary": self._stands(seconds),
            "seconds_left": seconds,
            "running": {
                i: f"epoch {r.epoch} of {self._epochs[i]}, val_top1 {r.val_top1:.1f} %"
                for i, r in self._running.items()
            },
            "names": {i: self._names[i] for i in self._running},
            "folder": str(Path.cwd()),
            "command": resume_command(),
        }

    def _stands(self, seconds: float | None) -> str:
        counts = {
            "failed": self._failed,
            "running": len(self._running),
            "waiting for other sweeps": len(self._waiting),
        }
        done = len(self._epochs) - len(self._left) - self._failed
        texts = [f"{done} of {len(self._epochs)} done"]
        texts += [f"{count} {name}" for name, count in counts.items() if count]
        return ", ".join(texts if seconds is None else [*texts, f"about {duration(seconds)} left"])

    def _done(self, trial_id: str) -> float:
        """The work that a running trial has told to be done."""
        return self._work[trial_id] * self._running[trial_id].epoch / self._epochs[trial_id]

    def _end(self, trial_id: str, text: str, *, important: bool = False) -> None:
        """A trial has ended; `important` texts stay above the bar."""
        self._left.pop(trial_id, None)
        self._waiting.discard(trial_id)
        if important or not self._terminal:
            count = f"[{len(self._epochs) - len(self._left)}/{len(self._epochs)}]"
            say(f"{count} {trial_id} {text}")

    def _show(self, now: float) -> None:
        if now - self._published < PUBLISH:
            return
        self._published = now
        word = self.word()
        self._publish(word)
        texts = [word["summary"], *(f"{i[:6]} {text}" for i, text in word["running"].items())]
        if self._terminal:
            left = sum(self._work[i] for i in self._left) - sum(map(self._done, self._running))
            self._bar.n = sum(self._work.values()) - left
            self._bar.set_postfix_str("; ".join(texts))
        elif now - self._shown >= EVERY:
            self._shown = now
            say("; ".join(texts))


def _summary(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "done by another sweep"
    return f"{row['status']}, top-1 {row['top1']:.2f} %, {row['size_bytes']:,} bytes"


def _works(trial: Trial) -> list[float]:
    """What an epoch of a trial takes by each law, in multiply-accumulates."""
    protocol, size = trial.protocol, cost(trial.architecture, trial.protocol.image_size)
    pictures = _pictures(protocol)
    steps = epoch_steps(protocol.train_pictures, protocol.recipe.batch_size)
    return [
        pictures * float(size.macs + activation * size.activations) + step * steps
        for activation, step in LAWS
    ]


def _pictures(protocol: Protocol) -> int:
    """How many pictures' judgement an epoch takes: to train with one takes as long as three."""
    return 3 * protocol.train_pictures + protocol.validation_pictures


def believed(seen: Sequence[Pace]) -> list[float]:
    """Seconds of an epoch for its work by each law, all laws to be added up.

    Each law has the mean rate of what was seen, without those that have waited in between; and the
    better it suits each of them, the more it is believed. All seconds and works are above 0.

    >>> few, many = range(1, len(LAWS) + 1), range(2, 2 * len(LAWS) + 2, 2)
    >>> rates = believed([Pace(few, 3.0), Pace(many, 6.0)])
    >>> round(sum(rate * work for rate, work in zip(rates, few)), 6)
    3.0
    """
    rates, errors = [], []
    for works in zip(*(pace.works for pace in seen), strict=True):
        own = [pace.seconds / work for pace, work in zip(seen, works, strict=True)]
        most = WAITED * median(own)
        rate = fmean(rate for rate in own if rate <= most)
        rates.append(rate)
        errors.append(sum((min(r / rate, 2.0) - 1) ** 2 for r in own))
    beliefs = [math.exp((min(errors) - error) / (2 * NOISE**2)) for error in errors]
    return [rate * belief / sum(beliefs) for rate, belief in zip(rates, beliefs, strict=True)]


def span(seconds: Sequence[float], workers: int) -> float:
    """Seconds until tasks are done that `workers` take up in their order.

    >>> span([3, 1, 1, 4], workers=2)
    6
    """
    free: list[float] = [0] * workers
    for task in seconds:
        heapq.heapreplace(free, free[0] + task)
    return max(free)
