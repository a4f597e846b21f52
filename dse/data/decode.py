"""An image file's contents -> an RGB image."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision import io as torchvision_io

DECODE_JPEG: Callable[..., Tensor] | None = getattr(torchvision_io, "decode_jpeg", None)
"""torchvision's decoder: the pixels of Pillow's in two thirds of the time. Deprecated since 0.29,
so it may be gone."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF")
"""What Pillow may read, whatever a file's name says: some of its readers start other programs."""

MOST_PIXELS = 178_956_970
"""Larger images are refused before memory is taken for them. It is Pillow's own limit."""

TOO_LARGE = f"it has more than {MOST_PIXELS:,} pixels"

FRAMES = frozenset(bytes([0xC0 + n]) for n in range(16) if n not in (4, 8, 12))
PADDING = frozenset((b"\xff", b"\x00"))
WITHOUT_LENGTH = frozenset(bytes([n]) for n in (0x01, *range(0xD0, 0xDA)))
"""The second bytes of a JPEG's markers."""


def decoded(content: bytes) -> Tensor:
    """An image file's contents as uint8 (3, h, w), RGB, of at most `MOST_PIXELS`.

    Palettes are resolved, gray is repeated, 16 bits become 8; alpha and EXIF's orientation are
    ignored, and only the first frame counts. Raises what the decoders raise.
    """
    if DECODE_JPEG and content.startswith(b"\xff\xd8\xff"):
        if jpeg_pixels(content) > MOST_PIXELS:
            raise ValueError(TOO_LARGE)
        rgb: Tensor
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        try:
            rgb = DECODE_JPEG(data, "RGB")
        except RuntimeError as error:  # "decode_jpeg, its file and line, what is wrong"
            raise ValueError(str(error).splitlines()[0].rpartition(", ")[2]) from None
        return rgb
    try:
        with opened(content) as image:
            pixels = bytearray(to_rgb(image).tobytes())  # faster than an array of it
            rgb = torch.frombuffer(pixels, dtype=torch.uint8).view(image.height, image.width, 3)
    except UnidentifiedImageError:
        raise ValueError(f"it is none of {' '.join(FORMATS)}") from None
    return rgb.permute(2, 0, 1)


def jpeg_pixels(content: bytes) -> int:
    """The number of pixels that a JPEG's frame header declares; 0 where it has none.

    It takes a few microseconds; Pillow would take a quarter of the time to decode a small image.
    """
    place = 2
    while (place := content.find(b"\xff", place)) >= 0:  # what is between segments is skipped
        marker, segment = content[place + 1 : place + 2], content[place + 2 : place + 9]
        if marker in FRAMES:
            return int.from_bytes(segment[3:5]) * int.from_bytes(segment[5:7])
        if marker in PADDING:
            place += 1
        else:
            place += 2 + (int.from_bytes(segment[:2]) if marker not in WITHOUT_LENGTH else 0)
    return 0


def opened(content: bytes) -> Image.Image:
    """An image of which Pillow has read the header."""
    with warnings.catch_warnings():  # Pillow warns from half of the limit on
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return Image.open(io.BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError:
            raise ValueError(TOO_LARGE) from None


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image as RGB of 8 bits: see `decoded`."""
    if image.mode == "F":
        raise ValueError("its pixels are not integers")
    if image.mode.startswith("I"):  # Pillow alone would make all above 255 white
        deep = np.array(image)
        if deep.min() < 0 or deep.max() >= 2**16:
            raise ValueError("its pixels have more than 16 bits")
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")
