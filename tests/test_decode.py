"""What an image file decodes to, of any kind, whole or cut."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
import torch
from images import KINDS, deep, encoded, waves
from PIL import Image

from dse.data import decode
from dse.data.decode import MOST_PIXELS, decoded, jpeg_pixels, opened

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_is_rgb(name: str) -> None:
    """Pillow's plain conversion is the reference for all but 16 bits."""
    content = KINDS[name]()
    rgb = decoded(content)
    assert rgb.dtype == torch.uint8
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        plain = image.convert("RGBA") if image.mode == "P" else image
        expected = np.array(plain.convert("RGB"))
    assert rgb.shape == (3, height, width)
    if name != "deep.png":
        assert np.array_equal(rgb.permute(1, 2, 0).numpy(), expected)


def test_pillow_gives_the_same_pixels_of_a_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [make() for name, make in KINDS.items() if name.lower().endswith(("jpg", "jpeg"))]
    ours = [decoded(content) for content in contents]
    monkeypatch.setattr(decode, "DECODE_JPEG", None)
    assert len(contents) == 7
    for content, image in zip(contents, ours, strict=True):
        assert torch.equal(decoded(content), image)
        with pytest.raises(OSError, match=r"(?i)truncated"):
            decoded(content[:-40])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(form: str) -> None:
    """Pillow alone would make nearly all of it white."""
    image = decoded(encoded(deep(), form))
    assert image.shape == (3, 40, 256)
    assert torch.equal(image[:, 0], torch.arange(256, dtype=torch.uint8).expand(3, 256))


def test_pixels_of_other_kinds_are_refused() -> None:
    real = Image.fromarray(np.ones((4, 4), np.float32))
    with pytest.raises(ValueError, match="are not integers"):
        decoded(encoded(real, "TIFF"))
    for value in (-1, 2**16):
        with pytest.raises(ValueError, match="more than 16 bits"):
            decoded(encoded(Image.fromarray(np.full((4, 4), value, np.int32)), "TIFF"))


def test_the_orientation_in_exif_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = waves(40, 20)
    turned, plain = encoded(image, "JPEG", exif=exif), encoded(image, "JPEG")
    assert torch.equal(decoded(turned), decoded(plain))


def test_only_the_first_frame_counts() -> None:
    frames = encoded(waves(9, 8), "TIFF", save_all=True, append_images=[waves(30, 30)])
    assert np.array_equal(decoded(frames).permute(1, 2, 0).numpy(), np.array(waves(9, 8)))


@pytest.mark.parametrize("name", ["plain.JPEG", "progressive.jpg", "cmyk.jpeg", "gray.jpg"])
def test_a_cut_jpeg_never_decodes(name: str) -> None:
    content = KINDS[name]()
    for cut in range(1, len(content), 7):
        with pytest.raises((ValueError, OSError), match=r"(?i)truncated|none of|broken|load"):
            decoded(content[:cut])


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("name", ["alpha.png", "palette.png", "a.webp", "b.BMP", "c.ppm", "e.tif"])
def test_a_cut_file_is_whole_or_broken(name: str) -> None:
    """Some have an end after their pixels that can be missing."""
    content = KINDS[name]()
    whole, broken = decoded(content), 0
    for cut in range(1, len(content), len(content) // 25):
        try:
            assert torch.equal(decoded(content[:cut]), whole)
        except Exception:  # of many kinds
            broken += 1
    assert broken > 20


# Sizes --------------------------------------------------------------------------------------------


def declared(form: str, width: int, height: int) -> bytes:
    """A small image's file whose header declares another size."""
    content = encoded(waves(10, 20), form)
    if form == "JPEG":
        place = content.index(b"\xff\xc0") + 5
        sides = height.to_bytes(2) + width.to_bytes(2)
    elif form == "PPM":
        return content.replace(b"10 20", b"%d %d" % (width, height), 1)
    elif form == "TIFF":
        return (content.replace((10).to_bytes(4, "little"), width.to_bytes(4, "little"))).replace(
            (20).to_bytes(4, "little"), height.to_bytes(4, "little")
        )
    elif form == "BMP":
        place, sides = 18, width.to_bytes(4, "little") + height.to_bytes(4, "little")
    else:
        place, sides = 16, width.to_bytes(4) + height.to_bytes(4)
        whole = content[:place] + sides + content[place + 8 : 29]
        return whole + zlib.crc32(whole[12:29]).to_bytes(4) + content[33:]
    return content[:place] + sides + content[place + len(sides) :]


@pytest.mark.parametrize("pillow_alone", [False, True])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "PPM", "TIFF"])
def test_an_image_that_is_too_large_is_refused_by_its_header(
    form: str, pillow_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """182 megapixels, half a gigabyte, in files of a few hundred bytes: no memory is taken."""
    if pillow_alone:
        monkeypatch.setattr(decode, "DECODE_JPEG", None)
    with pytest.raises(ValueError, match=r"^it has more than 178,956,970 pixels$"):
        decoded(declared(form, 13_500, 13_500))
    limit = MOST_PIXELS // 13_500
    assert opened(declared(form, 13_500, limit)).size == (13_500, limit)  # and no warning
    assert jpeg_pixels(declared("JPEG", 13_500, limit)) == 13_500 * limit


@pytest.mark.parametrize("name", ["plain.JPEG", "progressive.jpg", "cmyk.jpeg", "gray.jpg"])
def test_the_size_of_a_jpeg_is_that_of_its_frame(name: str) -> None:
    content = KINDS[name]()
    width, height = opened(content).size
    thumbnail = b"\xff\xe1\x00\x0d\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01"
    for between in (b"", b"\xff\xff", b"junk", thumbnail, b"\xff\xd0\xff\x01"):
        assert jpeg_pixels(content[:2] + between + content[2:]) == width * height


def test_the_size_of_any_bytes_is_found_or_zero() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        jpeg_pixels(b"\xff\xd8\xff" + random.choice([0, 0xC4, 0xFF], 50).astype(np.uint8).tobytes())
    assert jpeg_pixels(b"\xff\xd8\xff") == jpeg_pixels(b"") == 0
