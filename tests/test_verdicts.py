"""The verdict on every claim: computed, and different for another published number."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from dse.paper.checks import CHECKS, six_bit_bytes
from dse.paper.claims import CLAIMS, Claim
from dse.paper.published import TABLE_1_PARAMS_AFTER
from dse.paper.verdicts import audit, decimals, half_up, judge
from dse.space.architecture import LAYOUTS, V1_0, Metaparameters, generate
from dse.space.cost import layers, size_label

BY_ID = {claim.id: claim for claim in CLAIMS}
COMPUTABLE = [claim for claim in CLAIMS if not claim.measured]
CONTRADICTED = {
    "section3.3.pools",
    "table1.input.output",
    "table1.fire8.params_after",
    "table1.maxpool8.output",
    "table1.conv10.authors_output",
    "table1.conv10.kept_filter",
    "table1.sparsity",
    "table2.alexnet.size",
    "table2.pruning.size",
    "table2.squeezenet_8bit.ratio",
    "table2.squeezenet_6bit.released_layout",
    "section4.sparsity_6bit",
    "section5.2.plateau",
    "section5.3.plateau",
    "figure3a.0.5.printed",
    "figure3b.0.375.size",
    "figure3.shared",
    "table3.complex.size",
    "v1_1.gflops",
    "v1_1.less_computation",
    "deep_compression.index_bits",
    "zynqnet.params",
    "zynqnet.top5",
}


def verdict(id: str) -> tuple[str, str]:
    finding = judge(BY_ID[id])
    return finding.verdict, finding.computed


# The verdicts -------------------------------------------------------------------------------


def test_every_claim_is_computed_or_needs_imagenet() -> None:
    assert set(CHECKS) == {claim.id for claim in COMPUTABLE}


def test_verdicts() -> None:
    findings = audit()
    contradicted = {f.claim.id for f in findings if f.verdict == "contradicted"}
    assert contradicted == CONTRADICTED
    counts = Counter(finding.verdict for finding in findings)
    assert counts == {"reproduced": 125, "contradicted": 23, "needs ImageNet": 39}


@pytest.mark.parametrize("id", sorted(CONTRADICTED))
def test_a_contradiction_shows_both_values_and_explains_it(id: str) -> None:
    finding = judge(BY_ID[id])
    assert finding.computed
    assert finding.computed != finding.claim.published
    assert finding.claim.remark.endswith(".")


def perturbed(printed: str, comparison: str) -> str:
    """The printed text with its last digit changed, as precise (for `below`: halved)."""
    if comparison == "below":
        return str(Decimal(printed) / 2)
    if comparison == "rounded":
        unit = Decimal(1).scaleb(-decimals(printed))
        higher, lower = (f"{Decimal(printed) + step:f}" for step in (unit, -unit))
        return higher if decimals(higher) == decimals(printed) else lower
    return re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), printed)


@pytest.mark.parametrize("claim", COMPUTABLE, ids=lambda claim: claim.id)
def test_another_published_number_gets_another_verdict(claim: Claim) -> None:
    finding = judge(claim)
    if finding.verdict == "reproduced":
        other = perturbed(claim.published, finding.comparison)
        assert judge(replace(claim, published=other)).verdict == "contradicted"
    else:
        true = replace(claim, published=finding.computed)
        assert judge(true).verdict == "reproduced"


def test_accuracies_that_only_training_can_show_are_not_judged() -> None:
    for claim in CLAIMS:
        if claim.measured:
            assert judge(replace(claim, published="1")).verdict == "needs ImageNet"


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("table1.total.params", ("reproduced", "1,248,424")),
        ("torchvision.v1_1.params", ("reproduced", "1,235,496")),
        ("torchvision.alexnet.params", ("reproduced", "61,100,840")),
        ("alexnet.caffe.params", ("reproduced", "60,965,224")),
        ("released.bytes", ("reproduced", "675,763")),
        ("released.entries", ("reproduced", "422,083")),
        ("torchvision.v1_0.min_size", ("reproduced", "21")),
        ("torchvision.v1_1.min_size", ("reproduced", "17")),
        ("solver.batch", ("reproduced", "512")),
        ("v1_0.gflops", ("reproduced", "1.723")),
        ("v1_1.gflops", ("contradicted", "0.775")),
        ("table3.complex.size", ("contradicted", "6.1")),
        ("figure3b.0.375.size", ("contradicted", "12")),
        ("table1.input.output", ("contradicted", "227x227x3")),
        ("table2.squeezenet_6bit.size", ("reproduced", "0.473")),
        ("table2.squeezenet_6bit.released_layout", ("contradicted", "0.550")),
        ("zynqnet.macs", ("reproduced", "529.3")),
    ],
)
def test_golden_values(id: str, expected: tuple[str, str]) -> None:
    # Sources: the claim's own, see dse.paper.claims.
    assert verdict(id) == expected


def test_one_rule_gives_thirteen_of_the_fourteen_sizes_of_figure_3() -> None:
    ids = [id for id in CHECKS if id.startswith("figure3") and id.endswith(".size")]
    assert len(ids) == 14
    assert {CHECKS[id].comparison for id in ids} == {"size label"}
    assert sum(verdict(id)[0] == "reproduced" for id in ids) == 13


@pytest.mark.parametrize(
    ("printed", "places"), [("1.72", 2), ("86.0", 1), ("363", 0), ("50", -1), ("4.80", 2)]
)
def test_the_digits_of_a_printed_number(printed: str, places: int) -> None:
    assert decimals(printed) == places


def test_halves_are_rounded_up() -> None:
    assert half_up(Decimal("0.125"), 2) == Decimal("0.13")
    assert half_up(Decimal(45), -1) == 50


# What the remarks say -----------------------------------------------------------------------


def test_the_reading_that_gives_0_47_does_not_give_0_66() -> None:
    six = six_bit_bytes()
    eight = six + Decimal(2 * TABLE_1_PARAMS_AFTER) / 8
    assert round(six / 10**6, 2) == Decimal("0.47")
    assert round(eight / 10**6, 2) == Decimal("0.58")


def test_v1_1_with_maps_of_13_pixels_would_need_0_72() -> None:
    steps = layers(generate(Metaparameters(), LAYOUTS["v1_1"]), 227)
    assert {step.side for step in steps[-6:-1]} == {14}
    macs = sum(step.macs * 13**2 // 14**2 if step.side == 14 else step.macs for step in steps)
    assert round(2 * macs / 1e9, 2) == 0.72


def test_a_bypass_convolution_around_all_eight_modules_needs_more_than_7_7() -> None:
    outputs = [fire.filters for fire in generate(Metaparameters()).fires]
    inputs = [V1_0.conv1_filters, *outputs[:-1]]
    added = sum((i + 1) * o for i, o in zip(inputs, outputs, strict=True))
    assert float(size_label(4 * (1_248_424 + added))) > 7.7
