"""What the directories of a folder of images hold: sizes by name, and all that is wrong.

An image is known by the end of its name. Ignored, and counted, are hidden names, the folders that
systems leave (`SYSTEM`), and files whose names do not end like an image's. All else is a problem.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
OTHERS = (".avif", ".gif", ".heic", ".jfif", ".jp2", ".jpe", ".jxl", ".svg", ".tga")
"""Images that cannot be read. They are a problem: a class without them would be another one."""

SYSTEM = ("@eadir", "__macosx", "lost+found")

AT_ONCE = 16
"""Directories that are read at a time: a network's file system answers each question slowly."""


class Found(NamedTuple):
    """What a directory holds: sizes in bytes by name, sorted; the problems; the kinds ignored."""

    sizes: dict[str, int]
    problems: list[str]
    ignored: list[str]


def classes(root: Path, part: str) -> Found:
    """The directories of the classes in the directory `part` of `root`; their sizes are 0."""
    return _directory(root, _class, part)


def images(root: Path, paths: Iterable[str]) -> list[Found]:
    """The images in each of the directories `paths` of `root`."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*pool.map(partial(_directory, root, _image), paths)]


class _Problem(Exception):
    """What is wrong with a file, in a few words after its name."""


def _directory(root: Path, size_of: Callable[[os.DirEntry[str]], int], path: str) -> Found:
    """What the directory `path` holds; `size_of` raises `_Problem` for what does not belong."""
    found = Found({}, [], [])
    try:
        if not (root / path).is_dir():
            return Found({}, [f"it has no {path}/"], [])
        with os.scandir(root / path) as entries:
            every = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        return Found({}, [f"{path}/: {error.strerror}"], [])
    for entry in every:
        try:
            if kind := _ignored(entry):
                found.ignored.append(kind)
            else:
                found.sizes[entry.name] = size_of(entry)
        except _Problem as problem:
            found.problems.append(f"{path}/{entry.name} {problem}")
        except OSError as error:
            found.problems.append(f"{path}/{entry.name}: {error.strerror}")
    if not found.sizes and not found.problems:
        found.problems.append(f"{path}/ has no {'classes' if size_of is _class else 'images'}")
    return found


def _ignored(entry: os.DirEntry[str]) -> str:
    """The kind of what is ignored; "" for what is not."""
    if entry.name.startswith("."):
        return "hidden"
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 (a `Path` takes much longer)
    if suffix in SUFFIXES:
        return ""
    if entry.is_dir():
        return entry.name if entry.name.lower() in SYSTEM else ""
    return "" if suffix in OTHERS else suffix or "without suffix"


def _class(entry: os.DirEntry[str]) -> int:
    if not entry.is_dir():
        raise _Problem("is not in the directory of a class")
    if "\n" in entry.name:
        raise _Problem("has a line break in its name")
    return 0


def _image(entry: os.DirEntry[str]) -> int:
    """An image's size in bytes."""
    if entry.is_dir():
        raise _Problem("is a directory within a class")
    if entry.name.lower().endswith(OTHERS):
        raise _Problem(f"is of a format that cannot be read ({' '.join(SUFFIXES)} can)")
    if "\n" in entry.name:
        raise _Problem("has a line break in its name")
    try:
        size = entry.stat().st_size
    except FileNotFoundError:
        raise _Problem("is a broken link") from None
    if not entry.is_file():
        raise _Problem("is not a file")
    if not size:
        raise _Problem("is empty")
    return size
