"""Which module may import which, and which third party. `LAYERS` is the whole rule."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# An import goes to a lower layer, or to the left in its own.
LAYERS = (
    "dse rules space protocol trial paper",
    "cost results statistics checkpoints archives image_folder model streams data train",
    "runner config progress execute bill figures report compress",
    "sweep reproduce search status compare audit compress.__main__",
)
WITH_TORCH = "model streams data train execute compress"
FENCES = {
    "hydra": "config",
    "omegaconf": "config",
    "optuna": "search",
    "matplotlib": "figures",
    "pickle": "runner archives",  # pipes and spools; and CIFAR's, whose unpickler runs nothing
    "ray": "runner",
    "submitit": "runner",
    "torch": WITH_TORCH,
    "safetensors.torch": WITH_TORCH,
    "torchvision": WITH_TORCH.replace("train ", ""),
}
PLACES = {
    room: (number, place)
    for number, layer in enumerate(LAYERS)
    for place, room in enumerate(layer.split())
}
ROOT = Path(__file__).parents[1]
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "dse").rglob("*.py"))
}


def violations(module: str, source: str) -> list[str]:
    """What `module` imports against the rule, a line each."""
    here = room(module)
    if here not in PLACES:
        return [f"{module} is in no layer: give it a place in LAYERS"]
    found = []
    for name in imports(module, source):
        if name.split(".")[0] == "dse":
            found += crossing(module, here, room(name))
            continue
        if PLACES[here][0] == 0 and name.split(".")[0] not in sys.stdlib_module_names:
            found.append(f"{module} imports {name}: layer 0 has the standard library only")
        found += [
            f"{module} imports {name}: only {rooms} may"
            for fence, rooms in FENCES.items()
            if f"{name}.".startswith(f"{fence}.") and here not in rooms.split()
        ]
    return found


def crossing(module: str, here: str, there: str) -> list[str]:
    """The line that an import from the room `here` to the room `there` earns, if any."""
    if there not in PLACES:
        return [f"{module} imports {there}, which is in no layer"]
    if PLACES[there] > PLACES[here]:
        layer, other = PLACES[here][0], PLACES[there][0]
        return [f"{module} (layer {layer}) imports {there} (layer {other}), up or to the right"]
    return []


def imports(module: str, source: str) -> Iterator[str]:
    """The dotted names that a module imports, wherever in its text."""
    package = module if module in ("dse", "dse.compress") else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """The module of the table to which a dotted name belongs."""
    parts = name.split(".")[1:]
    if not parts or parts[0].startswith("__"):
        return "dse"
    return ".".join(parts[:2]) if parts[1:2] == ["__main__"] else parts[0]


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_down(module: str) -> None:
    found = violations(module, SOURCES[module].read_text(encoding="utf-8"))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("dse.utils", "", "in no layer"),
        ("dse.cost", "from dse.helpers import x", "in no layer"),
        ("dse.space", "import dse.cost", "(layer 0) imports cost (layer 1)"),
        ("dse.cost", "def f():\n    from dse import train", "to the right"),
        ("dse.cost", "from .train import train", "to the right"),
        ("dse.compress.huffman", "from ..sweep import main", "imports sweep"),
        ("dse.trial", "import numpy.typing", "standard library only"),
        ("dse.cost", "import torch.nn as nn", "only model streams data train"),
        ("dse.results", "from safetensors import torch", "imports safetensors.torch"),
        ("dse.train", "import torchvision", "imports torchvision"),
        ("dse.sweep", "from hydra.core import x", "only config may"),
        ("dse.report", "import matplotlib", "only figures may"),
        ("dse.runner", "if TYPE_CHECKING:\n    import optuna", "only search may"),
        ("dse.compress.__main__", "import torch", "imports torch"),
    ],
)
def test_a_crossing_is_told(module: str, source: str, words: str) -> None:
    (line,) = violations(module, source)
    assert line.startswith(module)
    assert words in line


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dse", "import importlib.metadata"),
        ("dse.cost", "import numpy\nfrom dse import __version__, space\nfrom dse.rules import x"),
        ("dse.train", "import torch\nfrom dse.data import load"),
        ("dse.results", "from safetensors.numpy import load"),
        ("dse.compress.huffman", "from . import container\nfrom dse.compress.container import x"),
        ("dse.compress.__main__", "from dse.compress import huffman\nfrom dse import compress"),
    ],
)
def test_what_the_rule_allows(module: str, source: str) -> None:
    assert violations(module, source) == []


# What an import really loads ----------------------------------------------------------------


def loaded(modules: list[str]) -> tuple[float, set[str]]:
    """Processor seconds to import `modules` in a new interpreter, and all that it then holds."""
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
    vocabulary = ("space", "cost", "protocol", "trial", "paper")
    seconds, names = loaded([f"dse.{m}" for m in vocabulary if f"dse.{m}" in SOURCES])
    assert not names & {"torch", "pandas", "matplotlib", "hydra"}
    assert seconds < 1


def test_only_the_rooms_with_torch_load_it() -> None:
    light = [m for m in SOURCES if room(m).split(".")[0] not in WITH_TORCH.split()]
    assert "torch" not in loaded(light)[1]
