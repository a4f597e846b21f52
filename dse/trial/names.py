"""What trials, their outcomes and durations are called where a person reads."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from dse.space.architecture import LAYOUTS, Layout, field_names
from dse.trial.datasets import num_classes
from dse.trial.question import QUESTION, Trial
from dse.trial.unread import unread

OUTCOMES = {
    "learned": "learned",
    "never_learned": "at chance",
    "partly_dead": "never predicted some class",
    "diverged": "with a non-finite loss or gradient",
}
"""What each status means, after a count of trials."""


def trial_names(trials: Iterable[Trial]) -> dict[str, str]:
    """Each trial's name by its `trial_id`; distinct trials have distinct names.

    A name lists the fields that vary over the `trials` that read them, in the order of the
    question, as they are written on the command line: `sr=0.125 seed=0`. Where several fields of
    named layouts vary, these are named: `layout=px8`. A single trial is named by its short id.
    """
    questions = {trial.trial_id: trial.question for trial in trials}
    reads = {i: {k: v for k, v in q.items() if k not in unread(q)} for i, q in questions.items()}
    values: dict[str, set[Any]] = {key: set() for key in QUESTION}
    for read in reads.values():
        for key, value in read.items():
            values[key].add(value)
    varying = [key for key in QUESTION if len(values[key]) > 1]
    stem = [key for key in STEM if key in varying]
    layouts = {i: layout_name(read) for i, read in reads.items() if STEM[0] in read}
    if len(stem) > 1 and all(layouts.values()):
        varying = [key for key in varying if key not in stem]
        varying.insert(
            sum(QUESTION.index(key) < QUESTION.index(stem[0]) for key in varying), LAYOUT
        )
        reads = {i: {**r, LAYOUT: layouts[i]} if i in layouts else r for i, r in reads.items()}
    return {
        trial_id: " ".join(f"{key}={written(read[key])}" for key in varying if key in read)
        or f"trial {short_id(trial_id)}"
        for trial_id, read in reads.items()
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


def brief(value: Any) -> str:
    """As `written`, but a long text, such as densities of many layers, is cut off and ends in
    digits that tell it from others.

    >>> brief("1-4-8"), brief("conv1:0.5-fire2.squeeze:0.125-fire2.expand3x3:0.25")
    ('1-4-8', 'conv1:0.5-fire2.squeeze:0.125-fi..e81a8e')
    """
    text = written(value)
    if len(text) <= LONGEST:
        return text
    digits = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{text[: LONGEST - 8]}..{digits}"


LONGEST = 40
"""Maximum number of characters of a value in a name."""
LAYOUT = "layout"
"""The group of the command line that names one of `LAYOUTS`."""

STEM = tuple(n for n in field_names(Layout) if n not in ("norm", "head_relu", "dropout"))
"""What a named layout is recognised by: recipes and protocols change the other fields."""


def layout_name(question: Mapping[Any, Any]) -> str:
    """The name of the layout in `LAYOUTS` that a question has, or "".

    >>> layout_name({"conv1_filters": 7})
    ''
    """
    return next(
        (
            name
            for name, layout in LAYOUTS.items()
            if all(question.get(field) == getattr(layout, field) for field in STEM)
        ),
        "",
    )


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them.

    >>> duration(4.2), duration(200), duration(10_000)
    ('4 s', '3 min', '2.8 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def outcome(row: Any) -> str:
    """How the training of a record's row ended, in words: what was seen, not why.

    Apart from `status`, the row has the columns that say more about it.

    >>> outcome({"status": "never_learned"})
    'at chance'
    >>> outcome(
    ...     {"status": "partly_dead", "data": "digits", "manifest": "none", "classes_predicted": 8}
    ... )
    '2 of 10 classes never predicted'
    >>> outcome({"status": "diverged", "diverged_step": 40})
    'non-finite loss or gradient at step 40'
    """
    status = row["status"]
    if status == "partly_dead":
        classes = num_classes(row["data"], row["manifest"])
        return f"{classes - row['classes_predicted']} of {classes} classes never predicted"
    if status == "diverged":
        return f"non-finite loss or gradient at step {row['diverged_step']}"
    return OUTCOMES[status]


def outcomes(table: Any) -> str:
    """How the trainings of a table of records ended: a count of each outcome.

    >>> outcomes({"status": ["learned", "never_learned", "learned"]})
    '2 learned, 1 at chance'
    """
    counts = Counter(table["status"])
    return ", ".join(f"{counts[s]:,} {text}" for s, text in OUTCOMES.items() if counts[s])
