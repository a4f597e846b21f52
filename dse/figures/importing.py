"""Matplotlib is imported without the user's backend, which drawing into files does not need."""

from __future__ import annotations

import importlib
import os

from dse.results.files import Damaged


def import_matplotlib() -> None:
    """Import matplotlib, whatever `MPLBACKEND` is; for commands, as it is unset from then on.

    Raises `Damaged`, a `ValueError`, where matplotlib cannot read the user's `matplotlibrc`.
    """
    os.environ.pop("MPLBACKEND", None)  # an unknown one ends the import
    try:
        importlib.import_module("matplotlib")
    except (ValueError, OSError) as error:
        raise Damaged(f"matplotlib must be able to read its matplotlibrc: {error}") from None
