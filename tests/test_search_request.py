"""The command line of a search: its space, its limits, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import composed_once

from dse.search.candidates import Candidates
from dse.search.limits import costs_of
from dse.search.request import Request, read_request
from dse.search.space import Choice, Interval
from dse.sweep.errors import RequestError

__all__ = ["composed_once"]

SMALL = ("base_e=8,16", "incr_e=0,8", "sr=0.125,0.5", "pct3x3=0.25,0.5", "pool_after=1-3-5,1-4-8")


def lines(*arguments: str) -> list[str]:
    with pytest.raises(RequestError) as error:
        read_request(arguments)
    return list(error.value.lines)


def smallest(request: Request, name: str) -> int:
    """The least cost of a space, by trying every point."""
    question = request.question
    return min(costs_of(question.trial(point))[name] for point in question.space.points())


def test_a_space_is_written_as_choices_ranges_and_intervals() -> None:
    request = read_request(
        [*SMALL[2:], "base_e=range(8,33,8)", "incr_e=interval(0,8)", "bypass=choice(none,simple)",
         "lr=tag(log,interval(0.01,0.5))", "seed=0,1", "max.on_chip_bytes=8.5MB"]
    )  # fmt: skip
    axes = {axis.name: axis for axis in request.question.space.axes}
    assert axes["base_e"] == Choice(name="base_e", values=(8, 16, 24, 32))
    assert axes["incr_e"] == Interval(name="incr_e", low=0, high=8, whole=True)
    assert axes["lr"] == Interval(name="lr", low=0.01, high=0.5, log=True)
    assert axes["bypass"].values == ("none", "simple")  # type: ignore[union-attr]
    assert request.question.seeds == (0, 1)
    assert request.question.limits == {"on_chip_bytes": 8_500_000}
    assert len(request.question.trials({"sr": 0.5})) == 2


def test_a_page_may_write_ranges_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "defaults: [squeezenet, _self_]\nsr: interval(0.1,1)\nbase_e: range(8,17,8)\n"
        "sampler: random\nobjective: [macs, val_top1]\nmax.macs: 1M\n"
    )
    request = read_request(["-cd", str(tmp_path), "-cn", "mine"])
    assert [axis.name for axis in request.question.space.axes] == ["base_e", "sr"]
    assert request.question.objectives == ("macs", "val_top1")
    assert request.question.limits == {"macs": 1_000_000}


@pytest.mark.parametrize("bypass", ["none", "none,simple,complex"])
@pytest.mark.parametrize("name", ["size_bytes", "macs", "on_chip_bytes"])
def test_a_limit_that_nothing_meets_is_refused_with_the_smallest_value(
    name: str, bypass: str
) -> None:
    arguments = (*SMALL, f"bypass={bypass}")
    least = smallest(read_request(arguments), name)
    (line,) = lines(*arguments, f"max.{name}={least - 1}")
    assert line == (
        f"`max.{name}` must be at least {least:,}, the smallest in this space, got {least - 1:,}"
    )
    assert read_request([*arguments, f"max.{name}={least}"]).question.limits == {name: least}


def test_limits_that_contradict_each_other_are_refused() -> None:
    """Wide late modules have more weights than multiply-accumulates to show for it."""
    own = ("base_e=128", "incr_e=128", "freq=2", "pool_after=1-4-8", "bypass=none", "pct3x3=0.5")
    lists = "expand_filters=8-8-8-8-8-8-48-48,16-16-16-16-16-16-16-16"
    question = read_request([*own, lists]).question
    costs = [costs_of(question.trial(point)) for point in question.space.points()]
    size, macs = (min(one[name] for one in costs) for name in ("size_bytes", "macs"))
    least = min(one["macs"] for one in costs if one["size_bytes"] <= size)
    assert least > macs
    assert lines(*own, lists, f"max.size_bytes={size}", f"max.macs={macs}") == [
        f"`max.macs` must be at least {least:,}, the smallest in this space with "
        f"max.size_bytes={size:,}, got {macs:,}"
    ]


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("sampler=bayes", "`sampler` must be one of random, tpe, gp, nsga2, annealing, grid, got"),
        ("sr=interval(0.5,0.1)", "`sr` must be an interval whose low end is below its high one"),
        ("base_e=range(16,8,4)", "`base_e` must be a range that has a value, got range(16,8,4)"),
        ("sr=interval(0,1)", "`sr` must be in (0, 1], got 0.0"),
        ("bypass=interval(0,1)", "`bypass` must be one of none, simple, complex, got"),
        ("lr=tag(log,interval(0.1,inf))", "`lr` must be an interval between finite numbers"),
        ("objective=macs", "`objective` must be val_top1, or a cost and val_top1, got macs"),
        ("objective=top1", "`objective` must be one of val_top1, params"),
        (
            "max.size_bytes=1parsec",
            "`max.size_bytes` must be a number above 0 such as 50e6, 100kB, 0.5MB (10**6 bytes), "
            "64KiB or 4.8MiB (2**20 bytes), got",
        ),
        ("stopping=front", "`stopping` must be median, halving or none for one objective"),
        (
            "max.compressed_bytes=5kB",
            "unknown key `max.compressed_bytes`; did you mean `max.size_bytes`?",
        ),
        ("compress.bits=4", "`compress.bits` must be left out where `objective` has no compressed"),
        ("objective=compressed_bytes", "`objective` must be val_top1, or a cost and val_top1, got"),
        ("n_trials=0", "`n_trials` must be a whole number in 1"),
        ("budget=1h", "unknown key `budget`; see --help"),  # it is a key of sweeps
        ("sampelr=tpe", "unknown key `sampelr`; did you mean `sampler`?"),
        ("max.mac=1", "unknown key `max.mac`; did you mean `max.macs`?"),
        ("sr=0.5,.5", "the values of `sr` must differ, got 0.5,0.5"),
        ("sr=interval(0.1,0.2),0.5", "`sr` must be values, or one range or interval, got interval"),
        (
            "max.size_bytes=1.001kB",
            "`max.size_bytes` must be at least 3,144, the smallest in this space, got 1,001",
        ),
        ("freq=1,2 incr_e=0", "`freq` has no effect where `incr_e` is 0"),
        ("freq=3 incr_e=0", "`freq` has no effect where `incr_e` is 0, got 3"),
        ("network=alexnet", "`base_e` has no effect where `network` is alexnet"),
        ("data=digits,mnist", "`data` must have one value in a search: accuracies on different"),
        ("layout=px8,px16", "`layout`, `recipe` and `protocol` must each have one value"),
    ],
)
def test_a_mistake_is_a_line(argument: str, line: str) -> None:
    found = lines(*argument.split(" "))
    assert found[0].startswith(line)
    assert len(found) == 1 or "alexnet" in argument


def test_a_page_cannot_join_intervals(tmp_path: Path) -> None:
    page = "defaults: [search, _self_]\nsr: ['interval(0.1,0.2)', 'interval(0.3,0.4)']\n"
    (tmp_path / "mine.yaml").write_text(page)
    assert lines("-cd", str(tmp_path), "-cn", "mine") == ["`sr` must be values, or one interval"]


LISTED = "squeeze_filters=none,8-8-8-8-8-8-8-8"


@pytest.mark.parametrize(
    "arguments",
    [
        ("momentum=0,0.9", "nesterov=true,false"),
        ("dsd_density=1,0.3", "dsd_sparse=0,2", "dsd_final=0,2", "epochs=5"),
        ("sr=0.5,0.125", LISTED),
    ],
)
def test_a_value_may_fit_with_some_values_of_another_key(arguments: tuple[str, ...]) -> None:
    """In whatever order they are written."""
    for order in (arguments, [f"{a[: a.index('=') + 1]}{flipped(a)}" for a in arguments]):
        assert len(read_request([*SMALL[:2], *order]).question.space.axes) >= 4


def flipped(argument: str) -> str:
    return ",".join(reversed(argument.partition("=")[2].split(",")))


def test_only_the_points_that_fit_are_candidates() -> None:
    question = read_request([*SMALL, "bypass=none", LISTED]).question
    valid = [p for p in question.space.points() if p["sr"] == 0.125 or LISTED[-15:] not in str(p)]
    assert 0 < len(valid) < question.space.size
    assert Candidates(question).count == len(valid)


def test_a_limit_on_more_points_than_can_be_listed() -> None:
    space = ("base_e=range(8,1000)", "incr_e=range(0,1000)", "conv1_filters=range(1,20)")
    assert read_request([*space, "bypass=none,simple", "max.params=1e6"]).question.space.size > 1e9


def test_a_limit_on_an_interval_of_real_numbers() -> None:
    space = ("base_e=8,16", "incr_e=8", "bypass=none", "pool_after=1-4-8")
    least = smallest(read_request([*space, "sr=0.1", "pct3x3=0.2"]), "params")
    (line,) = lines(*space, "sr=interval(0.1,0.5)", "pct3x3=interval(0.2,0.7)", "max.params=1")
    assert line == f"`max.params` must be at least {least:,}, the smallest in this space, got 1"


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("stopping=front", "`stopping` must be none for compressed_bytes, since compressed_bytes"),
        (
            "compress.energy=0.5",
            "`compress.energy` has no effect with method=deep_comp",
        ),
        ("compress.bits=9", "`compress.bits` must be a whole number in 2 .. 8, got 9"),
        (
            "compress.rounds=9",
            "`compress.rounds` must be at most 1 where `compress.retrain_epochs` is 0, got 9",
        ),
    ],
)
def test_a_mistake_about_compressed_bytes_is_a_line(argument: str, line: str) -> None:
    (found,) = lines("objective=compressed_bytes,val_top1", argument)
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("sqlite:///x.db", "must be postgresql://USER@HOST/NAME, got sqlite:///x.db"),
        ("foo", "must be postgresql://USER@HOST/NAME, got foo"),
        ("postgresql://[", "must be postgresql://USER@HOST/NAME, got no URL"),
        ("postgresql://me:secret@host/x", "must hold no password: use ~/.pgpass or PGPASSWORD"),
        ("mysql://me:secret@host/x", "must hold no password: use ~/.pgpass or PGPASSWORD"),
    ],
)
def test_a_storage_that_is_no_database_of_postgresql_is_a_line(url: str, line: str) -> None:
    assert lines(f"storage={url}", "plan=true") == [f"`storage` {line}"]


def test_a_space_with_one_point_is_refused() -> None:
    fixed = ("base_e=8", "incr_e=8", "sr=0.5", "pct3x3=0.5", "bypass=none", "pool_after=1-4-8")
    assert lines(*fixed) == ["a search must have a key with several values, got none"]
