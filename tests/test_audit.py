"""`python -m dse.audit`: both tables, and what it says of a wrong request."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dse.analysis.audit import summary
from dse.audit import main
from dse.paper.claims import CLAIMS
from dse.paper.verdicts import VERDICTS, audit, counts
from dse.space.architecture import V1_1, Metaparameters, generate
from dse.space.cost import cost

ROOT = Path(__file__).parents[1]
COUNTS = counts(audit())
SUMMARY = summary(audit())
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; returns its exit code, its output and its errors."""

    def command(*words: str) -> tuple[int, str, str]:
        return (main(words), *capsys.readouterr())

    return command


def test_the_audit_on_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dse.audit"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[-1] == SUMMARY
    assert max(map(len, lines)) <= 110
    assert done.stdout.isascii()
    verdicts = [line for line in lines if line[2:].startswith(tuple(VERDICTS))]
    for verdict, n in COUNTS.items():  # each claim, and the legend
        assert sum(line[2:].startswith(verdict) for line in verdicts) == n + 1


def test_one_verdict_is_shown_with_the_place_of_its_evidence(run: Run) -> None:
    code, out, _ = run("--verdict", "consistent")
    rows, _, legend = out.partition("\nverdict\n")
    assert code == 0
    assert rows.count("\n  consistent  ") == COUNTS["consistent"]
    assert sum(rows.count(f"\n  {verdict}  ") for verdict in VERDICTS) == COUNTS["consistent"]
    assert rows.count(" Elsewhere: ") == COUNTS["consistent"]
    assert legend.splitlines()[-1] == SUMMARY
    consistent = [finding for finding in audit() if finding.verdict == "consistent"]
    assert all(f.evidence == "elsewhere" and f.place and f.found for f in consistent)


def test_help_says_what_a_verdict_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"{verdict} {meaning}" in text for verdict, meaning in VERDICTS.items())


def test_readme_docs_and_notebook_have_the_counts() -> None:
    assert SUMMARY.startswith(f"{len(CLAIMS)} claims: {COUNTS['reproduced']} reproduced, ")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"docs/cost.md#the-paper-audited\) \| (.*) \|", readme)
    assert [int(n) for n in re.findall(r"\d+", line)] == [len(CLAIMS), *COUNTS.values()]
    docs = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
    assert f"{len(CLAIMS)} published numbers" in docs
    assert all(f"| `{verdict}` | {n} |" in docs for verdict, n in COUNTS.items())
    notebook = (ROOT / "notebooks/audit.ipynb").read_text(encoding="utf-8")
    assert f"{len(CLAIMS)} numbers" in notebook
    assert all(f"| {verdict} | {n} |" in notebook for verdict, n in COUNTS.items())


def test_table1_of_the_paper(run: Run) -> None:
    code, out, err = run("table1", "layout=v1_0_caffe", "image_size=227")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert max(map(len, lines)) <= 110
    cells = {line.split("  ")[0]: line.split() for line in lines if line}
    fire6 = " ".join(cells["fire6"][1:])
    assert fire6 == "27x27x384 2 48 192 192 104,880 100/50/33 6 44,700"
    assert cells["conv10"][1] == "15x15x1000"
    assert cells["conv10, paper"][2:] == ["13x13x1000", "20", "(3x3)"]
    assert cells["maxpool8, paper"][2:] == ["13x12x512"]
    assert cells["total"] == ["total", "1,248,424", "425,522"]
    assert cells["total, paper"][2:] == ["421,098"]
    notes = out.partition("In the paper's Table 1")[2]
    for note in (
        "224x224x3",
        "13x12x512",
        "15x15x1000",
        "3x3 published, but 1x1 in Table 1",
        "density",
        "average",
    ):
        assert note in notes


def test_table1_of_another_network_has_no_pruning_columns(run: Run) -> None:
    words = ["sr=0.25", "layout=v1_1", "bypass=complex", "pool_after=1-4-8"]
    header, _, *rows = (line.split() for line in run("table1", *words)[1].splitlines())
    layout = replace(V1_1, pool_after="1-4-8")
    expected = cost(generate(Metaparameters(sr=0.25, bypass="complex"), layout), 227)
    assert header[-1] == "params"
    assert rows[-1] == ["total", f"{expected.params:,}"]
    assert [row[0] for row in rows if "pool" in row[0]] == [
        "maxpool1", "maxpool4", "maxpool8", "avgpool10",
    ]  # fmt: skip


def test_zynqnet_in_the_form_of_table_1(run: Run) -> None:
    code, text, _ = run("table1", "layout=zynqnet", "image_size=256")
    assert code == 0
    assert re.search(r"fire8 +8x8x512 +3x3/2 squeeze +2 +112 +256 +256", text)
    assert text.splitlines()[-1].split() == ["total", "2,528,800"]


def test_table_1_has_the_images_of_the_protocol_that_is_named(run: Run) -> None:
    assert (
        run("table1")[1] == run("table1", "image_size=227")[1] != run("table1", "image_size=224")[1]
    )
    rows = [line.split() for line in run("table1", "protocol=demo")[1].splitlines()]
    assert rows[2] == ["input", "12x12x1"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["image_size=5"], "`image_size` must be at least 7 for `conv1_kernel` 7, got 5"),
        (["sr=2"], "`sr` must be in (0, 1], got 2"),
        (["sr=0.1,0.2"], "there must be one network, got 2"),
        (["sr=0.1,0.2,0.3", "pct3x3=0.1,0.2,0.3"], "there must be one network, got 9"),
        (["module=fire4"], "`module` must be left out: Table 1 has every module"),
        (["layout=zynqnet", "sr=0.25"], "`sr` must stay at its default 0.125"),
    ],
)
def test_a_mistake_names_field_rule_and_value(run: Run, words: list[str], line: str) -> None:
    code, out, err = run("table1", *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith(line)


def test_an_unknown_option_is_a_wrong_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--nonsense"])
    assert capsys.readouterr().err == "unrecognized arguments: --nonsense; see --help\n"


def test_neither_torch_nor_pandas_is_imported() -> None:
    code = (
        "import sys; from dse.audit import main; main([]); main(['table1']); "
        "sys.exit(bool({'torch', 'pandas', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
