"""What a user writes becomes trials, or lines that name field, rule and value."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reading import (
    LAYOUT_NAMES,
    NAME,
    PAGES,
    composed_once,
    lines,
    read,
    values,
)

from dse.runner.runner import Workers
from dse.runner.submitit import Jobs
from dse.sweep.keys import SETTINGS
from dse.trial.question import QUESTION

__all__ = ["composed_once"]

RISING = "none, or ascending whole numbers in 1 .. 9 joined by '-'"
FINITE = "a range of finite numbers with a step other than 0"
PROTOCOL_NAMES = "cifar10, cifar100, demo, fashion_mnist, imagenet, imagenet_torchvision, mnist"
PAGE_NAMES = ", ".join(PAGES)

WRONG = [
    ("sr=0", "`sr` must be in (0, 1], got 0"),
    ("sr=abc", "`sr` must be in (0, 1], got 'abc'"),
    ("sr='0.5'", "`sr` must be a number in (0, 1], got the text '0.5'"),
    ("sr=nan", "`sr` must be in (0, 1], got nan"),
    ("sr={a:1}", "`sr` must be in (0, 1], got {'a': 1}"),
    ("sr=[]", "`sr` must have a value"),
    ("sr=range(1,1)", "`sr` must be a range that has a value, got range(1,1)"),
    ("sr=${oc.env:HOME}", "`sr` must be a value, not an interpolation, got '${oc.env:HOME}'"),
    (
        "sr=range(0,1,0)",
        f"`sr` must be {FINITE}, got range(0,1,0)",
    ),
    (
        "sr=range(0,inf)",
        f"`sr` must be {FINITE}, got range(0,inf)",
    ),
    ("sr=interval(0,1)", "`sr` must be values or range(start, stop, step), got interval(0,1)"),
    ("sr=glob(*)", "`sr` must be values or range(start, stop, step), got glob(*)"),
    ("pct3x3=1.5", "`pct3x3` must be in (0, 1), got 1.5"),
    ("bypass=foo", "`bypass` must be one of none, simple, complex, got 'foo'"),
    ("freq=0", "`freq` must be a whole number in 1 .. 8, got 0"),
    ("base_e=-1", "`base_e` must be a whole number in 2 .. 8192, got -1"),
    ("pool_after=4-1", f"`pool_after` must be {RISING}, got '4-1'"),
    ("head_relu=yes", "`head_relu` must be true or false, got 'yes'"),
    ("protocol=nope", f"`protocol` must be one of {PROTOCOL_NAMES}, got 'nope'"),
    ("layout=nope", f"`layout` must be one of {LAYOUT_NAMES}, got 'nope'"),
    ("layout=../protocol/demo", f"`layout` must be one of {LAYOUT_NAMES}, got '../protocol/demo'"),
    ("layout=glob(z*x)", "`layout` must have a value"),
    ("srr=1", "unknown key `srr`; did you mean `sr`?"),
    ("Sr=1", "unknown key `Sr`; did you mean `sr`?"),
    ("hydra.run.dir=x", "unknown key `hydra.run.dir`; see --help"),
    ("hydra/launcher=joblib", "unknown key `hydra/launcher`; see --help"),
    ("_target_=os.system", "unknown key `_target_`; see --help"),
    ("+srr=1", "`+srr=1` must be written key=value: keys cannot be added or removed"),
    ("~sr", "`~sr` must be written key=value: keys cannot be added or removed"),
    ("layout@x=px8", "`layout@x=px8` must be written key=value: keys cannot be added or removed"),
    ("sr", "`sr` must be written sr=VALUE"),
    ("", "`` must be written key=value, as in sr=0.25"),
    ("sr=0.1,", "`sr` must be in (0, 1], got '0.1,'; write plain numbers, such as 8, 0.5 or 1e-3"),
    ("name=../x", f"`name` must be {NAME}, got '../x'"),
    ("name=..", f"`name` must be {NAME}, got '..'"),
    ("name=a,b", "`name` must have one value, got 2"),
    ("plan=1", "`plan` must be true or false, got 1"),
    ("budget=2", "`budget` must be a time such as 90s, 45min, 2h or 3d, got '2'"),
    ("budget=0s", "`budget` must be a time such as 90s, 45min, 2h or 3d, got '0s'"),
    ("runner.engine=slurm", "`runner.engine` must be one of local, submitit, ray, got 'slurm'"),
    ("runner.retries=-1", "`runner.retries` must be a whole number in 0 .. 1000, got -1"),
    ("runner.patience=-1", "`runner.patience` must be in [0, 1e+09], got -1"),
    ("limit=0", "`limit` must be a whole number in 1 .. 1000000, got 0"),
    ("runner.workers=0", "`runner.workers` must be a whole number in 1 .. 1024, got 0"),
    ("results.root=", "`results.root` must be a path, got ''"),
    ("results.root='~no.such.user/x'", "`results.root` must be a path, got '~no.such.user/x'"),
    ("data.root=/dev/null", "`data.root` must be an existing folder, got '/dev/null'"),
    (
        "results.root=${oc.env:HOME}",
        "`results.root` must be a value, not an interpolation, got '${oc.env:HOME}'",
    ),
    # Look-alikes: a Cyrillic o and a full-width 1. An e with an accent is shown as it is.
    ("bypass=n\u043ene", r"`bypass` must be one of none, simple, complex, got 'n\u043ene'"),
    ("pool_after='\uff11-4'", rf"`pool_after` must be {RISING}, got '\uff11-4'"),
    ("name='r\u00e9sultats'", f"`name` must be {NAME}, got 'r\u00e9sultats'"),
]

UNFIT = [
    ("momentum=0 nesterov=true", "`nesterov` must be false where `momentum` is 0, got true"),
    (
        "layout=v1_0",
        "`pool_after` must leave a map to pool: after layer 4 it is 1x1 for `image_size` 12, "
        "got 1-4-8",
    ),
    (
        "train_share=0.001",
        "`train_share` must leave 2 images to train on of the 898 that `validation_share` 0.25 "
        "leaves, got 0.001",
    ),
    (
        "squeeze_filters=2-3-4-5-6-7-8-9 sr=0.5",
        "`sr` must stay at its default 0.125 where the layout lists its own filters, got 0.5",
    ),
]


@pytest.mark.parametrize(("argument", "line"), WRONG, ids=[repr(case[0]) for case in WRONG])
def test_a_mistake_is_a_line(argument: str, line: str) -> None:
    assert lines(argument) == [line]


@pytest.mark.parametrize(("arguments", "line"), UNFIT)
def test_values_that_do_not_fit_together_are_a_line(arguments: str, line: str) -> None:
    assert lines(*arguments.split()) == [line]


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ("layout=zynqnet", (1, 1)),
        ("squeeze_filters=2-3-4-5-6-7-8-9", (1, 1)),
        ("expand_filters=16-16-32-32-48-48-64-64 sr=0.5,1", (2, 1)),
        ("layout=zynqnet,px16", (6, 2)),
    ],
)
def test_what_a_page_sets_gives_way_to_listed_filters(
    arguments: str, counts: tuple[int, int]
) -> None:
    """Metaparameters that are not on the command line are at their defaults."""
    trials = read(*arguments.split(), page="figure3a").trials
    assert (len(trials), len({trial.metaparameters.base_e for trial in trials})) == counts


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("bypass=none,simple", ["the page figure3a also varies `sr`: 0.125, 0.25, 0.5, 0.75, 1"]),
        ("layout=px8,px16", ["the page figure3a also varies `sr`: 0.125, 0.25, 0.5, 0.75, 1"]),
        ("bypass=none,simple sr=0.5", []),
        ("seed=0,1 epochs=2", []),
        ("-cn table3 sr=0.125,0.5", []),
        ("layout=zynqnet seed=0,1", []),
    ],
)
def test_what_the_default_page_varies_too_is_said(arguments: str, expected: list[str]) -> None:
    assert list(read(*arguments.split(), page="figure3a").remarks) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("data=cifar10", 1),
        ("protocol=cifar10", 0),
        ("data=cifar10 image_size=12", 0),
        ("data=mnist,cifar10,digits", 2),
        ("-cn dsd data=cifar10", 0),
    ],
)
def test_images_that_a_page_of_other_data_resizes_are_said(arguments: str, said: int) -> None:
    remarks = [line for line in read(*arguments.split()).remarks if "resized" in line]
    assert len(remarks) == said
    for line in remarks:
        assert re.fullmatch(
            r"`data=(\w+)` keeps the page's recipe, and its images are resized from (28|32) to 12 "
            r"pixels; `protocol=\1` has a recipe for them",
            line,
        )


def test_a_key_without_its_first_part_is_recognised() -> None:
    line = "unknown key `root`; did you mean `results.root` or `data.root`?"
    assert lines("device=cuda", "root=x") == [
        "unknown key `device`; did you mean `runner.device`?",
        line,
    ]


def test_all_mistakes_are_reported_at_once() -> None:
    """One for each key, all in one command."""
    chosen = {argument.partition("=")[0]: (argument, line) for argument, line in WRONG}
    assert len(chosen) > 20
    arguments = [argument for argument, _ in chosen.values()]
    assert sorted(lines(*arguments)) == sorted(line for _, line in chosen.values())


def test_three_mistakes_are_three_lines() -> None:
    assert sorted(lines("sr=abc", "freq=0", "bypass=foo")) == [
        "`bypass` must be one of none, simple, complex, got 'foo'",
        "`freq` must be a whole number in 1 .. 8, got 0",
        "`sr` must be in (0, 1], got 'abc'",
    ]
    assert lines("sr=0.125,2,3") == [
        "`sr` must be in (0, 1], got 2",
        "`sr` must be in (0, 1], got 3",
    ]
    assert lines("sr=0.1", "sr=0.2", "sr=0.1") == [
        "`sr` must be given once, got 'sr=0.2' too",
        "`sr` must be given once, got 'sr=0.1' too",
    ]
    assert lines("-cn", "nope", "-cd", "/no/such", "sr=2", "protocol=nope") == [
        "`--config-dir` must be an existing folder, got '/no/such'",
        f"`--config-name` must be one of {PAGE_NAMES}, got 'nope'",
        f"`protocol` must be one of {PROTOCOL_NAMES}, got 'nope'",
        "`sr` must be in (0, 1], got 2",
    ]


@pytest.mark.parametrize("name", ["../sweeps/figure3a", "layout/px8", "/etc/passwd", "", "figure3"])
def test_a_page_is_given_by_name_not_by_path(name: str) -> None:
    (line,) = lines("-cn", name)
    assert line.startswith(f"`--config-name` must be one of {PAGE_NAMES}, got '{name}'")


@pytest.mark.parametrize("arguments", [["--nope"], ["--config-n", "figure3a"], ["-cn"]])
def test_an_unknown_option_is_a_line(arguments: list[str]) -> None:
    (line,) = lines(*arguments)
    assert line.endswith("; see --help")


@pytest.mark.parametrize(
    "argument",
    [
        "sr=" + "a" * 50_000,
        "sr=" + "9" * 5000,
        "seed=" + "9" * 4000,
        "sr=" + "[" * 1000 + "]" * 1000,
        "results.root=" + "a" * 5000,
        "name=" + "a" * 5000,
        "a" * 5000 + "=1",
        "sr=\x1b[31m",
        "sr='a\nb\x00'",
        "sr=\udcff",
        "\udcff=1",
    ],
    ids=range(11),
)
def test_a_line_is_printable_and_not_too_long(argument: str) -> None:
    (line,) = lines(argument)
    assert line.isprintable()
    assert len(line) < 500
    first = argument[0] if argument[0] != chr(0xDCFF) else chr(92)
    assert line.startswith((f"`{first}", f"unknown key `{first}"))


def test_many_mistakes_are_counted() -> None:
    mistakes = lines("seed=range(-500,0)")
    assert len(mistakes) == 31
    assert mistakes[-1] == "and 470 more"


# Grids --------------------------------------------------------------------------------------


def test_values_with_commas_are_a_grid() -> None:
    request = read("bypass=none,simple", "sr=0.125,0.5,1", "seed=0,1", "-m")
    assert len(request.trials) == 12
    assert values(request, "seed") == [0, 1] * 6  # the seeds of one network follow each other
    assert {(t.metaparameters.sr, t.metaparameters.bypass) for t in request.trials} == {
        (sr, bypass) for sr in (0.125, 0.5, 1.0) for bypass in ("none", "simple")
    }


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("sr=0.1,0.2", [0.1, 0.2]),
        ("sr=[0.1,0.2]", [0.1, 0.2]),
        ("sr=choice(0.1,0.2)", [0.1, 0.2]),
        ("sr=0.2, 0.1", [0.2, 0.1]),
        ("sr=.5", [0.5]),
        ("sr=1", [1.0]),
        ("sr=range(0.1,0.4,0.1)", [0.1, 0.2, 0.3]),
        ("sr=range(0.1,0.45,step=0.05)", [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]),
        ("sr=range(1,0,-0.25)", [1.0, 0.75, 0.5, 0.25]),
        ("lr=range(1e-3,4e-3,1e-3)", [0.001, 0.002, 0.003]),
        ("seed=range(3)", [0, 1, 2]),
        ("seed=range(1,8,3)", [1, 4, 7]),
        ("seed=range(0.0,3.0)", [0, 1, 2]),
        ("seed=sort(range(3),reverse=true)", [2, 1, 0]),
        ("seed=shuffle(range(3))", [0, 1, 2]),
        ("bypass='none',\"simple\"", ["none", "simple"]),
        ("bypass=[none,simple]", ["none", "simple"]),
        ("pool_after=1-4,4,none", ["1-4", "4", "none"]),
        ("head_relu=true,False", [True, False]),
    ],
)
def test_the_grammar_of_values(argument: str, expected: list[object]) -> None:
    request = read(argument)
    assert values(request, argument.partition("=")[0]) == expected


def test_a_value_given_twice_is_a_mistake() -> None:
    assert lines("sr=1,1.0,0.5", "seed=1,1.0,2", "pool_after=4,1-4,04") == [
        "the values of `sr` must differ, got 1,1,0.5",
        "the values of `pool_after` must differ, got 4,1-4,4",
        "the values of `seed` must differ, got 1,1,2",
    ]
    assert lines("layout=px16,px16,px32") == [
        "the values of `layout` must differ, got px16,px16,px32"
    ]
    assert "`layout` must be one of" in lines("layout=[px8,px16],px8")[0]


def test_a_limit_is_said_to_be_a_key_of_the_search() -> None:
    assert lines("max.size_bytes=0.1MB") == [
        "unknown key `max.size_bytes`; limits are keys of dse.search; with sampler=grid it takes "
        "the points in order"
    ]


def test_groups_are_swept() -> None:
    request = read("layout=px8,px16", "recipe=robust,paper", "seed=0,1")
    assert len(request.trials) == 8
    assert set(values(request, "conv1_filters")) == {12, 16}
    assert set(values(request, "norm")) == {"batch", "none"}
    assert values(read("layout=glob(px*,exclude=px6*)"), "conv1_filters") == [16, 64, 12]


def test_the_command_line_overrides_pages() -> None:
    request = read("layout=px8", "conv1_filters=5", "protocol=demo", "epochs=3")
    assert values(request, "conv1_filters") == [5]
    assert values(request, "pool_after") == ["1-4"]
    assert values(request, "epochs") == [3]
    mixed = read("sr=0.5", "-cn", "figure3b", "pct3x3=0.25")
    assert (values(mixed, "pct3x3"), values(mixed, "sr")) == ([0.25], [0.5])


def test_settings_do_not_change_the_trials(tmp_path: Path) -> None:
    plain = read("protocol=mnist")
    assert plain.folder == Path("results/squeezenet")
    assert plain.store.root == Path("data")
    assert plain.workers == Workers(count=len(os.sched_getaffinity(0)), patience=3600.0)
    assert not plain.plan
    assert math.isinf(plain.budget)
    other = read(
        "protocol=mnist",
        f"results.root={tmp_path}/a",
        "name=007",
        f"data.root={tmp_path}",
        "runner.workers=3",
        "plan=true",
        "limit=1",
        "budget=1.5h",
        "runner.retries=5",
        "runner.patience=90",
    )
    assert (other.folder, other.store.root) == (tmp_path / "a" / "007", tmp_path)
    assert other.workers == Workers(count=3, retries=5, patience=90.0)
    assert (other.plan, other.budget) == (True, 5400.0)
    assert other.trials == plain.trials
    assert not set(QUESTION) & set(SETTINGS)


def test_an_engine_takes_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = ("runner.engine=submitit", "submitit.partition=gpu", "submitit.timeout_min=30")
    assert read(*slurm, "runner.workers=64").workers == Workers(
        count=64,
        engine="submitit",
        settings=Jobs(partition="gpu", timeout_min=30),
        patience=3600.0,
    )
    assert lines("ray.address=auto") == [
        "`ray.address` must be left out where `runner.engine` is local, got auto"
    ]
    assert lines(slurm[0], "submitit.timeout_min=0") == [
        "`submitit.timeout_min` must be a whole number in 1 .. 525600, got 0"
    ]
    assert lines(*slurm, "ray.num_cpus=2") == [
        "`ray.num_cpus` must be left out where `runner.engine` is submitit, got 2"
    ]
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert lines(*slurm) == [
        "`runner.engine` submitit needs an extra: pip install 'squeezenet-dse[submitit]'"
    ]


def test_a_grid_has_a_limit() -> None:
    assert lines("seed=range(0,10001)") == [
        "`limit` must be at least the 10,001 points of the grid, got 10,000"
    ]
    assert lines("seed=0,1,2", "layout=px8,px16", "limit=5") == [
        "`limit` must be at least the 6 points of the grid, got 5"
    ]
    assert len(read("seed=0,1,2", "layout=px8,px16", "limit=6").trials) == 6
    mistakes = lines("limit=abc", "seed=range(0,1000000)")
    assert mistakes == ["`limit` must be a whole number in 1 .. 1000000, got 'abc'"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["seed=range(0,1000000)"],
            "`limit` must be at least the 1,000,000 points of the grid, got 10,000",
        ),
        (
            ["seed=range(0,1000)", "lr=range(0.001,1.001,0.001)"],
            "`limit` must be at least the 1,000,000 points of the grid, got 10,000",
        ),
        (
            ["lr=range(0.000001,1.000001,0.000001)"],
            "`limit` must be at least the 1,000,000 points of the grid, got 10,000",
        ),
        (
            ["seed=range(0,1000000000000000000000000)"],
            "`seed` must be a range of at most 1,000,000 values, "
            "got range(0,1000000000000000000000000)",
        ),
        (
            ["sr=range(0,1,1e-300)"],
            "`sr` must be a range of at most 1,000,000 values, got range(0,1,1e-300)",
        ),
    ],
)
def test_a_million_points_are_counted_and_refused_in_a_second(
    arguments: list[str], line: str
) -> None:
    start = time.process_time()
    assert lines(*arguments) == [line]
    assert time.process_time() - start < 1


def test_a_thousand_points_are_planned_in_seconds() -> None:
    start = time.process_time()
    points = ",".join(f"{n / 250}" for n in range(1, 251))
    assert len(read(f"sr={points}", "base_e=250", "incr_e=250", "seed=0,1,2,3").trials) == 1000
    assert time.process_time() - start < 5


def test_functions_need_the_assertions_of_hydra() -> None:
    """With `python -O` its grammar reads no function, and takes each for a text."""
    code = (
        "from dse.sweep.request import read_request as r; r('sweep', '', ['seed=range(0,3)'], '{}')"
    )
    run = [sys.executable, "-O", "-c", code.format("figure3a")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    line = "functions such as range() need Python without -O, got seed=range(0,3)"
    assert done.stderr.splitlines()[-1].endswith(f"RequestError: {line}")
