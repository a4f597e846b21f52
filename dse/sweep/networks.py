"""Arguments such as `sr=0.25 bypass=complex` -> the networks that they describe."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dse.space.architecture import (
    FIRES,
    LAYOUTS,
    V1_0,
    Architecture,
    Layout,
    Metaparameters,
    field_names,
    generate,
    map_sizes,
)
from dse.space.rules import one_of
from dse.sweep import pages
from dse.sweep.errors import RequestError, RequestParser
from dse.sweep.keys import SETTINGS, accepted
from dse.sweep.overrides import parse_overrides
from dse.sweep.request import checked_axes, read_grids
from dse.trial.datasets import DATA_SETS
from dse.trial.names import layout_name, written

PAPER = "protocol=imagenet_torchvision"
"""The network of the paper: v1.0 at 224 pixels, with its widths and 1,000 classes."""
MODULES = tuple(f"fire{number}" for number in FIRES)
MAX_NETWORKS, MAX_VALUES = 8, 1000
FIELDS = (*field_names(Metaparameters), *field_names(Layout), "image_size", "data", "manifest")
"""The keys that decide what a drawing shows."""
USUAL = {
    "layout": "v1_0",
    **{name: getattr(Metaparameters(), name) for name in field_names(Metaparameters)},
    **{name: getattr(V1_0, name) for name in field_names(Layout)},
}
"""The paper's network: what a title need not say."""
DESCRIPTION = (
    "Draw networks as in the paper's Figure 2, and one of their Fire modules as in Figure 1. The "
    "default is SqueezeNet v1.0 for ImageNet at 224 pixels; key=value changes it, as for "
    f"dse.sweep, and several values, up to {MAX_NETWORKS} networks, are drawn next to each other. "
    "protocol=demo, or a page as in -cn figure3a, draws the networks that these train; "
    "module=fire4 chooses the Fire module (default: fire2)."
)


def read_networks(
    arguments: Sequence[str], most: int = MAX_NETWORKS
) -> tuple[dict[str, tuple[Architecture, int]], str, str, str]:
    """The distinct networks that a command's arguments describe, what they have in common, the Fire
    module to draw, and a line that says what is the paper's because no argument says otherwise, or
    "".

    The networks are in the order of the grid: a title in the keys of the command line, those that
    differ where there are several networks -> the network, and its image size in pixels. A folder
    of images has 1,000 classes, unless `manifest` says otherwise. `module=fire4` chooses the module
    (default: fire2). Raises `RequestError` with all mistakes, and for more than `most` networks;
    `--help` prints and exits. Nothing is read but the pages of `sweeps/`.
    """
    parser = RequestParser(prog="python -m dse.plot architecture", description=DESCRIPTION)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for dse.sweep")
    parser.add_argument("-cn", "--config-name", metavar="PAGE", help="page to start from")
    parser.add_argument("-cd", "--config-dir", metavar="DIR", default="", help="your own pages")
    options = parser.parse_intermixed_args(arguments)
    texts = [text for text in options.overrides if not text.startswith("module=")]
    modules = [text.removeprefix("module=") for text in options.overrides if text not in texts]
    usual = not (options.config_name or any(text.startswith("protocol=") for text in texts))
    texts += [PAPER] * usual
    errors: list[str] = []
    named = pages.named(pages.searched(options.config_dir))
    overrides = parse_overrides(texts, errors, named=named)
    errors += [
        f"`{key}` must be left out: no network depends on it"
        for key in overrides
        if key in SETTINGS
    ]
    if overrides.get("network", ["squeezenet"]) != ["squeezenet"]:
        errors.append("`network` must be squeezenet here")
    if len(modules) > 1:
        errors.append(f"`module` must be given once, got {' and '.join(modules)}")
    module = accepted("module", modules[-1] if modules else "fire2", one_of(*MODULES), errors)
    grids = read_grids(options.config_name or "squeezenet", options.config_dir, overrides, errors)
    axes = [checked_axes(grid, MAX_VALUES, errors) for grid in grids]
    if errors:
        raise RequestError(errors)
    return *_titled(_distinct(axes, most)), module, _defaults(axes, overrides) if usual else ""


def drawing_of(
    points: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, tuple[Architecture, int]], str]:
    """The distinct networks of some rows of records, by title, and what they have in common.

    Raises `ValueError` where they are more than can be drawn, or not all are SqueezeNets.
    """
    networks: dict[tuple[Architecture, int], Mapping[str, Any]] = {}
    for point in points:
        if point["network"] != "squeezenet":
            raise ValueError(f"`network` must be squeezenet in a drawing, got {point['network']}")
        values = {name: point[name] for name in FIELDS}
        networks.setdefault((_network(values), int(values["image_size"])), values)
    if (count := len(networks)) > MAX_NETWORKS:
        rule = f"a drawing must be of at most {MAX_NETWORKS} networks, got {count:,}"
        raise ValueError(f"{rule}: select by key=value, as in trial_id=ID")
    return _titled(networks)


def _defaults(axes: Sequence[Mapping[str, Sequence[Any]]], given: Collection[str]) -> str:
    """Which of the values that decide sizes are those of `PAPER`, and the keys that change them."""
    norms = {norm for grid in axes for norm in grid["norm"]}
    said = {
        "image_size": "images of 224 pixels",
        "data": "" if "manifest" in given else "3 channels and 1,000 classes",
        "norm": "norm none" if norms == {"none"} else "",
    }
    left = [f"{text} ({key}=)" for key, text in said.items() if text and key not in given]
    return f"drawn with the defaults of {PAPER}: {', '.join(left)}" if left else ""


def _distinct(
    axes: Sequence[Mapping[str, Sequence[Any]]], most: int
) -> dict[tuple[Architecture, int], Mapping[str, Any]]:
    """Each network of the grids, and the values of its `FIELDS`."""
    shown = [{name: grid[name] for name in FIELDS} for grid in axes]
    points = sum(math.prod(map(len, grid.values())) for grid in shown)
    if points > most:
        rule = f"at most {most} networks" if most > 1 else "one network"
        raise RequestError([f"there must be {rule}, got {points:,}"])
    networks: dict[tuple[Architecture, int], Mapping[str, Any]] = {}
    errors: list[str] = []
    for grid in shown:
        for point in itertools.product(*grid.values()):
            values = dict(zip(grid, point, strict=True))
            try:
                network = _network(values), int(values["image_size"])
            except ValueError as error:
                errors += str(error).splitlines()
            else:
                networks.setdefault(network, values)
    if errors:
        raise RequestError(errors)
    return networks


def _network(values: Mapping[str, Any]) -> Architecture:
    """The network of a point; raises `ValueError` where its values do not fit together."""
    layout = Layout(**{name: values[name] for name in field_names(Layout)})
    metaparameters = Metaparameters(**{name: values[name] for name in field_names(Metaparameters)})
    map_sizes(layout, values["image_size"])
    facts = DATA_SETS.get(values["data"])
    classes = values["manifest"].partition("-")[0]
    return generate(
        metaparameters,
        layout,
        num_classes=facts.num_classes if facts else 1000 if classes == "none" else int(classes),
        in_channels=facts.channels if facts else 3,
    )


def _titled(
    networks: Mapping[tuple[Architecture, int], Mapping[str, Any]],
) -> tuple[dict[str, tuple[Architecture, int]], str]:
    """The networks by title, which is what differs among them, and what else differs from v1.0; of
    a single network all is its title."""
    whole = rows = list(networks.values())
    names = [layout_name(row) for row in rows]
    if all(names):  # a name says what its layout is
        rows = [
            {**{k: v for k, v in row.items() if v != getattr(LAYOUTS[n], k, None)}, "layout": n}
            for n, row in zip(names, rows, strict=True)
        ]
    keys = [
        key
        for key in dict.fromkeys(key for row in rows for key in row)
        if len({row.get(key) for row in rows}) > 1 or rows[0][key] != USUAL.get(key, rows[0][key])
    ]
    common = [key for key in keys if len(rows) > 1 and len({row.get(key) for row in rows}) == 1]
    own = [key for key in keys if key not in common]
    titles = [
        _said(row, own) or (_said(every, own) if common else "SqueezeNet v1.0")
        for row, every in zip(rows, whole, strict=True)
    ]
    unbroken: Any = {"break_long_words": False, "break_on_hyphens": False}
    wrapped = (textwrap.fill(title, 26, **unbroken) for title in titles)
    return dict(zip(wrapped, networks, strict=True)), _said(rows[0], common)


def _said(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The keys that a row has, with their values."""
    return " ".join(f"{key}={written(row[key])}" for key in keys if key in row)
