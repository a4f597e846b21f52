"""Values are taken as they were written, or refused: on the command line and in pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reading import BASE, composed_once, lines, own, read, values

from dse.sweep import yaml_pages

__all__ = ["composed_once", "own"]

NAMES = (
    "2024_11_25", "1_23", "12_3", "010", "007", "1.10", "1.", "1e3", "1e-5_0", "0x10", "0b11",
    "on", "no", "null", "NULL", "true", "False", "nan", "2024-11-25",
)  # fmt: skip
"""Names that YAML 1.1 or Hydra's grammar reads as something else."""
DOUBTFUL = ("010", "1_000", "0x10", "0b11", "0o17", "1:30", "09", "2024-11-25", "1_0.5", "010.5")
"""Numbers to some readers, and not the same ones to all."""
HINT = "; write plain numbers, such as 8, 0.5 or 1e-3"
ODD = (
    "a b", "a=b", "a#b", "a(b", "a(b)", "it's", "it's bob's", "a,b", "a,", "[a]", "[a,b]", "a{b",
    "{a: 1}", "a;b", "a&b", 'a"b', "a\\b", "!a", "$a", "%a", "a@b", "a:b", "*", "données", "a\nb",
    "\udcff", "1_0", "null", "~",
)  # fmt: skip
"""Names of folders that Hydra's grammar has no word for, or another reading."""


# Text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_folder(name: str) -> None:
    for argument in (f"name={name}", f"name='{name}'", f"name=[{name}]", f"name=str({name})"):
        assert read(argument).folder == Path("results", name)


def test_names_that_yaml_reads_as_one_number_are_two_folders() -> None:
    assert read("name=1_23").folder != read("name=12_3").folder


@pytest.mark.parametrize("name", NAMES)
def test_a_page_s_text_is_as_written(name: str) -> None:
    page = f"name: {name}\nladder: [{name}]\nrunner: {{engine: {name}}}\nsubmitit.qos: '{name}'\n"
    assert yaml_pages.values(page, "mine") == {
        "name": name, "ladder": [name], "runner": {"engine": name}, "submitit.qos": name,
    }  # fmt: skip


def test_a_page_s_name_is_the_folder(own: Callable[..., tuple[str, ...]]) -> None:
    page = f"{BASE}name: 2024_11_25\nresults: {{root: 0_1}}\npool_after: 04\n"
    request = read(*own({"mine.yaml": page}))
    assert request.folder == Path("0_1", "2024_11_25")
    assert values(request, "pool_after") == ["4"]


def test_a_page_of_a_group_may_look_like_a_number(own: Callable[..., tuple[str, ...]]) -> None:
    group = {f"layout/{name}.yaml": "# @package _global_\nsr: 0.5\n" for name in ("1_0", "010")}
    chosen = "defaults: [squeezenet, {override /layout: 1_0}, _self_]\n"
    arguments = own({"mine.yaml": chosen} | group)
    assert values(read(*arguments), "sr") == [0.5]
    assert values(read(*arguments, "layout=010,px8"), "sr") == [0.5, 0.125]


def test_text_that_is_refused_is_shown_as_written(own: Callable[..., tuple[str, ...]]) -> None:
    page = f"{BASE}name: ~\nbudget: 1:30\nladder: null\nbypass: off\nmanifest: 1_0\n"
    for arguments in (own({"mine.yaml": page}), page.replace(": ", "=").splitlines()[1:]):
        shown = [line.rpartition(", got ")[2] for line in lines(*arguments)]
        assert sorted(shown) == ["'1:30'", "'1_0'", "'null'", "'off'", "'~'"]


# Numbers ------------------------------------------------------------------------------------


def test_a_doubtful_number_is_refused(own: Callable[..., tuple[str, ...]]) -> None:
    page = f"{BASE}lr: [{', '.join(DOUBTFUL)}]\nrunner: {{workers: 010}}\n"
    refused = [f"`lr` must be in (0, 1e+06], got '{text}'{HINT}" for text in DOUBTFUL]
    workers = f"`runner.workers` must be a whole number in 1 .. 1024, got '010'{HINT}"
    assert lines(*own({"mine.yaml": page})) == [workers, *refused]
    assert lines("lr=" + ",".join(DOUBTFUL), "runner.workers=010") == [workers, *refused]
    seed = "`seed` must be a whole number in 0 .. 2147483647, got"
    for text in (
        "range(0,1_0)", "int(1_0)", "int(010)", "int('1_0')", "int(choice(1_0,2))", "int([1_0])",
    ):  # fmt: skip
        assert lines(f"seed={text}") == [f"{seed} {text!r}{HINT}"]
    assert lines("lr=float(1_0.5)") == [f"`lr` must be in (0, 1e+06], got 'float(1_0.5)'{HINT}"]
    assert values(read("seed=int([2.0,3])"), "seed") == [2, 3]


def test_plain_numbers_stay(own: Callable[..., tuple[str, ...]]) -> None:
    written = ".5, 0.25, 1., 3, +2, 1e-3, 1E3, 1.5e+2, 2e-03"
    numbers = [0.5, 0.25, 1.0, 3.0, 2.0, 0.001, 1000.0, 150.0, 0.002]
    for arguments in (own({"mine.yaml": f"{BASE}lr: [{written}]\n"}), [f"lr={written}"]):
        assert values(read(*arguments), "lr") == numbers
    for arguments in (own({"mine.yaml": f"{BASE}head_relu: yes\n"}), ["head_relu=TRUE"]):
        assert values(read(*arguments), "head_relu") == [True]


# Paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_what_was_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "home", tmp_path / name):
        folder.mkdir(exist_ok=True)
    given = {"data.root": f"{tmp_path}/{name}", "results.root": f"x/{name}", "data.cache": name}
    request = read("protocol=mnist", *(f"{key}={value}" for key, value in given.items()))
    assert request.store.root == tmp_path / name
    assert request.folder == Path("x", name, "squeezenet")
    assert request.store.cache == (tmp_path / "home" if name == "~" else Path(name))


def test_a_home_folder_is_expanded(
    own: Callable[..., tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "d").mkdir()
    page = own({"mine.yaml": f"{BASE}data.root: ~/d\nresults: {{root: ~}}\n"})
    given = ["protocol=mnist", "data.root=~/d", "results.root='~'", "name=mine"]
    for arguments in (given, page):
        request = read(*arguments)
        assert (request.store.root, request.folder) == (tmp_path / "d", tmp_path / "mine")


def test_a_path_that_a_shell_has_split_is_shown_in_quotes() -> None:
    assert len(lines("data.root=/my", "figure3a.yaml", "table3")) == 3  # pages, not parts of it
    assert lines("data.root=/my", "own", "dir", "seed=0") == [
        "`data.root=/my own dir` must be written 'data.root=/my own dir'"
    ]


# What was meant -----------------------------------------------------------------------------

RISING = "`pool_after` must be none, or ascending whole numbers in 1 .. 9 joined by '-'"
EIGHT = "`squeeze_filters` must be none, or 8 whole numbers in 1 .. 8192 joined by '-'"
BYPASS = "`bypass` must be one of none, simple, complex"
POSITIONAL = [
    ("table3", "did you mean `--config-name table3`?"),
    ("figure3a.yaml", "did you mean `--config-name figure3a`?"),
    ("my/mine.yaml", "did you mean `--config-dir my --config-name mine`?"),
    ("px16", "did you mean `layout=px16`?"),
    ("cifar10", "did you mean `protocol=cifar10`?"),
]
SPLIT = [
    "sr 0.25", "sr = 0.25", "sr= 0.25", "sr =0.25", "sr:0.25", "sr: 0.25", "sr : 0.25",
    "--sr=0.25", "-sr=0.25",
]  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), POSITIONAL)
def test_a_page_without_its_option_is_recognised(text: str, meant: str) -> None:
    assert lines(text, "seed=0") == [f"`{text}` must be written key=value; {meant}"]


def test_a_page_of_a_user_s_own_is_recognised(own: Callable[..., tuple[str, ...]]) -> None:
    folder, _, _, _ = option = own({"mine.yaml": BASE})
    assert folder == "--config-dir"
    (line,) = lines(*option[:2], "mine")
    assert line.endswith("did you mean `--config-name mine`?")


@pytest.mark.parametrize("text", SPLIT)
def test_an_override_is_shown_as_it_must_be_written(text: str) -> None:
    assert lines(*text.split(), "-m", "seed=0") == [f"`{text}` must be written sr=0.25"]


def test_what_an_override_looks_like() -> None:
    assert lines("results/mine") == ["`results/mine` must be written key=value, as in sr=0.25"]
    assert lines("--sr", "0.25")[0].endswith("--sr; keys are written as in sr=0.25; see --help")
    assert lines("sr=0.125,", "0.25") == ["`sr=0.125, 0.25` must be written sr=0.125,0.25"]
    assert lines("-cn", "figure3a.yaml")[0].endswith("; did you mean `figure3a`?")
    for page, folder in ("my own/mcu.yaml", "'my own'"), ("my/mcu", "my"), ("mcu.yaml", "."):
        meant = f"; did you mean `--config-dir {folder} --config-name mcu`?"
        assert lines("-cn", page)[0].endswith(meant)
    assert lines("-cn", "mcu")[0].endswith("; pages of your own need --config-dir DIR")


def test_values_between_spaces_are_shown_with_commas() -> None:
    start = "must be written key=value; separate values by commas:"
    assert lines("sr=0.125", "0.25", "0.5") == [
        f"`0.25` {start} sr=0.125,0.25",
        f"`0.5` {start} sr=0.125,0.25,0.5",
    ]
    assert lines("bypass=none", "simple") == [f"`simple` {start} bypass=none,simple"]
    assert lines("sr=0.125", "results/mine")[0].endswith("written key=value, as in sr=0.25")


def test_a_list_in_a_page_is_shown_as_it_must_be_written(
    own: Callable[..., tuple[str, ...]],
) -> None:
    eight = "16,16,32,32,64,64,112,112"
    page = (
        f"{BASE}bypass: none,simple\nsr: 0.125, 0.25\npool_after: 1,4,8\nsqueeze_filters: {eight}\n"
    )
    assert set(lines(*own({"mine.yaml": page}))) == {
        f"{BYPASS}, got 'none,simple'; write [none, simple]",
        f"{RISING}, got '1,4,8'; write 1-4-8 or [1, 4, 8]",
        "`sr` must be in (0, 1], got '0.125, 0.25'; write [0.125, 0.25]",
        f"{EIGHT}, got '{eight}'; write {eight.replace(',', '-')}",
    }
    assert lines(f"squeeze_filters={eight}") == [
        f"{EIGHT}, got {eight}; write {eight.replace(',', '-')}"
    ]
    assert lines("bypass='none,foo'") == [f"{BYPASS}, got 'none,foo'"]


def test_a_grid_that_was_likely_meant_as_one_value_is_remarked_on() -> None:
    request = read("pool_after=1,4,8")
    assert values(request, "pool_after") == ["1", "4", "8"]
    assert request.remarks == (
        "`pool_after=1,4,8` is a grid of 3 values; one value that joins them is written "
        "pool_after=1-4-8",
    )
    assert not read("pool_after=1-4,4,none", "seed=0,1", "bypass=none,simple").remarks


# Files --------------------------------------------------------------------------------------


def test_a_page_may_begin_with_a_byte_order_mark(own: Callable[..., tuple[str, ...]]) -> None:
    group = "\ufeff# @package _global_\nconv1_filters: 7\n"
    arguments = own({"mine.yaml": f"\ufeff{BASE}sr: 0.5\n", "layout/thin.yaml": group})
    request = read(*arguments, "layout=thin")
    assert (values(request, "sr"), values(request, "conv1_filters")) == ([0.5], [7])
