"""The border: what a user writes becomes trials, or lines that name field, rule and value."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from dse.results import records
from dse.runner.runner import Workers
from dse.space.architecture import LAYOUTS, Metaparameters
from dse.sweep import pages
from dse.sweep.errors import RequestError
from dse.sweep.keys import GROUPS, SETTINGS
from dse.sweep.preflight import check_folder
from dse.sweep.request import Request, read_request
from dse.trial.protocol import Protocol
from dse.trial.question import QUESTION, SEMANTICS

FOLDER = pages.bundled()
PAGES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
GROUP_PAGES = sorted((p.parent.name, p.stem) for p in FOLDER.glob("*/*.yaml"))
BASE = "defaults: [squeezenet, _self_]\n"
COMPOSED: dict[tuple[object, ...], Any] = {}


def read(*arguments: str, page: str = "squeezenet") -> Request:
    return read_request("sweep", "Train.", arguments, page)


def lines(*arguments: str, page: str = "squeezenet") -> list[str]:
    """The mistakes of a request that cannot be carried out."""
    with pytest.raises(RequestError) as caught:
        read(*arguments, page=page)
    return list(caught.value.lines)


def values(request: Request, name: str) -> list[Any]:
    """A field of the question over the trials, in order."""
    return [trial.question[name] for trial in request.trials]


@pytest.fixture(autouse=True)
def _composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose each bundled page once for all tests: it takes a tenth of a second."""
    compose = pages.composed

    def composed(folders: list[Path], page: str, choice: dict[str, str], errors: list[str]) -> Any:
        if folders != [FOLDER]:
            return compose(folders, page, choice, errors)
        key = (page, *choice.items())
        if key not in COMPOSED:
            COMPOSED[key] = compose(folders, page, choice, errors)
        return COMPOSED[key]

    monkeypatch.setattr(pages, "composed", composed)


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """Writes pages of one's own, {path: text}; returns the arguments that use the first."""

    def write(texts: dict[str, str | bytes]) -> tuple[str, ...]:
        for path, text in texts.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        return ("--config-dir", str(tmp_path), "--config-name", Path(next(iter(texts))).stem)

    return write


# Bad input ----------------------------------------------------------------------------------

RISING = "none, or ascending whole numbers in 1 .. 9 joined by '-'"
FINITE = "a range of finite numbers with a step other than 0"
NAME = "a name of at most 100 letters, digits, '.', '_' and '-'"
LAYOUT_NAMES = ", ".join(sorted(LAYOUTS))
PROTOCOL_NAMES = "cifar10, cifar100, demo, fashion_mnist, imagenet, imagenet_torchvision, mnist"
PAGE_NAMES = ", ".join(PAGES)

WRONG = [
    ("sr=0", "`sr` must be in (0, 1], got 0"),
    ("sr=2", "`sr` must be in (0, 1], got 2"),
    ("sr=abc", "`sr` must be in (0, 1], got 'abc'"),
    ("sr=", "`sr` must be in (0, 1], got ''"),
    ("sr='0.5'", "`sr` must be in (0, 1], got '0.5'"),
    ("sr=null", "`sr` must be in (0, 1], got None"),
    ("sr=true", "`sr` must be in (0, 1], got True"),
    ("sr=nan", "`sr` must be in (0, 1], got nan"),
    ("sr=1e400", "`sr` must be in (0, 1], got inf"),
    ("sr={a:1}", "`sr` must be in (0, 1], got {'a': 1}"),
    ("sr=[]", "`sr` must have a value"),
    ("sr=range(1,1)", "`sr` must have a value"),
    ("sr=${oc.env:HOME}", "`sr` must be a value, not an interpolation, got '${oc.env:HOME}'"),
    ("sr=${pct3x3}", "`sr` must be a value, not an interpolation, got '${pct3x3}'"),
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
    ("bypass=None", "`bypass` must be one of none, simple, complex, got 'None'"),
    ("freq=0", "`freq` must be a whole number in 1 .. 8, got 0"),
    ("freq=1.5", "`freq` must be a whole number in 1 .. 8, got 1.5"),
    ("base_e=-1", "`base_e` must be a whole number in 2 .. 8192, got -1"),
    ("seed=x", "`seed` must be a whole number in 0 .. 2147483647, got 'x'"),
    ("pool_after=4-1", f"`pool_after` must be {RISING}, got '4-1'"),
    ("head_relu=yes", "`head_relu` must be true or false, got 'yes'"),
    ("protocol=nope", f"`protocol` must be one of {PROTOCOL_NAMES}, got 'nope'"),
    ("layout=nope", f"`layout` must be one of {LAYOUT_NAMES}, got 'nope'"),
    ("layout=", f"`layout` must be one of {LAYOUT_NAMES}, got ''"),
    ("layout=null", f"`layout` must be one of {LAYOUT_NAMES}, got 'None'"),
    ("layout=../protocol/demo", f"`layout` must be one of {LAYOUT_NAMES}, got '../protocol/demo'"),
    ("layout=glob(z*x)", "`layout` must have a value"),
    ("srr=1", "unknown key `srr`; did you mean `sr`?"),
    ("Sr=1", "unknown key `Sr`; did you mean `sr`?"),
    ("hydra.run.dir=x", "unknown key `hydra.run.dir`; see --help"),
    ("hydra/launcher=joblib", "unknown key `hydra/launcher`; see --help"),
    ("_target_=os.system", "unknown key `_target_`; see --help"),
    ("+srr=1", "`+srr=1` must be written key=value: keys cannot be added or removed"),
    ("++sr=1", "`++sr=1` must be written key=value: keys cannot be added or removed"),
    ("~sr", "`~sr` must be written key=value: keys cannot be added or removed"),
    ("layout@x=px8", "`layout@x=px8` must be written key=value: keys cannot be added or removed"),
    ("sr", "`sr` must be written key=value: there is no '='"),
    ("", "`` must be written key=value: it ends too early"),
    ("sr=0.1,", "`sr=0.1,` must be written key=value: it ends too early"),
    ("name=../x", f"`name` must be {NAME}, got '../x'"),
    ("name=..", f"`name` must be {NAME}, got '..'"),
    ("name=a/b", f"`name` must be {NAME}, got 'a/b'"),
    ("name=/etc", f"`name` must be {NAME}, got '/etc'"),
    ("name=", f"`name` must be {NAME}, got ''"),
    ("name=null", f"`name` must be {NAME}, got None"),
    ("name=1.10", f"`name` must be {NAME}, got 1.1"),
    ("name=a,b", "`name` must have one value, got 2"),
    ("plan=1", "`plan` must be true or false, got 1"),
    ("budget=2", "`budget` must be a time such as 90s, 45min, 2h or 3d, got 2"),
    ("budget=0s", "`budget` must be a time such as 90s, 45min, 2h or 3d, got '0s'"),
    ("budget=-1h", "`budget` must be a time such as 90s, 45min, 2h or 3d, got '-1h'"),
    ("budget=2 weeks", "`budget` must be a time such as 90s, 45min, 2h or 3d, got '2 weeks'"),
    ("runner.engine=slurm", "`runner.engine` must be one of local, submitit, ray, got 'slurm'"),
    ("runner.retries=-1", "`runner.retries` must be a whole number in 0 .. 1000, got -1"),
    ("runner.patience=-1", "`runner.patience` must be in [0, 1e+09], got -1"),
    ("limit=0", "`limit` must be a whole number in 1 .. 1000000, got 0"),
    ("limit=true", "`limit` must be a whole number in 1 .. 1000000, got True"),
    ("runner.workers=0", "`runner.workers` must be a whole number in 1 .. 1024, got 0"),
    ("results.root=", "`results.root` must be a path, got ''"),
    ("results.root='~/x'", "`results.root` must be a path, got '~/x'"),
    ("data.root=/no/such", "`data.root` must be an existing folder, got '/no/such'"),
    ("data.root=/dev/null", "`data.root` must be an existing folder, got '/dev/null'"),
    (
        "results.root=${oc.env:HOME}",
        "`results.root` must be a value, not an interpolation, got '${oc.env:HOME}'",
    ),
    # Look-alikes: a Cyrillic o, a full-width 1, an e with an accent.
    (
        "bypass=n\u043ene",
        r"`bypass=n\u043ene` must be written key=value: token recognition error at: "
        r"'\u043e'",
    ),
    ("bypass='n\u043ene'", r"`bypass` must be one of none, simple, complex, got 'n\u043ene'"),
    ("pool_after='\uff11-4'", rf"`pool_after` must be {RISING}, got '\uff11-4'"),
    ("name='r\u00e9sultats'", rf"`name` must be {NAME}, got 'r\xe9sultats'"),
]

UNFIT = [
    ("momentum=0", "`nesterov` must be false where `momentum` is 0, got true"),
    (
        "layout=v1_0",
        "`pool_after` must leave a map to pool: after layer 4 it is 1x1 for `image_size` 12, "
        "got 1-4-8",
    ),
    (
        "train_share=0.001",
        "`train_share` must leave 2 pictures to train on of the 898 that `validation_share` 0.25 "
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


def test_every_mistake_is_told_at_once() -> None:
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
def test_a_page_is_named_not_found_by_path(name: str) -> None:
    assert lines("-cn", name) == [f"`--config-name` must be one of {PAGE_NAMES}, got '{name}'"]


@pytest.mark.parametrize("arguments", [["--nope"], ["--config-n", "figure3a"], ["-cn"]])
def test_an_option_that_is_none_is_a_line_too(arguments: list[str]) -> None:
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
def test_a_line_is_printable_and_of_some_length(argument: str) -> None:
    (line,) = lines(argument)
    assert line.isprintable()
    assert len(line) < 500
    first = argument[0] if argument[0] != chr(0xDCFF) else chr(92)
    assert line.startswith((f"`{first}", f"unknown key `{first}"))


def test_many_mistakes_are_counted() -> None:
    found = lines("seed=range(-500,0)")
    assert len(found) == 31
    assert found[-1] == "and 470 more"


# Grids --------------------------------------------------------------------------------------


def test_values_with_commas_are_a_grid() -> None:
    request = read("bypass=none,simple", "sr=0.125,0.5,1", "seed=0,1", "-m")
    assert len(request.trials) == 12
    assert values(request, "seed") == [0, 1] * 6  # the seeds of one network stand together
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


def test_equal_points_are_trained_once() -> None:
    assert values(read("sr=1,1.0,1.00,10e-1,0.5,.5"), "sr") == [1.0, 0.5]
    assert values(read("seed=1,1.0,2"), "seed") == [1, 2]
    assert len(read("layout=px16,px16,px32", "base_e=4").trials) == 2
    assert len(pages.choices([FOLDER], "squeezenet", {"layout": ["px8", "px8"]}, [])) == 1


def test_groups_are_swept() -> None:
    request = read("layout=px8,px16", "recipe=robust,paper", "seed=0,1")
    assert len(request.trials) == 8
    assert set(values(request, "conv1_filters")) == {12, 16}
    assert set(values(request, "norm")) == {"batch", "none"}
    assert values(read("layout=glob(px*,exclude=px6*)"), "conv1_filters") == [16, 64, 12]


def test_the_command_line_has_the_last_word() -> None:
    request = read("layout=px8", "conv1_filters=5", "protocol=demo", "epochs=3")
    assert values(request, "conv1_filters") == [5]
    assert values(request, "pool_after") == ["1-4"]
    assert values(request, "epochs") == [3]
    mixed = read("sr=0.5", "-cn", "figure3b", "pct3x3=0.25")
    assert (values(mixed, "pct3x3"), values(mixed, "sr")) == ([0.25], [0.5])


def test_settings_are_no_part_of_the_question(tmp_path: Path) -> None:
    plain = read()
    assert plain.folder == Path("results/squeezenet")
    assert plain.store.root == Path("data")
    assert plain.workers == Workers(count=len(os.sched_getaffinity(0)), patience=3600.0)
    assert not plain.plan
    assert math.isinf(plain.budget)
    other = read(
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
        settings={"partition": "gpu", "timeout_min": 30},
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
        "`runner.engine` submitit must have the extra installed: "
        "pip install 'squeezenet-dse[submitit]'"
    ]


def test_a_grid_has_a_limit() -> None:
    assert lines("seed=range(0,10001)") == [
        "`limit` must be at least the 10,001 points of the grid, got 10,000"
    ]
    assert lines("seed=0,1,2", "layout=px8,px16", "limit=5") == [
        "`limit` must be at least the 6 points of the grid, got 5"
    ]
    assert len(read("seed=0,1,2", "layout=px8,px16", "limit=6").trials) == 6
    found = lines("limit=abc", "seed=range(0,1000000)")
    assert found == ["`limit` must be a whole number in 1 .. 1000000, got 'abc'"]


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
    assert len(read(f"sr={points}", "seed=0,1,2,3").trials) == 1000
    assert time.process_time() - start < 5


# Pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_page_composes(page: str) -> None:
    request = read(page=page)
    assert request.folder.name == page
    assert len(request.trials) >= 1
    text = (FOLDER / f"{page}.yaml").read_text()
    assert text.startswith("# ")
    assert (
        f"\n#   python -m dse.sweep{'' if page == 'figure3a' else f' --config-name {page}'}" in text
    )


@pytest.mark.parametrize(("group", "name"), GROUP_PAGES)
def test_every_page_of_a_group_composes(group: str, name: str) -> None:
    assert group in GROUPS
    assert (FOLDER / group / f"{name}.yaml").read_text().startswith("# @package _global_\n# ")
    # 256 pixels are enough for any layout. A folder of pictures is asked for what it holds.
    stated = [f"manifest=10-2000-20-{'0' * 20}"] if name.startswith("imagenet") else []
    assert len(read(f"{group}={name}", "image_size=256", *stated).trials) == 1


def test_squeezenet_spells_out_every_knob_as_it_composes() -> None:
    page = OmegaConf.to_container(OmegaConf.load(FOLDER / "squeezenet.yaml"))
    assert isinstance(page, dict)
    del page["defaults"]
    assert (*page, "semantics") == QUESTION  # which nobody chooses
    (trial,) = read().trials
    assert {**page, "semantics": SEMANTICS} == trial.question
    assert trial.protocol == Protocol()  # one default for a knob, wherever it is asked for


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_layout_page_is_its_layout(name: str, own: Callable[..., tuple[str, ...]]) -> None:
    arguments = own({"plain.yaml": BASE, "protocol/plain.yaml": "# @package _global_\nseed: 0\n"})
    (trial,) = read(
        *arguments, f"layout={name}", "recipe=paper", "protocol=plain", "image_size=256"
    ).trials
    assert trial.layout == LAYOUTS[name]
    if name == "zynqnet":
        assert trial.metaparameters == Metaparameters()


def test_the_named_layouts_are_the_pages() -> None:
    assert sorted(LAYOUTS) == [name for group, name in GROUP_PAGES if group == "layout"]


def test_the_robust_recipe_changes_the_layout_where_it_says() -> None:
    (trial,) = read("layout=v1_0", "image_size=224", "recipe=robust").trials
    assert (trial.layout.norm, trial.layout.head_relu) == ("batch", False)


# Pages of one's own -------------------------------------------------------------------------


def test_a_page_of_ones_own(own: Callable[..., tuple[str, ...]]) -> None:
    arguments = own({"mine.yaml": BASE + "sr: [0.1, 0.2]\nbypass: [none, simple]\nname: it\n"})
    request = read(*arguments, page="figure3a")
    assert len(request.trials) == 4
    assert request.folder == Path("results/it")
    assert values(read(*arguments, "sr=0.5"), "sr") == [0.5, 0.5]
    assert len(read(*arguments[:2], page="figure3a").trials) == 5  # the bundled ones are there too


def test_the_name_of_a_page_is_no_part_of_the_question(
    own: Callable[..., tuple[str, ...]],
) -> None:
    text = BASE + "sr: 0.25\n"
    ids = [[t.trial_id for t in read(*own({f"{n}.yaml": text})).trials] for n in ("a", "b")]
    assert ids[0] == ids[1] == [t.trial_id for t in read("sr=0.25").trials]


@pytest.mark.parametrize("folder", ["with space", "it's, =odd [x]", "r\u00e9sultats"])
def test_a_folder_of_pages_may_have_any_name(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder / "layout").mkdir(parents=True)
    (tmp_path / folder / "mine.yaml").write_text(BASE + "seed: [3, 4]\n")
    (tmp_path / folder / "layout" / "thin.yaml").write_text(
        "# @package _global_\ndefaults: [px8, _self_]\nconv1_filters: 7\n"
    )
    request = read("-cd", str(tmp_path / folder), "-cn", "mine", "layout=thin,px8")
    assert values(request, "conv1_filters") == [7, 7, 12, 12]
    assert values(request, "seed") == [3, 4, 3, 4]
    names = LAYOUT_NAMES.replace("v1_0,", "thin, v1_0,")
    assert lines("-cd", str(tmp_path / folder), "-cn", "mine", "layout=nope") == [
        f"`layout` must be one of {names}, got 'nope'"
    ]


def test_a_protocol_of_ones_own(own: Callable[..., tuple[str, ...]]) -> None:
    arguments = own(
        {
            "mine.yaml": BASE,
            "protocol/larger.yaml": "# @package _global_\ndefaults: [{override /layout: px32}]\n"
            "image_size: [28, 32]\nbase_e: 128\n",
        }
    )
    request = read(*arguments, "protocol=larger,demo")
    assert values(request, "image_size") == [28, 32, 12]
    assert values(request, "conv1_filters") == [64, 64, 16]
    assert values(request, "base_e") == [128, 128, 16]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("srr: 1", "unknown key `srr`; did you mean `sr`?"),
        ("sr: 2", "`sr` must be in (0, 1], got 2"),
        ("sr: [0.1, 2]", "`sr` must be in (0, 1], got 2"),
        ("sr: []", "`sr` must have a value"),
        ("sr:", "`sr` must be in (0, 1], got None"),
        ("sr: {}", "`sr` must be in (0, 1], got {}"),
        ("sr: '0.1,0.2'", "`sr` must be in (0, 1], got '0.1,0.2'"),
        ("bypass: no", "`bypass` must be one of none, simple, complex, got False"),
        ("name: ../../x", f"`name` must be {NAME}, got '../../x'"),
        ("layout: px8", "`layout` must be chosen in the defaults list: `- override /layout: NAME`"),
        ("_target_: os.system", "unknown key `_target_`; see --help"),
        ('"a\\nb": 1', "unknown key `a\\nb`; see --help"),
        ("hydra: {sweeper: {params: {sr: '0.1,0.2'}}}", "unknown key `hydra`; see --help"),
        (
            "sr: ${oc.env:HOME}",
            "`sr` must be a value, not an interpolation, got '${oc.env:HOME}'",
        ),
        (
            "results: {root: '${oc.env:HOME}'}",
            "`results.root` must be a value, not an interpolation, got '${oc.env:HOME}'",
        ),
        ("data.root: /no/such", "`data.root` must be an existing folder, got '/no/such'"),
    ],
)
def test_a_mistake_in_a_page_is_a_line(
    own: Callable[..., tuple[str, ...]], text: str, line: str
) -> None:
    assert lines(*own({"mine.yaml": f"{BASE}{text}\n"})) == [line]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BASE + "sr: [1\n", "DIR/mine.yaml, line 3: expected ',' or ']', but got '<stream end>'"),
        (BASE + "sr: 1\nsr: 2\n", "DIR/mine.yaml, line 3: found duplicate key sr"),
        (BASE + "\tsr: 1", "DIR/mine.yaml, line 2: found character '\\t' that cannot start any"),
        (
            BASE + "sr: !!python/object/apply:os.system ['touch pwned']\n",
            "DIR/mine.yaml, line 2: could not determine a constructor for the tag",
        ),
        (BASE + "seed: " + "9" * 5000, "Exceeds the limit (4300 digits)"),
        ("- 1\n", "primary config 'mine' must be a DictConfig, got ListConfig"),
        (b"\xff\xfe\x00", "'utf-8' codec can't decode byte 0xff"),
        ("defaults: [nope]\n", "In 'mine': Could not load 'nope'."),
        ("defaults: 3\n", "Invalid defaults list in 'mine', defaults must be a list"),
        ("defaults: [mine]\n", "it is nested too deeply, or its defaults list leads back to it"),
        ("defaults: [squeezenet, {layout: px8}]\n", "Multiple values for layout."),
    ],
)
def test_a_page_that_cannot_be_read_is_a_line(
    own: Callable[..., tuple[str, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str | bytes,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found = lines(*own({"mine.yaml": text}), "sr=2")
    start = f"page `mine` cannot be read: {reason.replace('DIR', str(tmp_path))}"
    assert found[0].startswith(start)
    assert found[1:] == ["`sr` must be in (0, 1], got 2"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_page_need_not_name_itself(own: Callable[..., tuple[str, ...]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values(read(*own({"mine.yaml": "defaults: [squeezenet]\nsr: 0.5\n"})), "sr") == [0.5]


def test_a_page_must_have_every_key(own: Callable[..., tuple[str, ...]]) -> None:
    (line,) = lines(*own({"mine.yaml": "sr: 0.5\n"}))
    assert line.startswith(
        "page `mine` must begin with `defaults: [squeezenet, _self_]` or set every key, "
        "got no base_e, incr_e, freq, pct3x3, bypass,"
    )


def test_a_page_of_a_group_must_say_where_its_keys_belong(
    own: Callable[..., tuple[str, ...]],
) -> None:
    arguments = own({"mine.yaml": BASE, "layout/thin.yaml": "conv1_filters: 7\n"})
    assert lines(*arguments, "layout=thin") == [
        "`layout.conv1_filters` must be `conv1_filters`: a page of a group begins with "
        "`# @package _global_`"
    ]


# Folders ------------------------------------------------------------------------------------


def test_a_folder_must_be_writable_and_nothing_else(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "deep", tmp_path):
        check_folder(folder)
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    for folder in ("file", "file/below", "file/far/below"):
        with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
            check_folder(tmp_path / folder)
    with pytest.raises(RequestError, match="`name` must be a new folder or one with results"):
        check_folder(tmp_path / "thesis")
    with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
        check_folder(Path("/proc/dse/results"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
        check_folder(tmp_path / "locked" / "results")


def test_a_folder_of_results_may_be_used_again(tmp_path: Path) -> None:
    records.fail(tmp_path, "0" * 20, {"reason": "killed"})
    check_folder(tmp_path)
    (tmp_path / "trials" / "mine").mkdir()
    with pytest.raises(RequestError, match="`name` must be a new folder"):
        check_folder(tmp_path)


# The command --------------------------------------------------------------------------------

COMMAND = """
import json, sys
from dse.sweep.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code or 0, [m for m in %r if m in sys.modules]]), file=sys.stderr)
"""
HEAVY = ("torch", "torchvision", "pandas", "pyarrow", "matplotlib", "scipy", "sklearn", "optuna")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["plan=true", "sr=0.125,0.25"], 0)],
)
def test_what_trains_nothing_imports_nothing_heavy(
    arguments: list[str],
    code: int,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # no other measures
    done = subprocess.run(
        [sys.executable, "-c", COMMAND % (HEAVY,), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *told, last = done.stderr.splitlines()
    told = [line for line in told if not line.startswith("measuring ")]  # another process trains
    assert json.loads(last) == [code, []]
    assert len(told) == (2 if code else 0)
    assert list(tmp_path.iterdir()) == []
