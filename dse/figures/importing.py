"""Matplotlib is imported whatever the user's settings are."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from contextlib import chdir
from pathlib import Path


def import_matplotlib() -> None:
    """Import matplotlib, with its own settings where it does not accept the user's.

    It stops at a backend that it does not know (`MPLBACKEND`) and at a `matplotlibrc` that it
    cannot read; drawing into files needs neither. The environment stays as it is.
    """
    try:
        importlib.import_module("matplotlib")
    except (ValueError, OSError):
        _import_without_settings()


def _import_without_settings() -> None:
    """Import matplotlib from the start, after an attempt that failed."""
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        del sys.modules[name]
    found = importlib.util.find_spec("matplotlib")
    own = Path(str(found and found.origin)).with_name("mpl-data")  # has a matplotlibrc too
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        with chdir(own):  # where it looks first
            importlib.import_module("matplotlib")
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
