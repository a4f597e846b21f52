"""The error that a user's mistakes become."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import NoReturn

from dse.space.rules import printable

MAX_LINES, MAX_LENGTH = 30, 400


class RequestError(ValueError):
    """A request that cannot be carried out.

    `lines` holds one line per mistake: printable, at most about `MAX_LENGTH` characters long.
    Repeated lines are dropped, and what exceeds `MAX_LINES` lines is counted.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        distinct = tuple(dict.fromkeys(_shortened(printable(line)) for line in lines))
        more = len(distinct) - MAX_LINES
        self.lines = distinct if more <= 0 else (*distinct[:MAX_LINES], f"and {more:,} more")
        super().__init__("\n".join(self.lines))


def _shortened(line: str) -> str:
    half = MAX_LENGTH // 2
    return line if len(line) <= MAX_LENGTH else f"{line[:half]} ... {line[-half:]}"


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line and exits."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{printable(message)}; see --help\n")


class RequestParser(argparse.ArgumentParser):
    """A parser whose errors are raised like a request's other mistakes."""

    def error(self, message: str) -> NoReturn:
        _, unknown, texts = message.partition("unrecognized arguments: ")
        keys = [text for text in texts.split() if text[0] == "-" and "=" in text]
        if keys:
            raise RequestError(f"`{text}` must be written {text.lstrip('-')}" for text in keys)
        hint = "keys are written as in sr=0.25; " if unknown and "=" not in texts else ""
        if "--cfg" in texts.split():
            hint = "only dse.sweep has --cfg; "
        raise RequestError([f"{message}; {hint}see --help"])
