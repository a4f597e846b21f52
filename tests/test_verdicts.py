"""The verdict on every claim follows from evidence that can be wrong, and from nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from operator import mul
from pathlib import Path
from typing import Any

import pytest

from dse.paper import related
from dse.paper.claims import CLAIMS, Claim
from dse.paper.comparisons import COMPARISONS, decimals, half_up, precision
from dse.paper.evidence import Evidence, network
from dse.paper.published import TABLE_1, TABLE_1_PARAMS_AFTER
from dse.paper.table1 import biases, tensors
from dse.paper.verdicts import EVIDENCE, audit, counts, judge
from dse.space.architecture import LAYOUTS, V1_0, Architecture, Metaparameters, generate
from dse.space.cost import layers, size_label

BY_ID = {claim.id: claim for claim in CLAIMS}
FINDINGS = {finding.claim.id: finding for finding in audit()}
CONTRADICTED = {
    "abstract.fewer_params",
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
    "table2.squeezenet_6bit.ratio",
    "table2.squeezenet_6bit.released_layout",
    "table2.squeezenet_6bit.plain",
    "table2.squeezenet_6bit.entropy_coded",
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
TRANSCRIBED = {
    "section3.3.fires",
    "table2.squeezenet_6bit.size",
    "released.entries",
    "released.weights",
}


# The verdicts -------------------------------------------------------------------------------


def test_verdicts() -> None:
    assert {id for id, f in FINDINGS.items() if f.verdict == "contradicted"} == CONTRADICTED
    assert {id for id, f in FINDINGS.items() if f.verdict == "transcribed"} == TRANSCRIBED
    assert counts(audit()) == {
        "reproduced": 97,
        "consistent": 24,
        "transcribed": 4,
        "contradicted": 27,
        "needs ImageNet": 38,
    }


def test_evidence_is_of_claims_that_arithmetic_can_decide() -> None:
    measured = {claim.id for claim in CLAIMS if claim.measured}
    assert set(BY_ID) == measured | TRANSCRIBED | set(EVIDENCE)
    assert not measured & set(EVIDENCE)


@pytest.mark.parametrize("id", sorted(CONTRADICTED | TRANSCRIBED))
def test_a_claim_that_is_not_confirmed_is_explained(id: str) -> None:
    assert FINDINGS[id].claim.remark.endswith(".")
    assert bool(FINDINGS[id].found) == (id in CONTRADICTED)
    assert FINDINGS[id].found != FINDINGS[id].claim.published


def perturbed(printed: str, comparison: str) -> str:
    """The printed text with its last digit changed, as precise (a limit: halved)."""
    if comparison in ("below", "at most"):
        return str(Decimal(printed) / 2)
    if comparison in ("rounded", "ratio"):
        places = precision(printed) if comparison == "rounded" else decimals(printed)
        unit = Decimal(1).scaleb(-places)
        higher, lower = (f"{Decimal(printed) + step:f}" for step in (unit, -unit))
        return higher if precision(higher) == places else lower
    return re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), printed)


@pytest.mark.parametrize("id", EVIDENCE)
def test_another_published_number_gets_another_verdict(id: str) -> None:
    claim, evidence, finding = BY_ID[id], EVIDENCE[id], FINDINGS[id]
    agreed = "consistent" if evidence.kind == "elsewhere" else "reproduced"
    if finding.verdict == "contradicted":
        assert judge(replace(claim, published=finding.found), evidence).verdict == agreed
    else:
        other = perturbed(claim.published, finding.comparison)
        assert finding.verdict == agreed
        assert judge(replace(claim, published=other), evidence).verdict == "contradicted"


# What makes a claim reproduced ---------------------------------------------------------------


def other_network(layout: str = "v1_0", **metaparameters: object) -> Architecture:
    """Not the network that is asked for: wider, without wires, with another conv1."""
    a = network(layout, **metaparameters)
    kernel, stride = a.layout.conv1_kernel + 2, a.layout.conv1_stride + 1
    fires = (
        replace(fire, s1x1=fire.s1x1 + 8, e1x1=fire.e1x1 + 8, e3x3=fire.e3x3 + 8, wire="none")
        for fire in a.fires
    )
    conv1 = replace(a.layout, conv1_kernel=kernel, conv1_stride=stride)
    return replace(a, layout=conv1, fires=tuple(fires))


def other_input(value: Any) -> Any:
    """Another network or number."""
    return other_network if value is network else 2 * value + 1


def computes(evidence: Evidence, published: str) -> bool:
    """Whether each other input gives another value; one must not agree."""
    inputs = evidence.inputs
    changed = [(*inputs[:i], other_input(n), *inputs[i + 1 :]) for i, n in enumerate(inputs)]
    others = [replace(evidence, inputs=numbers).value() for numbers in changed]
    agrees = COMPARISONS[evidence.comparison].agrees
    return evidence.value() not in others and not all(agrees(v, published) for v in others)


@pytest.mark.parametrize("id", EVIDENCE)
def test_what_is_reproduced_depends_on_networks_or_on_other_numbers(id: str) -> None:
    evidence = EVIDENCE[id]
    if evidence.kind == "elsewhere":
        assert FINDINGS[id].verdict in ("consistent", "contradicted")
        assert FINDINGS[id].place
    else:
        assert FINDINGS[id].verdict in ("reproduced", "contradicted")
        assert computes(evidence, BY_ID[id].published)


def test_what_was_measured_is_what_the_records_have() -> None:
    folder = Path(__file__).parents[1] / "results/reference/released"
    six_bits, frontier = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("six_bits", "frontier")
    )
    assert six_bits["plain_bytes"] == related.PLAIN_6BIT_BYTES
    assert six_bits["bytes"] == related.CODED_6BIT_BYTES
    kept = [
        point["bytes"]
        for point in frontier["points"]
        if point["agreement"] >= 95
        and point["top1_change_interval"][0] <= 0 <= point["top1_change_interval"][1]
    ]
    assert min(kept) == related.SMALLEST_KEPT_BYTES


CLAIM = Claim(id="a", source="b", statement="c", published="8")


def test_a_constant_is_not_reproduced() -> None:
    def arithmetic(function: Any, *inputs: Any) -> Evidence:
        return Evidence(kind="arithmetic", comparison="exact", function=function, inputs=inputs)

    assert not computes(arithmetic(lambda build: 8, network), "8")
    assert not computes(arithmetic(lambda a, b: a, 8, 3), "8")
    assert computes(arithmetic(mul, 4, 2), "8")
    assert all(len(one.inputs) > 1 for one in EVIDENCE.values() if one.kind == "arithmetic")
    elsewhere = replace(arithmetic(lambda own: own, 8), kind="elsewhere", place="d")
    assert judge(CLAIM, elsewhere).verdict == "consistent"


def test_without_evidence_a_claim_is_transcribed_or_needs_imagenet() -> None:
    assert judge(CLAIM, None).verdict == "transcribed"
    assert judge(replace(CLAIM, measured=True), None).verdict == "needs ImageNet"


# Golden values and rules --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "verdict", "found"),
    [
        ("table1.total.params", "reproduced", "1,248,424"),
        ("torchvision.v1_1.params", "reproduced", "1,235,496"),
        ("torchvision.alexnet.params", "reproduced", "61,100,840"),
        ("alexnet.caffe.params", "reproduced", "60,965,224"),
        ("released.bytes", "reproduced", "675,763"),
        ("torchvision.v1_0.min_size", "reproduced", "21"),
        ("torchvision.v1_1.min_size", "reproduced", "17"),
        ("solver.batch", "reproduced", "512"),
        ("v1_0.gflops", "reproduced", "1.723"),
        ("v1_1.gflops", "contradicted", "0.775"),
        ("table3.complex.size", "contradicted", "6.1"),
        ("figure3b.0.375.size", "contradicted", "12"),
        ("table1.input.output", "contradicted", "227x227x3"),
        ("table2.svd.top5", "consistent", "79.44"),
        ("table2.squeezenet_8bit.size", "consistent", "0.660"),
        ("table2.squeezenet_6bit.released_layout", "contradicted", "0.550"),
        ("table2.squeezenet_6bit.plain", "contradicted", "0.487"),
        ("section4.sparsity_6bit", "contradicted", "33.5"),
        ("zynqnet.macs", "reproduced", "529.3"),
    ],
)
def test_golden_values(id: str, verdict: str, found: str) -> None:
    # Sources: the claim's own, see dse.paper.claims.
    assert (FINDINGS[id].verdict, FINDINGS[id].found) == (verdict, found)


@pytest.mark.parametrize(
    ("id", "found", "holds"),
    [
        ("abstract.fewer_params", "48.8", False),
        ("table2.squeezenet.ratio", "50.0", True),
        ("table2.squeezenet_8bit.ratio", "363.6", False),
        ("table2.squeezenet_6bit.ratio", "510.6", False),
    ],
)
def test_one_rule_for_50x_363x_and_510x(id: str, found: str, holds: bool) -> None:
    finding = FINDINGS[id]
    assert (finding.comparison, finding.found) == ("ratio", found)
    assert (finding.verdict == "reproduced") == holds


def test_every_ratio_has_this_rule_or_a_stricter_one() -> None:
    ratios = [finding for finding in FINDINGS.values() if finding.claim.unit == "x"]
    assert len(ratios) > 10
    assert {finding.comparison for finding in ratios} == {"ratio", "exact"}


def test_one_rule_gives_thirteen_of_the_fourteen_sizes_of_figure_3() -> None:
    sizes = [f for id, f in FINDINGS.items() if id.startswith("figure3") and id.endswith(".size")]
    assert len(sizes) == 14
    assert {finding.comparison for finding in sizes} == {"size label"}
    assert sum(finding.verdict == "reproduced" for finding in sizes) == 13


@pytest.mark.parametrize(
    ("printed", "places"), [("1.72", 2), ("86.0", 1), ("363", 0), ("530", -1), ("4.80", 2)]
)
def test_the_precision_of_a_printed_number(printed: str, places: int) -> None:
    assert precision(printed) == places


def test_halves_are_rounded_up() -> None:
    assert half_up(Decimal("0.125"), 2) == Decimal("0.13")
    assert half_up(Decimal(45), -1) == 50


# What the remarks say -----------------------------------------------------------------------


def table_1_bytes(bits: int) -> float:
    """Table 1's parameters at `bits` each, with 4-bit indices for the weights of sparse tensors."""
    dense, inputs = 0, TABLE_1[0].output[2]
    for row in TABLE_1:
        if row.kept:
            kept = zip(tensors(row, inputs), row.kept, strict=True)
            dense += sum(weights for weights, share in kept if share == 100)
        inputs = row.output[2]
    sparse = TABLE_1_PARAMS_AFTER - sum(map(biases, TABLE_1)) - dense
    return (bits * TABLE_1_PARAMS_AFTER + 4 * sparse) / 8


def test_the_reading_that_fits_0_47_does_not_fit_0_66() -> None:
    assert round(table_1_bytes(6) / 1e6, 3) == 0.473
    assert round(table_1_bytes(8) / 1e6, 2) == 0.58


def test_the_size_of_the_released_file_in_three_units() -> None:
    size = 675_763
    assert (round(size / 1e6, 3), round(size / 2**20, 3), -(-size // 2**10)) == (0.676, 0.644, 660)


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
