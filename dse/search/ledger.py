"""A study in its storage: what it asks, and its trials. Trials of Optuna are entries here, because
one of them is a point with a trial for each seed.

An entry is written when it is proposed, in one piece and with all its parameters, and once more
when it ends. So a killed study has no entry that is half proposed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from dse.analysis.rendering import counted
from dse.results import studies
from dse.results.atomic import write
from dse.results.files import make
from dse.results.studies import JOURNAL
from dse.search.keys import ACCURACY, COMPRESS, DENSITIES
from dse.search.question import Question
from dse.search.space import Choice
from dse.sweep.errors import RequestError
from dse.trial.compression import used
from dse.trial.names import written
from dse.trial.question import SEMANTICS

QUESTION, PLANNED = "question", "n_trials"
STATES = {
    TrialState.COMPLETE: "trained",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
ENDED = ("trained", "stored", "stopped")
"""States of `dse.results.studies` of trials that are done."""
OWNER = "owner"
"""The file with the name of a results folder in a database that others use too."""


class Ledger:
    """The entries of one study. `planned` is the number of trials that it began with."""

    def __init__(
        self, storage: BaseStorage, name: str, question: Question, n_trials: int, owner: str
    ) -> None:
        self._storage, self.owner = storage, owner
        maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
        self.directions = [maximize if o == ACCURACY else minimize for o in question.objectives]
        try:
            self._id = storage.create_new_study(self.directions, name)
        except DuplicatedStudyError:
            self._id = storage.get_study_id_from_name(name)
        self.planned = self._check(name, described(question), n_trials)
        names = list(question.objectives)
        storage.set_study_system_attr(self._id, "study:metric_names", names)

    def _check(self, name: str, asked: dict[str, Any], n_trials: int) -> int:
        """Note what the study asks, or raise `RequestError` where it asked something else."""
        before = self._storage.get_study_user_attrs(self._id)
        if QUESTION not in before:  # it is new
            self._storage.set_study_user_attr(self._id, PLANNED, n_trials)
            self._storage.set_study_user_attr(self._id, QUESTION, asked)
            return n_trials
        if lines := differences(name, before[QUESTION], asked):
            raise RequestError(lines)
        return int(before[PLANNED])

    def entries(self) -> list[FrozenTrial]:
        """All entries, by number."""
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def add(
        self,
        state: TrialState,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        attributes: Mapping[str, Any],
        system: Mapping[str, Any],
        values: Sequence[float] | None = None,
    ) -> int:
        """Write a new entry; returns its number."""
        entry = create_trial(
            state=state,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs={**attributes, "owner": self.owner},
            system_attrs=dict(system),
            values=values,
        )
        trial_id = self._storage.create_new_trial(self._id, entry)
        return self._storage.get_trial_number_from_id(trial_id)

    def note(self, number: int, key: str, value: Any) -> None:
        """Add to an entry that has not ended."""
        self._storage.set_trial_user_attr(self._trial_id(number), key, value)

    def end(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        """Write how an entry ended."""
        self._storage.set_trial_state_values(self._trial_id(number), state, values)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)


def already_done(folder: Path, url: str, name: str, question: Question) -> list[Mapping[str, Any]]:
    """The points of a study in a folder that are done; none where it is in a database.

    Nothing is written. Raises `RequestError` where the study asked something else.
    """
    path = folder / JOURNAL
    if url or not path.exists():
        return []
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        study = storage.get_study_id_from_name(name)
    except (KeyError, ValueError):  # there is none, or its journal is damaged
        return []
    before = storage.get_study_user_attrs(study).get(QUESTION)
    if before and (lines := differences(name, before, described(question))):
        raise RequestError(lines)
    entries = storage.get_all_trials(study, deepcopy=False)
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    ended = [entry.user_attrs for entry in entries if entry.state in done]
    return [attributes["point"] for attributes in ended if "repeat" not in attributes]


def state_of(entry: FrozenTrial) -> str:
    """What became of an entry, as `dse.results.studies` has it."""
    is_stored = entry.state == TrialState.COMPLETE and entry.user_attrs.get("stored", False)
    return "stored" if is_stored else STATES[entry.state]


def so_far(folder: Path) -> dict[str, dict[str, Any]]:
    """The studies of a folder as they are now, also where their search runs or was killed.

    As `dse.results.studies.load` has them, but those in the folder's journal with the keys that
    `dse.analysis.studies.counts` and `reached` read only. Nothing is written.
    """
    found, path = studies.load(folder), folder / JOURNAL
    if not path.exists() or studies.damage(folder):
        return found
    # of a journal that a search would refuse
    with suppress(OSError, ValueError, KeyError, TypeError, AssertionError):
        storage = JournalStorage(JournalFileBackend(str(path)))
        for study in storage.get_all_studies():
            if not (asked := study.user_attrs.get(QUESTION)):
                continue
            entries = storage.get_all_trials(study._study_id, deepcopy=False)
            no_point = {e.user_attrs.get("retry") for e in entries}
            no_point |= {e.number for e in entries if {"refused", "repeat"} & e.user_attrs.keys()}
            points = [
                {"state": state_of(e), "values": e.values, "epochs": 0}
                for e in entries
                if e.number not in no_point
            ]
            before = found.get(study.study_name, {"points": []})
            found[study.study_name] = {
                "sampler": asked["sampler"],
                "objectives": asked["objective"],
                "n_trials": max(study.user_attrs[PLANNED], before.get("n_trials", 0)),
                "points": points,
                "ended": before["ended"] if len(before["points"]) == len(points) > 0 else "",
            }
    return found


def check_not_lost(folder: Path, name: str, question: Question) -> None:
    """Raise `RequestError` where the journal of a folder has fewer of a study's trials than its
    last search left."""
    points = studies.load(folder).get(name, {"points": []})["points"]
    had = sum(isinstance(point, dict) and point.get("state") in ENDED for point in points)
    if had and (has := len(already_done(folder, "", name, question))) < had:
        raise RequestError(
            [
                f"study {name} had {counted(had, 'trial')}, {folder / JOURNAL} has {has:,}: "
                "restore that file, or choose another `study`; to begin this one again, remove "
                f"{studies.path_of(folder, name)}"
            ]
        )


def owner_of(folder: Path) -> str:
    """The name by which a results folder's entries are known in a shared database."""
    path = folder / "studies" / OWNER
    if not path.exists():
        make(path.parent)
        write(path, secrets.token_hex(8).encode())
    return path.read_text().strip()


def described(question: Question) -> dict[str, Any]:
    """What a study asks, as plain values."""
    one = question.compression
    read = [name for name in used(one) if name != DENSITIES] if one else []
    space: dict[str, Any] = {
        axis.name: list(axis.values)
        if isinstance(axis, Choice)
        else f"{'tag(log,' * axis.log}interval({axis.low},{axis.high}){')' * axis.log}"
        for axis in question.space.axes
    }
    return {
        **{key: value for key, value in question.base.items() if key not in space},
        **space,
        "seed": list(question.seeds),
        "objective": list(question.objectives),
        **{f"max.{name}": most for name, most in question.limits.items()},
        "sampler": question.sampler,
        "study_seed": question.study_seed,
        "stopping": question.stopping,
        **{COMPRESS + name: getattr(one, name) for name in read},
        "semantics": SEMANTICS,
    }


def differences(study: str, before: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """A line for each key in which a study's question differs from what is now asked, and one that
    says what to do."""
    lines = []
    for key in {**before, **asked}:
        was, now = before.get(key), asked.get(key)
        if was != now:
            rule = "left out" if was is None else _text(was)
            got = "but is left out" if now is None else f"got {_text(now)}"
            lines.append(f"`{key}` must be {rule} in study {study}, {got}")
    return [*lines, "choose another `study` for a new one"] if lines else []


def _text(value: Any) -> str:
    return ",".join(map(written, value)) if isinstance(value, list) else written(value)
