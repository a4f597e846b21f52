"""The verdicts: computed, each able to flip; and the two commands as a user runs them."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest

from dse import audit
from dse.audit import CHECKS, CLAIMS, decimals, half_up, judge, main, pruned, request, table1
from dse.paper import published as paper
from dse.paper.published import Claim
from dse.space.architecture import LAYOUTS, Metaparameters, generate
from dse.space.cost import cost, layers, size_label

V1_0 = generate(Metaparameters(), LAYOUTS["v1_0"])
COMPUTABLE = [claim for claim in paper.CLAIMS if not claim.measured]

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
    finding = judge(CLAIMS[id])
    return finding.verdict, finding.computed


# The verdicts -------------------------------------------------------------------------------


def test_every_claim_is_computed_or_needs_imagenet() -> None:
    assert set(CHECKS) == {claim.id for claim in COMPUTABLE}


def test_verdicts() -> None:
    findings = audit.audit()
    contradicted = {f.claim.id for f in findings if f.verdict == "contradicted"}
    assert contradicted == CONTRADICTED
    assert audit.summary(findings) == (
        "187 claims: 125 reproduced, 23 contradicted, 39 needs ImageNet"
    )


@pytest.mark.parametrize("id", sorted(CONTRADICTED))
def test_a_contradiction_shows_both_values_and_says_why(id: str) -> None:
    finding = judge(CLAIMS[id])
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


def test_no_accuracy_that_only_training_can_tell_is_judged() -> None:
    for claim in paper.CLAIMS:
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
    # Sources: the claim's own, see dse.paper.
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


def after_pruning(fire8_e3x3: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Table 1's total after pruning, were another density printed for fire8's e3x3."""
    rows = tuple(
        replace(row, kept=(100, 50, fire8_e3x3)) if row.layer == "fire8" else row
        for row in paper.TABLE_1
    )
    monkeypatch.setattr(paper, "TABLE_1", rows)
    return sum(row.params_after or 0 for row in pruned(table1(V1_0, 227)))


def test_421_098_needs_fire8_at_30_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = {share: after_pruning(share, monkeypatch) for share in range(25, 40)}
    assert [share for share, total in totals.items() if total == 421_098] == [30]
    assert totals[33] == 425_522


def test_the_reading_that_gives_0_47_does_not_give_0_66() -> None:
    six = audit._six_bit_bytes()
    eight = six + Decimal(2 * paper.TABLE_1_PARAMS_AFTER) / 8
    assert round(six / 10**6, 2) == Decimal("0.47")
    assert round(eight / 10**6, 2) == Decimal("0.58")


def test_v1_1_with_maps_of_13_pixels_would_need_0_72() -> None:
    steps = layers(generate(Metaparameters(), LAYOUTS["v1_1"]), 227)
    assert {step.side for step in steps[-6:-1]} == {14}
    macs = sum(step.macs * 13**2 // 14**2 if step.side == 14 else step.macs for step in steps)
    assert round(2 * macs / 1e9, 2) == 0.72


def test_a_bypass_convolution_around_all_eight_modules_needs_more_than_7_7() -> None:
    outputs = [fire.filters for fire in V1_0.fires]
    inputs = [V1_0.layout.conv1_filters, *outputs[:-1]]
    added = sum((i + 1) * o for i, o in zip(inputs, outputs, strict=True))
    assert float(size_label(4 * (1_248_424 + added))) > 7.7


# Table 1 ------------------------------------------------------------------------------------


def test_table_1_cell_for_cell() -> None:
    columns = [field.name for field in fields(paper.Table1Row)]
    ours = pruned(table1(V1_0, 227))
    differing = {
        (printed.layer, column)
        for row, printed in zip(ours, paper.TABLE_1, strict=True)
        for column in columns
        if getattr(row, column) != getattr(printed, column)
    }
    assert differing == {
        ("input", "output"),
        ("fire8", "params_after"),
        ("maxpool8", "output"),
        ("conv10", "kept_filter"),
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bypass", ["none", "simple", "complex"])
def test_table_1_of_any_network_adds_up_to_its_cost(layout: str, bypass: str) -> None:
    architecture = generate(Metaparameters(bypass=bypass, sr=0.125), LAYOUTS[layout])
    rows = table1(architecture, 64)
    assert sum(row.params or 0 for row in rows) == cost(architecture, 64).params
    assert sum(row.depth or 0 for row in rows) == 18
    assert rows[-1].output[:2] == (1, 1)


def test_only_v1_0_is_the_published_network() -> None:
    assert audit.is_published(V1_0)
    assert audit.is_published(request(["layout=v1_0_caffe"])[0])
    for setting in ("sr=0.25", "bypass=simple", "layout=v1_1", "norm=batch"):
        assert not audit.is_published(request([setting])[0])


# The commands -------------------------------------------------------------------------------


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dse.audit", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_audit_on_a_terminal() -> None:
    done = run()
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[-1] == audit.summary(audit.audit())
    assert max(map(len, lines)) <= 110
    assert done.stdout.isascii()
    verdicts = [line for line in lines if line[2:].startswith(audit.VERDICTS)]
    assert len(verdicts) == len(paper.CLAIMS)


def test_the_audit_as_csv() -> None:
    done = run("--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 0
    assert [row["id"] for row in rows] == [claim.id for claim in paper.CLAIMS]
    assert {row["id"] for row in rows if row["verdict"] == "contradicted"} == CONTRADICTED
    assert done.stderr.strip() == audit.summary(audit.audit())


@pytest.mark.parametrize("words", [["--format", "csv"], ["table1", "--format", "csv"]])
def test_no_csv_cell_is_a_formula(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    for row in csv.reader(io.StringIO(capsys.readouterr().out)):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_a_formula_is_made_harmless(cell: str) -> None:
    assert audit.comma_separated(["a"], [[cell]]) == f"a\n'{cell}\n"


def test_the_audit_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--format", "markdown", "--verdict", "contradicted"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(CONTRADICTED)
    assert {line.count(" | ") for line in table} == {len(audit.FINDING_HEADER) - 1}
    assert lines[-1] == audit.summary(audit.audit())


def test_a_pipe_in_a_markdown_cell_is_escaped() -> None:
    assert audit.markdown(["a"], [["x|y"]]).splitlines()[-1] == r"| x\|y |"


def test_output_goes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "audit.md"
    assert main(["--format", "markdown", "--output", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {path}",
        audit.summary(audit.audit()),
    ]
    assert path.read_text(encoding="utf-8").startswith("| id | verdict |")


def test_table1_of_the_paper() -> None:
    done = run("table1", "--layout", "v1_0_caffe", "--image-size", "227")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, lines)) <= 110
    cells = {line.split("  ")[0]: line.split() for line in lines if line}
    fire6 = " ".join(cells["fire6"][1:])
    assert fire6 == "27x27x384 2 48 192 192 104,880 100/50/33 6 44,700"
    assert cells["conv10"][1] == "15x15x1000"
    assert cells["conv10, paper"][2:] == ["13x13x1000", "20", "(3x3)"]
    assert cells["maxpool8, paper"][2:] == ["13x12x512"]
    assert cells["total"] == ["total", "1,248,424", "425,522"]
    assert cells["total, paper"][2:] == ["421,098"]
    for slip in ("224x224x3", "13x12x512", "15x15x1000", "3x3 in the paper", "density", "average"):
        assert slip in done.stdout.partition("In the paper's Table 1")[2]


def test_table1_of_another_network_has_no_pruning_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["table1", "sr=0.25", "--layout", "v1_1", "bypass=complex", "pool_after=1-4-8"]
    assert main([*words, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    expected = cost(request([*words[1:2], "layout=v1_1", *words[4:]])[0], 227)
    assert list(rows[0])[-1] == "params"
    assert rows[-1] | {"layer": "total", "params": str(expected.params)} == rows[-1]
    assert [row["layer"] for row in rows if "pool" in row["layer"]] == [
        "maxpool1", "maxpool4", "maxpool8", "avgpool10",
    ]  # fmt: skip


def test_zynqnet_in_the_form_of_table_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table1", "layout=zynqnet", "image_size=256"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"fire8 +8x8x512 +3x3/2 squeeze +2 +112 +256 +256", text)
    assert text.splitlines()[-1].split() == ["total", "2,528,800"]


def test_all_mistakes_are_listed_a_line_each() -> None:
    done = run("table1", "--layout", "v9", "sr=2", "srr=1", "freq=1.5", "--image-size", "0", "x")
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split("`")[1] for line in lines] == [
        "srr", "settings", "layout", "image_size", "freq", "sr",
    ]  # fmt: skip
    assert all(" must be " in line and ", got " in line for line in lines)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["image_size=5"], "`image_size` must be at least 7 for `conv1_kernel` 7, got 5"),
        (["sr=2"], "`sr` must be in (0, 1], got 2"),
        (["sr=0.1", "sr=0.2"], "`sr` must be given once, got 0.1 and 0.2"),
        (["pool_after=8-4"], "`pool_after` must be none, or ascending whole numbers"),
        (["layout=zynqnet", "sr=0.25"], "`sr` must stay at its default 0.125"),
        (["--output", "no/such/folder"], "`output` must be a file that can be written"),
        (["head_relu=maybe"], "`head_relu` must be true or false, got 'maybe'"),
    ],
)
def test_a_mistake_names_field_rule_and_value(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table1", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(line)


def test_an_unknown_option_is_a_wrong_request() -> None:
    done = run("--nonsense")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_torch_is_not_imported() -> None:
    code = (
        "import sys; from dse.audit import main; main([]); main(['table1']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
