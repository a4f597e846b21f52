"""The estimate before a sweep: time, disk and memory; the plan; and the budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import toy_trial
from reading import composed_once
from test_calibrate import JUDGE, MEMORY, OVERHEAD, SQUEEZE, STEP, measured, request, silent

from dse.results import checkpoints, records, tables
from dse.space.cost import cost
from dse.sweep import __main__, calibrate, launch
from dse.sweep.errors import RequestError
from dse.sweep.estimate import estimate, within_budget
from dse.sweep.messages import volume
from dse.sweep.plan import plan
from dse.trial.names import short_id, trial_names
from dse.trial.question import Trial

__all__ = ["composed_once"]

__all__ = ["measured"]  # the fixture


def seconds(trial: Trial) -> float:
    """What `sample` makes of a trial: 1 s until the first step, and the work."""
    protocol = trial.protocol
    steps = protocol.recipe.epochs * math.ceil(protocol.train_images / protocol.recipe.batch_size)
    judged = protocol.recipe.epochs * protocol.validation_images + protocol.facts.test
    return 1.0 + steps * STEP + judged * JUDGE


def handed_out(times: Sequence[float], workers: int) -> float:
    """Seconds until the last of some trials ends, each started by the first worker that is free."""
    free = [0.0] * workers
    for seconds in times:
        free.sort()
        free[0] += seconds
    return max(free)


def failing(*_: object) -> None:
    raise RuntimeError("no luck")


def test_data_that_are_missing_are_reported_before_anything_is_measured(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    grid = request(tmp_path, "protocol=demo,cifar10,mnist", f"data.root={tmp_path}", "budget=1h")
    with pytest.raises(RequestError) as caught:
        within_budget(grid, grid.trials, pytest.fail)
    cifar10, mnist = caught.value.lines
    assert cifar10.startswith("`data.root` must hold cifar10")
    assert mnist.startswith("`data.root` must hold mnist")
    assert measured == []


@pytest.mark.usefixtures("measured")
def test_an_estimate_adds_up(tmp_path: Path) -> None:
    grid = request(tmp_path, SQUEEZE, "epochs=3,7")
    expected = estimate(grid, grid.trials, silent)
    assert list(expected.trials) == [trial.trial_id for trial in grid.trials]
    for trial in grid.trials:
        assert expected.trials[trial.trial_id].seconds == pytest.approx(seconds(trial), rel=0.01)
    times = [seconds(trial) for trial in grid.trials]
    short, long = times[::2], times[1::2]  # two workers take turns: as many of each
    assert sum(short) < sum(long)
    wall = expected.seconds(expected.trials)
    assert wall == pytest.approx(OVERHEAD + handed_out(times, 2), rel=0.01)
    assert wall < OVERHEAD + 0.7 * sum(times)
    assert expected.memory == pytest.approx(MEMORY + 3e8 + 2 * 1e8)
    size = cost(grid.trials[0].architecture, 12).size_bytes
    disk = expected.trials[grid.trials[0].trial_id].disk
    assert disk % 4096 == 0
    assert size + 5000 + 3 * 4096 <= disk < size + 5000 + 4 * 4096


# The plan -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("measured")
def test_a_plan_says_what_is_done_and_what_the_rest_takes(tmp_path: Path) -> None:
    grid = request(tmp_path, SQUEEZE)
    for trial in grid.trials[:2]:
        records.save(grid.folder, toy_trial.record(trial), {})
    expected = estimate(grid, grid.trials[2:], silent)
    names = trial_names(grid.trials)
    text = plan(grid, grid.trials, silent)
    head, *rows, widths, where, count, time, space, source = text.splitlines()
    assert head.split() == ["trial", "id", "params", "bytes", "MACs", "seconds"]
    for trial, row in zip(grid.trials, rows, strict=True):
        size = cost(trial.architecture, trial.protocol.image_size)
        price = expected.trials.get(trial.trial_id)
        assert row.split() == [
            names[trial.trial_id], short_id(trial.trial_id), f"{size.params:,}",
            f"{size.size_bytes:,}", f"{size.macs:,}",
            *([f"{price.seconds:.1f}", "to", "do"] if price else ["-", "done"]),
        ]  # fmt: skip
    assert len({len(row.removesuffix("done").removesuffix("to do")) for row in rows}) == 1
    assert widths == (
        "expand filters of fire2 to fire9: 16-16-32-32-48-48-64-64 "
        "(the paper's: 128-128-256-256-384-384-512-512)"
    )
    assert where == "trains on the CPU, 2 trials at a time"
    assert count == "5 trials, 2 done, 3 to do"
    wall = OVERHEAD + 2 * seconds(grid.trials[0])
    assert time.startswith(f"estimated time with 2 workers: {wall:.0f} s (")
    assert volume(expected.disk) in space
    assert volume(expected.memory) in space
    assert str(tmp_path / "cache") in source


@pytest.mark.usefixtures("measured")
def test_a_plan_names_the_narrowest_and_the_widest_network(tmp_path: Path) -> None:
    grid = request(tmp_path, "base_e=8,64", "incr_e=0,8")
    assert "fire9: 8-8-8-8-8-8-8-8 .. 64-64-72-72-80-80-88-88 (the paper's: 128-" in plan(
        grid, grid.trials, silent
    )


@pytest.mark.usefixtures("measured")
def test_a_plan_of_one_network_does_not_repeat_its_id(tmp_path: Path) -> None:
    grid = request(tmp_path, "sr=0.25")
    _, row, *_ = plan(grid, grid.trials, silent).splitlines()
    assert row.split()[:2] == ["squeezenet", short_id(grid.trials[0].trial_id)]
    assert row.endswith("to do")
    checkpoints.save(grid.folder, grid.trials[0].trial_id, 5, b"1")
    assert plan(grid, grid.trials, silent).splitlines()[1].endswith("half-way")


def test_a_plan_of_what_is_done_measures_nothing(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    grid = request(tmp_path, "sr=0.25")
    records.save(grid.folder, toy_trial.record(grid.trials[0]), {})
    assert plan(grid, grid.trials, pytest.fail).splitlines()[-1] == "1 trial, 1 done, 0 to do"
    assert measured == []


@pytest.mark.usefixtures("measured")
def test_a_plan_is_shown_where_nothing_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "_measured", failing)
    grid = request(tmp_path, SQUEEZE)
    lines = plan(grid, grid.trials, silent).splitlines()
    assert lines[-2:] == ["5 trials, 0 done, 5 to do", "no estimate: no luck"]
    with pytest.raises(RequestError, match=r"^`budget` needs an estimate, .*no luck"):
        within_budget(request(tmp_path, SQUEEZE, "budget=1d"), grid.trials, silent)


# The budget ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("measured")
def test_a_budget_keeps_the_first_part_that_fits(tmp_path: Path) -> None:
    whole = request(tmp_path, SQUEEZE, "seed=range(0,4)")
    expected = estimate(whole, whole.trials, silent)
    ids = [trial.trial_id for trial in whole.trials]
    for fits in (1, 2, 3, 7, 19, 20):
        said: list[str] = []
        enough = expected.seconds(ids[:fits]) + 0.1
        grid = request(tmp_path, SQUEEZE, "seed=range(0,4)", f"budget={enough:.3f}s")
        kept = within_budget(grid, grid.trials, said.append)
        count = fits + fits % 2  # two workers: the other one's trial takes no longer
        assert [trial.trial_id for trial in kept] == ids[:count]
        assert f"{count} of 20 trials to do fit" in said[0]
        if count < 20:
            assert trial_names(grid.trials)[ids[count]] in said[1]
        else:
            assert len(said) == 1


@pytest.mark.usefixtures("measured")
def test_trials_that_are_done_cost_nothing(tmp_path: Path) -> None:
    grid = request(tmp_path, SQUEEZE, "budget=26s", workers=1)
    kept = within_budget(grid, grid.trials, silent)
    assert 1 <= len(kept) < 5
    for trial in kept:
        records.save(grid.folder, toy_trial.record(trial), {})
    more = within_budget(grid, grid.trials, silent)
    assert list(more[: len(kept)]) == list(kept)
    assert len(more) > len(kept)


@pytest.mark.usefixtures("measured")
def test_a_budget_that_is_too_small_is_a_mistake(tmp_path: Path) -> None:
    grid = request(tmp_path, SQUEEZE, "budget=1s")
    expected = estimate(grid, grid.trials[:1], silent)
    needed = math.ceil(expected.seconds(expected.trials))
    with pytest.raises(RequestError) as caught:
        within_budget(grid, grid.trials, silent)
    assert caught.value.lines == (
        f"`budget` must be enough for the first trial, {needed}s, got 1s",
    )


def test_without_a_budget_nothing_is_measured(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    grid = request(tmp_path, SQUEEZE)
    assert within_budget(grid, grid.trials, pytest.fail) is grid.trials
    assert measured == []


# The whole command --------------------------------------------------------------------------


def test_a_plan_and_budgets_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibrate, "SECONDS", 0.1)
    monkeypatch.setattr(calibrate, "BUSY", math.inf)
    monkeypatch.setattr(launch, "import_figures", lambda: None)
    monkeypatch.setattr(__main__, "close", lambda *_: None)  # figures and a report
    words = ["sr=0.125,0.25", "epochs=2", "train_share=0.1", "data.cache=cache"]
    assert __main__.main([*words, "plan=true"]) == 0
    out, errors = capsys.readouterr()
    assert "calibrating" in errors
    assert "54,120" in out  # its exact bytes, running statistics included
    assert "12,778" in out  # parameters of sr 0.125: with norm, and no bias before it
    assert "2 trials, 0 done, 2 to do\nestimated time with" in out
    assert __main__.main([*words, "budget=0.01s"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("`budget` must be enough for the first trial")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert __main__.main([*words, "budget=1d"]) == 0
    assert "`budget` 24.0 h: 2 of 2 trials to do fit" in capsys.readouterr().err
    assert len(tables.load(tmp_path / "results" / "figure3a")) == 2
    folder = tmp_path / "results" / "figure3a" / "trials"
    disk = sum(512 * path.stat().st_blocks for path in folder.rglob("*"))
    grid = request(tmp_path, *words[:-1])
    assert estimate(grid, grid.trials, silent).disk == pytest.approx(disk, rel=0.3)
    assert __main__.main([*words, "plan=true"]) == 0
    out, errors = capsys.readouterr()
    assert out.splitlines()[-1] == "2 trials, 2 done, 0 to do"
    assert errors == ""
