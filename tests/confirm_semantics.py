"""`python tests/confirm_semantics.py`: confirm that `SEMANTICS` of training and of compression are
the versions of today's code.

`tests/semantics.json` holds digests over the syntax trees of the modules that decide what a trial
answers, and what the file of a compressed network holds. Comments, docstrings, annotations,
formatting and the version of Python are no part of it.
"""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

from dse.trial import compression
from dse.trial.question import SEMANTICS

CONFIRMED = Path(__file__).with_name("semantics.json")
FOLDER = Path(__file__).parents[1] / "dse"
MODULES = (
    "space/rules", "space/architecture", "space/alexnet", "space/cost", "space/grid",
    "trial/datasets", "trial/recipe", "trial/schedule", "trial/protocol", "trial/unread",
    "trial/question", "trial/record",
    "data/published", "data/formats", "data/fetch", "data/cache", "data/store",
    "data/scan", "data/folder", "data/memory", "data/stream", "data/loaders", "data/decode",
    "data/crops",
    "training/network", "training/alexnet", "training/networks", "training/initial",
    "training/loop", "training/step", "training/ranks", "training/sparse",
    "training/judge", "training/state", "training/execute", "training/worker",
)  # fmt: skip
COMPRESSION = (
    "trial/compression", "trial/densities", "trial/names",
    "compress/fit", "compress/retrain", "compress/networks", "compress/descriptions",
    "compress/prune", "compress/svd", "compress/shared",
    "compress/fixed_point", "compress/fixed_values", "compress/rounding", "coding/tensors",
    "coding/container", "coding/header", "coding/heads", "coding/relative",
    "coding/huffman", "coding/bound", "coding/prefix", "coding/bits", "coding/adaptive",
    "coding/weight_model", "coding/level_tables", "coding/levels", "coding/floats",
    "coding/exact", "coding/range_coder",
)  # fmt: skip
EXCUSED = {
    "data/resident", "training/circumstance", "training/cuda", "training/fused", "training/graphs",
    "training/halves", "training/kernels", "training/processes", "trial/compressed",
}  # fmt: skip
"""Modules that these import and that decide no answer on a CPU: devices and processes, which are a
circumstance, and a compressed network's record."""
TYPING = {"__future__", "collections.abc", "typing"}
TYPES = {"annotation", "returns", "simple", "type_comment", "type_params", "kind", "ctx"}


def current() -> dict[str, Any]:
    """What the file should hold: the versions, and the digests of today's modules."""
    return {
        "semantics": SEMANTICS,
        "digest": digest(MODULES),
        "compression": {"semantics": compression.SEMANTICS, "digest": digest(COMPRESSION)},
    }


def unlisted() -> set[str]:
    """The modules of the same packages that the listed ones import, at any remove, and that are
    neither listed nor excused."""
    known, found = {*MODULES, *COMPRESSION, *EXCUSED}, set[str]()
    left = [*MODULES, *COMPRESSION]
    packages = {name.split("/")[0] for name in left}
    while left:
        new = {n for n in imported(left.pop()) if n.split("/")[0] in packages} - known - found
        found |= new
        left += new
    return found


def imported(module: str) -> set[str]:
    """The modules of `dse` that a module imports names from."""
    nodes = ast.walk(ast.parse((FOLDER / f"{module}.py").read_text()))
    names = set[str]()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dse."):
            base = str(node.module).removeprefix("dse.").replace(".", "/")
            names |= {base, *(f"{base}/{alias.name}" for alias in node.names)}
    return {name for name in names if (FOLDER / f"{name}.py").exists()}


def digest(modules: tuple[str, ...]) -> str:
    """A digest over the syntax trees of modules."""
    shapes = [shape(ast.parse((FOLDER / f"{name}.py").read_text())) for name in modules]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()


def shape(node: Any) -> Any:
    """A syntax tree as nested lists of text, without what does not change its meaning."""
    if isinstance(node, list):
        return [shape(item) for item in node if not _silent(item)]
    if not isinstance(node, ast.AST):
        return repr(node)
    kind = type(node).__name__
    if isinstance(node, ast.AnnAssign) and node.value:
        kind, node = "Assign", ast.Assign(targets=[node.target], value=node.value)
    parts = [(name, value) for name, value in ast.iter_fields(node) if name not in TYPES]
    return [kind, {name: shape(value) for name, value in parts if value not in (None, [])}]


def _silent(node: Any) -> bool:
    """Whether a statement is a docstring, or there for annotations alone."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.ImportFrom) and node.module in TYPING


if __name__ == "__main__":
    CONFIRMED.write_text(json.dumps(current(), indent=1) + "\n")
    print(CONFIRMED)
