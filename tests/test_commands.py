"""`python -m dse`: it lists the commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dse
from dse import __main__ as commands

HOME = Path(dse.__file__).parent


def test_every_command_is_listed() -> None:
    packages = {path.parent.name for path in HOME.glob("*/__main__.py")}
    files = {path.stem for path in HOME.glob("*.py") if "sys.exit(main())" in path.read_text()}
    assert set(commands.COMMANDS) == packages | files - {"__main__"}


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
