"""The header of a compressed network's file: everything but the tensors' data, as deflated JSON.

The text is JSON without spaces, as `json.dumps` writes it. It is deflated with a preset
dictionary, the header of a typical network: so the names of layers and keys cost a few bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dse.compress.heads import KINDS, Head
from dse.compress.tensors import CompressedModel

MAX_TEXT = 1 << 18
"""Characters of a header's text, at most."""

FIELDS = {"coder": str, "architecture": dict, "names": list, "heads": list, "activations": dict}
"""The parts of a header, in order."""

NUMBERS = {"dense": 0, "sparse": 0, "shared": 1, "fixed": 2, "low_rank": 2}
"""How many numbers a head has between its kind and its shape."""


def _typical() -> str:
    """The header's text of a network like SqueezeNet v1.0 with shared weights."""
    heads, filters = "", 64
    layers = ["conv1"]
    for fire in range(2, 10):
        layers += [f"fire{fire}.{part}" for part in ("squeeze", "expand1x1", "expand3x3")]
    for layer in [*layers, "conv10"]:
        side = 3 if layer in ("conv1", "expand3x3") else 1
        heads += f"[2,255,{filters},{filters // 4},{side},{side}],[0,{filters}],"
    names = ",".join(f'"{layer}.weight","{layer}.bias"' for layer in [*layers, "conv10"])
    return (
        '"dense_fires":"none","expand_filters":"none","squeeze_filters":"none","alexnet","conv2.'
        'fc6.fc7.fc8.bypass.head_relu":false,"dropout":0.2,"bypass":"simple","complex",'
        f'"heads":[{heads}'
        '{"coder":"huffman","architecture":{"network":"squeezenet","classes":10,"channels":3,'
        '"s1x1":[16,16,32,32,48,48,64,64],"e1x1":[64,64,128,128,192,192,256,256],'
        '"e3x3":[64,64,128,128,192,192,256,256],"conv1_filters":64,"conv1_kernel":3,'
        '"conv1_stride":1,"conv1_padding":1,"pool_after":"1-4-8","conv10_padding":1,'
        f'"head_relu":false,"dropout":0.0}},"names":[{names}],"heads":[[2,64,64,3,3,3],[0,64],'
        ',3,3],[0,1,1],[0,[0,10]],"activations":{}}'
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a header says: `names` and `heads` are of the tensors, in order."""

    coder: str
    architecture: dict[str, Any]
    names: tuple[str, ...]
    heads: tuple[Head, ...]
    activations: dict[str, tuple[int, int]]


def write(model: CompressedModel, coder: str, heads: Sequence[Head]) -> bytes:
    """The header of a network's file. Raises `ValueError` for what JSON cannot hold."""
    content = {
        "coder": coder,
        "architecture": model.architecture,
        "names": list(model.tensors),
        "heads": [[KINDS.index(own.kind), *own.numbers, *own.shape] for own in heads],
        "activations": model.activations,
    }
    try:
        text = _text(content)
        kept = _read(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the header cannot be written: {error}") from None
    if (kept.architecture, kept.activations) != (model.architecture, model.activations):
        raise ValueError("`architecture` and `activations` must be plain JSON values")
    squeeze = zlib.compressobj(9, wbits=-15, zdict=DICTIONARY)
    return squeeze.compress(text.encode()) + squeeze.flush()


def read(content: bytes) -> Header:
    """The header that `write` gave as `content`. Raises `ValueError` for anything else."""
    inflate = zlib.decompressobj(wbits=-15, zdict=DICTIONARY)
    try:
        text = inflate.decompress(content, MAX_TEXT).decode()
    except zlib.error:
        raise ValueError("its header cannot be inflated") from None
    if not inflate.eof or inflate.unused_data:
        raise ValueError("its header has another length")
    try:
        return _read(text)
    except (AttributeError, IndexError, TypeError, RecursionError):
        raise ValueError("its header is not one of a network") from None


def _text(content: object) -> str:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_TEXT:
        raise ValueError(f"the header's text must have at most {MAX_TEXT} characters")
    return text


def _read(text: str) -> Header:
    content = json.loads(text)
    if _text(content) != text or {n: type(v) for n, v in content.items()} != FIELDS:
        raise ValueError("its header has another form")
    coder, architecture, names, heads, activations = content.values()
    if not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise ValueError("its tensors must have names of their own")
    if len(heads) != len(names):
        raise ValueError("it must have a head for each name")
    return Header(
        coder=coder,
        architecture=architecture,
        names=tuple(names),
        heads=tuple(_head(own) for own in heads),
        activations={name: _format(own) for name, own in activations.items()},
    )


def _head(values: list[int]) -> Head:
    if type(values[0]) is not int or not 0 <= values[0] < len(KINDS):
        raise ValueError("a tensor is of an unknown kind")
    kind = KINDS[values[0]]
    shape = 1 + NUMBERS[kind]
    return Head(kind, tuple(values[shape:]), tuple(values[1:shape]))


def _format(values: list[int]) -> tuple[int, int]:
    width, fraction = values
    if type(width) is not int or type(fraction) is not int:
        raise TypeError
    return width, fraction


DICTIONARY = _typical().encode()
