"""What a caption says of a table: the fixed values that are not the defaults, and what is left out.

The defaults are those of the page `squeezenet` with the protocol of the table's data set, whichever
command trained the networks. For a folder of images, it is the one of `demo` and ImageNet's from
which fewer values differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from dse.analysis.rendering import counted, value_list
from dse.analysis.selection import is_condition, plain, words
from dse.sweep import pages
from dse.sweep.keys import RULES
from dse.trial.compression import SETTINGS, Settings
from dse.trial.names import STEM, layout_name, written
from dse.trial.question import SEMANTICS

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = "demo"
"""The protocol for data sets that have no page."""
FOLDER = "image_folder"
TITLED = ("data", "epochs")
"""What the titles of figures say."""
SEVERAL = 2
"""A layout or recipe is named where that replaces at least this many differences."""


def caption(
    table: pd.DataFrame,
    others: int = 0,
    noun: str = "trial",
    selected: Mapping[str, Sequence[str]] | None = None,
    searched: Collection[str] = (),
) -> str:
    """What a figure of `table` must say, besides its title: "Fixed: lr 0.01, norm batch."

    `others` counts the trials of the folder that are not in the table, or what else `noun` says;
    `selected` are the arguments that chose the table's, and `searched` the keys that a search
    varied: one of them may have a single value in the table, and is not fixed.
    """
    fixed = differences(table)
    earlier = fixed.pop("semantics", "")
    chosen = (selected or {}).items()
    said = {*TITLED, *(key for key, texts in chosen if plain(texts) == [*texts])}
    shown = {name: f"{name} {value}" for name, value in fixed.items() if name not in said}
    left = ", ".join(shown.pop(name) for name in [*shown] if name in searched)
    parts = [f"Fixed: {', '.join(shown.values())}."] if shown else []
    parts += [f"Searched, with one value here: {left}."] if left else []
    parts += ["Trained by an earlier version of dse."] if earlier else []
    if selected:
        of = f"{len(table):,} of {counted(len(table) + others, noun)}"
        short = {
            key: [*filter(None, [value_list(plain(texts))]), *filter(is_condition, texts)]
            for key, texts in chosen
        }
        parts.append(f"Selected: {'; '.join(words(short))} ({of}).")
    elif others:
        parts.append(f"Not shown: {counted(others, f'other {noun}')} in this folder.")
    return " ".join(parts)


def differences(table: pd.DataFrame) -> dict[str, str]:
    """What is fixed in a table and differs from the defaults of its data sets.

    Names and values are those of the command line. Several differences that are a named layout or
    recipe are one: `layout` or `recipe`.
    """
    if table.empty:
        return {}
    from dse.analysis.axes import as_read  # imports pandas: a wrong request need not wait for it

    table, idle = as_read(table)
    every = (*RULES, "semantics", *SETTINGS)
    names = [name for name in every if name in table and name != "seed" and name not in idle]
    fixed = {n: table[n].iloc[:1].item() for n in names if table[n].nunique() == 1}
    page_of = pages.protocols()
    if FOLDER in set(table["data"]):
        near = (DEFAULT, page_of[FOLDER])
        page_of[FOLDER] = min(near, key=lambda name: len(_different(fixed, [name], {})))
    protocols = sorted({page_of.get(data, DEFAULT) for data in table["data"].unique()})
    groups: dict[str, str] = {}
    different = _different(fixed, protocols, groups)
    layout = layout_name(fixed)
    if layout and len(different.keys() & set(STEM)) >= SEVERAL:
        groups["layout"] = layout
        different = _different(fixed, protocols, groups)
    if len(different) >= SEVERAL:
        known = pages.names([pages.bundled()], "recipe")
        left = {name: _different(fixed, protocols, groups | {"recipe": name}) for name in known}
        recipe = min(known, key=lambda name: len(left[name]))
        if len(left[recipe]) <= len(different) - SEVERAL:
            groups["recipe"], different = recipe, left[recipe]
    return groups | different


def _different(
    fixed: Mapping[str, Any], protocols: list[str], groups: Mapping[str, str]
) -> dict[str, str]:
    """The fixed values that differ from the defaults of one of the protocols."""
    every = [_defaults((("protocol", name), *groups.items())) for name in protocols]
    return {
        name: written(value)
        for name, value in fixed.items()
        if name in every[0] and any(value != defaults[name] for defaults in every)
    }


@cache
def _defaults(choice: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The value of each key on the page `squeezenet` with these pages of the groups, and of each
    setting of a compression.

    The data set is that of the page `squeezenet` alone, so that another one is a difference.
    """
    values = pages.composed([pages.bundled()], "squeezenet", dict(choice), [])
    defaults = {name: RULES[name].rule.accept(name, values[name][0]) for name in RULES}
    del defaults["manifest"]
    defaults |= {item.name: item.default for item in fields(Settings)}
    return defaults | {"data": pages.defaults()["data"], "semantics": SEMANTICS}
