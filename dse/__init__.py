"""A design-space exploration workbench for SqueezeNet-like networks (arXiv:1602.07360).

The names in `__all__` are the public API, documented in docs/api.md. Each is imported when it is
first used, so that `import dse` itself loads nothing else.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dse.api import load, load_compressed, load_study, network
    from dse.space.alexnet import AlexNet
    from dse.space.architecture import LAYOUTS, Layout, Metaparameters, generate
    from dse.space.cost import cost
    from dse.space.grid import cost_grid
    from dse.training.latency import latency
    from dse.trial.protocol import Protocol
    from dse.trial.question import Trial
    from dse.trial.recipe import Recipe

__version__ = "0.1.0"

if hasattr(__spec__.loader, "archive"):  # its pages, templates and data are read as files
    raise ImportError("dse must be installed, as with pip: it cannot run from a zip", name="dse")

__all__ = [
    "LAYOUTS",
    "AlexNet",
    "Layout",
    "Metaparameters",
    "Protocol",
    "Recipe",
    "Trial",
    "cost",
    "cost_grid",
    "generate",
    "latency",
    "load",
    "load_compressed",
    "load_study",
    "network",
]

_MODULES = {
    "AlexNet": "dse.space.alexnet",
    "LAYOUTS": "dse.space.architecture",
    "Layout": "dse.space.architecture",
    "Metaparameters": "dse.space.architecture",
    "Protocol": "dse.trial.protocol",
    "Recipe": "dse.trial.recipe",
    "Trial": "dse.trial.question",
    "cost": "dse.space.cost",
    "cost_grid": "dse.space.grid",
    "generate": "dse.space.architecture",
    "latency": "dse.training.latency",
    "load": "dse.api",
    "load_compressed": "dse.api",
    "load_study": "dse.api",
    "network": "dse.api",
}

if sys.argv[:1] == ["-m"]:  # a command; other programs that import dse are left as they are
    # OpenBLAS starts a thread for each core when numpy is imported, and again for scipy. Where no
    # more threads are allowed, it interrupts the process as Ctrl-C does.
    os.environ.setdefault("OPENBLAS_DEFAULT_NUM_THREADS", "1")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(_MODULES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
