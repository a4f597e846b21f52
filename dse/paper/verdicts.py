"""Which published numbers hold, and how well that is known.

The verdict on a claim follows from its evidence (`dse.paper.evidence`) and from whether the two
numbers agree. Agreement with something computed here is `reproduced`; agreement with a number that
was only found elsewhere is `consistent`. Without evidence a claim is `transcribed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from dse.paper import related
from dse.paper.arithmetic import ARITHMETIC
from dse.paper.claims import CLAIMS, Claim
from dse.paper.comparisons import COMPARISONS
from dse.paper.elsewhere import ELSEWHERE
from dse.paper.evidence import Evidence
from dse.paper.networks import NETWORKS

VERDICTS: Mapping[str, str] = {
    "reproduced": "a network or file of ours, or arithmetic on other published numbers, gives this "
    "number",
    "consistent": "another work, the authors' released files or another place of the paper has "
    "this number too; nothing was computed",
    "transcribed": "a number that was copied; there is nothing to compare it with",
    "contradicted": "what was computed here, or what is printed elsewhere, is another number",
    "needs ImageNet": "measured on ImageNet; only networks trained on it could decide",
}
"""The verdicts, and what each means."""

MEASURED: Mapping[str, Evidence] = {
    f"table2.squeezenet_6bit.{reading}": Evidence(
        kind="measured",
        comparison=comparison,
        function=lambda size: Decimal(size) / 1_000_000,
        inputs=(size,),
    )
    for reading, comparison, size in (
        ("plain", "rounded", related.PLAIN_6BIT_BYTES),
        ("entropy_coded", "rounded", related.CODED_6BIT_BYTES),
        ("enough", "at most", related.SMALLEST_KEPT_BYTES),
    )
}
"""Sizes of files written by `benchmarks/released.py`, MB, which `docs/released.md` explains."""
EVIDENCE: Mapping[str, Evidence] = {**NETWORKS, **ARITHMETIC, **ELSEWHERE, **MEASURED}
"""By the claim's id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The verdict on a claim.

    `found` is the number that was computed or found elsewhere, `evidence` the kind of evidence,
    `place` where a number found elsewhere is printed, and `comparison` the name of the rule.
    """

    claim: Claim
    verdict: str
    found: str = ""
    evidence: str = ""
    place: str = ""
    comparison: str = ""


def judge(claim: Claim, evidence: Evidence | None) -> Finding:
    """The verdict on one claim."""
    if evidence is None:
        return Finding(claim=claim, verdict="needs ImageNet" if claim.measured else "transcribed")
    comparison, value = COMPARISONS[evidence.comparison], evidence.value()
    agreed = "consistent" if evidence.kind == "elsewhere" else "reproduced"
    return Finding(
        claim=claim,
        verdict=agreed if comparison.agrees(value, claim.published) else "contradicted",
        found=comparison.show(value, claim.published),
        evidence=evidence.kind,
        place=evidence.place,
        comparison=evidence.comparison,
    )


def audit() -> list[Finding]:
    """The verdict on every claim, in the order of `dse.paper.claims.CLAIMS`."""
    return [judge(claim, EVIDENCE.get(claim.id)) for claim in CLAIMS]


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many claims got each verdict, in the order of `VERDICTS`."""
    found = Counter(finding.verdict for finding in findings)
    return {verdict: found[verdict] for verdict in VERDICTS}
