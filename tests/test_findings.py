"""The paper's claims on made-up tables: true effects agree, reversed ones contradict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pytest
from planted import planted

from dse.analysis.axes import sweep
from dse.analysis.findings import CLAIMS, examined, findings
from dse.report.sections import paper

Question = Mapping[str, Any]
SR = (0.125, 0.25, 0.5, 0.75, 1.0)
PCT3X3 = (0.01, 0.25, 0.5, 0.75, 0.99)
BYPASS = {"none": 0, "complex": 2, "simple": 4}
DEPTH = {"1-2-3": 0, "1-4-8": 2, "7-8-9": 4}


def until(value: float, end: float) -> float:
    """An accuracy that rises up to `end` and is level from there on."""
    return 60 + 20 * min(value, end)


PAGES: dict[str, tuple[Callable[[Question], float], dict[str, Any]]] = {
    "figure3a": (lambda q: until(q["sr"], 0.75), {"sr": SR, "pct3x3": [0.5]}),
    "figure3b": (lambda q: until(q["pct3x3"], 0.5), {"pct3x3": PCT3X3, "sr": [0.5]}),
    "table3": (lambda q: 70 + BYPASS[q["bypass"]], {"bypass": BYPASS, "sr": [0.125]}),
    "downsample": (lambda q: 70 + DEPTH[q["pool_after"]], {"pool_after": DEPTH}),
}


def verdicts(table: pd.DataFrame) -> list[str]:
    return [one.verdict for one in findings(table)]


@pytest.mark.parametrize("page", PAGES)
def test_effects_as_in_the_paper_agree_and_reversed_ones_contradict(page: str) -> None:
    accuracy, axes = PAGES[page]
    table = planted(accuracy, **axes)
    found = verdicts(table)
    assert found == ["agrees"] * len(found) != []
    if page.startswith("figure3"):  # a falling curve stops rising everywhere
        assert verdicts(planted(lambda q: -accuracy(q), **axes)) == ["contradicts", "agrees"]
        beyond = planted(lambda q: 60 + 20 * (q["sr"] + q["pct3x3"]), **axes)
        assert verdicts(beyond) == ["agrees", "contradicts"]
    else:
        reversed_ = verdicts(planted(lambda q: -accuracy(q), **axes))
        assert reversed_ == ["contradicts"] * len(found)


@pytest.mark.parametrize("page", PAGES)
def test_without_an_effect_or_enough_seeds_nothing_is_decided(page: str) -> None:
    accuracy, axes = PAGES[page]
    few = planted(accuracy, seeds=range(3), **axes)
    level = planted(lambda q: 70, spread=3, **axes)
    for table in (few, level):
        found = findings(table)
        assert {one.verdict for one in found} == {"not decided"}
    assert all("not decided; needs at least" in one.evidence for one in findings(few))


def test_the_papers_fixed_values_are_preferred() -> None:
    """Simple bypass helps at the paper's sr, and does harm at others."""
    table = planted(
        lambda q: 70 + BYPASS[q["bypass"]] * (1 if q["sr"] == 0.125 else -9),
        bypass=("none", "simple"),
        sr=(0.125, 0.5),
    )
    (found,) = findings(table)
    assert (found.verdict, "These trials" in found.evidence) == ("agrees", False)
    (found,) = findings(table[table["sr"] == 0.5])
    assert found.verdict == "contradicts"
    assert "These trials have sr=0.5, the paper's sr=0.125." in found.evidence
    assert "[" in found.evidence


def test_a_stray_trial_does_not_hide_that_others_differ_from_the_paper() -> None:
    table = planted(PAGES["figure3a"][0], sr=(0.125, 0.75), pct3x3=(0.25, 0.5, 0.75))
    stray = (table["sr"] == 0.125) & (table["seed"] == 0)
    rise, *_ = findings(table[(table["pct3x3"] != 0.5) | stray])
    assert rise.verdict == "agrees"
    assert "These trials have pct3x3=0.25,0.75, the paper's pct3x3=0.5." in rise.evidence


def test_only_the_trials_that_are_compared_are_named() -> None:
    """A grid without the paper's value of sr, and pct3x3 along another line."""
    grid = planted(lambda q: 70, sr=(0.125, 0.25, 1.0), bypass=("none", "simple"), pct3x3=[0.5])
    line = planted(lambda q: 70, sr=(0.125,), bypass=["none"], pct3x3=(0.01, 0.75))
    rise, _plateau, *_ = findings(pd.concat([grid, line], ignore_index=True))
    assert rise.evidence.startswith("pct3x3=0.5: ")
    assert rise.evidence.endswith(" These trials have sr=0.125, the paper's sr=0.5.")


def test_a_plateau_says_where_it_was_tested() -> None:
    table = planted(PAGES["figure3b"][0], pct3x3=PCT3X3, sr=(0.25, 1.0))
    *_, plateau = findings(table)
    assert "points of top-1, mean over 2 settings, 8 seeds" in plateau.evidence
    lacking = (table["pct3x3"] == 0.99) & (table["sr"] == 1.0)
    *_, plateau = findings(table[~lacking])
    assert "to 0.75 (mean over 2 settings): " in plateau.evidence
    assert "to 0.99 (at sr=0.25): " in plateau.evidence


def test_a_plateau_takes_values_as_far_apart_as_the_papers() -> None:
    table = planted(PAGES["figure3b"][0], pct3x3=(0.01, 0.5, 0.51), sr=(0.5,))
    *_, plateau = findings(table)
    assert plateau.verdict == "not decided"
    assert plateau.evidence.endswith("No value from 0.625 on, the paper's next, was compared.")


def test_what_else_varies_is_averaged() -> None:
    """The effect changes its sign with the number of epochs, and is positive on average."""
    table = planted(
        lambda q: 70 + BYPASS[q["bypass"]] * (q["epochs"] - 10) / 10,
        bypass=("none", "simple"),
        epochs=(5, 20),
    )
    (found,) = findings(table)
    assert found.verdict == "agrees"
    assert "mean over 2 settings" in found.evidence


def test_data_sets_are_tested_apart() -> None:
    accuracy, axes = PAGES["downsample"]
    table = planted(accuracy, **axes)
    other = planted(lambda q: -accuracy(q), **axes).assign(data="mnist")
    other["trial_id"] = other["trial_id"].str[::-1]
    found = findings(pd.concat([table, other]))
    assert [(one.data, one.verdict) for one in found] == [
        ("digits", "agrees"),
        ("mnist", "contradicts"),
    ]
    folders = [one.assign(manifest=f"9-20-5-{d * 20}") for one, d in ((table, "a"), (other, "b"))]
    assert [(one.data, one.verdict) for one in findings(pd.concat(folders).assign(data="f"))] == [
        ("f:aaaaaaaa", "agrees"),
        ("f:bbbbbbbb", "contradicts"),
    ]


def test_networks_that_never_pool_are_neither_early_nor_late() -> None:
    depth = {"1-2-3": 0, "7-8-9": 4, "none": -9}
    (found,) = findings(planted(lambda q: 70 + depth[q["pool_after"]], pool_after=depth))
    assert found.evidence.startswith("pool_after=7-8-9: +4")
    assert "compared with 1-2-3" in found.evidence
    assert findings(planted(lambda q: 70, pool_after=("1-2-3", "none"))) == []


def test_a_table_without_such_sweeps_has_no_findings() -> None:
    assert findings(planted(lambda q: 70, lr=(0.1, 0.2))) == []
    assert findings(planted(lambda q: 70, sr=(0.3, 0.4))) == []


def untested(table: pd.DataFrame) -> dict[str, str]:
    return examined(table)[1]


def test_claims_that_cannot_be_tested_say_what_they_need() -> None:
    """Only those about what varies; complex bypass is missing, and sr stops short of 0.75."""
    rises, stops = CLAIMS[1].text, CLAIMS[2].text
    assert untested(planted(lambda q: 70, lr=(0.1, 0.2))) == {}
    assert untested(planted(lambda q: 70, sr=SR)) == {}
    table = planted(lambda q: 70, sr=(0.125, 0.5, 1.0), bypass=("none", "simple"))
    needs = untested(table)
    assert (needs.pop(rises), needs.pop(stops)) == ("sr=0.75", "sr=0.75")
    assert [*needs.values()] == ["bypass=complex"] * 2
    short = planted(lambda q: 70, sr=(0.25, 0.5))
    assert untested(short) == {rises: "sr=0.125 and 0.75", stops: "sr=0.75 and sr above 0.75"}
    assert untested(pd.concat([short.assign(data="mnist"), table])) == {**needs, **untested(table)}
    apart = planted(lambda q: 70, sr=(0.125, 0.75))
    apart = apart[(apart["sr"] == 0.125) == (apart["seed"] < 4)]
    assert untested(apart) == {
        rises: "a seed with sr=0.125 and 0.75, all else equal",
        stops: "sr above 0.75",
    }
    (_, line) = paper(sweep(table)).text
    assert line.startswith(f'Not tested: "{rises[:-1]}" (needs sr=0.75), "')


def test_a_finding_has_the_numbers_of_both_sides() -> None:
    accuracy, axes = PAGES["figure3a"]
    rise, plateau = findings(planted(accuracy, spread=0.01, **axes))
    assert (rise.claim, rise.verdict, rise.data) == (
        "Accuracy rises with the squeeze ratio.",
        "agrees",
        "digits",
    )
    assert rise.evidence.startswith("sr=0.75: +12.5")
    assert rise.paper == "Figure 3(a): 80.3% at 0.125, 86.0% at 0.75 (top-5 on ImageNet)."
    assert "86.0% at 0.75, 86.1% at 1" in plateau.paper


@pytest.mark.parametrize(
    ("below", "spread", "seeds", "verdict"),
    [
        (0.0, 0.1, 8, "agrees"),
        (-2.0, 0.1, 8, "agrees"),
        (0.2, 0.1, 8, "agrees"),
        (0.8, 0.1, 8, "contradicts"),
        (0.0, 1.0, 8, "not decided"),
        (9.0, 0.1, 5, "not decided"),
    ],
)
def test_squeezenet_is_compared_with_alexnet(
    below: float, spread: float, seeds: int, verdict: str
) -> None:
    """Its accuracy is `below` AlexNet's at the paper's squeeze ratio, and far above at another."""
    ours = planted(
        lambda q: 70 - below if q["sr"] == 0.125 else 90,
        spread=spread,
        seeds=range(seeds),
        sr=(0.125, 0.75),
    )
    alexnet = planted(lambda q: 70, spread=spread, seeds=range(seeds), network=["alexnet"])
    table = pd.concat([ours.assign(params=20), alexnet.assign(params=1000)], ignore_index=True)
    found = {one.claim: one for one in findings(table)}
    assert set(found) == {
        "SqueezeNet has AlexNet's accuracy with 50 times fewer parameters.",
        "Accuracy rises with the squeeze ratio.",
    }
    first = findings(table)[0]
    assert (first.verdict, "50 times fewer" in first.evidence) == (verdict, True)
    assert "These trials" not in first.evidence


def test_a_squeezenet_that_is_not_50_times_smaller_is_not_the_papers() -> None:
    """The parameters are those of the networks that are compared."""
    ours = planted(lambda q: 70, sr=[0.125]).assign(params=20)
    alexnet = planted(lambda q: 70, network=["alexnet"])
    for params, verdict in ((907, "agrees"), (124, "not decided")):  # 45.4 times: px32
        table = pd.concat([ours, alexnet.assign(params=params)], ignore_index=True)
        alone = ours.assign(epochs=99, params=2000, trial_id=ours["trial_id"] + "x")
        (found,) = findings(pd.concat([table, alone], ignore_index=True))
        assert found.verdict == verdict
        assert f"SqueezeNet has {params / 20:.3g} times fewer parameters." in found.evidence
    assert found.evidence.endswith("6.2 times fewer parameters. The claim takes at least 40.")


@pytest.mark.parametrize(("more", "verdict"), [(0.0, "not decided"), (0.6, "contradicts")])
def test_a_claim_with_a_margin_is_contradicted_beyond_it_only(more: float, verdict: str) -> None:
    """All differences are above 0, so that a change is decided; most are below the margin, 0.5."""
    by = [more + one for one in (0.30, 0.45, 0.35, 0.55, 0.25, 0.50, 0.40, 0.60)]
    table = planted(lambda q: 70 + by[q["seed"]] * (q["sr"] == 1), spread=0, sr=(0.75, 1.0))
    (rises,) = findings(table)
    assert rises.verdict == verdict
    undecided = ", not decided whether by more than 0.5 points" if verdict == "not decided" else ""
    assert rises.evidence.endswith(f"points of top-1, 8 seeds: still rises{undecided}.")
    ours = planted(lambda q: 70 - by[q["seed"]], spread=0, sr=[0.125]).assign(params=20)
    alexnet = planted(lambda q: 70, spread=0, network=["alexnet"]).assign(params=1000)
    (as_accurate,) = findings(pd.concat([ours, alexnet], ignore_index=True))
    assert (as_accurate.verdict, ": lower." in as_accurate.evidence) == (verdict, True)


def test_the_paper_s_place_of_pooling_is_preferred() -> None:
    """Networks that pool elsewhere have as few weights, and are not what its title is about."""
    pools = ["1-4-8", "4-6-8"]
    ours = planted(lambda q: 70 + 20 * pools.index(q["pool_after"]), pool_after=pools, sr=[0.125])
    alexnet = planted(lambda q: 70, network=["alexnet"])
    for own, better in ((ours, False), (ours[ours["pool_after"] != "1-4-8"], True)):
        table = pd.concat([own.assign(params=20), alexnet.assign(params=1000)], ignore_index=True)
        first = findings(table)[0]
        assert first.verdict == "agrees"
        assert ("squeezenet: +19.8" in first.evidence) is better
        assert ("have pool_after=4-6-8, the paper's pool_after=1-4-8." in first.evidence) is better


def test_alexnet_does_not_count_as_another_setting() -> None:
    """Away from the paper's squeeze ratio only that is named, next to AlexNet as without it."""
    ours = planted(lambda q: 70 + BYPASS[q["bypass"]], bypass=BYPASS, sr=[0.5])
    alexnet = planted(lambda q: 70, network=["alexnet"])
    table = pd.concat([ours.assign(params=20), alexnet.assign(params=1000)], ignore_index=True)
    _, *found = findings(table)
    assert found == findings(ours)
    assert all("have sr=0.5, the paper's sr=0.125." in one.evidence for one in found)
