"""Rules: what they accept, what they convert it to, and the message for a mistake."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from dse.space.rules import (
    Rule,
    check,
    flag,
    integer,
    knob,
    mistakes,
    numbers,
    one_of,
    real,
    split,
    words,
)

WHOLE = integer(1, 8)
SHARE = real(0, 1, above=True)
OPEN = real(0, 1, above=True, below=True)
WORD = one_of("none", "simple")
LAYERS = numbers(1, 9, ascending=True)
THREE = numbers(1, 99, count=3)
STEPS = words("rate", "warmup", most=3)
NO_NUMBERS = [math.nan, np.nan, math.inf, True, np.True_, None, [1], np.array([1, 1])]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A value type with a rule for each field but the last."""

    epochs: int = knob(1, WHOLE, "passes over the images")
    rate: float = knob(0.5, SHARE, "step size")
    pools: str = knob("none", LAYERS, "layers")
    note: str = ""

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("rule", "value", "kept"),
    [
        (WHOLE, 2, 2),
        (WHOLE, 2.0, 2),
        (WHOLE, np.int32(8), 8),
        (WHOLE, Decimal(1), 1),
        (SHARE, 1, 1.0),
        (SHARE, 5e-324, 5e-324),
        (SHARE, Fraction(1, 8), 0.125),
        (SHARE, np.float64(0.1), 0.1),
        (WORD, "simple", "simple"),
        (WORD, np.str_("none"), "none"),
        (WORD, np.array(["none"]), "none"),
        (WHOLE, np.int64(2), 2),
        (WHOLE, np.float64(2), 2),
        (WHOLE, np.array(2), 2),
        (SHARE, np.int64(1), 1.0),
        (SHARE, np.float32(0.5), 0.5),
        (flag(), False, False),
        (flag(), np.True_, True),
        (flag(), np.False_, False),
        (LAYERS, np.int64(4), "4"),
        (LAYERS, "1-4-8", "1-4-8"),
        (LAYERS, " 01-4 ", "1-4"),
        (LAYERS, 4, "4"),
        (LAYERS, "none", "none"),
        (THREE, "5-5-1", "5-5-1"),
        (STEPS, "none", "none"),
        (STEPS, "rate", "rate"),
        (STEPS, "rate-warmup-rate", "rate-warmup-rate"),
        (STEPS, np.str_("warmup"), "warmup"),
        (STEPS, np.array(["none"]), "none"),
    ],
)
def test_a_rule_converts_to_its_kind(rule: Rule, value: object, kept: object) -> None:
    read = rule.accept("x", value)
    assert read == kept
    assert type(read) is type(kept)


@pytest.mark.parametrize(
    ("rule", "text", "values"),
    [
        (WHOLE, "a whole number in 1 .. 8", [*NO_NUMBERS, 0, 9, 2.5, 1j]),
        (SHARE, "in (0, 1]", [*NO_NUMBERS, 0, -0.0, 1.001, 10**400]),
        (OPEN, "in (0, 1)", [0, 1]),
        (real(0, 1, below=True), "in [0, 1)", [-1e-9, 1]),
        (real(0, 1), "in [0, 1]", [-1e-9, 1.1]),
        (WORD, "one of none, simple", ["Simple", "", 0, None, ["none"]]),
        (flag(), "true or false", [0, 1, np.int64(1), np.float64(0), "true", None]),
        (
            LAYERS,
            "none, or ascending whole numbers in 1 .. 9 joined by '-'",
            ["4-1", "1-1", "0-4", "1-10", "1--4", "-1", "", "all", 4.0, True, None, [1, 4]],
        ),
        (
            THREE,
            "none, or 3 whole numbers in 1 .. 99 joined by '-'",
            ["1-2", "1-2-3-4", "0-1-2", "1-2-100"],
        ),
        (
            STEPS,
            "none, or at most 3 of rate, warmup joined by '-'",
            [
                *(
                    "",
                    "-",
                    "Rate",
                    " rate",
                    "rate ",
                    "rate-",
                    "-rate",
                    "rate--warmup",
                    "ratewarmup",
                ),
                *("rate,warmup", "rate-none", "none-none", "rate-rate-rate-rate", "r\u0430te"),
                *(None, True, 1, 1.5, ["rate"], ("rate",), {"rate": 1}, b"rate"),
            ],
        ),
    ],
)
def test_a_mistake_names_field_rule_and_value(rule: Rule, text: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match="must be") as caught:
            rule.accept("field", value)
        shown = ascii(value) if isinstance(value, str) else str(value)
        assert str(caught.value) == f"`field` must be {text}, got {shown}"


@pytest.mark.parametrize("value", ["2", np.str_("2")])
def test_a_number_that_is_a_text_is_said_to_be_one(value: str) -> None:
    for rule, text in ((WHOLE, "a whole number in 1 .. 8"), (SHARE, "a number in (0, 1]")):
        with pytest.raises(ValueError, match="must be") as caught:
            rule.accept("field", value)
        assert str(caught.value) == f"`field` must be {text}, got the text '2'"


def test_equal_values_have_one_written_form() -> None:
    assert Recipe(epochs=2.0, rate=1, pools=4) == Recipe(epochs=2, rate=1.0, pools="4")
    assert repr(Recipe(rate=1)) == repr(Recipe(rate=1.0))
    assert repr(real(0, 1).accept("x", -0.0)) == "0.0"


def test_every_mistake_is_listed_on_a_line_of_its_own() -> None:
    with pytest.raises(ValueError, match="epochs") as caught:
        Recipe(epochs=0, rate="fast\nfaster", pools="4-1", note="anything")
    assert str(caught.value).splitlines() == [
        "`epochs` must be a whole number in 1 .. 8, got 0",
        "`rate` must be in (0, 1], got 'fast\\nfaster'",
        "`pools` must be none, or ascending whole numbers in 1 .. 9 joined by '-', got '4-1'",
    ]


def test_mistakes_checks_only_the_values_given() -> None:
    assert mistakes(Recipe, {"rate": 0.5, "note": None, "unknown": 1}) == []
    assert mistakes(Recipe, {"rate": 2}) == ["`rate` must be in (0, 1], got 2"]


def test_split_undoes_the_joining() -> None:
    assert split(LAYERS.accept("x", "2-4-9")) == (2, 4, 9)
    assert split("none") == ()
