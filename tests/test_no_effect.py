"""Fields without effect are refused, and only they: what is refused would train equal networks."""

from __future__ import annotations

import pytest
import torch
from reading import composed_once, lines, read

from dse.sweep import request
from dse.training.execute import execute
from dse.trial.question import Trial

__all__ = ["composed_once"]

TINY = (
    "layout=px8", "image_size=8", "base_e=3", "incr_e=2", "train_share=0.05", "batch_size=16",
    "warmup=0", "epochs=1",
)  # fmt: skip
"""45 images: three steps an epoch."""

LIST = "squeeze_filters=none,1-1-1-1-1-1-1-1"
EQUAL = [
    ("warmup=1", "schedule=linear,cosine,step,constant", "has no effect where `warmup` (1) is at"),
    ("warmup=0.7", "schedule=linear,constant", "has no effect where `warmup` (0.7) leaves 1 of"),
    ("ladder=none", "dead_after=0,4", "has no effect where `dead_after` (4) exceeds the "),
    ("", "ladder=none,rate", "has no effect where `dead_after` (30) exceeds the "),
    ("incr_e=0", "freq=1,4", "has no effect where `incr_e` is 0: 2 values would train the same"),
    ("freq=8", "incr_e=0,2", "has no effect where `freq` is 8"),
    ("", "pct3x3=0.01,0.1", "0.01 and 0.1 give every Fire module the same filters: 2 values"),
    ("", "sr=0.1,0.125", "0.1 and 0.125 give every Fire module the same filters"),
    ("", LIST, "none and 1-1-1-1-1-1-1-1 give every Fire module the same filters"),
    (
        "freq=1",
        "bypass=none,simple",
        "has no effect where no Fire module keeps its shape: 2 values",
    ),
    ("incr_e=0 base_e=12", "bypass=simple,complex", "simple and complex add the same connections"),
    ("", "conv10_multiple=1,5", "1 and 5 give conv10 the same filters"),
    ("", "augment=shift,crop", "shift and crop move images by up to a pixel"),
    ("", "batch_size=45,60", "45 and 60 put all training images in one batch"),
    ("batch_size=176", "iter_size=22,44", "22 and 44 compute all training images in the same"),
    ("", "validation_share=0.25,0.2501", "0.25 and 0.2501 hold out the same images"),
    ("", "train_share=0.05,0.0501", "0.05 and 0.0501 train on the same images"),
    ("", "warmup=0.3,0.4", "0.3 and 0.4 are the same number of steps"),
]
DIFFERENT = [
    ("warmup=0.4", "schedule=linear,step"),
    ("", "schedule=linear,cosine"),
    ("freq=7", "incr_e=0,2"),
    ("incr_e=1", "freq=7,8"),
    ("", "pct3x3=0.1,0.3"),
    ("", "sr=0.125,0.2"),
    ("", "bypass=none,simple"),
    ("incr_e=0 base_e=11", "bypass=simple,complex"),
    ("", "conv10_multiple=1,16"),
    ("image_size=16", "augment=shift,crop"),
    ("", "batch_size=44,45"),
    ("", "validation_share=0.25,0.26"),
    ("", "warmup=0.3,0.6"),
]


def trials(monkeypatch: pytest.MonkeyPatch, common: str, grid: str) -> tuple[Trial, ...]:
    """The trials of a grid, which is not checked for fields without effect."""
    monkeypatch.setattr(request, "without_effect", lambda *_: [])
    return read(*arguments(common, grid)).trials


def arguments(common: str, grid: str) -> list[str]:
    given = dict(text.split("=") for text in (*TINY, *common.split(), grid))
    return [f"{key}={value}" for key, value in given.items()]


def equal(some: tuple[Trial, ...]) -> bool:
    """Whether the trials' weights are equal, bit for bit."""
    first, *others = (execute(trial).weights for trial in some)
    return all(
        first.keys() == other.keys() and all(torch.equal(first[n], other[n]) for n in first)
        for other in others
    )


@pytest.mark.parametrize(("common", "grid", "words"), EQUAL)
def test_values_that_train_equal_networks_are_refused(
    monkeypatch: pytest.MonkeyPatch, common: str, grid: str, words: str
) -> None:
    field, _, values = grid.partition("=")
    count = len(values.split(","))
    (line,) = lines(*arguments(common, grid))
    assert line.startswith(f"`{field}` {words}")
    assert line.endswith(f": {count} values would train the same network {count} times")
    found = trials(monkeypatch, common, grid)
    assert len(found) == count
    assert equal(found)


@pytest.mark.parametrize(("common", "grid"), DIFFERENT)
def test_values_that_train_different_networks_are_accepted(
    monkeypatch: pytest.MonkeyPatch, common: str, grid: str
) -> None:
    assert len(read(*arguments(common, grid)).trials) == 2
    assert not equal(trials(monkeypatch, common, grid))


ADD = "for a folder of images add data=image_folder"


# Keys of the command line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "warmup=2 epochs=2 schedule=cosine ladder=rate",
            [
                "`schedule` has no effect where `warmup` (2) is at least `epochs` (2), got cosine",
                "`ladder` has no effect where `dead_after` (30) exceeds the 0 steps after `warmup` "
                "(2), got rate",
            ],
        ),
        (
            "bypass=simple freq=1 conv1_filters=12 sr=0.125,0.5",
            ["`bypass` has no effect where no Fire module keeps its shape, got simple"],
        ),
        ("incr_e=0 freq=4 seed=0,1", ["`freq` has no effect where `incr_e` is 0, got 4"]),
        ("-cn widths freq=8 incr_e=8", ["`incr_e` has no effect where `freq` is 8, got 8"]),
        ("data.root=/", [f"`data.root` has no effect where `data` is digits; {ADD}"]),
        (
            "protocol=mnist,demo data.root=/ data.loaders=2",
            [f"`data.loaders` has no effect where `data` is digits or mnist; {ADD}"],
        ),
        ("data.download=true", ["`data.download` has no effect where `data` is digits"]),
    ],
)
def test_a_key_that_no_trial_reads_is_refused(arguments: str, expected: list[str]) -> None:
    assert lines(*arguments.split()) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        "epochs=2",  # the page's own schedule, dead_after and ladder
        "epochs=2,5 schedule=cosine dead_after=10",  # each is read somewhere
        "incr_e=0 base_e=16,32",
        "incr_e=0,8 freq=4",
        "bypass=simple freq=1,2",
        "epochs=1 dead_after=0 ladder=none",  # what does nothing anyway
        "-cn dsd data.root=/ data.download=true",  # the page's data set reads both
    ],
)
def test_what_is_read_somewhere_or_left_at_a_pages_value_is_accepted(arguments: str) -> None:
    assert read(*arguments.split()).trials


def test_what_must_be_off_is_off_unless_it_was_given() -> None:
    with_momentum, without = read("momentum=0.9,0").trials
    assert with_momentum.protocol.recipe.nesterov
    assert not without.protocol.recipe.nesterov
    (never,) = read("dead_after=0").trials
    assert never.protocol.recipe.ladder == "none"
    assert never == read("dead_after=0", "ladder=none").trials[0]
    assert lines("dead_after=0", "ladder=rate") == [
        "`ladder` must be none where `dead_after` is 0, got rate"
    ]


def test_each_line_is_said_once() -> None:
    assert len(lines("schedule=linear,cosine", "epochs=2", "sr=0.5,1", "seed=0,1")) == 1


def test_grids_of_several_pages_are_compared_with_one_another() -> None:
    assert lines("recipe=robust,paper", "epochs=1", "schedule=linear,step") == [
        "`schedule` has no effect where `warmup` (2) is at least `epochs` (1): 2 values would "
        "train the same network 2 times"
    ]
