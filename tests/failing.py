"""Calls that fail at a chosen step, and a disk that loses what was not synced."""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STEPS = ("mkdir", "open", "fsync", "rename", "replace", "link", "unlink", "rmdir")


class Faulty:
    """An open file: each write is a step, and one that fails has written half."""

    def __init__(self, file: Any, step: Callable[[str], None]) -> None:
        self._file, self._step = file, step

    def __enter__(self) -> Faulty:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: Any) -> int:
        try:
            self._step("write")
        except OSError:
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            raise
        return int(self._file.write(content))


def at_step(
    monkeypatch: pytest.MonkeyPatch, number: int | None, fault: Callable[[], None]
) -> list[str]:
    """Call `fault` before the step of that number, or before each; returns the list of steps."""
    steps: list[str] = []
    busy: list[bool] = []  # the steps of `fault` itself do not count

    def step(name: str) -> None:
        if busy:
            return
        steps.append(name)
        if number in (None, len(steps)):
            busy.append(True)
            try:
                fault()
            finally:
                busy.clear()

    def counted(name: str, call: Any) -> Any:
        def made(*arguments: Any, **named: Any) -> Any:
            step(name)
            return call(*arguments, **named)

        return made

    def opened(*arguments: Any, **named: Any) -> Any:
        step("open file")
        return Faulty(whole(*arguments, **named), step)

    whole = io.open
    for name in STEPS:
        made = (lambda handle: None) if name == "fsync" else getattr(os, name)
        monkeypatch.setattr(os, name, counted(name, made))
    monkeypatch.setattr(fcntl, "lockf", counted("lockf", fcntl.lockf))
    monkeypatch.setattr(io, "open", opened)
    return steps


def raising(code: int) -> Callable[[], None]:
    def fault() -> None:
        raise OSError(code, os.strerror(code))

    return fault


def killed_at_each_step(folder: Path, act: Callable[[], object]) -> list[Path]:
    """Copies of a folder as kills at all the steps of `act` would leave it, those that differ."""
    copies: list[Path] = []
    seen: set[tuple[tuple[str, bytes | None], ...]] = set()

    def copy() -> None:
        paths = sorted(folder.rglob("*"))
        now = tuple((str(p), p.read_bytes() if p.is_file() else None) for p in paths)
        if now not in seen:
            seen.add(now)
            copies.append(folder.with_name(f"{folder.name}.{len(copies)}"))
            shutil.copytree(folder, copies[-1])

    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, None, copy)
        act()
    copy()
    return copies


class Disk:
    """What may be left of a folder when the power fails: the names in each folder as they were
    when it was last synced, or as they are now; each file as it was last synced, or empty."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[int, dict[str, os.stat_result]] = {}
        self._contents: dict[int, bytes] = {}
        for path in (root, *root.rglob("*")):  # what is there at first is durable
            self._note(path)

    def _note(self, path: Path) -> None:
        state = path.stat()
        if stat.S_ISDIR(state.st_mode):
            self._names[state.st_ino] = {p.name: p.lstat() for p in path.iterdir()}
        else:
            self._contents[state.st_ino] = path.read_bytes()

    def fsync(self, handle: int) -> None:
        """Make a file or a folder durable."""
        self._note(Path(f"/proc/self/fd/{handle}"))

    def left(self, target: Path, synced: Callable[[int], bool]) -> None:
        """Write to `target` what is left, if only the folders not `synced` have their new names."""
        now = {self._root.stat().st_ino: self._root}
        now |= {p.stat().st_ino: p for p in self._root.rglob("*") if p.is_dir()}
        shutil.rmtree(target, ignore_errors=True)
        todo = [(self._root.stat().st_ino, target)]
        while todo:
            number, place = todo.pop()
            place.mkdir()
            names = self._names.get(number, {})
            if number in now and not synced(number):
                names = {p.name: p.lstat() for p in now[number].iterdir()}
            for name, state in names.items():
                if stat.S_ISDIR(state.st_mode):
                    todo.append((state.st_ino, place / name))
                else:
                    (place / name).write_bytes(self._contents.get(state.st_ino, b""))


def powerless(
    folder: Path, act: Callable[[], object], check: Callable[[Path], None], *, without: int = 0
) -> int:
    """Let the power fail before every step of `act`; `check` each folder that may then be left.

    The sync of number `without` is left out. Returns the number of these folders. In the end, what
    was synced alone is left in `folder`.after.
    """
    disk, rng, count = Disk(folder), random.Random(0), 0
    busy: list[bool] = []
    target = folder.with_name(f"{folder.name}.after")

    def fail(*_: object) -> None:
        nonlocal count
        choices: list[Callable[[int], bool]] = [lambda _: True, lambda _: False]
        for _ in range(6):
            drawn: dict[int, bool] = {}
            choices.append(lambda n, d=drawn: d.setdefault(n, rng.random() < 0.5))  # type: ignore[misc]
        for choice in choices:
            disk.left(target, choice)
            check(target)
            count += 1

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
            call = getattr(os, name)

            def made(*arguments: Any, call: Any = call, **named: Any) -> Any:
                if not busy:
                    busy.append(True)
                    fail()
                    busy.clear()
                return call(*arguments, **named)

            patch.setattr(os, name, made)
        numbers = itertools.count(1)
        patch.setattr(os, "fsync", lambda h: next(numbers) == without or disk.fsync(h))
        act()
    fail()
    disk.left(target, lambda _: True)
    return count
