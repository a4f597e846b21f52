"""Numbers of bytes, or of anything else, as a user writes them: with a unit, such as 0.5MB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from dse.space.rules import Rule

UNITS: Mapping[str, int] = {
    "": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
    "k": 10**3, "M": 10**6, "G": 10**9,
}  # fmt: skip

NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,9})?(?:[eE]\+?\d{1,2})?) ?([A-Za-z]*)")


def amount() -> Rule:
    """A number of bytes or of anything else; a unit may follow it.

    >>> [amount().read(text) for text in (50e6, "50M", "0.5MB", "8.5 MiB")]
    [50000000, 50000000, 500000, 8912896]
    """

    def read(value: Any) -> int:
        match = NUMBER.fullmatch(str(value))
        if isinstance(value, bool) or not match or match[2] not in UNITS:
            raise ValueError
        number = int(Fraction(match[1]) * UNITS[match[2]])  # exact, as limits are
        if not 0 < number < 2**63:
            raise ValueError
        return number

    examples = "50e6, 100kB, 0.5MB (10**6 bytes), 64KiB or 4.8MiB (2**20 bytes)"
    return Rule(f"a number above 0 such as {examples}", read)
