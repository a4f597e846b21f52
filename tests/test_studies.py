"""What a study found: its history, and which keys matter in which direction; its report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from reading import composed_once

import dse
from dse.analysis.axes import NoSweep
from dse.analysis.studies import (
    BEST,
    best_rows,
    effect_rows,
    front_rows,
    guessing,
    history,
    survivors,
)
from dse.figures.study import study_figure
from dse.report.page import cells
from dse.report.study import searches
from dse.results import studies
from dse.search.closing import effects, outcome, points_of
from dse.search.ledger import Ledger
from dse.search.request import read_request
from dse.search.storage import opened
from dse.search.study import Proposal, Study

__all__ = ["composed_once"]


def planted(proposal: Proposal) -> float:
    """Accuracy falls with `sr`, is better with bypass, and does not depend on `base_e`."""
    point = proposal.point
    return float(80 - 40 * point["sr"] + 10 * (point["bypass"] == "simple"))


def found(folder: Path, *arguments: str) -> dict[str, Any]:
    """What a study of planted accuracies found, as it is kept."""
    fixed = ("incr_e=8", "pct3x3=0.5", "pool_after=1-4-8", "epochs=5")
    request = read_request(["base_e=range(8,56,4)", *fixed, *arguments])
    with opened(folder, "") as storage:
        study = Study(
            Ledger(storage, "s", request.question, request.n_trials, ""),
            request.question,
            request.n_trials,
        )
        while proposal := study.propose():
            if proposal.number % 5 == 4:
                study.prune(proposal, [20.0, 30.0])
            else:
                if proposal.number == 0:
                    study.note_stored(proposal)
                study.complete(proposal, {"val_top1": planted(proposal)})
        studies.save(folder, "s", outcome(request, study))
    return studies.load(folder)["s"]


def test_the_front_of_an_earlier_study_has_no_ids(front: dict[str, Any]) -> None:
    assert front_rows(front)["id"].str.len().min() == 8
    points = [
        {key: value for key, value in point.items() if key not in ("trials", "networks")}
        for point in front["points"]
    ]
    assert set(front_rows({**front, "points": points})["id"]) == {""}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("front")
    return found(folder, "sampler=random", "n_trials=70", "objective=size_bytes,val_top1")


def whole(study: dict[str, Any]) -> dict[str, Any]:
    """The study as if nothing had been stopped."""
    return {**study, "points": [p for p in study["points"] if p["state"] != "stopped"]}


def test_importances_point_to_high_accuracy(front: dict[str, Any]) -> None:
    effects = front["effects"]
    assert effects["sr"]["importance"] > 3 * effects["base_e"]["importance"]
    assert effects["sr"]["rank"] < -0.5
    assert effects["sr"]["best"] == 0.125
    assert effects["bypass"]["best"] == "simple"
    assert effects["bypass"]["rank"] is None
    assert effect_rows(whole(front))["key"].iloc[0] == "sr"


def test_no_keys_matter_among_trials_that_early_stopping_left(front: dict[str, Any]) -> None:
    """Which values have survived depends on their accuracy."""
    assert front["effects"]
    assert effect_rows(front).empty
    stopped = sum(p["state"] == "stopped" for p in front["points"])
    assert survivors(front) == [
        f"no table of which keys matter: {stopped} of 70 trials were stopped early, and those left "
        "were chosen by their accuracy"
    ]
    assert survivors({**front, "effects": {}}) == []  # too few in any case
    assert survivors(whole(front)) == []


def test_importances_count_each_trained_point_once(tmp_path: Path) -> None:
    """What was stopped early, or proposed again, does not change them."""
    request = read_request(["base_e=range(8,64,4)", "bypass=none", "pool_after=1-4-8", "incr_e=8",
                            "pct3x3=0.5", "sampler=grid", "n_trials=60"])  # fmt: skip
    with opened(tmp_path, "") as storage:
        study = Study(Ledger(storage, "s", request.question, 60, ""), request.question, 60)
        while proposal := study.propose():
            if proposal.number < 3:
                study.prune(proposal, [99.0])
            else:
                study.complete(proposal, {"val_top1": 80 - 40 * proposal.point["sr"]})
        points = points_of(request, study)
        plain = optuna.create_study(direction="maximize")
        plain.add_trials(t for t in study.memory.get_trials() if t.number >= 3)
        fewer = [{**p, "number": p["number"] - 3} for p in points[3:]]
        whole = effects(request, study.memory, points, 15.0)
        assert whole["sr"]["importance"] is not None
        assert whole == effects(request, plain, fewer, 15.0)


@pytest.mark.parametrize(
    ("count", "level", "shown"),
    [
        (12, 0.0, []),
        (20, 0.0, ["key", "rank correlation", "best value", "trials"]),
        (50, 0.0, ["key", "importance", "rank correlation", "best value", "trials"]),
        (50, -40.0, []),  # more than half are at chance
    ],
)
def test_nothing_is_said_about_keys_where_too_few_networks_tell(
    tmp_path: Path, count: int, level: float, shown: list[str]
) -> None:
    request = read_request(["base_e=range(8,64,4)", "bypass=none", "pool_after=1-4-8", "incr_e=8",
                            "pct3x3=0.5", "sampler=grid", f"n_trials={count}"])  # fmt: skip
    with opened(tmp_path, "") as storage:
        study = Study(Ledger(storage, "s", request.question, count, ""), request.question, count)
        while proposal := study.propose():
            study.complete(proposal, {"val_top1": level + 60 - 40 * proposal.point["sr"]})
        assert [*effect_rows(outcome(request, study))] == shown


def test_a_history_counts_trials_and_epochs(front: dict[str, Any]) -> None:
    table = history(front)
    assert len(table) == 70
    stopped = table["state"] == "stopped"
    spent = table["epochs"].diff()[1:]
    assert table["epochs"].iloc[0] == 0, "the first was in the store"
    assert set(spent[~stopped[1:]]) == {5}
    assert set(spent[stopped[1:]]) == {2}
    assert table["hypervolume"].is_monotonic_increasing
    assert not table["on_front"][stopped].any()
    best = table[table["on_front"]].sort_values("cost")
    assert best["val_top1"].is_monotonic_increasing
    assert best["val_top1"].iloc[-1] == table["val_top1"].max()


def test_a_study_of_one_objective_has_its_best_so_far(tmp_path: Path) -> None:
    study = found(tmp_path, "sampler=grid", "n_trials=12")
    table = history(study)
    assert table["best"].iloc[-1] == table["val_top1"].max()
    figure = study_figure(study)
    assert figure.axes[0].get_ylabel() == "validation top-1 (%)"
    assert "A dot is a point, the line the best so far." in figure.remarks
    best = f"best validation accuracy {table['best'].iloc[-1]:.1f}%"
    stopped = study["points"][0] | {"state": "stopped", "values": None}
    for points, words in (([*study["points"], stopped], best), ([stopped], "no result yet")):
        assert words in searches({"s": {**study, "points": points}}).points[0].text


def test_the_report_shows_studies(front: dict[str, Any]) -> None:
    section = searches({"s": {**whole(front), "refused": {"max.macs": 3, "repeat": 1}}})
    (point,) = section.points
    assert point.more == ["3 proposals exceeded max.macs", "1 proposal " + REPEATED]
    assert section.figures[0].svg.startswith(b"<?xml")
    best, effects = (table.frame for table in section.tables)
    assert effects["key"].tolist()[0] == "sr"
    assert best["size_bytes"].is_monotonic_increasing
    assert pd.api.types.is_integer_dtype(best["size_bytes"])  # bytes have no decimals
    assert best["val_top1"].is_monotonic_increasing
    assert len(best) == history(front)["on_front"].sum()
    ids = [trial_id for point in front["points"] for trial_id in point["trials"]]
    assert all(any(own.startswith(shown) for own in ids) for shown in best["id"])
    assert not searches({}).is_filled
    costs = {"objectives": ["compressed_bytes", "val_top1"], "compression": "method=prune"}
    for study, words in ((front, "validation set"), ({**front, **costs}, "decoded file on the")):
        about = {one.name: one.about for one in cells(searches({"s": study}).tables[0])}
        axes = study["points"][0]["point"]
        assert all(about[name] for name in about if name not in axes)
        assert words in about["val_top1"]


def test_the_report_says_what_a_study_was(front: dict[str, Any]) -> None:
    (point,) = searches({"s": front}).points
    whole, stopped = (sum(p["state"] == s for p in front["points"]) for s in ("trained", "stopped"))
    assert point.text.startswith(
        "Study s (sampler random, objective size_bytes and val_top1): 70 trials, "
        f"1 already in the folder, {whole} trained to the end, {stopped} stopped early; "
    )
    assert not point.text.endswith("done.")  # the counts say the same
    assert point.more[-1:] == survivors(front)
    ended = {**front, "ended": "all 70 points of the space have been tried"}
    assert (
        searches({"s": ended})
        .points[0]
        .text.endswith(". All 70 points of the space have been tried.")
    )


def test_the_trials_with_the_best_value_are_counted(front: dict[str, Any]) -> None:
    front = whole(front)
    rows = effect_rows(front).set_index("key")
    done = [p["point"]["bypass"] for p in front["points"] if p["state"] in ("trained", "stored")]
    assert rows.loc["bypass", "trials"] == f"{done.count('simple')} of {len(done)}"
    uneven = "; the values were not chosen evenly"
    for sampler, warm, words in (
        ("random", False, ""), ("random", True, uneven), ("tpe", False, uneven),
    ):  # fmt: skip
        one = {**front, "sampler": sampler, "warm_start": warm}
        caption = searches({"s": one}).tables[1].caption
        assert caption == f"Which keys matter for accuracy: s{words}"


def test_tied_networks_are_counted(front: dict[str, Any]) -> None:
    points = [{**p, "values": p["values"] and [p["values"][-1]]} for p in front["points"]]
    one = {**front, "objectives": ["val_top1"], "points": points}
    best = max(p["values"][0] for p in points if p["values"])
    count = sum(p["values"] == [best] for p in points)
    assert count > 1
    table = searches({"s": one}).tables[0]
    tied = f"({count} tied for the first place)"
    assert table.caption == f"The 10 best trials {tied}, by validation accuracy: s"
    assert (table.frame["val_top1"] == best).sum() == count


def test_the_best_trials_are_ranked_by_validation_accuracy(front: dict[str, Any]) -> None:
    """The test set and the records are for information; of equal trials the smallest is first."""
    points = [{**p, "values": p["values"] and p["values"][-1:]} for p in front["points"]]
    one = {**front, "objectives": ["val_top1"], "points": points}
    done = [p for p in points if p["values"]]
    sizes = {p["networks"][0]: 1000 - n for n, p in enumerate(done)}
    networks = pd.DataFrame({"params": sizes, "size_bytes": sizes})
    networks["top1"] = -networks["size_bytes"]
    rows = best_rows(one, networks)
    ranked = sorted(done, key=lambda p: (-p["values"][0], sizes[p["networks"][0]]))[:BEST]
    assert rows["trial"].tolist() == [points.index(p) + 1 for p in ranked]
    assert rows["size_bytes"].tolist() == [sizes[p["networks"][0]] for p in ranked]
    assert (rows["top1"] == -rows["size_bytes"]).all()
    assert [*rows][-5:] == ["params", "size_bytes", "val_top1", "top1", "id"]
    both = {**one, "points": [{**p, "networks": [*p["networks"], "gone"]} for p in points]}
    assert best_rows(both, networks)["top1"].isna().all(), "a mean of some seeds is none"
    assert best_rows(front, networks)["trial"].tolist() == front_rows(front)["trial"].tolist()


def test_unfinished_trials_keep_their_place(front: dict[str, Any]) -> None:
    points = [p for p in front["points"] if p["state"] == "trained"][:3]
    points[1] = {**points[1], "state": "running", "values": None}
    study = {**front, "points": points}
    assert history(study)["trial"].tolist() == [1, 3]
    text = searches({"s": study}).points[0].text
    assert "3 of 70 trials, 2 trained, 1 not finished; " in text


def test_a_study_is_a_table(tmp_path: Path, front: dict[str, Any]) -> None:
    studies.save(tmp_path, "s", front)
    table = dse.load_study(str(tmp_path))
    assert table["study_trial"].tolist() == [*range(1, 71)]
    keys = [*front["points"][0]["point"]]
    assert [*table] == [
        *("study_trial", *keys, "state", "epochs_trained", "size_bytes", "val_top1"),
        *("stopped_val_top1", "params", "macs", "activations", "peak_activation_bytes"),
        *("on_chip_bytes", "trial_id"),
    ]
    stopped = table["state"] == "stopped"
    assert set(table["state"]) == {"stored", "trained", "stopped"}
    assert (table["stopped_val_top1"][stopped] == 30).all()
    assert table["stopped_val_top1"].isna().equals(~stopped)
    assert table["val_top1"].isna().equals(stopped)
    assert (table["epochs_trained"][stopped] == 2).all()
    for row, point in zip(table.to_dict("records"), front["points"], strict=True):
        assert {key: row[key] for key in keys} == point["point"]
        assert [row["trial_id"]] == point["trials"]
        assert point["values"] in (None, [row["size_bytes"], row["val_top1"]])
        assert row["on_chip_bytes"] == row["size_bytes"] + row["peak_activation_bytes"]


def test_a_study_of_compressed_networks_has_their_ids(
    tmp_path: Path, front: dict[str, Any]
) -> None:
    """Its seeds are one row; an earlier version kept no costs."""
    kept = ("state", "point", "values", "epochs")
    points = [{key: p[key] for key in kept} for p in front["points"]]
    points = [{**p, "trials": ["a", "b"], "networks": ["c", "d"]} for p in points]
    costs = {"objectives": ["compressed_bytes", "val_top1"], "compression": "method ristretto"}
    studies.save(tmp_path, "s", {**front, **costs, "points": points})
    table = dse.load_study(tmp_path, "s")
    assert [*table][-4:] == ["val_top1", "stopped_val_top1", "trial_id", "compressed_id"]
    assert set(table["trial_id"]) == {"a b"}
    has = table.groupby("state")["compressed_id"].unique().map(list)
    assert has.to_dict() == {"stored": ["c d"], "trained": ["c d"], "stopped": [""]}


def test_a_study_must_be_there_and_named_among_several(
    tmp_path: Path, front: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="must be a results folder"):
        dse.load_study(tmp_path)
    (tmp_path / "trials").mkdir()
    with pytest.raises(ValueError, match=r"must hold a study, got .*: no search has ended there"):
        dse.load_study(tmp_path)
    for name in "ab":
        studies.save(tmp_path, name, front)
    with pytest.raises(ValueError, match=r"`study` must be one of a, b, as .* has 2 studies"):
        dse.load_study(tmp_path)
    with pytest.raises(ValueError, match="`study` must be one of a, b, got c"):
        dse.load_study(tmp_path, "c")
    assert len(dse.load_study(tmp_path, "b")) == 70


def test_what_may_be_guessing_is_said(front: dict[str, Any]) -> None:
    table = history(front)
    least = table.loc[table["on_front"], "val_top1"].min()
    count = int(table["on_front"].sum())
    assert guessing(front) == []
    (line,) = guessing({**front, "chance": least})
    few = int((table.loc[table["on_front"], "val_top1"] <= least).sum())
    verb = "is" if few == 1 else "are"
    text = f"{few} of {count} networks on the front {verb} no better than guessing"
    assert line == f"{text} (accuracy up to {least:.1f}%)"
    points = [{**p, "values": p["values"] and p["values"][-1:]} for p in front["points"]]
    one = {**front, "objectives": ["val_top1"], "points": points, "chance": 100.0}
    assert guessing(one) == ["the best network is no better than guessing (accuracy up to 100.0%)"]
    assert searches({"s": {**front, "chance": least}}).points[0].more[-1] == line


REPEATED = "repeated a network that the study had already"


def test_a_file_that_is_no_study_is_left_out(tmp_path: Path, front: dict[str, Any]) -> None:
    studies.save(tmp_path, "whole", front)
    for name, content in (("part", {"points": [1]}), ("list", [1])):
        studies.save(tmp_path, name, content)  # type: ignore[arg-type]
    assert [*studies.load(tmp_path)] == ["whole"]


def test_a_study_without_results_has_no_figure(front: dict[str, Any]) -> None:
    with pytest.raises(NoSweep):
        study_figure({**front, "points": front["points"][:1]})
    assert math.isnan(history({**front, "points": []})["val_top1"].mean())
