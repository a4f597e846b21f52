"""Rows are selected by key=value as on the command line; mistakes name what there is."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from dse.analysis.selection import file_name, parse, select, words

TABLE = pd.DataFrame(
    {"sr": [0.125, 0.5, 0.5], "bypass": ["none", "none", "simple"], "nesterov": [True, False, True]}
)


def chosen(*arguments: str) -> list[int]:
    return select(TABLE, parse(arguments)).index.tolist()


def test_values_are_compared_as_numbers_and_keys_are_combined() -> None:
    assert chosen() == [0, 1, 2]
    assert chosen("sr=.50") == [1, 2]
    assert chosen("sr=5e-1,0.125", "bypass=none") == [0, 1]
    assert chosen("nesterov=True") == [0, 2]


def test_densities_are_compared_in_the_order_of_a_network() -> None:
    stored = ["none", "conv10:0.2", "fire8.expand3x3:0.5-conv10:0.2"]
    table = TABLE.assign(densities=stored)
    for text, rows in {
        "densities=conv10:0.20-fire8.expand3x3:.5": [2],
        "densities=conv10:.2,none": [0, 1],
        "densities!=conv10:.20": [0, 2],
    }.items():
        assert select(table, parse([text])).index.tolist() == rows
    with pytest.raises(ValueError, match=r"`densities` must be one of .*, got conv10$"):
        select(table, parse(["densities=conv10"]))


def test_text_that_looks_like_a_number_is_compared_as_text() -> None:
    table = TABLE.assign(trial_id=["12345e67", "0123456789", "1234567890"])
    for row, text in enumerate(table["trial_id"]):
        assert select(table, parse([f"trial_id={text}"])).index.tolist() == [row]


def test_the_beginning_of_an_id_is_enough() -> None:
    table = TABLE.assign(
        trial_id=["26e15400aa", "26e1540099", "0042aa"], compressed_id=["", "5840", "58"]
    )
    for text, rows in {
        "trial_id=26e15400a": [0],
        "trial_id=004,26e154009": [1, 2],
        "trial_id!=0042": [0, 1],
        "compressed_id=584": [1],
        "compressed_id=58": [2],
    }.items():
        assert select(table, parse([text])).index.tolist() == rows, text
    line = "`trial_id` must be the beginning of one id only, got 26e1, which 2 ids begin with"
    for text in ("trial_id=26e1", "trial_id!=26e1"):
        with pytest.raises(ValueError, match=line):
            select(table, parse([text]))
    with pytest.raises(ValueError, match=r"`trial_id` must be one of 0042aa, .*, got 5"):
        select(table, parse(["trial_id=5"]))


def test_conditions_hold_together() -> None:
    assert chosen("sr>0.125") == [1, 2]
    assert chosen("sr >= .125", "sr<0.5") == [0]
    assert chosen("bypass!=simple", "nesterov!=false") == [0]
    assert chosen("sr==0.5", "bypass!=none") == [2]


def test_values_and_conditions_of_a_key_hold_together() -> None:
    for arguments in (["sr=0.125,0.5", "sr>0.2"], ["sr>0.2", "sr=0.125,0.5"]):
        assert chosen(*arguments) == [1, 2]
        assert words(parse(arguments)) == ["sr=0.125,0.5", "sr>0.2"]


def test_values_that_no_trial_has_may_be_excluded() -> None:
    table = TABLE.assign(layout=["px8", "px16", "px16"], pool_after=["none", "1-4", "4"])
    for text in (
        *("sr!=0.3", "sr!=7", "bypass!=complex", "layout!=v1_1", "pool_after!=1-4-8"),
        *("bypass!=complex,complex", "status!=diverged"),
    ):
        rows = select(table.assign(status="learned"), parse([text]))
        assert rows.index.tolist() == [0, 1, 2], text
    assert select(table.assign(nesterov=True), parse(["nesterov!=False"])).shape[0] == 3
    results = pd.DataFrame({"top1": [60 + n / 7 for n in range(20)]})
    assert len(select(results, parse(["top1!=60.5"]))) == 20


def test_times_are_compared_as_text() -> None:
    table = TABLE.assign(finished=[f"2026-0{n}-15T12:00:00+00:00" for n in (1, 2, 3)])
    for text, rows in {
        "finished>2026-02": [1, 2],
        "finished<2026-02-15T12:30": [0, 1],
        "finished>=2026": [0, 1, 2],
    }.items():
        assert select(table, parse([text])).index.tolist() == rows
    line = "`finished` is 2026-01-15T12:00:00+00:00 .. 2026-03-15T12:00:00+00:00 in these trials"
    with pytest.raises(ValueError, match=re.escape(line) + ", got finished>2027"):
        select(table, parse(["finished>2027"]))


def test_sizes_may_have_a_unit() -> None:
    table = TABLE.assign(size_bytes=[999_999, 1_000_000, 1_048_577])
    for text, rows in {
        "size_bytes>1MB": [2],
        "size_bytes>1MiB": [2],
        "size_bytes>=1e6": [1, 2],
        "size_bytes<1 MB": [0],
        "size_bytes>0": [0, 1, 2],
    }.items():
        assert select(table, parse([text])).index.tolist() == rows


def test_trials_without_a_value_are_in_no_message() -> None:
    """Those of a folder that a search and a sweep share have no study."""
    table = TABLE.assign(study=["tpe", None, None])
    table["study_trial"] = pd.array([3, None, None], dtype="Int64")
    assert select(table, parse(["study=tpe"])).index.tolist() == [0]
    assert select(table, parse(["study_trial<=3"])).index.tolist() == [0]
    assert select(table, parse(["study_trial!=9"])).index.tolist() == [0]
    for text, line in {
        "study=foo": "`study` is tpe in every trial that has it, got foo",
        "study!=foo": "`study` is tpe in every trial that has it, got foo",
        "study_trial=99": "`study_trial` is 3 in every trial that has it, got 99",
    }.items():
        with pytest.raises(ValueError, match=f"^{line}$"):
            select(table, parse([text]))
    with pytest.raises(ValueError, match=r"^no trial has a value of loss$"):
        select(table.assign(loss=float("nan")), parse(["loss=1"]))


def test_conditions_are_false_where_there_is_no_value() -> None:
    table = TABLE.assign(
        status=["learned", "learned", "partly_dead"],
        val_loss=[1.0, float("nan"), 3.0],
        dead_step=[-1, 5, -1],
    )

    def rows(*arguments: str) -> list[int]:
        return select(table, parse(arguments)).index.tolist()

    assert rows("val_loss<9") == [0, 2]
    assert rows("val_loss!=3") == [0]
    assert rows("dead_step<9") == [1]
    assert rows("status!=diverged") == [0, 1, 2], "no trial diverged, and that is no mistake"
    assert rows("status!=learned") == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sr"], "arguments must be key=value, .* such as 'val_top1>80', got 'sr'"),
        (["sr=0.5,"], "arguments must be key=value"),
        (["seed=range(0,2)"], "ranges are not read here: write the values of `seed` with commas$"),
        (["sr=>0.5"], "arguments must be .* or a condition in quotes, such as 'val_top1>80'"),
        (["sr>0.125,0.5"], "> must be followed by one number, got 'sr>0.125,0.5'"),
        (["sr<=half"], "<= must be followed by one number, got 'sr<=half'"),
        (["sr>0.5"], "`sr` is 0.125 .. 0.5 in these trials, got sr>0.5"),
        (["bypass>1"], "`bypass` must be numbers for >1; name values: key=value"),
        (["bypass!=simpel"], "`bypass` must be one of none, simple, got simpel"),
        (["sr=0.5", "sr>0.1", "sr=0.125"], "`sr` must be given once, got 'sr=0.125' too"),
        (["sr=0.125", "sr>0.2"], "no trial has sr=0.125 sr>0.2"),
        (["sr!=half"], "`sr` must be one of 0.125, 0.5, got half"),
        (["finished>noon"], "> must be followed by a time such as 2026-01-31T12:00, got 'finish"),
        (["size_bytes<1mb"], "< must be followed by one number, with a unit or without, such as"),
        (["sr<1kB"], "< must be followed by one number, got 'sr<1kB'"),
        (["sr>0.125", "bypass=none", "nesterov!=false"], "no trial has sr>0.125 bypass=none neste"),
        (["sr=0.5", "sr=0.125"], "`sr` must be given once"),
        (["srr=1"], "`srr` must be a column of the table: sr, bypass, nesterov"),
        (["sr=0.3"], "`sr` must be one of 0.125, 0.5, got 0.3"),
        (["sr=0.5_0"], "`sr` must be one of 0.125, 0.5, got 0.5_0"),
        (["sr=00.5"], "`sr` must be one of 0.125, 0.5, got 00.5"),
        (["sr=0.125", "bypass=simple"], "no trial has sr=0.125 bypass=simple"),
    ],
)
def test_a_mistake_names_what_there_is(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        chosen(*arguments)


def test_of_many_results_the_range_is_named() -> None:
    table = pd.DataFrame({"val_top1": [57 + n / 7 for n in range(20)], "params": range(1, 21)})
    for text, line in {
        "val_top1=58.5": "`val_top1` is 57 .. 59.71 in these trials, got 58.5; select by a "
        "condition: 'val_top1>58.5'",
        "val_top1=80": "`val_top1` is 57 .. 59.71 in these trials, got 80",
        "params=x": "`params` is 1 .. 20 in these trials, got x",
        "val_top1>80": "`val_top1` is 57 .. 59.71 in these trials, got val_top1>80",
    }.items():
        with pytest.raises(ValueError, match="in these trials") as error:
            select(table, parse([text]))
        assert str(error.value) == line


def test_each_selection_has_a_file_name_of_its_own() -> None:
    given = ("a<1", "a<=1", "a!=1", "a>1", "a>=1", "a=1", "a=b c", "a=b-c", "a=b/c", "a<-1")
    given += ("a=" + "1," * 80 + "b c", "a=" + "1," * 80 + "b-c")
    names = [file_name("report", *words(parse([one]))) for one in given]
    assert names[:3] == ["report_a-lt-1", "report_a-le-1", "report_a-ne-1"]
    assert len({*names}) == len(names)
    assert all(len(name) <= 120 and "/" not in name for name in names)
