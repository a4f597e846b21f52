"""`python -m dse.compress FILE.safetensors`: compress weights that were not trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dse.compress.decode import check_output, read, replace
from dse.compress.help import FACTS, TEXT
from dse.compress.request import not_safetensors, read_axes, read_choices
from dse.results.records import check_file
from dse.space.architecture import Architecture, Layout, Metaparameters, field_names, generate
from dse.sweep.errors import RequestError, RequestParser
from dse.sweep.keys import accepted
from dse.sweep.messages import say
from dse.sweep.overrides import parse_overrides
from dse.sweep.request import checked_axes, read_grids
from dse.sweep.streams import print_lines
from dse.trial.compression import METHODS, SETTINGS, Settings

SUFFIXES = (".safetensors", ".pth", ".pt", ".net")
"""What files of weights end in; only the first is read."""
NETWORK = ("layout", *field_names(Metaparameters), *field_names(Layout))
PAPER = {"protocol": ["imagenet_torchvision"]}
"""The page of the paper's network, whose values other keys change."""

ELSEWHERE = "for weights that were not trained here"
WITH_DATA = ("ristretto",)
"""The methods that cannot do without images."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0. Raises `RequestError` for a wrong request."""
    parser = RequestParser(
        prog="python -m dse.compress",
        description="Compress weights that were not trained here, without retraining: a SqueezeNet "
        "with this project's names, or torchvision's. Keys are the settings of the compression, "
        "the metaparameters and the layout (default: the network in the file's metadata, else "
        "the paper's), num_classes and in_channels; see python -m dse.compress --help.",
    )
    parser.add_argument("file", type=Path, metavar="FILE.safetensors", help="the weights")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="see above")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="(default: FILE as .bin)")
    options = parser.parse_intermixed_args(arguments)
    if options.file.suffix != SUFFIXES[0]:
        raise RequestError([not_safetensors(options.file)])
    architecture, keys, settings = _read(options.overrides)
    content = read(options.file)
    check_file(options.file, content)
    output: Path = options.output or options.file.with_suffix(".bin")
    check_output(output, options.file)
    if not options.output and output.exists():
        raise RequestError([f"`output` must be given by -o OUT, since {output} exists"])

    from dse.compress.imported import compress, has_formats  # imports torch

    try:
        file, size, density = compress(content, architecture, keys, settings)
    except ValueError as error:
        raise RequestError([f"{options.file}: {error}"]) from None
    replace(output, file)
    if has_formats(content):
        left_out = "the file's fixed-point formats of activations are left out"
        say(f"{options.file}: {left_out}: the new network computes them in floating point")
    print_lines(
        f"{output}: {len(file):,} bytes, {size / len(file):.1f} times smaller than {size:,} bytes "
        f"at fp32, with {density:.3f} stored numbers per weight"
    )
    return 0


def _read(texts: Sequence[str]) -> tuple[Architecture, list[str], Settings]:
    """The network, the keys that were given for it, and the settings; raises `RequestError` with
    all mistakes."""
    errors: list[str] = []
    given = parse_overrides(texts, errors, (*SETTINGS, "network", *NETWORK, *FACTS), TEXT)
    for other in given.pop("network", []):
        if other != "squeezenet":
            errors.append(f"`network` must be squeezenet {ELSEWHERE}, got {other}")
    errors += [
        f"`{key}` must have one value, got {len(values):,}"
        for key, values in given.items()
        if len(values) != 1
    ]
    facts: dict[str, Any] = {
        name: accepted(name, given.get(name, [own.default])[0], own.rule, errors)
        for name, own in FACTS.items()
        if name not in given or given[name]
    }
    axes = read_axes({"retrain_epochs": [0], **given}, errors)
    network = {key: values for key, values in given.items() if key in NETWORK}
    grids = read_grids("squeezenet", "", {**PAPER, **network}, errors)
    shape = checked_axes(grids[0], 1, errors)
    if not errors:
        errors += _needs_data(axes)
    if errors:
        raise RequestError(errors)
    (settings,) = read_choices(axes, given)
    architecture = _architecture({key: values[0] for key, values in shape.items()}, facts)
    return architecture, [key for key in given if key in (*NETWORK, *FACTS)], settings


def _needs_data(axes: Mapping[str, Sequence[Any]]) -> list[str]:
    """A line for each setting that needs images."""
    (method,), (epochs,) = axes["method"], axes["retrain_epochs"]
    lines = [f"`retrain_epochs` must be 0 {ELSEWHERE}, got {epochs}"] if epochs else []
    lines += [f"`phase` must be final {ELSEWHERE}, got sparse"] * ("sparse" in axes["phase"])
    if method in WITH_DATA:
        others = ", ".join(name for name in METHODS if name not in WITH_DATA)
        lines.append(f"`method` must be one of {others} {ELSEWHERE}, got {method}")
    return lines


def _architecture(values: Mapping[str, Any], facts: Mapping[str, int]) -> Architecture:
    """The network of a point; raises `RequestError` where its values do not fit together."""
    try:
        return generate(
            Metaparameters(**{name: values[name] for name in field_names(Metaparameters)}),
            Layout(**{name: values[name] for name in field_names(Layout)}),
            **facts,
        )
    except ValueError as error:
        raise RequestError(str(error).splitlines()) from None
