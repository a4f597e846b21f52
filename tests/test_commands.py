"""`python -m dse`: it lists the commands. Each runs with `with_streams`, and prints through it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dse
from dse import __main__ as commands

HOME = Path(dse.__file__).parent
COMMANDS = {path for path in HOME.glob("*.py") if "sys.exit(main())" in path.read_text()}
MAY_PRINT = "sweep/streams.py", "runner/forkserver.py"
"""The second one flushes what a task has printed."""


def test_every_command_is_listed() -> None:
    packages = {path.parent.name for path in HOME.glob("*/__main__.py")}
    assert set(commands.COMMANDS) == packages | {path.stem for path in COMMANDS} - {"__main__"}


def test_the_list_is_printed_without_torch() -> None:
    code = "import sys; sys.argv = ['-m']; from dse.__main__ import main; code = main([]); "
    code += "print({'torch', 'pandas', 'hydra'} & set(sys.modules)); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "  python -m dse.sweep      train every network of a grid\n" in done.stdout
    assert done.stdout.endswith("set()\n")
    bare = subprocess.run([sys.executable, "-m", "dse"], capture_output=True, text=True, check=True)
    assert bare.stdout == f"{commands.LISTING}\n"


def test_how_a_command_is_run_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["--help"]) == 0
    assert capsys.readouterr().out == f"{commands.LISTING}\n"
    for given, name in ("plot", "plot"), ("none", "sweep"):
        assert commands.main([given, "sr=0.5"]) == 2
        assert f"as in python -m dse.{name};" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path",
    sorted({*COMMANDS, *HOME.glob("*/__main__.py")}),
    ids=lambda path: str(path.relative_to(HOME)),
)
def test_every_command_runs_with_streams(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    (main,) = [one for one in body if isinstance(one, ast.FunctionDef) and one.name == "main"]
    _, only = main.body  # after its docstring
    assert isinstance(only, ast.Return)
    assert isinstance(only.value, ast.Call)
    assert ast.unparse(only.value.func) in ("with_streams", "reported", "guarded")


def test_nothing_else_prints() -> None:
    """To standard output; notes of workers go to stderr."""
    found = set()
    for path in HOME.rglob("*.py"):
        text = path.read_text()
        if "print(" not in text and "stdout" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            prints = isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
            own = prints and "file=sys.stderr" not in ast.unparse(node)
            if own or (isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdout"):
                found.add(path.relative_to(HOME).as_posix())
    assert found == set(MAY_PRINT)
