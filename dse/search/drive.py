"""Run a study: train what it proposes, note the results, and stop hopeless trials early."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dse.analysis.rendering import counted
from dse.data.store import DATA_ERROR
from dse.results import drivers, records
from dse.results.atomic import tidy
from dse.results.studies import GRID, note_sampled, save
from dse.runner.events import Event, Failed, Finished, Interrupted, Reported
from dse.runner.runner import Runner
from dse.search.active import Active, read_curve, read_curves
from dse.search.answers import Answers
from dse.search.compression import FUNCTION
from dse.search.keys import ACCURACY
from dse.search.ledger import Ledger, check_not_lost, owner_of
from dse.search.request import Request
from dse.search.space import ends, named
from dse.search.stopping import STOPPERS
from dse.search.storage import opened
from dse.search.study import Proposal, Study
from dse.search.warm_start import known_points, said
from dse.sweep.launch import (
    EXECUTE,
    begin,
    import_figures,
    lacks_space,
    no_space,
    open_runner,
    write_failure,
)
from dse.sweep.messages import FULL, say
from dse.sweep.preflight import check_data, splits
from dse.sweep.progress import Progress, trained
from dse.sweep.signals import STOP, stopped_by_signals
from dse.sweep.timing import Length, length_of
from dse.trial.compression import Settings
from dse.trial.names import outcome
from dse.trial.question import Trial

SAVED = 60.0
"""Seconds after which what a study has found is written again while it runs."""


def run(request: Request, execute: str = "", command: str = "") -> Study:
    """Carry out a study, and return it.

    `execute` names the function that carries out a trial, by default what the objectives need.
    Raises `RequestError` where the study is in use, or asked something else before, or data are
    missing. Once the running trials have stopped, raises `KeyboardInterrupt` if the command is
    asked to stop, and `OSError` if the disk of the results folder is full.
    """
    folder = request.folder
    study: Study | None = None
    try:
        with opened(folder, request.storage) as storage:
            if not request.storage:
                check_not_lost(folder, request.study, request.question)
            owner = owner_of(folder) if request.storage else ""
            name = f"{folder.resolve().name}/{request.study}" if request.storage else request.study
            ledger = Ledger(storage, name, request.question, request.n_trials, owner)
            known = known_points(request)
            say(*said(request, len(known)))
            study = Study(ledger, request.question, request.n_trials, known)
            begin(folder, command)
            usual = FUNCTION if request.question.compression else EXECUTE
            _Drive(request, study, execute or usual).run()
            tidy(folder)
    except OSError as error:  # of a trial, or of the study's journal
        path = error.filename  # none where a file that is open is written
        of_folder = path is None or folder.absolute() in Path(str(path)).absolute().parents
        if error.errno not in FULL or not of_folder:
            raise
        done = len(study.completed()) if study else 0
        raise no_space(folder, done, counted(request.n_trials, "trial")) from None
    return study


class _Drive:
    """The points in training, and what follows from what happens to them."""

    def __init__(self, request: Request, study: Study, execute: str) -> None:
        self._request, self._study, self._execute = request, study, execute
        self._stops = STOPPERS.get(request.question.stopping)
        self._folder = request.folder.absolute()
        self._answers = Answers(self._folder, request.question.compression)
        self._active: dict[int, Active] = {}
        self._point: dict[str, int] = {}
        self._found, self._untried = 0, 0
        self._broken = self._full = False
        self._saved, self._unsaved = time.monotonic(), False
        self._end = self._saved + request.timeout
        self._curves: dict[int, list[float]] = {}
        self._costs: dict[int, float] = {}
        if self._stops:
            for entry in study.entries:
                if entry.state.is_finished():
                    proposal = study.proposal(entry)
                    curve = entry.user_attrs.get("curve", [])
                    self._note(proposal, curve or read_curve(self._folder, proposal))

    def run(self) -> None:
        """Train until there is nothing more to propose."""
        waiting = [*self._lost(), *self._study.unfinished()]
        waiting = [proposal for proposal in waiting if not self._answered(proposal)]
        if not waiting and (first := self._next()):
            waiting = [first]
        if not waiting:
            return
        workers = self._request.workers
        with ExitStack() as stack:
            runner = stack.enter_context(open_runner(self._execute, workers))
            self._prepare()
            publish = stack.enter_context(drivers.publishing(self._folder, "search"))
            progress = stack.enter_context(
                Progress({}, {}, workers.count, publish, result=self._result)
            )
            received = stack.enter_context(stopped_by_signals(runner))
            for proposal in waiting:
                self._start(proposal, runner, progress)
            self._fill(runner, progress)
            for event in runner.events(lambda: self._turn(progress)):
                self._take(event, runner, progress)
                if not (received or self._broken or self._full):
                    self._fill(runner, progress)
            if received:
                self._save()
                raise KeyboardInterrupt
            if self._full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _lost(self) -> list[Proposal]:
        """The points whose record, or compressed network, has been removed: they get it again."""
        done = self._study.completed()
        left = self._answers.left([trial for proposal in done for trial in proposal.trials])
        lost = [proposal for proposal in done if {*left} & {*proposal.trials}] if left else []
        if lost:
            some = f"{len(lost):,} of {counted(len(done), 'point')}"
            have, are = ("has", "it is") if len(lost) == 1 else ("have", "they are")
            say(f"{some} no longer {have} a record in {self._request.folder}; {are} trained again")
        return lost

    def _prepare(self) -> None:
        question = self._request.question
        sizes = [axis for axis in question.space.axes if axis.name == "image_size"]
        trials = [question.trial_with({axis.name: v}) for axis in sizes for v in ends(axis)]
        trials = trials or [question.trial_with({})]
        check_data(trials, self._request.store, say)
        say(*splits(trials, self._request.store))
        if self._execute in (EXECUTE, FUNCTION):
            import_figures()

    def _next(self) -> Proposal | None:
        """The next point that must be trained; those that already are get their answer."""
        while proposal := self._study.propose():
            if not records.unfinished(self._folder, proposal.trials):
                self._study.note_stored(proposal)
            if not self._answered(proposal):
                return proposal
            self._found += len(proposal.trials)
        return None

    def _answered(self, proposal: Proposal) -> bool:
        """Whether all trials of a point have answers; then the study gets their means."""
        if self._answers.left(proposal.trials):
            return False
        self._study.complete(proposal, self._answers.of(proposal.trials))
        self._unsaved = True
        if self._stops:
            self._note(proposal, read_curve(self._folder, proposal))
        return True

    def _fill(self, runner: Runner, progress: Progress) -> None:
        """Start points as long as a worker is free and there is time."""
        if time.monotonic() > self._end and self._study.left and not self._study.ended:
            self._untried, self._study.timed_out = self._study.left, True
        while len(self._point) < self._request.workers.count and (proposal := self._next()):
            self._start(proposal, runner, progress)
        left = 0 if self._study.ended else self._study.left
        seeds = len(self._request.question.seeds)
        progress.expect(left * seeds, self._found, self._untried * seeds)

    def _start(self, proposal: Proposal, runner: Runner, progress: Progress) -> None:
        """Submit the trials of a point that have no answer."""
        request = self._request
        todo = self._answers.left(proposal.trials)
        active = Active(proposal, {trial.trial_id for trial in todo})
        if self._stops and (done := {*proposal.trials} - {*todo}):
            active.curves |= read_curves(self._folder, done)
        self._active[proposal.number] = active
        is_chosen = request.question.sampler != GRID and not self._study.is_complete(proposal)
        if is_chosen and records.unfinished(self._folder, proposal.trials):
            note_sampled(self._folder, request.study, [one.trial_id for one in proposal.trials])
        if not todo:  # another command has made the last of them just now
            self._finish(active)
        for trial in todo:
            self._point[trial.trial_id] = proposal.number
            seed = {"seed": trial.seed} if len(proposal.trials) > 1 else {}
            progress.add(trial.trial_id, named({**proposal.point, **seed}), self._length(trial))
            where = self._folder, request.store.absolute(), request.workers.device
            runner.submit(trial.trial_id, (trial, *where, *self._compression))

    def _take(self, event: Event, runner: Runner, progress: Progress) -> None:
        """What follows from an event."""
        progress.take(event)
        trial_id = str(event.key)
        active = self._active[self._point[trial_id]]
        if isinstance(event, Reported):
            epoch, accuracy, *before = event.value
            for n, value in enumerate([*before, accuracy], epoch - len(before)):
                active.report(trial_id, n, value)
                if self._is_hopeless(active):
                    active.stopped = True
                    for key in active.left:
                        progress.cancelled(key)
                        runner.cancel(key)
        elif isinstance(event, (Finished, Failed, Interrupted)):
            del self._point[trial_id]
            active.left.discard(trial_id)
            if isinstance(event, Failed) and lacks_space(event, self._folder):
                self._full = True
                runner.stop(STOP)
            elif isinstance(event, Failed):
                active.failure = event.reason
                self._write_failure(event, active.proposal)
                if event.reason.startswith(DATA_ERROR):
                    self._broken = True
                    self._study.reason = "stopped, since data could not be read"
                    runner.stop(STOP)
            if not active.left:
                self._finish(active)

    def _is_hopeless(self, active: Active) -> bool:
        """Whether a point in training is to be stopped now."""
        curve = active.curve
        settled = active.stopped or self._study.is_complete(active.proposal)
        if not self._stops or settled or not curve:
            return False
        self._note(active.proposal, curve)
        epochs = self._request.question.base["epochs"]
        return self._stops(self._curves, self._costs, active.proposal.number, epochs)

    def _note(self, proposal: Proposal, curve: list[float]) -> None:
        """Note the curve and the cost of a point, for early stopping."""
        number = proposal.number
        if curve:
            self._curves[number] = curve
        first = self._request.question.objectives[0]
        if first != ACCURACY:
            self._costs[number] = float(proposal.costs[first])

    @property
    def _compression(self) -> tuple[Settings, ...]:
        """The settings of the compression that follows each training, if one does."""
        settings = self._request.question.compression
        return (settings,) if settings else ()

    def _length(self, trial: Trial) -> Length:
        """How long a task is: the epochs of training, those of retraining, and one for the rest of
        a compression."""
        length = length_of(trial)
        more = sum(settings.retrain_epochs + 1 for settings in self._compression)
        return replace(length, epochs=length.epochs + more)

    def _result(self, row: Mapping[str, Any]) -> str:
        """What the row of a task says, in words."""
        if not self._compression:
            return trained(row)
        size = f"{row['file_bytes']:,} bytes compressed"
        return f"{outcome(row)}, top-1 {row['top1']:.2f}%, {size}"

    def _write_failure(self, event: Failed, proposal: Proposal) -> None:
        """Write a task's failure to the folder of what it could not make."""
        (trial,) = [one for one in proposal.trials if one.trial_id == event.key]
        kind, key = self._answers.task_failed(trial)
        write_failure(self._folder, replace(event, key=key), named(proposal.point), kind)

    def _finish(self, active: Active) -> None:
        """Note in the study what became of a point whose trials have all ended."""
        del self._active[active.proposal.number]
        if active.failure:
            self._study.fail(active.proposal, active.failure)
        elif not self._answered(active.proposal) and active.stopped:
            self._study.prune(active.proposal, active.curve)
            # one that is interrupted has no record either: it goes on with the next command
        self._unsaved = True
        self._save_if_due()

    def _turn(self, progress: Progress) -> None:
        progress.turn()
        self._save_if_due()

    def _save_if_due(self) -> None:
        if self._unsaved and time.monotonic() - self._saved > SAVED:
            self._save()

    def _save(self) -> None:
        """Write what the study has found so far, if that can be done: its end does so too."""
        from dse.search import closing  # takes a second

        with suppress(OSError):
            save(self._folder, self._request.study, closing.outcome(self._request, self._study))
            self._unsaved = False
        self._saved = time.monotonic()
