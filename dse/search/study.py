"""A study: which point comes next, and what became of those before.

A sampler works on a copy of the study in memory; what is kept is one entry for each point, written
when it is proposed and when it ends. A point is refused, and not trained, where it exceeds a limit;
one that trains a network which the study has already had is answered from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from dse.analysis.rendering import counted
from dse.results.studies import GRID
from dse.search.candidates import Candidates, Point
from dse.search.keys import ACCURACY
from dse.search.ledger import Ledger
from dse.search.limits import costs_of, exceeded
from dse.search.question import Question
from dse.search.samplers import build, distributions
from dse.sweep.no_effect import effect
from dse.trial.question import Trial

PATIENCE = 10
"""Proposals in a row that lead to no training, after which the study chooses a point itself."""

KNOWN = "known"
"""What entries have whose points were given, and not proposed by the sampler."""

RUNNING, COMPLETE, FAIL, PRUNED = (
    TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A point that is to be trained: the number of its entry, its trials, and its exact costs."""

    number: int
    point: Point
    trials: tuple[Trial, ...]
    costs: Mapping[str, int]


class Study:
    """The study of a question, kept in a ledger.

    A point counts once among the trials of the study, whether it is trained or was already in the
    results folder; repetitions and refusals do not count. `reason` says why it ends before it has
    had all of them, or is ""; `timed_out`: because its time is over. `known` are points that come
    before those of the sampler.
    """

    def __init__(
        self, ledger: Ledger, question: Question, n_trials: int, known: Sequence[Point] = ()
    ) -> None:
        self._ledger, self._question, self._n_trials = ledger, question, n_trials
        self._distributions = distributions(question.space)
        self._candidates = Candidates(question)
        self._known = [*known]
        self.reason, self.timed_out = "", False
        self.refused: Counter[str] = Counter()
        self._load()

    @property
    def count(self) -> int:
        """How many distinct points the study has had."""
        return len(self._points)

    @property
    def done(self) -> int:
        """How many of them were trained to the end or stopped early."""
        return sum(entry.state in (COMPLETE, PRUNED) for entry in self.entries)

    @property
    def ended(self) -> str:
        """Why there is nothing more to propose, or ""."""
        if self.timed_out and not self.reason:
            some = f"{self.done:,} of {counted(self.count + self.left, 'trial')} done"
            return f"{some}: `timeout` reached; the same command continues"
        if self.reason or self.count < self._n_trials:
            return self.reason
        if self.count > self._n_trials:
            return f"has {counted(self.count, 'trial')} already"
        return f"{self.done:,} of {counted(self._n_trials, 'trial')} done"

    @property
    def left(self) -> int:
        """How many more points there may be."""
        return int(max(0, min(self._n_trials - self.count, self._candidates.count)))

    @property
    def entries(self) -> list[FrozenTrial]:
        """The last entry of each point, in order."""
        return [self._entries[number] for number in self._points.values()]

    @property
    def own(self) -> list[FrozenTrial]:
        """Those of `entries` that belong to this results folder; all, but in a shared database."""
        return [e for e in self.entries if e.user_attrs["owner"] == self._ledger.owner]

    @property
    def memory(self) -> optuna.Study:
        """The study as the sampler sees it."""
        return self._copy

    def completed(self) -> list[Proposal]:
        """The points of this folder of which the study has a result."""
        return [self.proposal(entry) for entry in self.own if entry.state == COMPLETE]

    def unfinished(self) -> list[Proposal]:
        """What an earlier command left: points that it was training when it was stopped, and those
        that failed, which are tried again."""
        own = self.own
        failed = [entry for entry in own if entry.state == FAIL]
        left = [entry for entry in own if entry.state == RUNNING]
        again = [self._retry(entry) for entry in failed]
        return [*map(self.proposal, left), *(one for one in again if one)]

    def is_complete(self, proposal: Proposal) -> bool:
        """Whether the study has the result of a point."""
        return bool(self._entries[proposal.number].state == COMPLETE)

    def propose(self) -> Proposal | None:
        """The next point to train; None where there is none."""
        if self._changed():
            self._load()
        while not self.ended:
            if not self._candidates.count:
                self.reason = self._candidates.none_left
            else:
                known = self._next_known()
                chosen = known or (self._choose() if self._must_choose() else None)
                given = {KNOWN: True} if known else {}
                if not self.ended and (proposal := self._ask(chosen, given)):
                    return proposal
        return None

    def note_stored(self, proposal: Proposal) -> None:
        """Note that all trials of a point had a record before it was proposed."""
        self._ledger.note(proposal.number, "stored", True)

    def complete(self, proposal: Proposal, measured: Mapping[str, float]) -> None:
        """Note what was measured of a point, as `dse.search.answers` has it, unless the study has a
        result: then its record had been removed, and was made again."""
        if not self.is_complete(proposal):
            self._end(proposal.number, COMPLETE, self._values({**proposal.costs, **measured}))

    def fail(self, proposal: Proposal, reason: str) -> None:
        """Note that a point could not be trained; it is not proposed again by this command."""
        if not self.is_complete(proposal):
            self._ledger.note(proposal.number, "failed", reason)
            self._end(proposal.number, FAIL, None)

    def prune(self, proposal: Proposal, curve: Sequence[float]) -> None:
        """Note that the training of a point was stopped early, after the epochs of `curve`."""
        self._ledger.note(proposal.number, "curve", list(curve))
        self._end(proposal.number, PRUNED, self._values({**proposal.costs, ACCURACY: curve[-1]}))

    # What is in the ledger -----------------------------------------------------------------

    def _load(self) -> None:
        """Read all entries, and copy them to the memory that the sampler sees."""
        self._entries = list(self._ledger.entries())
        self._copy = optuna.create_study(
            directions=self._ledger.directions, sampler=RandomSampler(seed=0)
        )
        self._points: dict[Any, int] = {}
        self._candidates.reset()
        self._useless = 0
        self.refused.clear()
        self._copy.add_trials([self._seen(entry) for entry in self._entries])
        for entry in self._entries:
            self._take(entry)

    def _take(self, entry: FrozenTrial) -> None:
        """Note an entry's point."""
        attributes = entry.user_attrs
        self._candidates.mark(attributes["point"])
        if reason := attributes.get("refused"):
            self.refused[reason] += 1
            self._useless += 1
        elif "repeat" in attributes:
            self.refused["repeat"] += 1
            self._useless += 1
        else:
            self._points[self._key(self._question.trial(attributes["point"]))] = entry.number
            self._useless = 0

    def _changed(self) -> bool:
        """Whether another machine has written to the study."""
        now = self._ledger.entries()
        return len(now) != len(self._entries) or any(
            a.state != b.state for a, b in zip(now, self._entries, strict=True)
        )

    def _seen(self, entry: FrozenTrial) -> FrozenTrial:
        """An entry as the sampler sees it: what was stopped early has its last accuracy."""
        if entry.state != PRUNED:
            return entry
        costs = costs_of(self._question.trial(entry.user_attrs["point"]))
        return create_trial(
            state=COMPLETE,
            params=entry.params,
            distributions=entry.distributions,
            system_attrs=entry.system_attrs,
            values=self._values({**costs, ACCURACY: entry.user_attrs["curve"][-1]}),
        )

    def proposal(self, entry: FrozenTrial) -> Proposal:
        """An entry as what is to be trained."""
        point = entry.user_attrs["point"]
        trials = self._question.trials(point)
        return Proposal(
            number=entry.number, point=point, trials=tuple(trials), costs=costs_of(trials[0])
        )

    def _end(self, number: int, state: TrialState, values: Sequence[float] | None) -> None:
        self._ledger.end(number, state, None if state == PRUNED else values)
        self._entries[number] = self._ledger.entries()[number]
        self._copy.tell(number, values, state=FAIL if state == FAIL else COMPLETE)

    # What comes next ----------------------------------------------------------------------

    def _next_known(self) -> Point | None:
        """The next of the points that are known from the beginning and new."""
        while self._known:
            point = self._known.pop(0)
            if self._key(self._question.trial(point)) not in self._points:
                return point
        return None

    def _must_choose(self) -> bool:
        return self._question.sampler == GRID or self._useless >= PATIENCE

    def _choose(self) -> Point | None:
        """A point within the limits that is new: the next one for a grid, else a random one."""
        rng = np.random.default_rng([self._question.study_seed, len(self._entries)])
        grid = self._question.sampler == GRID
        for point in self._candidates.first() if grid else self._candidates.drawn(rng):
            try:
                trial = self._question.trial(point)
            except ValueError:
                pass
            else:
                if self._key(trial) not in self._points and not self._exceeded(trial):
                    return point
            self._candidates.mark(point)
        self.reason = self._candidates.none_left
        return None

    def _ask(self, chosen: Point | None, attributes: Mapping[str, Any]) -> Proposal | None:
        """Ask the sampler for the next point, unless one is chosen; None where it is not to be
        trained, which is noted. `attributes` are of a new entry."""
        number, question = len(self._entries), self._question
        if chosen is not None:
            self._copy.enqueue_trial(question.space.params(chosen))
        if question.sampler != GRID:
            self._copy.sampler = build(
                question.sampler,
                seed=question.study_seed,
                number=number,
                n_trials=self._ledger.planned,
            )
        return self._decide(self._copy.ask(self._distributions).params, attributes)

    def _decide(self, params: Mapping[str, Any], attributes: Mapping[str, Any]) -> Proposal | None:
        """Refuse what the sampler proposed, answer it, or have it trained."""
        point = self._question.space.point(params)
        try:
            trials = self._question.trials(point)
        except ValueError as error:
            reason = f"invalid: {str(error).splitlines()[0]}"
        else:
            before = self._points.get(self._key(trials[0]))
            if over := self._exceeded(trials[0]):
                reason = f"max.{over[0]}"
            elif before is None:
                return self._open(params, attributes)
            elif (state := self._entries[before].state) in (COMPLETE, PRUNED):
                values = self._copy.get_trials(deepcopy=False)[before].values
                self._write(COMPLETE, params, {"repeat": before}, values)
                return None
            else:
                reason = "running" if state == RUNNING else "failed"
        self._write(FAIL, params, {"refused": reason})
        return None

    def _retry(self, failed: FrozenTrial) -> Proposal | None:
        """Open an entry for a point that failed."""
        self._copy.add_trial(
            create_trial(
                state=RUNNING,
                params=failed.params,
                distributions=failed.distributions,
                system_attrs=failed.system_attrs,
            )
        )
        return self._open(failed.params, {"retry": failed.number})

    def _open(self, params: Mapping[str, Any], attributes: Mapping[str, Any]) -> Proposal | None:
        """Write an entry for a point that is to be trained."""
        number = self._write(RUNNING, params, attributes)
        return None if number is None else self.proposal(self._entries[number])

    def _write(
        self,
        state: TrialState,
        params: Mapping[str, Any],
        attributes: Mapping[str, Any],
        values: Sequence[float] | None = None,
    ) -> int | None:
        """Write an entry for the last trial of the sampler's memory, which ends too where the entry
        has ended; returns its number.

        None where another machine has written at the same time: what it wrote is read first, and if
        it has the same point, this entry is withdrawn.
        """
        number, point = len(self._entries), self._question.space.point(params)
        own = self._copy.get_trials(deepcopy=False)[number]
        attributes = {"point": point, **attributes}
        written = self._ledger.add(
            state, params, self._distributions, attributes, own.system_attrs, values
        )
        if written != number:
            return self._withdraw(written, point, state)
        self._entries.append(self._ledger.entries()[number])
        if state != RUNNING:
            self._copy.tell(number, values, state=state)
        self._take(self._entries[number])
        return number

    def _withdraw(self, number: int, point: Point, state: TrialState) -> int | None:
        """What becomes of an entry that another machine's entries have come before."""
        before = self._ledger.entries()[:number]
        key = self._key(self._question.trial(point)) if state == RUNNING else None
        had = {
            self._key(self._question.trial(entry.user_attrs["point"]))
            for entry in before
            if key is not None and "refused" not in entry.user_attrs
        }
        if key in had:
            self._ledger.note(number, "refused", "running")
            self._ledger.end(number, FAIL)
        self._load()
        return number if state == RUNNING and key not in had else None

    def _key(self, trial: Trial) -> Any:
        """What trials share that would train the same network."""
        return effect(trial, [axis.name for axis in self._question.space.axes])

    def _exceeded(self, trial: Trial) -> list[str]:
        return exceeded(costs_of(trial), self._question.limits)

    def _values(self, known: Mapping[str, float]) -> list[float]:
        """The values of a point's objectives."""
        return [float(known[name]) for name in self._question.objectives]
