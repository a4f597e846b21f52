"""What a trial is called where a person reads: by what varies among the trials of its sweep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dse.trial.question import QUESTION, Trial


def trial_names(trials: Iterable[Trial]) -> dict[str, str]:
    """Each trial's name by its `trial_id`; distinct trials have distinct names.

    A name lists the fields that vary over `trials`, in the order of the question, as they are
    written on the command line: `sr=0.125 seed=0`. A single trial is named by its short id.
    """
    questions = {trial.trial_id: trial.question for trial in trials}
    rows = questions.values()
    varying = [key for key in QUESTION if len({question[key] for question in rows}) > 1]
    return {
        trial_id: " ".join(f"{key}={written(question[key])}" for key in varying)
        or f"trial {short_id(trial_id)}"
        for trial_id, question in questions.items()
    }


def short_id(trial_id: str) -> str:
    """The first digits of an id, enough to recognise it.

    >>> short_id("0123456789abcdef0123")
    '01234567'
    """
    return trial_id[:8]


def written(value: Any) -> str:
    """A value as it is written on the command line.

    >>> [written(value) for value in (True, 1.0, 0.125, 1e-9, 1 / 3, "1-4-8", 7)]
    ['true', '1', '0.125', '1e-09', '0.3333333333333333', '1-4-8', '7']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return short if float(short := f"{value:g}") == value else repr(value)
    return str(value)
