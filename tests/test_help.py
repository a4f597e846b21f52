"""What `--help` says: every page and every key, in lines that fit a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dse.sweep import pages
from dse.sweep.help import REPRODUCED
from dse.sweep.keys import RULES, SETTINGS
from dse.sweep.request import read_request

FOLDER = pages.bundled()
IMPORTS = """
import json, sys
from dse.sweep.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code or 0, [m for m in %r if m in sys.modules]]), file=sys.stderr)
"""
HEAVY = ("torch", "torchvision", "pandas", "pyarrow", "matplotlib", "sklearn", "optuna")


@pytest.fixture(params=["sweep", "reproduce"])
def text(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        read_request(request.param, "Train.", ["--help"], "figure3a")
    assert end.value.code == 0
    return capsys.readouterr().out


def entries(text: str) -> list[tuple[str, str]]:
    """The entries in two columns: the first, and the second on one line."""
    joined = re.sub(r"\n {6,}", " ", text)
    return re.findall(r"^  (\S+) {2,}(\S.*)$", joined, re.M)


def test_no_line_is_longer_than_80_columns(text: str) -> None:
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    "words",
    [
        "search.__main__",
        "compress.__main__",
        "compare",
        "plot",
        "plot architecture",
        "pack",
        "status",
        "audit",
        "audit table1",
    ],
)
def test_the_other_commands_fit_80_columns_too(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command, *more = words.split()
    with pytest.raises(SystemExit, match="0"):
        import_module(f"dse.{command}").main([*more, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_every_key_is_listed_once_with_meaning_rule_and_default(text: str) -> None:
    listed = [(name, entry) for name, entry in entries(text) if entry.endswith("]")]
    keys = {**RULES, **SETTINGS}
    assert sorted(name for name, _ in listed) == sorted(keys)
    page = OmegaConf.load(FOLDER / "squeezenet.yaml")
    for name, entry in listed:
        body, _, default = entry.removesuffix("]").rpartition(" [")
        assert body == f"{keys[name].meaning}; {keys[name].rule.text}"
        if name in RULES:
            value = page[name]
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            assert default == (shown.lower() if isinstance(value, bool) else shown)
    defaults = {name: entry.rpartition(" [")[2][:-1] for name, entry in listed}
    assert defaults["runner.engine"] == "local"
    assert defaults["results.root"] == "results"
    assert defaults["plan"] == "false"
    assert defaults["runner.patience"] == "3600"


def test_every_page_is_listed_with_its_summary(text: str) -> None:
    """Of `dse.reproduce` those that it can train, and no others."""
    listed = entries(text)
    own = [path for path in FOLDER.glob("*.yaml") if path.stem in REPRODUCED]
    if "dse.reproduce" in text:
        others = {path.stem for path in FOLDER.glob("*.yaml")} - set(REPRODUCED)
        assert not others & {name for name, _ in listed}
    else:
        own = [*FOLDER.glob("*.yaml")]
    for page in [*own, *FOLDER.glob("*/*.yaml")]:
        first = next(line for line in page.read_text().splitlines() if "@package" not in line)
        assert (page.stem, first.removeprefix("# ")) in listed


@pytest.mark.parametrize("command", ["sweep", "reproduce"])
def test_a_user_s_own_pages_are_listed_too(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout/late.yaml").write_text("# @package _global_\n# Pooled late\n")
    (tmp_path / "none.yaml").write_text("sr: 0.25  # few\n")
    (tmp_path / "latin.yaml").write_bytes(b"# \xe9\n")
    for words in (["-cd", str(tmp_path), "-h"], ["-h", f"--config-dir={tmp_path}"]):
        with pytest.raises(SystemExit, match="0"):
            read_request(command, "Train.", words, "figure3a")
        listed = dict(entries(capsys.readouterr().out))
        assert listed["late"] == "Pooled late"
        assert ("px32" in listed, "none" in listed) == (True, command == "sweep")
    if command == "sweep":
        assert listed["none"] == "no comment"
        assert "it must be text in UTF-8" in listed["latin"]


def test_it_explains_grids_and_exit_codes(text: str) -> None:
    for part in ("seed=0,1,2", "range(", "every combination", "130 interrupted", "plan=true"):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["sr=abc", "freq=0"], 2)],
)
def test_help_and_mistakes_import_nothing_heavy(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS % (HEAVY,), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    *printed, last = done.stderr.splitlines()
    assert json.loads(last) == [code, []]
    assert len(printed) == (2 if code else 0)
    assert list(tmp_path.iterdir()) == []
