"""Arguments that are not `key=value`: what they are, and how they were likely meant."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dse.space.rules import escaped, is_number
from dse.sweep.keys import PATHS


def grouped(texts: Sequence[str], known: Collection[str]) -> list[list[str]]:
    """The arguments, each with those after it that a space has split from it.

    `known` are keys, and other words that are complete.

    >>> grouped(["sr", "=", "0.5", "seed=0", "data.root=/my", "dir"], ["sr", "seed", "data.root"])
    [['sr', '=', '0.5'], ['seed=0'], ['data.root=/my', 'dir']]
    """
    groups: list[list[str]] = []
    key = ""
    for text in texts:
        own, before = _key(text), groups[-1][-1] if groups else ""
        half = before == key or before.endswith(("=", ":", ",")) or text.startswith(("=", ":", ","))
        if key and own not in known and (half or (key in PATHS and own == text)):
            groups[-1].append(text)
        else:
            groups.append([text])
            key = own if own in known else ""
    return groups


def _key(text: str) -> str:
    return re.split("[=:]", text.removesuffix(".yaml"), maxsplit=1)[0]


def whole(group: Sequence[str]) -> str:
    """The message for an argument that spaces have split.

    >>> print(whole(["sr", "=", "0.5"]))
    `sr = 0.5` must be written sr=0.5
    >>> print(whole(["data.root=/my", "dir"]))
    `data.root=/my dir` must be written 'data.root=/my dir'
    """
    shown, key = " ".join(group), _key(group[0])
    if key in PATHS:
        return f"`{shown}` must be written {shlex.quote(shown)}"
    value = "".join(group)[len(key) :].lstrip("=:")
    return f"`{shown}` must be written {shlex.quote(f'{key}={value}')}"


def misread(text: str, known: Collection[str], named: Mapping[str, str], before: str = "") -> str:
    """The message for an argument that is not `key=value`.

    `known` are the keys of the command, `named` what chooses a page, by the page's name. `before`
    is the argument before it, with those after it that are more values of its key.
    """
    shown = escaped(text)
    line = f"`{shown}` must be written key=value"
    path, key, name = Path(text), _key(text), text.removesuffix(".yaml")
    if name in named:
        return f"{line}; did you mean `{named[name]}`?"
    if named and path.suffix == ".yaml":
        return f"{line}; did you mean `{of_own(path)}`?"
    if key in known:
        return f"`{shown}` must be written {key}={text[len(key) + 1 :].strip() or 'VALUE'}"
    if is_more(text, before):
        return f"{line}; separate values by commas: {before},{shown}"
    return f"{line}, as in sr=0.25"


def of_own(page: Path) -> str:
    """The arguments that choose a page of a user's own by its path.

    >>> of_own(Path("mine/figure.yaml"))
    '--config-dir mine --config-name figure'
    """
    return f"--config-dir {shlex.quote(str(page.parent))} --config-name {shlex.quote(page.stem)}"


def is_more(text: str, before: str) -> bool:
    """Whether an argument is likely one more value of the key before it.

    >>> is_more("0.5", "sr=0.125"), is_more("table3", "sr=0.125"), is_more("0.5", "")
    (True, False, False)
    """
    last = before.partition("=")[2].rpartition(",")[2]
    plain = last and re.fullmatch(r"[\w.+-]+", text, re.ASCII)
    return bool(plain) and is_number(last) == is_number(text)
