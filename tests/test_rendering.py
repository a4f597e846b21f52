"""Tables as text: escaped, rounded, aligned."""

from __future__ import annotations

from dse.analysis.rendering import aligned, markdown


def test_markdown_escapes_and_rounds() -> None:
    rows = [("x|y", 1, 1 / 3), ("z", 12_345, float("nan"))]
    assert markdown(["a|b", "n", "share"], rows) == (
        "| a\\|b | n | share |\n| --- | --- | --- |\n| x\\|y | 1 | 0.33 |\n| z | 12,345 |  |\n"
    )


def test_whole_numbers_are_aligned_to_the_right() -> None:
    assert aligned(["layer", "n"], [["conv1", 12_000], ["x", None]]) == (
        "layer       n\n-----  ------\nconv1  12,000\nx\n"
    )
