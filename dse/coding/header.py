"""The header of a compressed network's file: everything but the tensors' data, as deflated JSON.

The text is JSON without spaces, as `json.dumps` writes it. It is deflated with a preset
dictionary, the header of a typical network: so the names of layers and keys cost a few bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dse.coding.heads import KINDS, Head
from dse.coding.tensors import CompressedModel

MAX_TEXT = 1 << 18
"""Characters of a header's text, at most."""

FIELDS = {"coder": str, "architecture": dict, "names": list, "heads": list, "activations": dict}
"""The parts of a header, in order."""

NUMBERS = {"dense": 0, "sparse": 0, "shared": 1, "fixed": 2, "low_rank": 2}
"""How many numbers a head has between its kind and its shape."""

BIAS = len(KINDS)
"""The number for a dense tensor as long as the first dimension of the one before it."""


def _typical() -> str:
    """A header's text of networks as they are trained here; what is most frequent comes last."""
    heads = "".join(f"[2,{n},{n},{n},1,1],[5],[2,{n},{n},{n},3,3],[5]," for n in range(8, 257, 8))
    parts = ("squeeze", "expand1x1", "expand3x3")
    fires = [f"fire{number}.{part}" for number in range(2, 10) for part in parts]
    linear = ["fire2.bypass", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    more, names = (
        ",".join(f'"{layer}.weight","{layer}.bias"' for layer in layers)
        for layers in (linear, ["conv1", *fires, "conv10"])
    )
    squeezes = "".join(f'"s1x1":[{n},{n},{2 * n},{2 * n},{3 * n},{3 * n},' for n in (8, 16, 4))
    return (
        f'"alexnet","image_size":32,"convolutions":[[24,"linear":[{more}"strided_fires":"none",'
        '"bypass":"simple","complex","conv10_split":2,"conv10_multiple":16,"conv1_filters":16,'
        '"conv1_filters":12,"conv1_stride":2,"pool_after":"1-3-5","pool_after":"1-4",'
        f'"conv10_padding":1,[3,8,7,[4,16,0,"input":[8,{heads}{{"coder":"adaptive","architecture":'
        f'{{"coder":"huffman","architecture":{{"network":"squeezenet","classes":10,"channels":3,'
        f'{squeezes}16,16],"e1x1":[16,16,32,32,48,48,64,64],"e3x3":[16,16,32,32,48,48,64,64],'
        '"conv1_filters":64,"conv1_kernel":3,"conv1_stride":1,"conv1_padding":1,'
        f'"head_relu":false,"dropout":0.2}},"names":[{names}],"heads":[[2,64,64,3,3,3],[5],'
        '[2,64,16,64,1,1],[5],[0,[1,"activations":{}}'
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
        "heads": [_row(own, before) for own, before in zip(heads, (None, *heads), strict=False)],
        "activations": model.activations,
    }
    try:
        text = _text(content)
        kept = _read(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the header cannot be written: {error}") from None
    if (kept.architecture, kept.activations) != (model.architecture, model.activations):
        raise ValueError("`architecture` and `activations` must be plain JSON values")
    return deflated(text)


def read(content: bytes) -> tuple[Header, bytes]:
    """The header at the start of `content`, and what follows it.

    Raises `ValueError` for a header that `write` does not write.
    """
    text, rest = inflated(content)
    try:
        return _read(text), rest
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        raise ValueError("its header is not that of a network") from None


def deflated(text: str) -> bytes:
    """A header's text as it is in the file."""
    squeeze = zlib.compressobj(9, wbits=-15, strategy=zlib.Z_FILTERED, zdict=DICTIONARY)
    return squeeze.compress(text.encode()) + squeeze.flush()


def inflated(content: bytes) -> tuple[str, bytes]:
    """The header's text at the start of `content`, and what follows it."""
    inflate = zlib.decompressobj(wbits=-15, zdict=DICTIONARY)
    try:
        text = inflate.decompress(content, MAX_TEXT)
    except zlib.error:
        raise ValueError("its header cannot be inflated") from None
    if not inflate.eof:
        raise ValueError("its header has no end")
    return text.decode(errors="replace"), inflate.unused_data


def _text(content: object) -> str:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_TEXT:
        raise ValueError(f"the header's text must have at most {MAX_TEXT} characters")
    return text


def _read(text: str) -> Header:
    content = json.loads(text)
    parts = [(name, type(part)) for name, part in content.items()]
    if _text(content) != text or parts != [*FIELDS.items()]:
        raise ValueError("its header has another form")
    coder, architecture, names, heads, activations = content.values()
    if not all(map(_is_name, names)) or len({*names}) < len(names):
        raise ValueError("its tensors must have names of their own")
    if len(heads) != len(names):
        raise ValueError("it must have a head for each name")
    return Header(
        coder=coder,
        architecture=architecture,
        names=tuple(names),
        heads=tuple(_heads(heads)),
        activations={name: _format(own) for name, own in activations.items()},
    )


def _is_name(name: object) -> bool:
    """Whether this may be a tensor's name, in safetensors too."""
    return isinstance(name, str) and name.isprintable() and name != "__metadata__"


def _row(own: Head, before: Head | None) -> list[int]:
    """A head as numbers: kind, the numbers of its kind, shape; `[BIAS]` for a bias."""
    if before and own == Head("dense", before.shape[:1]):
        return [BIAS]
    return [KINDS.index(own.kind), *own.numbers, *own.shape]


def _heads(rows: list[list[int]]) -> Iterator[Head]:
    own = None
    for row in rows:
        if own and row == [BIAS]:
            own = Head("dense", own.shape[:1])
        elif type(row[0]) is int and 0 <= row[0] < len(KINDS):
            start = 1 + NUMBERS[KINDS[row[0]]]
            own = Head(KINDS[row[0]], tuple(row[start:]), tuple(row[1:start]))
        else:
            raise ValueError("a tensor is of an unknown kind")
        yield own


def _format(values: list[int]) -> tuple[int, int]:
    width, fraction = values
    if not (type(width) is type(fraction) is int and 1 <= width <= 32 and abs(fraction) < 256):
        raise ValueError("an activation has an impossible format")
    return width, fraction


DICTIONARY = _typical().encode()
