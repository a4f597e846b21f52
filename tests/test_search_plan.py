"""The plan of a search: its space, and what it is estimated to take."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import composed_once
from test_calibrate import OVERHEAD, measured, silent
from test_estimate import seconds
from test_search import opened_study

from dse.search.__main__ import main
from dse.search.limits import costs_of
from dse.search.plan import plan
from dse.search.request import Request, read_request
from dse.search.storage import opened
from dse.sweep import calibrate
from dse.sweep.errors import RequestError

__all__ = ["composed_once", "measured"]

SMALL = ("base_e=8,16", "incr_e=0,8", "pct3x3=0.25,0.5", "pool_after=1-3-5,1-4-8")


def asked(tmp_path: Path, *arguments: str, sr: str = "sr=0.125,0.5") -> Request:
    places = (f"results.root={tmp_path}", f"data.cache={tmp_path / 'cache'}", "runner.workers=2")
    return read_request([*SMALL, sr, *places, *arguments])


def lines(tmp_path: Path, *arguments: str, sr: str = "sr=0.125,0.5") -> list[str]:
    return plan(asked(tmp_path, *arguments, sr=sr), silent).splitlines()


@pytest.mark.usefixtures("measured")
def test_a_plan_counts_what_is_within_the_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = (f"results.root={tmp_path}", f"data.cache={tmp_path / 'cache'}")
    assert (
        main([*SMALL, "sr=0.125,0.5", *places, "bypass=none", "max.size_bytes=20kB", "plan=true"])
        == 0
    )
    question = asked(tmp_path, "bypass=none").question
    costs = [costs_of(question.trial(point))["size_bytes"] for point in question.space.points()]
    within = sum(cost <= 20_000 for cost in costs)
    out = capsys.readouterr().out
    assert f"32 points; size_bytes at most 20,000: {within} points" in out
    assert f"{within} trials of" in out, "a study of 40 trials would have tried all"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("sr", ["sr=0.125,0.5", "sr=interval(0.1,0.5)"])
def test_a_plan_estimates_the_mean_trial_as_often_as_there_are_trials(
    tmp_path: Path, sr: str
) -> None:
    """Every network takes the same here, as long as its epochs."""
    own = ("epochs=10,20", "bypass=none,simple", "seed=0,1", "n_trials=30")
    short, long = (
        seconds(asked(tmp_path, *own).question.trial({"epochs": epochs})) for epochs in (10, 20)
    )
    mean, time, _, source = lines(tmp_path, *own, sr=sr)[-4:]
    words = mean.split()
    assert words[:3] == ["60", "trials", "of"]
    assert short < float(words[3]) < long
    ends = [float(word) for word in mean.rpartition("(")[2].strip(")").split(" to ")]
    assert ends == pytest.approx([short, long], rel=0.01)
    wall = OVERHEAD + 30 * float(words[3])
    assert time.startswith(f"estimated time with 2 workers: {wall / 60:.0f} min (")
    assert str(tmp_path / "cache") in source


@pytest.mark.usefixtures("measured")
def test_with_early_stopping_an_estimate_is_a_bound(tmp_path: Path) -> None:
    words = ("bypass=none", "stopping=front", "objective=macs,val_top1")
    assert "with 2 workers: at most " in "".join(lines(tmp_path, *words))


@pytest.mark.usefixtures("measured")
def test_a_plan_knows_what_the_study_has_done(tmp_path: Path) -> None:
    own = ("bypass=none", "sampler=random")
    request = asked(tmp_path, *own, "n_trials=3")
    with opened(request.folder, "") as storage:
        study = opened_study(request, storage)
        while proposal := study.propose():
            study.complete(proposal, {"val_top1": 50.0})
    assert "study random: random, 5 trials, 3 already done" in lines(tmp_path, *own, "n_trials=5")
    assert any(line.startswith("2 trials of") for line in lines(tmp_path, *own, "n_trials=5"))
    assert lines(tmp_path, *own, "n_trials=3")[-1] == "nothing to train"
    assert "study new: random, 1 trial" in lines(tmp_path, *own, "n_trials=1", "study=new")
    with pytest.raises(RequestError, match="`epochs` must be 20 in study random, got 9"):
        lines(tmp_path, *own, "epochs=9")


def test_an_estimate_that_would_need_many_calibrations_is_not_made(
    tmp_path: Path, measured: list[tuple[str, ...]]
) -> None:
    last = lines(tmp_path, "image_size=interval(8,64)", "bypass=none")[-1]
    assert last == "no estimate: each value of `image_size` would need a calibration of its own"
    assert measured == []


@pytest.mark.usefixtures("measured")
def test_a_plan_without_an_estimate_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(calibrate, "_measured", failing)
    assert lines(tmp_path, "bypass=none")[-1] == "no estimate: no luck"
