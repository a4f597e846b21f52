"""A study: nothing is trained that exceeds a limit, nothing twice, and a killed study goes on."""

from __future__ import annotations

import functools
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reading import composed_once

import dse
from dse import status
from dse.analysis.studies import history
from dse.results import studies
from dse.results.studies import JOURNAL
from dse.search import drive
from dse.search.closing import close, outcome
from dse.search.ledger import Ledger, check_not_lost, so_far
from dse.search.limits import costs_of
from dse.search.request import Request, read_request
from dse.search.storage import opened
from dse.search.study import Proposal, Study
from dse.sweep.errors import RequestError

__all__ = ["composed_once"]

SMALL = ("base_e=8,16", "incr_e=8,16", "sr=0.125,0.5", "pct3x3=0.25,0.5", "pool_after=1-4-8")
FRONT = "objective=size_bytes,val_top1"


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file waits for the disk: nothing here is killed but the study."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


def accuracy(proposal: Proposal) -> float:
    """Made-up: larger networks are better, with some noise that depends on the point alone."""
    noise = random.Random(proposal.trials[0].trial_id).uniform(0, 10)
    return min(proposal.costs["size_bytes"] ** 0.35 + noise, 100)


class Interrupted(Exception):
    """The process was killed."""


@functools.cache
def asked(*arguments: str) -> Request:
    return read_request(arguments)


class Countdown:
    """Is true from the `left`-th time on."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def study(
    folder: Path, *arguments: str, stop: Callable[[], bool] = lambda: False, fail: bool = False
) -> tuple[list[Any], list[Proposal], Study]:
    """Run a study of toy accuracies until it ends or `stop` says that the process is killed; its
    entries, what it trained, and itself."""
    request, trained = asked(*arguments), []
    with opened(folder, "") as storage:
        found = opened_study(request, storage)
        waiting = found.unfinished()
        while proposal := waiting.pop(0) if waiting else found.propose():
            if stop():
                raise Interrupted
            trained.append(proposal)
            if fail and len(trained) % 3 == 0:
                found.fail(proposal, "no memory")
            else:
                found.complete(proposal, {"val_top1": accuracy(proposal)})
            if stop():
                raise Interrupted
        entries = Ledger(storage, request.study, request.question, 0, "").entries()
    return [(e.state, e.params, e.values, e.user_attrs) for e in entries], trained, found


def opened_study(request: Request, storage: Any) -> Study:
    ledger = Ledger(storage, request.study, request.question, request.n_trials, "")
    return Study(ledger, request.question, request.n_trials)


def test_a_given_point_comes_first_and_one_in_training_is_not_done(tmp_path: Path) -> None:
    request = asked(*SMALL, "sampler=random", "n_trials=2")
    point = next(request.question.space.points())
    with opened(tmp_path / "s", "") as storage:
        ledger = Ledger(storage, "warm", request.question, 2, "")
        warm = Study(ledger, request.question, 2, [point])
        first = warm.propose()
        assert first
        assert first.point == point
        assert (warm.count, warm.done) == (1, 0)
        warm.complete(first, {"val_top1": 50.0})
        assert warm.done == 1
        again = Study(ledger, request.question, 2)  # without the point: the ledger knows it
        second = again.propose()
        assert second
        assert second.point != point
        cold = opened_study(request, storage)
        cold.propose()
        known = [outcome(request, one)["warm_start"] for one in (warm, again, cold)]
    assert known == [True, True, False]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "annealing", "grid"])
def test_nothing_is_trained_twice_or_above_a_limit(tmp_path: Path, sampler: str) -> None:
    limits = ("max.size_bytes=20kB", "max.macs=0.9M")
    entries, trained, found = study(
        tmp_path / "s", *SMALL, *limits, FRONT, f"sampler={sampler}", "n_trials=100"
    )
    questions = {tuple(sorted(p.trials[0].question.items())) for p in trained}
    assert len(questions) == len(trained) == found.count
    assert all(p.costs == costs_of(p.trials[0]) for p in trained)
    assert all(p.costs["size_bytes"] <= 20_000 and p.costs["macs"] <= 900_000 for p in trained)
    every = asked(*SMALL, "sampler=grid").question
    within = [
        costs
        for point in every.space.points()
        if (costs := costs_of(every.trial(point)))["size_bytes"] <= 20_000
        and costs["macs"] <= 900_000
    ]
    assert 3 < len(within) < 30
    assert len(trained) == len(within), "the study ended before all points were tried"
    assert found.ended == f"all {len(within)} points within the limits have been tried"
    assert len(entries) <= 11 * len(within)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "annealing"])
def test_a_killed_study_ends_as_an_undisturbed_one(tmp_path: Path, sampler: str) -> None:
    """Killed before and after results are noted, and in the middle of writing to its journal."""
    arguments = (f"sampler={sampler}", "n_trials=11", FRONT, "max.size_bytes=60kB", "study_seed=3")
    whole, trained, _ = study(tmp_path / "whole", *arguments)
    assert len(trained) == 11
    rng, folder = random.Random(sampler), tmp_path / "killed"
    for _ in range(2):
        with pytest.raises(Interrupted):
            study(folder, *arguments, stop=Countdown(rng.randrange(2, 7)))
        cut = rng.randrange(1, 200)
        content = (folder / JOURNAL).read_bytes()
        (folder / JOURNAL).write_bytes(content[: -min(cut, len(content.splitlines()[-1]))])
    assert study(folder, *arguments)[0] == whole


def test_intervals_are_searched_within_limits(tmp_path: Path) -> None:
    arguments = ("sr=interval(0.1,1)", "lr=tag(log,interval(0.01,0.5))", "base_e=interval(4,32)")
    _, trained, _ = study(tmp_path / "s", *arguments, "n_trials=9", "max.size_bytes=40kB")
    assert len(trained) == 9
    assert all(p.costs["size_bytes"] <= 40_000 for p in trained)
    assert all(0.01 <= p.point["lr"] <= 0.5 and isinstance(p.point["base_e"], int) for p in trained)


def test_a_study_ends_where_other_values_give_the_same_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dse.search.candidates.DRAWS", 100)
    fixed = (
        "base_e=8", "incr_e=8", "pct3x3=0.5", "bypass=none", "pool_after=1-4-8",
    )  # fmt: skip
    _, trained, found = study(
        tmp_path / "s", *fixed, "sr=interval(0.45,0.55)", "sampler=random", "n_trials=100"
    )
    networks = {p.trials[0].architecture.fires for p in trained}  # type: ignore[union-attr]
    assert len(networks) == len(trained) < 20
    assert found.ended == "no new point was found in 100 draws"


def test_a_space_without_limits_ends_when_all_is_tried(tmp_path: Path) -> None:
    fixed = ("base_e=8", "incr_e=8", "pct3x3=0.5", "bypass=none", "pool_after=1-4-8")
    _, _, found = study(tmp_path / "s", *fixed, "sr=0.125,0.5,1", "sampler=random", "n_trials=9")
    assert found.ended == "all 3 points of the space have been tried"


def test_what_failed_is_not_tried_again_until_the_next_command(tmp_path: Path) -> None:
    arguments = (*SMALL, "sampler=random", "n_trials=9")
    _, trained, _ = study(tmp_path / "s", *arguments, fail=True)
    assert len({str(p.point) for p in trained}) == len(trained) == 9
    _, again, found = study(tmp_path / "s", *arguments)
    assert [p.point for p in again] == [p.point for p in trained[2::3]]
    assert found.count == 9
    assert study(tmp_path / "s", *arguments)[1] == []


def test_the_status_follows_a_study_while_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without what a search leaves at its end, and without writing."""
    arguments = (*SMALL, FRONT, "sampler=random", "n_trials=12")
    with pytest.raises(Interrupted):
        study(tmp_path / "s", *arguments, stop=Countdown(20), fail=True)

    def shown() -> str:
        assert status.main([str(tmp_path / "s")]) == 0
        (line,) = [one for one in capsys.readouterr().out.splitlines() if "study" in one]
        return line

    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    line = shown()
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    kept = so_far(tmp_path / "s")["random"]
    done = Counter(point["state"] for point in kept["points"])
    assert done["failed"] == 3
    assert done["trained"] >= 5
    best = max(point["values"][1] for point in kept["points"] if point["values"])
    count = int(history(kept)["on_front"].sum())
    states = f"{done['trained']} trained, 3 failed" + ", 1 not finished" * done["running"]
    assert line == (
        f"study random (random): {done.total()} of 12 trials, {states}; "
        f"{count} point{'s' * (count > 1)} on the front, best validation accuracy {best:.1f}%"
    )
    _, _, found = study(tmp_path / "s", *arguments)
    assert shown().startswith("study random (random): 12 trials, 12 trained; ")
    kept = so_far(tmp_path / "s")["random"]["points"]
    values = [entry.values for entry in found.entries]
    assert Counter(str(p["values"]) for p in kept) == Counter(map(str, values))


def test_a_longer_study_goes_on(tmp_path: Path) -> None:
    first, _, _ = study(tmp_path / "s", "n_trials=5", "sampler=nsga2")
    more, trained, _ = study(tmp_path / "s", "n_trials=8", "sampler=nsga2")
    assert more[: len(first)] == first
    assert len(trained) == 3


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("sr=0.5,1", "`sr` must be 0.125,0.5 in study random, got 0.5,1"),
        ("epochs=3", "`epochs` must be 20 in study random, got 3"),
        ("max.macs=1M", "`max.macs` must be left out in study random, got 1000000"),
        ("study_seed=1", "`study_seed` must be 0 in study random, got 1"),
        (FRONT, "`objective` must be val_top1 in study random, got size_bytes,val_top1"),
    ],
)
def test_a_study_that_has_changed_is_refused(tmp_path: Path, change: str, line: str) -> None:
    arguments = [*SMALL, "sampler=random", "n_trials=3"]
    before, _, _ = study(tmp_path / "s", *arguments)
    key = change.partition("=")[0]
    changed = [a for a in arguments if a.partition("=")[0] != key]
    with pytest.raises(RequestError) as error:
        study(tmp_path / "s", *changed, change)
    assert [*error.value.lines] == [line, "choose another `study` for a new one"]
    assert study(tmp_path / "s", *arguments)[0] == before


def test_a_study_whose_journal_has_lost_trials_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    request = asked(*SMALL, "sampler=random", "n_trials=3", f"results.root={tmp_path}", "name=s")
    study(folder, *SMALL, "sampler=random", "n_trials=3")
    with opened(folder, "") as storage:
        studies.save(folder, "random", outcome(request, opened_study(request, storage)))
    check_not_lost(folder, "random", request.question)
    path = folder / JOURNAL
    content, kept = path.read_bytes(), folder / "studies/random.json"
    last = content[: content.rindex(b'"values"')]  # the line that says how the last trial ended
    for lost, has in ((content[:500], 0), (b"", 0), (last, 2)):
        path.write_bytes(lost)
        with opened(folder, ""):
            pass
        before = path.read_bytes()
        with pytest.raises(RequestError) as error:
            drive.run(request)
        assert [*error.value.lines] == [
            f"study random had 3 trials, {path} has {has}: restore that file, or choose another "
            f"`study`; to begin this one again, remove {kept}"
        ]
        assert path.read_bytes() == before
    kept.unlink()
    check_not_lost(folder, "random", request.question)


def test_one_search_at_a_time_uses_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dse.search.storage.PATIENCE", 0.1)
    with (
        opened(tmp_path / "s", ""),
        pytest.raises(RequestError, match="another search runs on"),
        opened(tmp_path / "s", ""),
    ):
        pass


def test_a_journal_with_a_damaged_line_is_refused(tmp_path: Path) -> None:
    study(tmp_path / "s", *SMALL, "n_trials=2")
    path = tmp_path / "s" / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (lines[2][:9] + b"\n", b"{}\n"):
        path.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
        with pytest.raises(RequestError, match="is damaged in line 3"):
            study(tmp_path / "s", *SMALL, "n_trials=2")


@pytest.mark.parametrize("owner", ["", "another machine"])
def test_only_what_is_missing_here_is_counted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    owner: str,
) -> None:
    """Another machine keeps the records of what it trained."""
    given: dict[str, Any] = {}
    monkeypatch.setattr("dse.search.closing.closing.close", lambda *_, **own: given.update(own))
    root = (f"results.root={tmp_path}", "name=s")
    request = asked(*SMALL, "sampler=random", "n_trials=3", *root)
    study(tmp_path / "s", *SMALL, "sampler=random", "n_trials=3", fail=True)
    with opened(tmp_path / "s", "") as storage:
        ledger = Ledger(storage, "random", request.question, 3, owner)
        lost = close(request, Study(ledger, request.question, 3), "")
    table = dse.load_study(tmp_path / "s")
    assert set(table["state"]) == {"trained", "failed"}
    assert table["val_top1"].isna().equals(table["state"] == "failed")
    assert table["params"].gt(0).all()
    assert given["searched"] == [*table][1 : [*table].index("state")]
    said = capsys.readouterr().err
    assert lost == (0 if owner else 3)
    assert ("3 of 3 points have no record: " in said) == (owner == "")
    assert ("retry with: " in said) == (owner == "")


def test_a_database_that_cannot_be_used_is_a_line(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    url = "postgresql://me@/x?host=/no/such/place"
    line = f"^`storage` cannot be used, got {re.escape(url)}"
    with pytest.raises(RequestError, match=line), opened(tmp_path / "s", url):
        pass
