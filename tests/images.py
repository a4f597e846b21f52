"""Folders of small images in ImageNet's layout, with many kinds of files. Imports no torch."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

LONG_AGO = (1_600_000_000, 1_600_000_000)


def waves(width: int, height: int, number: int = 0) -> Image.Image:
    """An RGB image whose colours change slowly; each `number` has one of its own."""
    y, x = np.mgrid[0:height, 0:width]
    red = 40 + (number * 53) % 160 + 20 * np.sin(x / 9 + number)
    green = 128 + 100 * np.sin(y / 17 - number)
    blue = 255 * (x + y) / (width + height)
    return Image.fromarray(np.stack([red, green, blue], 2).round().astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The contents of a file that holds `image`."""
    file = io.BytesIO()
    image.save(file, form, **options)  # type: ignore[arg-type]
    return file.getvalue()


def deep() -> Image.Image:
    """A gray image of 16 bits: its bytes are 0 .. 255 once each row, above noise."""
    rows = np.arange(256, dtype=np.uint16) * 256 + np.arange(256, dtype=np.uint16)[::-1]
    return Image.fromarray(np.tile(rows, (40, 1)))


KINDS: Mapping[str, Callable[[], bytes]] = {
    "plain.JPEG": lambda: encoded(waves(90, 60), "JPEG", quality=90),
    "progressive.jpg": lambda: encoded(waves(64, 64, 1), "JPEG", progressive=True),
    "gray.jpg": lambda: encoded(waves(70, 50, 2).convert("L"), "JPEG"),
    "cmyk.jpeg": lambda: encoded(waves(80, 60, 3).convert("CMYK"), "JPEG", quality=95),
    "wide.jpg": lambda: encoded(waves(400, 9, 4), "JPEG"),
    "tall.jpg": lambda: encoded(waves(7, 300, 5), "JPEG"),
    "tiny.png": lambda: encoded(waves(10, 10, 6), "PNG"),
    "dot.png": lambda: encoded(waves(1, 1, 7), "PNG"),
    "alpha.png": lambda: encoded(waves(50, 50, 8).convert("RGBA"), "PNG"),
    "gray_alpha.png": lambda: encoded(waves(50, 50, 9).convert("LA"), "PNG"),
    "palette.png": lambda: encoded(waves(50, 40, 10).quantize(16), "PNG", transparency=b"\0\x80"),
    "two.png": lambda: encoded(waves(50, 40, 11).convert("1"), "PNG"),
    "deep.png": lambda: encoded(deep(), "PNG"),
    "a.webp": lambda: encoded(waves(50, 40, 12), "WEBP", lossless=True),
    "b.BMP": lambda: encoded(waves(50, 40, 13), "BMP"),
    "c.ppm": lambda: encoded(waves(50, 40, 14), "PPM"),
    "d.pgm": lambda: encoded(waves(50, 40, 15).convert("L"), "PPM"),
    "e.tif": lambda: encoded(waves(50, 40, 16), "TIFF"),
    "f.TIFF": lambda: encoded(waves(50, 40, 17).convert("CMYK"), "TIFF"),
    "misnamed.JPEG": lambda: encoded(waves(50, 40, 18), "PNG"),  # as n02105855_2933 of ImageNet
}


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    """Files by their paths, in directories that changed last long ago."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return settled(root)


def settled(root: Path) -> Path:
    """Make every directory below `root` one that changed last long ago."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, LONG_AGO)
    return root


def folder(root: Path, *, classes: int = 2, train: int = 20, test: int = 4) -> Path:
    """A folder of `train` + `test` images a class, of all kinds."""
    kinds = list(KINDS.items())
    files = {}
    for label in range(classes):
        for part, number in (("train", train), ("val", test)):
            for n in range(number):
                name, make = kinds[(n + 3 * label) % len(kinds)]
                files[f"{part}/class{label:02d}/{n:03d}_{name}"] = make()
    return write(root, files)
