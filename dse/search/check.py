"""Whether the parts of a study's question fit together, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from dse.search.keys import COMPRESSED_BYTES
from dse.search.limits import MOST, refusals
from dse.search.question import Question
from dse.search.space import ends, sample
from dse.sweep.errors import RequestError
from dse.sweep.no_effect import UNREAD, without_effect
from dse.trial.question import Trial
from dse.trial.unread import reason, unread


def check(question: Question) -> None:
    """Raise `RequestError` with a line for each mistake: a value that fits with no others, a key
    without effect, or a limit that no network meets."""
    errors = [*_data_errors(question), *_stopping_errors(question)]
    if question.sampler == "grid" and question.space.size > MOST:
        errors.append(f"`sampler` must not be grid for a space of more than {MOST:,} points")
    trials, unfit = _fitting(question)
    errors += unfit or _without_effect(question, trials)
    errors = errors or refusals(question.space, question.trial_with, question.limits)
    if errors:
        raise RequestError(errors)


def storage_errors(url: str) -> list[str]:
    """A line where a study cannot be kept at a URL; "" is a file in the results folder."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ["`storage` must be postgresql://USER@HOST/NAME, got no URL"]
    if url and parts.password is not None:
        return ["`storage` must hold no password: use ~/.pgpass or PGPASSWORD"]
    if url and parts.scheme != "postgresql":
        return [f"`storage` must be postgresql://USER@HOST/NAME, got {url}"]
    return []


def _fitting(question: Question) -> tuple[list[Trial], list[str]]:
    """Trials of the space with each value of each key, and some random ones; and a line for each
    mistake of a value that fits with no values of the other keys."""
    trials: list[Trial] = []
    lines: list[str] = []
    for axis in question.space.axes:
        for value in ends(axis):
            try:
                trials.append(question.trial_with({axis.name: value}))
            except ValueError as error:
                lines += str(error).splitlines()
    for point in sample(question.space):
        with suppress(ValueError):
            trials.append(question.trial(point))
    return trials, list(dict.fromkeys(lines))


def _without_effect(question: Question, trials: Sequence[Trial]) -> Iterator[str]:
    """A line for each key that is searched or was given, and that none of the trials reads."""
    axes = [axis.name for axis in question.space.axes]
    fixed = {key: [value] for key, value in question.base.items() if key not in axes}
    yield from without_effect(trials, [fixed], question.given - {*axes})
    questions = [trial.question for trial in trials]
    for key in axes:
        why = ""
        if all(key in unread(one) for one in questions):
            why = reason(key, questions[0])
        elif key in UNREAD and all(UNREAD[key](trial) for trial in trials):
            why = UNREAD[key](trials[0])
        if why:
            yield f"`{key}` has no effect where {why}"


def _data_errors(question: Question) -> Iterator[str]:
    """A line for a key that decides which images the accuracy is of."""
    for axis in question.space.axes:
        if axis.name in ("data", "manifest"):
            yield (
                f"`{axis.name}` must have one value in a search: accuracies on different data "
                "cannot be compared"
            )


def _stopping_errors(question: Question) -> list[str]:
    """Why trials cannot be stopped early by the rule that was asked for."""
    rule, two = question.stopping, len(question.objectives) > 1
    if rule == "none":
        return []
    if COMPRESSED_BYTES in question.objectives:
        why = f"since {COMPRESSED_BYTES} are known only after training"
        return [f"`stopping` must be none for {COMPRESSED_BYTES}, {why}, got {rule}"]
    lines = []
    if (rule == "front") != two:
        other = "front or none" if two else "median, halving or none"
        count = "two objectives" if two else "one objective"
        lines.append(f"`stopping` must be {other} for {count}, got {rule}")
    if any(axis.name == "epochs" for axis in question.space.axes):
        lines.append(f"`stopping` must be none where `epochs` varies, got {rule}")
    return lines
