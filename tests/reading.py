"""Requests as the tests of the command line make them, and pages of a user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dse.space.architecture import LAYOUTS
from dse.sweep import pages
from dse.sweep.errors import RequestError
from dse.sweep.request import Request, read_request

FOLDER = pages.bundled()
PAGES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
GROUP_PAGES = sorted((p.parent.name, p.stem) for p in FOLDER.glob("*/*.yaml"))
BASE = "defaults: [squeezenet, _self_]\n"
COMPOSED: dict[tuple[object, ...], Any] = {}


def read(*arguments: str, page: str = "squeezenet") -> Request:
    return read_request("sweep", "Train.", arguments, page)


def lines(*arguments: str, page: str = "squeezenet") -> list[str]:
    """The mistakes of a request that cannot be carried out."""
    with pytest.raises(RequestError) as caught:
        read(*arguments, page=page)
    return list(caught.value.lines)


def values(request: Request, name: str) -> list[Any]:
    """A field of the question over the trials, in order."""
    return [trial.question[name] for trial in request.trials]


@pytest.fixture(autouse=True)
def composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose each bundled page once for all tests: it takes a tenth of a second."""
    compose = pages.composed

    def composed(
        folders: list[Path], page: str, choice: dict[str, str], errors: list[str], *known: Any
    ) -> Any:
        if folders != [FOLDER]:
            return compose(folders, page, choice, errors, *known)
        key = (page, *choice.items())
        if key not in COMPOSED:
            COMPOSED[key] = compose(folders, page, choice, errors, *known)
        return COMPOSED[key]

    monkeypatch.setattr(pages, "composed", composed)


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """Writes pages of one's own, {path: text}; returns the arguments that use the first."""

    def write(texts: dict[str, str | bytes]) -> tuple[str, ...]:
        for path, text in texts.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        return ("--config-dir", str(tmp_path), "--config-name", Path(next(iter(texts))).stem)

    return write


NAME = "a name of at most 100 ASCII letters, digits, '.', '_' and '-', the first a letter or digit"
LAYOUT_NAMES = ", ".join(sorted(LAYOUTS))
