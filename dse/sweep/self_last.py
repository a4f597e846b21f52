"""The values of a user's page that pages named after `_self_` in its `defaults` would override."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dse.sweep.yaml_pages import read, values

MOST_KEYS = 3
"""A line names at most this many keys."""


def overridden(folders: Sequence[Path], page: str, shipped: Path) -> Iterator[str]:
    """A line for each page that loses values of its own: `page`, or one that its `defaults` name.

    `page` is a name such as `mine` or `layout/mine`. Pages in `shipped` are not looked at.
    """
    path = _path(folders, page)
    if path is None or path.is_relative_to(shipped):
        return
    own, entries, chosen = _read(path, page)
    for entry in [*entries, *chosen]:
        if entry != page:
            yield from overridden(folders, entry, shipped)
    theirs: dict[str, tuple[Any, str]] = {}
    for entry in entries[entries.index(page) + 1 :]:
        theirs |= {key: (value, entry) for key, value in _whole(folders, entry).items()}
    lost = [
        f"`{key}` {value!s} is overridden by {theirs[key][0]!s} of `{theirs[key][1]}`"
        for key, value in own.items()
        if key in theirs and theirs[key][0] != value
    ]
    if lost:
        more = f" and {len(lost) - MOST_KEYS} more" if len(lost) > MOST_KEYS else ""
        text = ", ".join(lost[:MOST_KEYS])
        yield f"page `{page}`: {text}{more}; `_self_` must come last in its `defaults`"


def _whole(folders: Sequence[Path], page: str) -> dict[str, Any]:
    """The values of a page with those of its `defaults`."""
    path = _path(folders, page)
    if path is None:
        return {}
    own, entries, _ = _read(path, page)
    found: dict[str, Any] = {}
    for entry in entries:
        found |= own if entry == page else _whole(folders, entry)
    return found


def _path(folders: Sequence[Path], page: str) -> Path | None:
    paths = (folder / f"{page.removesuffix('.yaml')}.yaml" for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path, page: str) -> tuple[dict[str, Any], list[str], list[str]]:
    """What a page holds itself; the pages of its `defaults` in order, of which `page` is itself;
    and those that it chooses with `override`, which take the places of others."""
    own = values(read(path), str(path))
    group = page.rpartition("/")[0]
    entries: list[str] = []
    chosen: list[str] = []
    for entry in own.pop("defaults", None) or []:
        kind, name = next(iter(entry.items())) if isinstance(entry, dict) else ("", entry)
        if name == "_self_":
            entries.append(page)
        elif isinstance(name, str):
            at = kind.removeprefix("override ").removeprefix("optional ").partition("@")[0]
            place = f"{at}/{name}" if at else name
            place = place.lstrip("/") if place.startswith("/") or not group else f"{group}/{place}"
            (chosen if kind.startswith("override ") else entries).append(place)
    return own, entries if page in entries else [*entries, page], chosen
