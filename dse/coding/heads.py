"""What a file stores of a tensor before its data (`Head`), and a tensor as codes and floats.

Both coders code whole numbers, one for each place of a tensor (`codes`, 0: pruned), and leave
float32 values as they are: `split` takes a tensor apart, `join` puts it together.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from dse.coding.tensors import Dense, FixedPoint, Floats, LowRank, Shared, Sparse, Tensor

KINDS = ("dense", "sparse", "shared", "fixed", "low_rank")
SCHEMES = ("matrix", "spatial")

Codes = NDArray[np.uint16]

MAX_CODEBOOK = 256
MAX_WIDTH = 16
MAX_FRACTION = 255
MAX_DIMENSIONS = 16
MAX_SIDE = 1 << 31


class BadFile(ValueError):
    """A file that is damaged, or is not of this format."""


@dataclass(frozen=True, slots=True)
class Head:
    """A tensor without its data: `kind` (one of `KINDS`), `shape`, and the numbers of its kind.

    The numbers are, for shared: the length of the codebook; for fixed: width and fraction length;
    for low_rank: rank and the scheme's place in `SCHEMES`; for dense and sparse: none.
    Raises `ValueError` for a head that no tensor has.
    """

    kind: str
    shape: tuple[int, ...]
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        whole = (*self.shape, *self.numbers)
        if self.kind not in KINDS or any(type(n) is not int for n in whole):
            raise ValueError("a tensor has an unknown kind, or numbers that are not whole")
        if len(self.shape) > MAX_DIMENSIONS or not all(0 <= n < MAX_SIDE for n in self.shape):
            raise ValueError("a tensor has an impossible shape")
        if not self._numbers_fit():
            raise ValueError(f"a {self.kind} tensor has impossible numbers")

    def _numbers_fit(self) -> bool:
        match self.kind, self.numbers:
            case "shared", (length,):
                return 1 <= length <= MAX_CODEBOOK
            case "fixed", (width, fraction):
                return 1 <= width <= MAX_WIDTH and abs(fraction) <= MAX_FRACTION
            case "low_rank", (rank, scheme):
                dimensions = len(self.shape)
                return rank >= 0 and (
                    (scheme == 0 and dimensions >= 1) or (scheme == 1 and dimensions == 4)
                )
        return self.kind in ("dense", "sparse") and not self.numbers

    @property
    def size(self) -> int:
        """Weights of the tensor."""
        return prod(self.shape)

    @property
    def declared(self) -> int:
        """Numbers that reading may have to make room for: weights, factors, a table of codes."""
        factors = sum(map(prod, self.factors)) if self.kind == "low_rank" else 0
        return self.size + factors + self.alphabet

    @property
    def alphabet(self) -> int:
        """How many codes the tensor may have, 0 for a tensor without codes."""
        match self.kind:
            case "sparse":
                return 2
            case "shared":
                return self.numbers[0]
            case "fixed":
                return 1 << self.numbers[0]
        return 0

    @property
    def factors(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of the two factors of a low-rank tensor."""
        (rank, scheme), shape = self.numbers, self.shape
        if SCHEMES[scheme] == "matrix":
            return (shape[0], rank), (rank, prod(shape[1:]))
        return (shape[0] * shape[3], rank), (rank, shape[1] * shape[2])

    def floats(self, codes: Codes) -> int:
        """How many float32 values the tensor has apart from its codes."""
        match self.kind:
            case "dense":
                return self.size
            case "sparse":
                return int(np.count_nonzero(codes))
            case "shared":
                return self.numbers[0] - 1
            case "low_rank":
                return sum(map(prod, self.factors))
        return 0


def head(tensor: Tensor) -> Head:
    """The head of a tensor. Raises `ValueError` for a tensor against the rules of its kind."""
    match tensor:
        case Dense(values=values):
            _expect(values.dtype == np.float32, "`values` must be float32")
            return Head("dense", values.shape)
        case Sparse(kept=kept, values=values):
            _expect(kept.dtype == np.bool_ and values.dtype == np.float32, "`kept` must be bool")
            _expect(values.shape == (np.count_nonzero(kept),), "`values` must be as many as kept")
            return Head("sparse", kept.shape)
        case Shared(codes=codes, codebook=book):
            _expect(codes.dtype == np.uint8 and book.dtype == np.float32, "`codes` must be uint8")
            _expect(book.ndim == 1 and book[:1].tobytes() == bytes(4), "`codebook` must start at 0")
            _expect(int(codes.max(initial=0)) < len(book), "`codes` must be places in `codebook`")
            return Head("shared", codes.shape, (len(book),))
        case FixedPoint(numbers=numbers, width=width, fraction_length=fraction):
            found = Head("fixed", numbers.shape, (width, fraction))
            low, high = numbers.min(initial=0), numbers.max(initial=0)
            fits = -(1 << width - 1) <= low and high < 1 << width - 1
            _expect(numbers.dtype == np.int16 and fits, f"`numbers` must be int16 of {width} bits")
            return found
        case LowRank(shape=shape, scheme=scheme, left=left, right=right):
            _expect(
                scheme in SCHEMES, f"`scheme` must be one of {', '.join(SCHEMES)}, got {scheme}"
            )
            _expect(left.dtype == right.dtype == np.float32, "`left` and `right` must be float32")
            found = Head("low_rank", shape, (left.shape[-1], SCHEMES.index(scheme)))
            _expect((left.shape, right.shape) == found.factors, f"the factors must give {shape}")
            return found


def _expect(fits: bool, rule: str) -> None:
    if not fits:
        raise ValueError(rule)


def split(tensor: Tensor) -> tuple[Codes, Floats]:
    """A tensor's codes, one for each place in C order (dense and low_rank: none), and its values.

    The float32 values are all of a dense tensor, the kept ones of a sparse one, a codebook without
    its first 0, or two factors one after the other.

    A number of a fixed-point tensor has the code that is its place in `fixed_point(width)`.
    """
    none = np.empty(0, np.float32)
    match tensor:
        case Dense(values=values):
            return np.empty(0, np.uint16), values.ravel()
        case Sparse(kept=kept, values=values):
            return kept.ravel().astype(np.uint16), values
        case Shared(codes=codes, codebook=book):
            return codes.ravel().astype(np.uint16), book[1:]
        case FixedPoint(numbers=numbers, width=width):
            half = 1 << width - 1
            place = numbers.ravel().astype(np.int32) + half
            return np.where(place == half, 0, place + (place < half)).astype(np.uint16), none
        case LowRank(left=left, right=right):
            return np.empty(0, np.uint16), np.concatenate([left.ravel(), right.ravel()])


def fixed_point(width: int) -> NDArray[np.int16]:
    """The numbers of so many bits by code: 0, then the others from the lowest to the highest.

    >>> fixed_point(3).tolist()
    [0, -4, -3, -2, -1, 1, 2, 3]
    """
    half = 1 << width - 1
    numbers = np.arange(-half, half, dtype=np.int16)
    return np.concatenate([[0], numbers[:half], numbers[half + 1 :]], dtype=np.int16)


def join(own: Head, codes: Codes, floats: Floats) -> Tensor:
    """The tensor of a head, its codes (below `own.alphabet`) and its float32 values."""
    shape, numbers = own.shape, own.numbers
    match own.kind:
        case "dense":
            return Dense(values=floats.reshape(shape))
        case "sparse":
            return Sparse(kept=codes.astype(np.bool_).reshape(shape), values=floats)
        case "shared":
            book = np.concatenate([np.zeros(1, np.float32), floats])
            return Shared(codes=codes.astype(np.uint8).reshape(shape), codebook=book)
        case "fixed":
            width, fraction = numbers
            fixed = fixed_point(width)[codes].reshape(shape)
            return FixedPoint(numbers=fixed, width=width, fraction_length=fraction)
    left, right = own.factors
    return LowRank(
        shape=shape,
        scheme=SCHEMES[numbers[1]],
        left=floats[: prod(left)].reshape(left),
        right=floats[prod(left) :].reshape(right),
    )
