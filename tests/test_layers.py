"""Which file may import which, and which third party. `FLOORS` is the whole rule."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# An import goes to a lower floor, or stays inside its package, without circles.
FLOORS = (
    "coding space",
    "trial",
    "results paper runner",
    "data analysis",
    "figures",
    "report",
    "sweep training",
    "compress search",
)
COMMANDS = "api audit compare pack plot reproduce status"  # and each package's `__main__`
WITH_TORCH = (
    "dse.training dse.compress dse.data.memory dse.data.resident dse.data.stream dse.data.loaders "
    "dse.data.decode dse.data.crops"
)
FENCES = {
    "hydra": "dse.sweep.overrides dse.sweep.pages dse.sweep.yaml_pages",
    "omegaconf": "dse.sweep.pages dse.sweep.yaml_pages",
    "yaml": "dse.sweep.yaml_pages",
    "optuna": "dse.search",
    "constriction": "dse.coding.range_coder",
    "matplotlib": "dse.figures dse.report.notebook",
    "pickle": "dse.runner dse.data.formats",  # pipes and spools; and CIFAR's batches
    "ray": "dse.runner",
    "submitit": "dse.runner",
    "torch": WITH_TORCH,
    "safetensors.torch": WITH_TORCH,
    "torchvision": WITH_TORCH,
}
STANDARD_LIBRARY_ONLY = ("dse.space.architecture", "dse.space.rules", "dse.trial", "dse.paper")
ROOT = Path(__file__).parents[1]
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "dse").rglob("*.py"))
}


def violations(module: str, source: str) -> list[str]:
    """What `module` imports against the rule, a line each."""
    if floor(module) is None:
        return [f"{module} is on no floor: give its package a place in FLOORS"]
    lines = []
    for name in imports(module, source):
        if name.split(".")[0] == "dse":
            lines += crossing(module, name)
            continue
        third_party = name.split(".")[0] not in sys.stdlib_module_names
        if third_party and is_in(module, *STANDARD_LIBRARY_ONLY):
            lines.append(f"{module} imports {name}: it has the standard library only")
        lines += [
            f"{module} imports {name}: only {rooms} may"
            for fence, rooms in FENCES.items()
            if is_in(name, fence) and not is_in(module, *rooms.split())
        ]
        if is_in(name, *FENCES) and module.endswith("__main__"):
            lines.append(f"{module} imports {name}: a command imports no fenced library")
    return lines


def crossing(module: str, name: str) -> list[str]:
    """The violation that an import of `name` from `module` is, if any."""
    here, there = floor(module), floor(name)
    assert here is not None
    if module == "dse":
        return []  # the public API, from every floor
    if there is None:
        return [f"{module} imports {name}, which is on no floor"]
    if package(module) != package(name) and there >= here and there >= 0:
        return [f"{module} (floor {here}) imports {name} (floor {there})"]
    return []


def floor(name: str) -> int | None:
    """The floor of a dotted name: -1 for `dse` itself, None for a package without a place."""
    parts = name.split(".")[1:]
    if "__main__" in parts:
        return len(FLOORS)
    if not parts or parts[0].startswith("__"):
        return -1
    if parts[0] in COMMANDS.split():
        return len(FLOORS)
    return next((n for n, rooms in enumerate(FLOORS) if parts[0] in rooms.split()), None)


def package(name: str) -> str:
    """The package of a dotted name; a command is one of its own."""
    parts = name.split(".")
    return name if "__main__" in parts else ".".join(parts[:2])


def is_in(name: str, *rooms: str) -> bool:
    """Whether a dotted name is, or is inside, one of `rooms`."""
    return any(f"{name}.".startswith(f"{room}.") for room in rooms)


def imports(module: str, source: str) -> Iterator[str]:
    """The dotted names that a module imports, wherever in its text."""
    is_package = SOURCES.get(module, Path("x.py")).name == "__init__.py"
    here = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), here)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_down(module: str) -> None:
    lines = violations(module, SOURCES[module].read_text(encoding="utf-8"))
    assert not lines, "\n" + "\n".join(lines)


def test_no_file_imports_itself_through_others() -> None:
    graph = {}
    for module, path in SOURCES.items():
        names = [*imports(module, path.read_text(encoding="utf-8"))]
        ends = {name if name in SOURCES else name.rpartition(".")[0] for name in names}
        graph[module] = ends & SOURCES.keys() - {module, "dse"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {error.args[1]}")


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("dse.utils", "", "on no floor"),
        ("dse.space.cost", "from dse.helpers import x", "on no floor"),
        (
            "dse.space.cost",
            "import dse.trial.record",
            "imports dse.trial.record (floor 1)",
        ),
        ("dse.results.tables", "from dse.paper import published", "(floor 2) imports"),
        ("dse.results.tables", "from ..sweep.__main__ import main", "imports dse.sweep.__main__"),
        ("dse.sweep.launch", "from dse.api import load", "(floor 8)"),
        ("dse.search.study", "from dse.sweep.__main__ import main", "(floor 8)"),
        ("dse.trial.record", "import numpy.typing", "standard library only"),
        ("dse.space.cost", "import torch.nn as nn", "only dse.training dse.compress"),
        ("dse.results.tables", "from safetensors import torch", "imports safetensors.torch"),
        (
            "dse.sweep.launch",
            "from hydra.core import x",
            "only dse.sweep.overrides dse.sweep.pages",
        ),
        (
            "dse.report.build",
            "import matplotlib",
            "only dse.figures dse.report.notebook",
        ),
        ("dse.runner.task", "if TYPE_CHECKING:\n    import optuna", "only dse.search may"),
        ("dse.compress.__main__", "import torch", "imports torch"),
    ],
)
def test_a_crossing_is_reported(module: str, source: str, words: str) -> None:
    (line,) = violations(module, source)
    assert line.startswith(module)
    assert words in line


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dse", "import importlib.metadata\nfrom dse.api import load"),
        (
            "dse.space.cost",
            "import numpy\nfrom dse import __version__",
        ),
        ("dse.training.loop", "import torch\nfrom dse.data.memory import load"),
        ("dse.results.tables", "from safetensors.numpy import load"),
        ("dse.coding.bound", "from . import container\nfrom dse.coding.container import x"),
        ("dse.compress.__main__", "from dse.compress import fit\nfrom dse.sweep import launch"),
    ],
)
def test_what_the_rule_allows(module: str, source: str) -> None:
    assert violations(module, source) == []


# What an import really loads ----------------------------------------------------------------


def loaded(modules: list[str]) -> tuple[float, set[str]]:
    """CPU seconds to import `modules` in a new interpreter, and all that it then holds."""
    code = (
        f"import time; start = time.process_time(); import {', '.join(modules)}; "
        "print(time.process_time() - start); import sys; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    seconds, names = done.stdout.splitlines()
    return float(seconds), set(names.split())


def test_the_space_and_its_cost_answer_at_once() -> None:
    seconds, names = loaded([m for m in SOURCES if is_in(m, "dse.space", "dse.trial", "dse.paper")])
    assert not names & {"torch", "pandas", "matplotlib", "hydra"}
    assert seconds < 1


def test_only_the_rooms_with_torch_load_it() -> None:
    light = [m for m in SOURCES if not is_in(m, *WITH_TORCH.split())]
    assert "torch" not in loaded(light)[1]
