"""A design-space exploration workbench for SqueezeNet-like networks (arXiv:1602.07360).

The names in `__all__` are the public API, documented in docs/api.md. Each is imported when it is
first used, so that `import dse` itself loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dse.api import load, network
    from dse.space.architecture import LAYOUTS, Layout, Metaparameters, generate
    from dse.space.cost import cost
    from dse.space.grid import cost_grid
    from dse.trial.protocol import Protocol
    from dse.trial.question import Trial
    from dse.trial.recipe import Recipe

__version__ = "0.1.0"

__all__ = [
    "LAYOUTS",
    "Layout",
    "Metaparameters",
    "Protocol",
    "Recipe",
    "Trial",
    "cost",
    "cost_grid",
    "generate",
    "load",
    "network",
]

_DEFINED_IN = {
    "LAYOUTS": "dse.space.architecture:LAYOUTS",
    "Layout": "dse.space.architecture:Layout",
    "Metaparameters": "dse.space.architecture:Metaparameters",
    "Protocol": "dse.trial.protocol:Protocol",
    "Recipe": "dse.trial.recipe:Recipe",
    "Trial": "dse.trial.question:Trial",
    "cost": "dse.space.cost:cost",
    "cost_grid": "dse.space.grid:cost_grid",
    "generate": "dse.space.architecture:generate",
    "load": "dse.api:load",
    "network": "dse.api:network",
}


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _DEFINED_IN[name].partition(":")
    globals()[name] = getattr(import_module(module), attribute)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
