"""The error that a user's mistakes become."""

from __future__ import annotations

from collections.abc import Iterable

MAX_LINES, MAX_LENGTH = 30, 400


class RequestError(ValueError):
    """A request that cannot be carried out.

    `lines` holds one line per mistake: printable, at most about `MAX_LENGTH` characters long.
    Repeated lines are dropped, and what exceeds `MAX_LINES` lines is counted.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        distinct = tuple(dict.fromkeys(_printable(line) for line in lines))
        more = len(distinct) - MAX_LINES
        self.lines = distinct if more <= 0 else (*distinct[:MAX_LINES], f"and {more:,} more")
        super().__init__("\n".join(self.lines))


def _printable(line: str) -> str:
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    half = MAX_LENGTH // 2
    return shown if len(shown) <= MAX_LENGTH else f"{shown[:half]} ... {shown[-half:]}"
