"""Trials are called by what varies among them."""

from __future__ import annotations

import doctest
from typing import Any

from dse.space.architecture import LAYOUTS, V1_0
from dse.trial import names
from dse.trial.names import outcome, outcomes, trial_names
from dse.trial.protocol import Protocol
from dse.trial.question import Trial, trial_from
from dse.trial.record import STATUSES

QUESTION = Trial(layout=V1_0, protocol=Protocol(image_size=64)).question


def named(*changes: dict[str, Any]) -> list[str]:
    """The names of trials that differ from one another by `changes`."""
    return list(trial_names([trial_from({**QUESTION, **change}) for change in changes]).values())


def test_the_documented_examples() -> None:
    assert doctest.testmod(names).failed == 0


def test_a_name_lists_what_varies_in_the_order_of_the_question() -> None:
    assert named(
        {"seed": 0, "sr": 0.125},
        {"seed": 1, "sr": 0.125},
        {"seed": 0, "sr": 1},
        {"seed": 1, "sr": 1},
    ) == ["sr=0.125 seed=0", "sr=0.125 seed=1", "sr=1 seed=0", "sr=1 seed=1"]
    assert named({"seed": 3}, {"seed": 4}) == ["seed=3", "seed=4"]


def test_values_are_written_as_on_the_command_line() -> None:
    assert named(
        {"head_relu": True, "lr": 1e-3, "pool_after": "1-4"},
        {"head_relu": False, "lr": 1.0, "pool_after": "none"},
    ) == ["pool_after=1-4 head_relu=true lr=0.001", "pool_after=none head_relu=false lr=1"]


def test_layouts_of_which_several_fields_vary_are_named() -> None:
    px8, px16 = (
        {name: getattr(LAYOUTS[layout], name) for name in names.STEM} for layout in ("px8", "px16")
    )
    assert named(px8 | {"seed": 0}, px16 | {"seed": 1}) == [
        "layout=px8 seed=0",
        "layout=px16 seed=1",
    ]
    assert named(px8 | {"sr": 0.125}, px16 | {"sr": 1}) == [
        "sr=0.125 layout=px8",
        "sr=1 layout=px16",
    ]
    assert named(px8, px16, {"network": "alexnet"}) == [
        "network=squeezenet layout=px8",
        "network=squeezenet layout=px16",
        "network=alexnet",
    ]
    own = px16 | {"conv1_filters": 20}
    assert named(px8, own) == [
        f"conv1_filters={px8['conv1_filters']} pool_after={px8['pool_after']}",
        f"conv1_filters=20 pool_after={px16['pool_after']}",
    ]


def test_a_single_trial_is_named_by_its_id() -> None:
    trial = trial_from(QUESTION)
    assert trial_names([trial]) == {trial.trial_id: f"trial {trial.trial_id[:8]}"}
    assert trial_names([trial, trial]) == trial_names([trial])
    assert trial_names([]) == {}


def test_close_values_have_distinct_names() -> None:
    assert named({"sr": 0.1234567}, {"sr": 0.12345671}) == ["sr=0.1234567", "sr=0.12345671"]


def test_an_outcome_says_what_was_seen_and_not_the_stored_word() -> None:
    row = {"data": "image_folder", "manifest": f"100-500-200-{'0' * 20}", "classes_predicted": 99}
    texts = [outcome({**row, "status": status, "diverged_step": 7}) for status in STATUSES]
    assert texts == [
        "learned",
        "1 of 100 classes never predicted",
        "at chance",
        "non-finite loss or gradient at step 7",
    ]


def test_outcomes_are_counted_the_good_ones_first() -> None:
    statuses = [*STATUSES[::-1], *["learned"] * 1200, "never_learned"]
    assert outcomes({"status": statuses}) == (
        "1,201 learned, 2 at chance, 1 never predicted some class, "
        "1 with a non-finite loss or gradient"
    )
    assert outcomes({"status": ["diverged"]}) == "1 with a non-finite loss or gradient"
