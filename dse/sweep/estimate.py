"""The bill of a sweep before it runs: its time, its disk and its memory.

A few of its networks are trained for some seconds each, as many at a time as the sweep will train,
and what their parts took is kept in `data.cache`, for each machine and protocol. Of any other
network a step, or the judgement of a picture, then takes a constant, a share of its MACs and a
share of its activations: none below 0, fitted to the least sum of squared relative errors.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import heapq
import importlib.metadata
import itertools
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from dse.data.published import Store
from dse.results import atomic, files, records
from dse.runner.events import Failed, Finished, Started
from dse.runner.runner import Runner, Workers
from dse.space.cost import Cost, cost
from dse.space.rules import check, knob, real
from dse.sweep import keys
from dse.sweep.errors import RequestError
from dse.sweep.messages import duration, volume
from dse.sweep.preflight import check_data
from dse.sweep.progress import span
from dse.sweep.request import Request
from dse.trial.protocol import epoch_steps
from dse.trial.question import SEMANTICS, Trial

MEASURE = "dse.training.measure:measure"
SECONDS = 3.0
"""Seconds of steps that are timed of each network."""

NETWORKS, KEPT = 6, 64
"""Networks of a grid that are measured, and measurements that are kept, at the most."""

SLACK = 1.25
"""How far beyond those that were measured a network may lie, as a factor."""

BLOCK, RECORD, CURVE = 4096, 3500, 90
"""Bytes of a disk's block, of a record, and of a line of a curve, about."""

STATES = 3
"""States of a trial on disk at the most: two, and the next one."""

TINY = 1e-12
"""Seconds, or bytes, that are nothing."""

FORMAT = 1
"""The version of what is kept of a measurement, and of what it means."""

FITTED = ("step", "judge", "private")
"""What of a sample depends on its network's MACs and activations."""

Tell = Callable[[str], None]
Point = tuple[float, float, float]
Fit = tuple[float, float, float]
_Amount = real(0, 1e18)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one network took here. Raises `ValueError` for what is no amount."""

    macs: float = knob(MISSING, _Amount, "multiply-accumulates of a picture")
    activations: float = knob(MISSING, _Amount, "outputs of all convolutions for a picture")
    ready: float = knob(MISSING, _Amount, "seconds until the first step")
    step: float = knob(MISSING, _Amount, "seconds of a step")
    judge: float = knob(MISSING, _Amount, "seconds of judging a picture")
    private: float = knob(MISSING, _Amount, "bytes of a worker's own memory")
    shared: float = knob(MISSING, _Amount, "bytes of memory that workers share")
    header: float = knob(MISSING, _Amount, "bytes of a file of weights beyond them")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was measured of one protocol on one machine. Raises `ValueError` for what is no amount.

    `path` is where it is kept.
    """

    path: Path
    samples: tuple[Sample, ...] = ()
    beside: float = knob(0.0, _Amount, "seconds of a command beside its trials")
    start: float = knob(0.0, _Amount, "seconds until a trial's process begins")
    memory: float = knob(0.0, _Amount, "bytes of memory of a command")
    taken: str = ""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What one trial is expected to take: seconds, bytes that stay, and bytes while it runs."""

    seconds: float
    disk: int
    states: int
    private: float
    shared: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """What a sweep is expected to take: the price of each trial to do, by its id.

    `beside` are the seconds, and `command` the bytes of memory, of the command itself; `sources`
    say where all this comes from.
    """

    prices: Mapping[str, Price]
    workers: int
    beside: float
    command: float
    sources: tuple[str, ...]

    def seconds(self, trial_ids: Iterable[str]) -> float:
        """Seconds of a command that trains these."""
        times = [self.prices[i].seconds for i in trial_ids if i in self.prices]
        return self.beside + span(times, self.workers) if times else 0.0

    @property
    def disk(self) -> int:
        """Bytes that stay on the disk."""
        return sum(price.disk for price in self.prices.values())

    @property
    def states(self) -> int:
        """Bytes of kept states, at the most."""
        return int(self._together(price.states for price in self.prices.values()))

    @property
    def memory(self) -> float:
        """Bytes of memory at the most, what processes share counted once."""
        shared = max((price.shared for price in self.prices.values()), default=0.0)
        return (
            self.command + shared + self._together(price.private for price in self.prices.values())
        )

    def _together(self, amounts: Iterable[float]) -> float:
        """The most that trials which run at the same time can have."""
        return sum(heapq.nlargest(self.workers, amounts))

    def __str__(self) -> str:
        prices = list(self.prices.values())
        count = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return "\n".join(
            [
                f"expected with {count}: {duration(self.seconds(self.prices))} "
                f"({duration(sum(p.seconds for p in prices))} of trials), "
                f"{volume(self.disk)} on disk and {volume(self.states)} more while they run, "
                f"{volume(self.memory)} of memory",
                *self.sources,
            ]
        )


class Unknown(ValueError):
    """A bill that cannot be made out: one line a reason."""


def plan(request: Request, trials: Sequence[Trial], tell: Tell) -> str:
    """What would run: each trial, done or to do, its exact size, what it takes; and the bill."""
    todo = records.unfinished(request.folder, trials)
    made, words = None, []
    try:
        if todo:
            made = bill(request, todo, tell)
            words = [str(made)]
    except (Unknown, RequestError) as error:
        words = [f"not known what it takes: {line}" for line in str(error).splitlines()]
    rows = [trial.question for trial in trials]
    swept = [key for key in rows[0] if len({row[key] for row in rows}) > 1]
    ids = {trial.trial_id for trial in todo}
    lines = [
        f"{'trial':<20} {'params':>11} {'bytes':>12} {'MACs':>15} {'seconds':>8}  {'':5}  swept"
    ]
    for trial, row in zip(trials, rows, strict=True):
        size, price = _size(trial), made.prices.get(trial.trial_id) if made else None
        values = " ".join(f"{key}={row[key]}" for key in swept)
        lines.append(
            f"{trial.trial_id:<20} {size.params:>11,} {size.size_bytes:>12,} {size.macs:>15,} "
            f"{f'{price.seconds:.1f}' if price else '-':>8}  "
            f"{'to do' if trial.trial_id in ids else 'done':<5}  {values}".rstrip()
        )
    count = f"{len(trials)} trials, {len(trials) - len(todo)} done, {len(todo)} to do"
    return "\n".join([*lines, count, *words])


def affordable(request: Request, trials: Sequence[Trial], tell: Tell) -> Sequence[Trial]:
    """The first of `trials` that the request's budget is enough for; says what is left out.

    What is done costs nothing. Raises `RequestError` where not even the first one to do fits,
    or it is not known what they take.
    """
    todo = records.unfinished(request.folder, trials)
    if not todo or math.isinf(request.budget):
        return trials
    try:
        made = bill(request, todo, tell)
    except Unknown as error:
        raise RequestError(
            [f"`budget` must be of trials that can be measured, got: {error}"]
        ) from None
    ids = [trial.trial_id for trial in todo]
    kept = _most(len(ids), lambda count: made.seconds(ids[:count]) <= request.budget)
    if not kept:
        needed = math.ceil(made.seconds(ids[:1]))
        raise RequestError(
            [f"`budget` must be enough for the first trial, {needed}s, got {request.budget:g}s"]
        )
    tell(
        f"`budget` {duration(request.budget)}: {kept} of {len(ids)} trials to do fit in, "
        f"{duration(made.seconds(ids[:kept]))}"
    )
    if kept < len(ids):
        rest = duration(made.seconds(ids) - made.seconds(ids[:kept]))
        tell(f"left out, {rest} more: {len(ids) - kept} trials, the first of them {ids[kept]}")
    out = set(ids[kept:])
    return [trial for trial in trials if trial.trial_id not in out]


def bill(request: Request, todo: Sequence[Trial], tell: Tell) -> Bill:
    """What it takes to train `todo`, measured first where it is not known here.

    Raises `Unknown`, and `RequestError` where data are not there or not the declared ones. To
    plan nothing is fetched.
    """
    workers, store = request.workers, request.store
    store = replace(store, download=store.download and not request.plan)
    kinds: dict[str, list[Trial]] = {}
    for trial in todo:
        kinds.setdefault(json.dumps(_kind(trial, workers, store)), []).append(trial)
    known = {kind: _known(json.loads(kind), store) for kind in kinds}
    new = [kind for kind, trials in kinds.items() if not _covers(known[kind], trials)]
    check_data([trial for kind in new for trial in kinds[kind]], store, tell)
    for kind in new:
        known[kind] = _measured(json.loads(kind), kinds[kind], store, tell)
    prices: dict[str, Price] = {}
    for kind, trials in kinds.items():
        samples = known[kind].samples
        fits = {name: fit([_point(sample, name) for sample in samples]) for name in FITTED}
        prices |= {trial.trial_id: _price(trial, known[kind], fits) for trial in trials}
    sources = [
        f"measured here on {k.taken}; to measure anew, remove {k.path}" for k in known.values()
    ]
    if workers.engine != "local":
        sources.append(f"where `runner.engine` {workers.engine} runs them they may take longer")
    return Bill(
        prices={trial.trial_id: prices[trial.trial_id] for trial in todo},
        workers=workers.at_most(len(todo)).count,
        beside=max(k.beside for k in known.values()),
        command=max(k.memory for k in known.values()),
        sources=tuple(sources),
    )


def _most(count: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `count` that fits, where all smaller ones do."""
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


# One network -> its price -------------------------------------------------------------------


def _point(sample: Sample, name: str) -> Point:
    return sample.macs, sample.activations, getattr(sample, name)


def _price(trial: Trial, known: Calibration, fits: Mapping[str, Fit]) -> Price:
    protocol = trial.protocol
    recipe, size = protocol.recipe, _size(trial)

    def estimate(name: str) -> float:
        constant, by_macs, by_activations = fits[name]
        return float(constant + by_macs * size.macs + by_activations * size.activations)

    def mean(name: str) -> float:
        return fmean(getattr(sample, name) for sample in known.samples)

    steps = recipe.epochs * epoch_steps(protocol.train_pictures, recipe.batch_size)
    judged = recipe.epochs * protocol.validation_pictures + protocol.facts.test
    weights = size.size_bytes + mean("header")
    files = (weights, RECORD, CURVE * (recipe.epochs + 1), 1)  # the last is the folder itself
    return Price(
        seconds=known.start + mean("ready") + steps * estimate("step") + judged * estimate("judge"),
        disk=sum(math.ceil(content / BLOCK) for content in files) * BLOCK,
        states=round(STATES * (weights + mean("header") + 4 * size.params)),
        private=estimate("private"),
        shared=max(sample.shared for sample in known.samples),
    )


def fit(known: Sequence[Point]) -> Fit:
    """The a, b, c >= 0 of y = a + b * u + c * v that suit the (u, v, y) best, relative to each y.

    Of those that suit as well the ones with more zeros are taken, with b before a before c.

    >>> [round(x, 6) for x in fit([(1, 1, 3), (2, 1, 5), (4, 9, 9)])]
    [1.0, 2.0, 0.0]
    """
    points = np.array([point for point in known if point[2] > TINY], dtype=float)
    best, least = (0.0, 0.0, 0.0), math.inf
    if not len(points):
        return best
    features = np.column_stack([points[:, 0], np.ones(len(points)), points[:, 1]])
    scale = np.maximum(features.max(0), 1.0)
    relative = features / scale / points[:, 2:]
    for count in (1, 2, 3):
        for chosen in map(list, itertools.combinations(range(3), count)):
            part, *_ = np.linalg.lstsq(relative[:, chosen], np.ones(len(points)))
            error = float(((relative[:, chosen] @ part - 1) ** 2).sum())
            if (part >= 0).all() and error < least - 1e-9:
                whole = np.zeros(3)
                whole[chosen] = part / scale[chosen]
                best, least = (float(whole[1]), float(whole[0]), float(whole[2])), error
    return best


@functools.lru_cache(2**14)
def _size(trial: Trial) -> Cost:
    return cost(trial.architecture, trial.protocol.image_size)


# Measuring ----------------------------------------------------------------------------------


def _kind(trial: Trial, workers: Workers, store: Store) -> dict[str, Any]:
    """All that a measurement depends on but for a network's size: machine and protocol."""
    protocol = trial.protocol
    names = ("data", "manifest", "image_size", "augment", "normalise")
    return {
        **_machine(),
        "at_a_time": workers.count if workers.engine == "local" else 1,
        "loaders": store.loaders,
        **{name: getattr(protocol, name) for name in names},
        "batch_size": protocol.recipe.batch_size,
        "precision": protocol.recipe.precision,
        "norm": trial.layout.norm,
    }


@functools.cache
def _machine() -> dict[str, Any]:
    """This machine, and the software that trains on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "format": FORMAT,
        "machine": [platform.node(), next(named, platform.processor()), keys.cores()],
        "versions": [platform.python_version(), importlib.metadata.version("torch"), SEMANTICS],
    }


def _known(kind: Mapping[str, Any], store: Store) -> Calibration:
    """What was measured before; a file that cannot be believed is none."""
    digest = hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()
    path = store.cache / "measured" / f"{digest[:20]}.json"
    try:
        found = files.unsealed(path.read_bytes())
        if found.pop("of") != kind:
            raise ValueError("it is another one's")
        samples = tuple(Sample(**sample) for sample in found.pop("samples"))
        return Calibration(path=path, samples=samples, **found)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Calibration(path=path)


def _covers(known: Calibration, trials: Sequence[Trial]) -> bool:
    """Whether enough was measured, of networks as small and as large as those of `trials`."""
    asked = {(size.macs, size.activations) for size in map(_size, trials)}
    there = {(sample.macs, sample.activations) for sample in known.samples}
    if len(there) < min(NETWORKS, len(asked)):
        return False
    return all(
        min(a) * SLACK >= min(t) and max(a) <= max(t) * SLACK
        for a, t in zip(zip(*asked, strict=True), zip(*there, strict=True), strict=True)
    )


def chosen(trials: Sequence[Trial]) -> list[Trial]:
    """`NETWORKS` of the trials' networks, or all where there are fewer, by their MACs.

    Those with the most and with the fewest MACs, activations, and activations for each MAC are
    among them.
    """
    distinct = {(size.macs, size.activations): t for t in trials for size in [_size(t)]}
    networks = [distinct[size] for size in sorted(distinct)]
    sizes = np.array(sorted(distinct), dtype=float)
    columns = (sizes[:, 0], sizes[:, 1], sizes[:, 1] / sizes[:, 0])
    places = [int(place(column)) for column in columns for place in (np.argmin, np.argmax)]
    count = min(NETWORKS, len(networks))
    even = np.linspace(0, len(networks) - 1, 10 * count).round().astype(int).tolist()
    spread = sorted(even, key=lambda place: -min(abs(place - p) for p in places))
    found = list(dict.fromkeys([*places, *spread]))[:count]
    return [networks[place] for place in sorted(found)]


def _measured(
    kind: Mapping[str, Any], trials: Sequence[Trial], store: Store, tell: Tell
) -> Calibration:
    """Measure some of the trials' networks, as many together as will run, and keep it.

    One command at a time measures; another one that measured the same meanwhile is believed.
    """
    with _alone(store, tell):
        known = _known(kind, store)
        if _covers(known, trials):
            return known
        at_a_time, networks = kind["at_a_time"], chosen(trials)
        rounds = max(math.ceil(len(networks) / at_a_time), 2)
        tell(
            f"measuring what training takes here: {len(networks)} networks, "
            f"{duration(rounds * 1.5 * SECONDS + 5)} or more"
        )
        beside, memory = _command()
        calls = list(itertools.islice(itertools.cycle(networks), rounds * at_a_time))
        samples, waits = _observed(calls, store, at_a_time)
        new = Calibration(
            path=known.path,
            samples=(*_means(samples), *known.samples)[:KEPT],
            beside=beside,
            start=median(waits[at_a_time:]),  # the first ones wait for their server
            memory=memory,
            taken=datetime.now(UTC).date().isoformat(),
        )
        _keep(new, kind, tell)
        return new


@contextmanager
def _alone(store: Store, tell: Tell) -> Iterator[None]:
    """Hold back other commands that would measure here, where the cache can be written."""
    with ExitStack() as stack:
        try:
            (store.cache / "measured").mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((store.cache / "measured" / "lock").open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell("another command measures this machine: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # it is told where nothing can be kept
        yield


def _command() -> tuple[float, float]:
    """Seconds that a command takes beside its trials, and its bytes of memory.

    Nearly all of them are the imports of its own modules, of its figures and of its workers'
    server, each made here once more.
    """
    seconds, memory = 0.0, 0
    for modules in ("dse.training.worker", "dse.sweep.__main__, dse.analysis.figures"):
        code = f"import {modules}, resource; print(resource.getrusage(resource.RUSAGE_SELF)[2])"
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        seconds += time.perf_counter() - start
        memory = 1024 * int(done.stdout) if done.stdout.strip().isdigit() else memory
    return seconds, memory


def _means(samples: Sequence[Sample]) -> list[Sample]:
    """One sample for each network: the mean of its own."""
    found: dict[tuple[float, float], list[Sample]] = {}
    for sample in samples:
        found.setdefault((sample.macs, sample.activations), []).append(sample)
    return [
        Sample(**{item.name: fmean(getattr(s, item.name) for s in own) for item in fields(Sample)})
        for own in found.values()
    ]


def _observed(
    calls: Sequence[Trial], store: Store, at_a_time: int
) -> tuple[list[Sample], list[float]]:
    """A sample of each call, and the seconds that each took to begin."""
    samples: dict[int, Sample] = {}
    waits: dict[int, float] = {}
    began: dict[Hashable, float] = {}
    with Runner(MEASURE, Workers(count=at_a_time)) as runner:
        for number, trial in enumerate(calls):
            runner.submit(number, (trial, store.absolute(), SECONDS))
        for event in runner.events():
            if isinstance(event, Started):
                began[event.key] = time.monotonic()
            elif isinstance(event, Failed):
                raise Unknown(event.reason)
            elif isinstance(event, Finished):
                number, values = int(str(event.key)), dict(event.value)
                size = _size(calls[number])
                waits[number] = max(values.pop("entered") - began[event.key], 0.0)
                samples[number] = Sample(macs=size.macs, activations=size.activations, **values)
    numbers = range(len(calls))
    return [samples[number] for number in numbers], [waits[number] for number in numbers]


def _keep(known: Calibration, kind: Mapping[str, Any], tell: Tell) -> None:
    content = {"of": kind, **asdict(known)}
    del content["path"]
    try:
        atomic.write(known.path, files.sealed(content))
    except OSError as error:
        tell(f"what was measured could not be kept: {error}")
