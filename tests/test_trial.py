"""Trials: what is in their identity and what is not, and the record that they leave."""

from __future__ import annotations

import ast
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import confirm_semantics
import numpy as np
import pytest

from dse.results import files, records, tables
from dse.space.architecture import V1_1, Metaparameters
from dse.sweep.errors import RequestError
from dse.sweep.request import read_request
from dse.trial import protocol, question
from dse.trial import record as trial_record
from dse.trial.datasets import DATA_SETS
from dse.trial.protocol import Protocol, chance, check_held_out, random_seed
from dse.trial.question import ID_DIGITS, QUESTION, SEMANTICS, SINCE, Trial, trial_from
from dse.trial.recipe import RUNGS, Recipe
from dse.trial.record import (
    ANSWER,
    CIRCUMSTANCE,
    COLUMNS,
    STATUSES,
    Answer,
    Circumstance,
    Record,
    record_from,
    status_of,
)

FIELDS: Mapping[str, tuple[Any, Any]] = {
    "base_e": (128, 96),
    "incr_e": (128, 64),
    "freq": (2, 4),
    "pct3x3": (0.5, 0.25),
    "sr": (0.125, 0.5),
    "bypass": ("none", "simple"),
    "conv1_filters": (96, 64),
    "conv1_kernel": (7, 3),
    "conv1_stride": (2, 1),
    "conv1_padding": (0, 1),
    "pool_after": ("1-4-8", "1-3-5"),
    "strided_fires": ("none", "2-4"),
    "squeeze_filters": ("none", "1-2-3-4-5-6-7-8"),
    "expand_filters": ("none", "2-2-3-4-5-6-7-8"),
    "conv10_padding": (0, 1),
    "conv10_split": (1, 2),
    "conv10_multiple": (1, 16),
    "head_relu": (True, False),
    "norm": ("none", "batch"),
    "dropout": (0.5, 0.0),
    "image_size": (64, 65),
    "augment": ("none", "shift"),
    "validation_share": (0.25, 0.3),
    "train_share": (0.5, 0.6),
    "epochs": (20, 21),
    "batch_size": (64, 32),
    "iter_size": (1, 2),
    "lr": (0.1, 0.05),
    "schedule": ("linear", "cosine"),
    "warmup": (2.0, 0.0),
    "momentum": (0.9, 0.8),
    "nesterov": (True, False),
    "weight_decay": (0.0005, 0.0),
    "clip": (1.0, 0.0),
    "init": ("he", "xavier"),
    "precision": ("fp32", "bf16"),
    "dead_after": (200, 100),
    "ladder": ("none", "rate-lsuv"),
    "seed": (0, 1),
    "semantics": (2, 1),
}
"""Each field of the question, written out so that no default is in it, with another value; and
those that say which images, which must fit together.
"""
DIGITS = {"data": "digits", "manifest": "none", "normalise": "dataset"}
FOLDER = {"data": "image_folder", "manifest": f"10-1197-600-{0:020}", "normalise": "dataset"}

FITTING = ("network", "dsd_density", "dsd_sparse", "dsd_final")
"""Fields whose other values need more to change with them."""

TRIAL = trial_from({**DIGITS, **{name: value for name, (value, _) in FIELDS.items()}})
OTHER = {name: value for name, (_, value) in FIELDS.items()}


OLD_RECORD = """{
"trial_id": "02a09c56c06ee050b221", "base_e": 16, "incr_e": 16, "freq": 2, "pct3x3": 0.25,
"sr": 0.5, "bypass": "none", "conv1_filters": 16, "conv1_kernel": 3, "conv1_stride": 1,
"conv1_padding": 1, "pool_after": "1-4-8", "strided_fires": "none", "squeeze_filters": "none",
"expand_filters": "none", "conv10_padding": 0, "conv10_split": 1, "conv10_multiple": 1,
"head_relu": false, "norm": "batch", "dropout": 0.2, "data": "digits", "image_size": 12,
"augment": "none", "validation_share": 0.25, "train_share": 0.5, "epochs": 20, "batch_size": 96,
"lr": 0.15, "schedule": "linear", "warmup": 2.0, "momentum": 0.9, "nesterov": true,
"weight_decay": 0.0005, "clip": 1.0, "init": "he", "precision": "fp32", "seed": 2,
"params": 31354, "macs": 297984, "activations": 8458, "peak_activation_bytes": 11520,
"size_bytes": 129384, "status": "learned", "top1": 75.33333333333333, "top5": 97.66666666666667,
"loss": 0.7653646850585938, "val_top1": 78.92976588628763, "val_loss": 0.7178553450466398,
"train_top1": 97.10467706013362, "train_loss": 0.15894090485466617, "classes_predicted": 10,
"steps": 100, "diverged_step": -1, "seconds": 3.2, "device": "cpu", "threads": 1,
"machine": "x86_64", "finished": "2026-11-20T19:42:46+00:00",
"versions": "dse=0.1.0 python=3.11.7 torch=2.15.0+cu132",
"sha256": "988be107278d916aec93db3366a575d84f4575dd82387ea028ab614fbee1b147"}"""
"""A record of the first release, before `semantics` was a column: of those at which it is 1."""


def record(**changes: Any) -> Record:
    """A record of `TRIAL`; `changes` are to its answer or circumstance."""
    answer = dict.fromkeys(ANSWER, 1) | {"status": "learned", "diverged_step": -1}
    circumstance = dict.fromkeys(CIRCUMSTANCE, "x") | {"seconds": 1.5, "threads": 1}
    circumstance["peak_memory_bytes"] = 0
    row = {**answer, **circumstance, **changes}
    return Record(
        trial=TRIAL,
        answer=Answer(**{name: row[name] for name in ANSWER}),
        circumstance=Circumstance(**{name: row[name] for name in CIRCUMSTANCE}),
    )


# Identity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "trial_id"),
    [
        ({}, "b74c3f51f618f8e7d12d"),
        ({"semantics": 2}, "b74c3f51f618f8e7d12d"),
        ({"dead_after": 0, "semantics": 2}, "66f32b3eb90fef565317"),
        ({"dead_after": 0, "semantics": 1}, "493b6b0bae5db55b6c85"),  # as of the first release
    ],
)
def test_the_identity_does_not_drift(changes: dict[str, Any], trial_id: str) -> None:
    """Another value makes every record worthless: a field added later belongs in `SINCE`.

    A version of `SEMANTICS` makes every trial a new one: see the changelog.
    """
    assert trial_from({**TRIAL.question, **changes}).trial_id == trial_id
    assert len(trial_id) == ID_DIGITS


@pytest.mark.parametrize("name", OTHER)
def test_every_field_of_the_question_changes_the_identity(name: str) -> None:
    changed = trial_from({**TRIAL.question, name: OTHER[name]})
    assert changed.trial_id != TRIAL.trial_id
    assert trial_from({**changed.question, name: TRIAL.question[name]}).trial_id == TRIAL.trial_id


def test_the_images_change_the_identity() -> None:
    changes: list[dict[str, Any]] = [
        FOLDER,
        {**FOLDER, "normalise": "caffe"},
        {**FOLDER, "manifest": f"10-1197-600-{1:020}"},
    ]
    trials = [trial_from({**TRIAL.question, **change}) for change in changes]
    assert len({TRIAL.trial_id, *(t.trial_id for t in trials)}) == 4
    assert all(trial_from(t.question) == t for t in trials)


def test_no_two_changes_share_an_identity() -> None:
    changed = [
        trial_from({**TRIAL.question, name: value}).trial_id for name, value in OTHER.items()
    ]
    assert len({TRIAL.trial_id, *changed}) == 1 + len(OTHER)


def test_numbers_that_are_equal_are_one_value() -> None:
    assert {*FITTING, *DIGITS, *OTHER} == set(QUESTION)
    written = {
        name: float(value) if type(value) is int else value
        for name, value in TRIAL.question.items()
    }
    assert trial_from(written) == TRIAL
    assert trial_from({**TRIAL.question, "clip": 1}).canonical() == TRIAL.canonical()
    assert trial_from({**TRIAL.question, "sr": 1}) == trial_from({**TRIAL.question, "sr": 1.0})
    small = [trial_from({**TRIAL.question, "lr": lr}).trial_id for lr in (1e-5, 0.00001)]
    assert small[0] == small[1]


def test_numpys_values_are_pythons() -> None:
    row = {name: np.array([value])[0] for name, value in TRIAL.question.items()}
    assert isinstance(row["head_relu"], np.bool_)
    assert trial_from(row) == TRIAL
    assert trial_from(row).trial_id == TRIAL.trial_id
    assert trial_from(row).question == TRIAL.question


@pytest.mark.parametrize(
    ("fact", "value"),
    [("digest", "0" * 64), ("train", 1100), ("test", 601), ("mean", (0.3,)), ("std", (0.4,))],
)
def test_the_facts_of_the_data_change_the_identity(
    monkeypatch: pytest.MonkeyPatch, fact: str, value: object
) -> None:
    before = TRIAL.trial_id
    assert json.loads(TRIAL.canonical())["data"] == "digits"
    other = replace(DATA_SETS["digits"], **{fact: value})  # type: ignore[arg-type]
    monkeypatch.setattr(protocol, "DATA_SETS", {"digits": other})
    assert TRIAL.trial_id != before


def test_the_semantics_of_training_change_the_identity() -> None:
    earlier = replace(TRIAL, semantics=1)
    assert earlier.trial_id != TRIAL.trial_id
    asked = {name: value for name, value in TRIAL.question.items() if name != "semantics"}
    assert trial_from(asked).semantics == SEMANTICS == 3
    for value in (0, SEMANTICS + 1, "1", None):
        with pytest.raises(ValueError, match=f"`semantics` must be .* 1 .. {SEMANTICS}, got"):
            replace(TRIAL, semantics=value)


def test_semantics_is_not_a_key(tmp_path: Path) -> None:
    def asked(*arguments: str) -> None:
        read_request("sweep", "a sweep", ["plan=true", *arguments], "squeezenet")

    lines = ("unknown key `semantics`; see --help",)
    for value in (1, SEMANTICS, "1,2", "none"):
        with pytest.raises(RequestError) as caught:
            asked(f"semantics={value}")
        assert caught.value.lines == lines
    (tmp_path / "mine.yaml").write_text("defaults: [squeezenet, _self_]\nsemantics: 1\n")
    with pytest.raises(RequestError) as caught:
        asked("-cd", str(tmp_path), "-cn", "mine")
    assert caught.value.lines == lines


def test_a_field_added_later_counts_only_away_from_its_neutral_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = trial_from({**TRIAL.question, "clip": 2.0})
    ids = TRIAL.trial_id, changed.trial_id
    for module in (question, trial_record):
        monkeypatch.setattr(module, "SINCE", {**SINCE, "clip": 1.0})
    assert "clip" not in json.loads(TRIAL.canonical())
    assert TRIAL.trial_id != ids[0]
    assert changed.trial_id == ids[1]

    older = {name: value for name, value in record().row().items() if name != "clip"}
    assert record_from(older).row() == record().row()
    with pytest.raises(ValueError, match="trial_id"):
        record_from({**older, "clip": 2.0})


# The question -------------------------------------------------------------------------------


def test_a_trial_is_its_question() -> None:
    for name, value in OTHER.items():
        changed = trial_from({**TRIAL.question, name: value})
        assert trial_from(changed.question) == changed
        assert tuple(changed.question) == QUESTION
        assert changed.question[name] == value


def test_what_is_missing_is_named() -> None:
    question = {name: v for name, v in TRIAL.question.items() if name not in ("sr", "seed")}
    with pytest.raises(ValueError, match="is missing") as caught:
        trial_from(question)
    assert str(caught.value) == "`sr` is missing\n`seed` is missing"


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"seed": -1}, ["`seed` must be a whole number in 0 .. 2147483647, got -1"]),
        ({"seed": 2**31}, ["`seed` must be a whole number in 0 .. 2147483647, got 2147483648"]),
        ({"batch_size": 1}, ["`batch_size` must be a whole number in 2 .. 65536, got 1"]),
        ({"momentum": 0}, ["`nesterov` must be false where `momentum` is 0, got true"]),
        (
            {"train_share": 0.001},
            [
                "`train_share` must leave 2 images to train on of the 898 that "
                "`validation_share` 0.25 leaves, got 0.001"
            ],
        ),
        (
            {"validation_share": 0.9999},
            [
                "`train_share` must leave 2 images to train on of the 0 that "
                "`validation_share` 0.9999 leaves, got 0.5"
            ],
        ),
        (
            {"squeeze_filters": "1-2-3-4-5-6-7-8", "sr": 0.5, "image_size": 8},
            [
                "`sr` must stay at its default 0.125 where the layout lists its own filters, "
                "got 0.5",
                "`pool_after` must leave a map to pool: after layer 1 it is 1x1 for "
                "`image_size` 8, got 1-4-8",
            ],
        ),
    ],
)
def test_parts_that_do_not_fit_are_listed(changes: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        trial_from({**TRIAL.question, **changes})
    assert str(caught.value).splitlines() == lines


def test_the_parts_of_the_data_are_counted_once() -> None:
    assert TRIAL.protocol.validation_images == 299
    assert TRIAL.protocol.train_images == 449
    assert Protocol(validation_share=1e-6).validation_images == 1
    assert Protocol(train_share=1.0).train_images == 898


def test_a_trial_knows_its_network() -> None:
    network = Trial(
        metaparameters=Metaparameters(sr=0.5), layout=V1_1, protocol=Protocol(image_size=64)
    ).architecture
    assert (network.num_classes, network.in_channels) == (10, 1)
    assert network.fires[0].s1x1 == 64


# Random streams -----------------------------------------------------------------------------


def test_random_streams_differ_and_stay() -> None:
    # printf 0/init/conv1 | sha256sum: the first 16 digits, halved.
    assert random_seed(0, "init", "conv1") == 0x083FFB8916454430 >> 1
    keys: list[str | int] = ["", "conv1", "fire2.squeeze", *range(200)]
    streams = [
        random_seed(seed, purpose, key)
        for seed in (0, 1, 2, 10, 2**31 - 1)
        for purpose in ("init", "order", "augment", "step", "split")
        for key in keys
    ]
    assert len(set(streams)) == len(streams)
    assert all(0 <= stream < 2**63 for stream in streams)


# Records ------------------------------------------------------------------------------------


def test_a_record_is_its_row() -> None:
    row = record(loss=2.5).row()
    assert tuple(row) == COLUMNS
    assert {type(value) for value in row.values()} <= {str, int, float, bool}
    assert record_from(row).row() == row
    assert record_from({**row, "a_later_column": 1}).row() == row


def test_a_loss_that_is_not_finite_is_nan() -> None:
    for loss in (math.nan, math.inf):
        assert math.isnan(record(loss=loss).answer.loss)
    with pytest.raises(ValueError, match=r"`loss` must be at least 0, or NaN, got -1"):
        record(loss=-1)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_row_that_is_cut_or_changed_is_refused(name: str) -> None:
    row = record().row()
    cut = {key: value for key, value in row.items() if key != name}
    neutral = {**SINCE, "semantics": 1}  # what a record of the first release means
    if name not in neutral:
        with pytest.raises(ValueError, match=f"`{name}` is missing"):
            record_from(cut)
    elif name in QUESTION and row[name] != neutral[name]:
        with pytest.raises(ValueError, match="`trial_id` must be the hash of the question"):
            record_from(cut)
    for bad in (None, "", [], {}, "=1+1"):
        with pytest.raises(ValueError, match="`"):
            record_from({**row, name: bad})


@pytest.mark.parametrize("name", SINCE)
def test_a_row_without_a_later_column_has_its_neutral_value(name: str) -> None:
    early = replace(record(), trial=trial_from({**TRIAL.question, "dead_after": 0}))
    cut = {key: value for key, value in early.row().items() if key != name}
    assert record_from(cut).row() == {**early.row(), name: SINCE[name]}


def test_a_record_of_the_first_release_stays_valid(tmp_path: Path) -> None:
    row = json.loads(OLD_RECORD)
    home = files.trial_folder(tmp_path, row["trial_id"])
    home.mkdir(parents=True)
    (home / "record.json").write_text(OLD_RECORD)
    del row["sha256"]
    assert not {*SINCE, "semantics"} & set(row)
    old = records.read(home / "record.json")
    assert old.trial.semantics == 1
    assert old.trial.trial_id == row["trial_id"]
    assert old.row() == {**row, **SINCE, "semantics": 1}
    assert tuple(old.row()) == COLUMNS
    assert record_from(old.row()).row() == old.row()
    assert tables.load(tmp_path).loc[0, "dead_step"] == -1
    today = replace(old.trial, semantics=SEMANTICS)
    assert trial_from(row) == today  # a question without the column asks today
    assert today.trial_id != row["trial_id"]
    for change in ({"semantics": SEMANTICS}, {"dead_after": 9}, {"manifest": "x"}):
        with pytest.raises(ValueError, match="must be"):
            record_from({**row, **change})


def test_a_record_of_a_changed_question_is_refused() -> None:
    row = record().row()
    for name, value in OTHER.items():
        with pytest.raises(ValueError, match="`trial_id` must be the hash of the question"):
            record_from({**row, name: value})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"top1": 100.1}, "`top1` must be in [0, 100], got 100.1"),
        ({"top5": math.nan}, "`top5` must be in [0, 100], got nan"),
        ({"params": 1.5}, "`params` must be a whole number in 0 .. 9223372036854775807, got 1.5"),
        ({"status": "done"}, f"`status` must be one of {', '.join(STATUSES)}, got 'done'"),
        (
            {"dead_step": -2},
            "`dead_step` must be a whole number in -1 .. 9223372036854775807, got -2",
        ),
        ({"restarts": -1}, "`restarts` must be a whole number in 0 .. 9223372036854775807, got -1"),
        ({"seconds": -1}, "`seconds` must be in [0, inf], got -1"),
        ({"threads": 0}, "`threads` must be a whole number in 1 .. 65536, got 0"),
        (
            {"device": "=cmd()"},
            "`device` must be printable text that begins with a letter or a digit, got '=cmd()'",
        ),
    ],
)
def test_an_answer_has_rules(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        record(**changes)
    assert str(caught.value) == line


# 10 classes and 900 images: guessing is 10% and its deviation exactly 1%.
@pytest.mark.parametrize(
    ("val_top1", "predicted", "step", "status"),
    [
        (99.0, 10, -1, "learned"),
        (13.001, 10, -1, "learned"),
        (13.001, 9, -1, "partly_dead"),
        (13.0, 10, -1, "never_learned"),
        (10.0, 1, -1, "never_learned"),
        (0.0, 10, -1, "never_learned"),
        (99.0, 10, 0, "diverged"),
        (10.0, 1, 7, "diverged"),
    ],
)
def test_status(val_top1: float, predicted: int, step: int, status: str) -> None:
    guess = chance(900, 10)
    actual = status_of(val_top1=val_top1, guess=guess, missed=10 - predicted, step=step)
    assert actual == status
    assert actual in STATUSES


def test_chance_is_three_deviations_above_guessing() -> None:
    assert chance(900, 10) == pytest.approx(13)
    assert chance(100, 2) == pytest.approx(65)
    assert chance(10**12, 4) == pytest.approx(25, abs=1e-3)


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 9, 10, 11, 100])
def test_enough_is_held_out_to_distinguish_learning_from_guessing(classes: int) -> None:
    """With the smallest number that the rule allows, and not with one image fewer."""

    def holding(held_out: int) -> Protocol:
        return Protocol(
            data="image_folder",
            manifest=f"{classes}-400-200-{0:020}",
            validation_share=held_out / 400,
        )

    least = 2  # one image has one class: predicting it is always right
    while chance(least, classes) > 99.999:
        least += 1
    check_held_out(holding(least))
    with pytest.raises(ValueError, match="must hold out at least") as caught:
        check_held_out(holding(least - 1))
    assert str(caught.value) == (
        f"`validation_share` must hold out at least {least} of 400 images of {classes} "
        f"classes, so that a guess cannot pass for learning, got {(least - 1) / 400:g}, which is "
        f"{least - 1}"
    )


# Restarts -----------------------------------------------------------------------------------

LADDERS = [rungs for count in (1, 2, 3) for rungs in itertools.product(RUNGS, repeat=count)]


@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.6, 2.0, 600.0, 1000.0])
def test_each_restart_takes_a_rung(warmup: float) -> None:
    for rungs in [*LADDERS, ("rate",) * 8, ("warmup",) * 8]:
        ladder = "-".join(rungs)
        first = Recipe(lr=0.4, warmup=warmup, init="xavier", dead_after=9, ladder=ladder)
        assert first.restarts == len(rungs)
        assert first.restarted(0) == first
        expected = first
        for count, rung in enumerate(rungs, 1):
            changes: dict[str, Any] = {"init": rung}
            if rung == "rate":
                changes = {"lr": expected.lr / 4}
            elif rung == "warmup":
                changes = {"warmup": min(max(2 * expected.warmup, 1), 1000)}
            expected = replace(expected, **changes)
            assert first.restarted(count) == expected
        assert first.restarted(len(rungs) + 1) == expected


def test_a_recipe_without_a_ladder_has_no_restarts() -> None:
    recipe = Recipe(dead_after=5, ladder="none")
    assert recipe.restarts == 0
    assert recipe.restarted(0) == recipe


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"ladder": "rate", "dead_after": 0},
            "`ladder` must be none where `dead_after` is 0, got rate",
        ),
        (
            {"ladder": "rate-slow", "dead_after": 5},
            "`ladder` must be none, or at most 8 of rate, warmup, he, lsuv joined by '-', "
            "got 'rate-slow'",
        ),
        (
            {"ladder": "-".join(["he"] * 9), "dead_after": 5},
            "`ladder` must be none, or at most 8 of rate, warmup, he, lsuv joined by '-', "
            "got 'he-he-he-he-he-he-he-he-he'",
        ),
        ({"dead_after": -1}, "`dead_after` must be a whole number in 0 .. 1000000, got -1"),
    ],
)
def test_a_ladder_has_rules(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        Recipe(**changes)
    assert str(caught.value) == line


# The guard of `SEMANTICS` -------------------------------------------------------------------


def test_training_means_what_was_confirmed() -> None:
    confirmed, now = (
        json.loads(confirm_semantics.CONFIRMED.read_text()),
        confirm_semantics.current(),
    )
    fitting, fitting_now = confirmed.pop("compression"), now.pop("compression")
    assert confirmed == now, (
        f"One of {', '.join(confirm_semantics.MODULES)} has changed. If an equal trial may now "
        "answer otherwise, raise SEMANTICS in dse/trial/question.py. In both cases confirm with: "
        "python tests/confirm_semantics.py"
    )
    assert fitting == fitting_now, (
        f"One of {', '.join(confirm_semantics.COMPRESSION)} has changed. If an equal request may "
        "now give another file, raise SEMANTICS in dse/trial/compression.py. In both cases confirm "
        "with: python tests/confirm_semantics.py"
    )


def test_what_the_guarded_modules_import_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert confirm_semantics.unlisted() == set(), "list or excuse it in confirm_semantics.py"
    rest = [name for name in confirm_semantics.MODULES if name != "training/step"]
    monkeypatch.setattr(confirm_semantics, "MODULES", tuple(rest))
    assert confirm_semantics.unlisted() == {"training/step"}


SOURCE = """
def step(x, rate):
    total = x * 0.5
    return total - rate
"""


@pytest.mark.parametrize(
    ("source", "same"),
    [
        (SOURCE.replace("0.5", "5e-1  # half"), True),
        (
            SOURCE.replace("(x, rate)", "(\n    x: Tensor,\n    rate: float = 1,\n) -> Tensor"),
            False,
        ),
        (SOURCE.replace("(x, rate)", "(\n    x: Tensor,\n    rate: float,\n) -> Tensor"), True),
        (SOURCE.replace("total = x", "total: Tensor = x"), True),
        (SOURCE.replace("    total = x", '    """Doc."""\n    total = x'), True),
        ("from typing import Any\nif TYPE_CHECKING:\n    import x\n" + SOURCE, True),
        ("import torch\n" + SOURCE, False),
        (SOURCE.replace("0.5", "0.25"), False),
        (SOURCE.replace("-", "+"), False),
        (SOURCE.replace("total - rate", "rate - total"), False),
        (SOURCE.replace("step(", "stepped("), False),
    ],
)
def test_the_digest_depends_on_meaning_alone(source: str, same: bool) -> None:
    shapes = [confirm_semantics.shape(ast.parse(text)) for text in (SOURCE, source)]
    assert (shapes[0] == shapes[1]) is same
