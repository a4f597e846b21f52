"""Streams of a folder of pictures: what is decoded, cropped and normalised, and by whom."""

from __future__ import annotations

import io
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import KINDS, deep, encoded, folder, waves, write
from PIL import Image
from torchvision.transforms import v2
from toy_trial import children, workers

from dse.data import folder as image_folder
from dse.data import stream as streams
from dse.data.published import Store, Unfit
from dse.data.stream import CHANGES, Files, Stream, decoded, load
from dse.results import records
from dse.trial.protocol import Protocol

HERE = Path(__file__).parent

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 classes of 25 + 4 pictures, of all kinds."""
    return folder(tmp_path_factory.mktemp("folder"), train=25)


@pytest.fixture(scope="module")
def distinct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 classes of 25 + 4 pictures, of which no two are alike."""
    files = {}
    for number in range(58):
        part, label = ("val", number % 2) if number < 8 else ("train", number % 2)
        files[f"{part}/class{label:02d}/{number:02d}.png"] = encoded(waves(30, 40, number), "PNG")
    return write(tmp_path_factory.mktemp("distinct"), files)


def stream(root: Path, loaders: int = 0, **values: object) -> Stream:
    """A stream of 35 training, 15 validation and 8 test pictures of 24 pixels, or as said."""
    cache = root.with_name("cache")
    question: dict[str, object] = {
        "data": "image_folder",
        "manifest": image_folder.read(root, cache).text,
        "image_size": 24,
        "validation_share": 0.3,
        "train_share": 1.0,
        **values,
    }
    protocol = Protocol(**question)  # type: ignore[arg-type]
    return load(protocol, Store(root=root, cache=cache, loaders=loaders))


def epoch(
    data: Stream, batch_size: int = 8, seed: int = 0, number: int = 1, start: int = 0
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(data.train_batches(batch_size, seed, number, start))


def same(
    one: list[tuple[torch.Tensor, torch.Tensor]], other: list[tuple[torch.Tensor, torch.Tensor]]
) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


# Files -> pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_is_rgb(name: str) -> None:
    """Pillow's plain conversion is the reference for all but 16 bits."""
    content = KINDS[name]()
    picture = decoded(content)
    assert picture.dtype == torch.uint8
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        plain = image.convert("RGBA") if image.mode == "P" else image
        expected = np.array(plain.convert("RGB"))
    assert picture.shape == (3, height, width)
    if name != "deep.png":
        assert np.array_equal(picture.permute(1, 2, 0).numpy(), expected)


def test_pillow_gives_the_same_pixels_of_a_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [make() for name, make in KINDS.items() if name.lower().endswith(("jpg", "jpeg"))]
    ours = [decoded(content) for content in contents]
    monkeypatch.setattr(streams, "DECODE_JPEG", None)
    assert len(contents) == 7
    for content, picture in zip(contents, ours, strict=True):
        assert torch.equal(decoded(content), picture)
        with pytest.raises(OSError, match=r"(?i)truncated"):
            decoded(content[:-40])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(form: str) -> None:
    """Pillow alone would make nearly all of it white."""
    picture = decoded(encoded(deep(), form))
    assert picture.shape == (3, 40, 256)
    assert torch.equal(picture[:, 0], torch.arange(256, dtype=torch.uint8).expand(3, 256))


def test_pixels_of_other_kinds_are_refused() -> None:
    real = Image.fromarray(np.ones((4, 4), np.float32))
    with pytest.raises(ValueError, match="no whole numbers"):
        decoded(encoded(real, "TIFF"))
    for value in (-1, 2**16):
        with pytest.raises(ValueError, match="more than 16 bits"):
            decoded(encoded(Image.fromarray(np.full((4, 4), value, np.int32)), "TIFF"))


def test_the_camera_may_have_been_held_in_any_way() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = waves(40, 20)
    turned, plain = encoded(picture, "JPEG", exif=exif), encoded(picture, "JPEG")
    assert torch.equal(decoded(turned), decoded(plain))


def test_only_the_first_frame_counts() -> None:
    frames = encoded(waves(9, 8), "TIFF", save_all=True, append_images=[waves(30, 30)])
    assert np.array_equal(decoded(frames).permute(1, 2, 0).numpy(), np.array(waves(9, 8)))


@pytest.mark.parametrize("name", ["plain.JPEG", "progressive.jpg", "cmyk.jpeg", "gray.jpg"])
def test_a_cut_jpeg_never_decodes(name: str) -> None:
    content = KINDS[name]()
    for cut in range(1, len(content), 3):
        with pytest.raises((ValueError, OSError), match=r"(?i)truncated|none of|broken|load"):
            decoded(content[:cut])


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("name", ["alpha.png", "palette.png", "a.webp", "b.BMP", "c.ppm", "e.tif"])
def test_a_cut_file_is_whole_or_broken(name: str) -> None:
    """Some have an end behind their pixels that can be missing."""
    content = KINDS[name]()
    whole, broken = decoded(content), 0
    for cut in range(1, len(content), len(content) // 50):
        try:
            assert torch.equal(decoded(content[:cut]), whole)
        except Exception:  # of many kinds
            broken += 1
    assert broken > 40


# Broken files in a stream ---------------------------------------------------------------------


def wrong(content: bytes) -> bytes:
    """Other contents of the same size."""
    return b"%!PS" + bytes(len(content) - 4)


@pytest.mark.parametrize("loaders", [0, 2])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "bytes, the manifest says"),
        (lambda path: path.write_bytes(path.read_bytes() + b"!"), "bytes, the manifest says"),
        (lambda path: path.write_bytes(wrong(path.read_bytes())), "it is none of JPEG PNG"),
        (lambda path: path.unlink(), "No such file"),
    ],
)
def test_a_broken_picture_is_told_with_its_path(
    change: object, said: str, loaders: int, tmp_path: Path
) -> None:
    root = folder(tmp_path / "root", test=1)
    data = stream(root, loaders)
    path = next((root / "train/class01").glob("007_*"))
    change(path)  # type: ignore[operator]
    with pytest.raises(Unfit) as caught:  # it is trained on or held out
        epoch(data) + list(data.batches(data.validation))
    assert str(caught.value).startswith(f"`data.root` must hold pictures that decode, got {path}: ")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_another_folder_than_the_question_s_is_refused(root: Path) -> None:
    with pytest.raises(Unfit, match=r"`manifest` must be that of `data\.root`, 2-50-8-"):
        stream(root, manifest="2-50-8-" + "0" * 20)


# Parts ------------------------------------------------------------------------------------------


def test_parts_are_the_folder_without_overlap(root: Path) -> None:
    data = stream(root)
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [35, 15, 8]
    assert sorted(torch.cat([data.train.rows, data.validation.rows]).tolist()) == list(range(50))
    assert data.test.rows.tolist() == list(range(50, 58))
    for part in parts:
        lines = data.files.listing.splitlines()
        for row, label in zip(part.rows.tolist(), part.labels.tolist(), strict=True):
            assert f"/class{label:02d}/".encode() in lines[row]
    assert data.facts.num_classes == 2


def test_a_smaller_share_is_part_of_a_larger_one(root: Path) -> None:
    data, smaller = stream(root), stream(root, train_share=0.4)
    assert smaller.train.rows.tolist() == data.train.rows[:14].tolist()
    assert smaller.validation.rows.tolist() == data.validation.rows.tolist()


@pytest.mark.parametrize("batch_size", [1, 7, 16, 17, 100])
def test_evaluation_takes_the_whole_part_in_order(distinct: Path, batch_size: int) -> None:
    data = stream(distinct)
    batches = list(data.batches(data.test, batch_size))
    assert torch.equal(torch.cat([y for _, y in batches]), data.test.labels)
    x = torch.cat([x for x, _ in batches])
    assert torch.allclose(x, torch.stack([whole(data, row) for row in data.test.rows.tolist()]))
    assert {len(y) for _, y in batches[:-1]} <= {batch_size}


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def whole(data: Stream, row: int) -> torch.Tensor:
    """What a picture is without augmentation."""
    crop = CHANGES["none"].judged(data.files.picture(row), 24, np.empty(0))
    return (crop / 255 - MEAN) / STD


@pytest.mark.parametrize("batch_size", [4, 16, 17, 34, 35, 64])
def test_an_epoch_has_every_picture_once_but_for_a_single_left_over(
    distinct: Path, batch_size: int
) -> None:
    data = stream(distinct)
    batches = epoch(data, batch_size)
    assert len(batches) == data.steps(batch_size)
    seen = 34 if 35 % batch_size == 1 else 35
    assert sum(len(y) for _, y in batches) == seen
    for x, y in batches:
        assert x.shape == (len(y), 3, 24, 24)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert x.is_contiguous(memory_format=torch.channels_last)
    known = {row: whole(data, row) for row in data.train.rows.tolist()}
    rows = [row_of(known, picture) for x, _ in batches for picture in x]
    assert len(set(rows)) == len(rows) == seen


def row_of(known: Mapping[int, torch.Tensor], picture: torch.Tensor) -> int:
    """The one row whose picture it is."""
    (row,) = [row for row, its in known.items() if torch.allclose(picture, its, atol=1e-5)]
    return row


# Random numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", CHANGES)
def test_batches_do_not_depend_on_the_loaders(root: Path, augment: str) -> None:
    state, numbers = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    alone = epoch(stream(root, 0, augment=augment))
    for loaders in (1, 2, 3):
        assert same(epoch(stream(root, loaders, augment=augment)), alone)
    judged = stream(root, 2, augment=augment)
    whole = stream(root, 0, augment=augment)
    assert same(list(judged.batches(judged.test, 3)), list(whole.batches(whole.test, 3)))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numbers[1])  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("loaders", [0, 2])
def test_start_leaves_out_the_first_batches(root: Path, loaders: int) -> None:
    data = stream(root, loaders, augment="crop_flip")
    batches = epoch(data)
    for start in (1, 3, 5):
        assert same(epoch(data, start=start), batches[start:])


def test_batches_that_are_skipped_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Files.picture
    root = folder(tmp_path / "root", train=25)
    data, taken = stream(root), list[int]()
    batches = epoch(data)
    monkeypatch.setattr(Files, "picture", lambda files, row: taken.append(row) or kept(files, row))
    epoch(data)
    monkeypatch.undo()
    for line in (data.files.listing.splitlines()[row] for row in taken[:24]):
        path = root / line.partition(b" ")[2].decode()
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Unfit):
        epoch(data)
    assert same(epoch(data, start=3), batches[3:])


def test_a_picture_s_crop_is_a_function_of_seed_and_epoch(root: Path) -> None:
    """Not of the batch that it is in, nor of the pictures beside it."""
    data = stream(root, augment="crop_flip")
    small, large = epoch(data, 5), epoch(data, 35)
    assert torch.equal(torch.cat([x for x, _ in small]), large[0][0])
    less = stream(root, augment="crop_flip", train_share=0.4)
    key = streams.random_seed(0, "augment", 1)
    one, other = (
        dict(
            zip(
                d.train.rows.tolist(),
                torch.cat([x for x, _ in d._batches(d.train, 8, key)]),
                strict=True,
            )
        )
        for d in (data, less)
    )
    assert all(torch.equal(one[row], crop) for row, crop in other.items())
    orders = {
        tuple(torch.cat([y for _, y in epoch(data, 8, s, n)]).tolist())
        for s in (0, 1)
        for n in (1, 2)
    }
    assert len(orders) == 4


def test_no_two_pictures_share_random_numbers() -> None:
    drawn = [tuple(streams._uniform(key, row)) for key in (1, 2) for row in range(200)]
    flat = [number for numbers in drawn for number in numbers]
    assert len(set(flat)) == len(flat) == 400 * 24
    assert abs(np.mean(flat) - 0.5) < 0.01
    assert drawn == [tuple(streams._uniform(key, row)) for key in (1, 2) for row in range(200)]


# Crops ----------------------------------------------------------------------------------------


def chart(width: int, height: int) -> torch.Tensor:
    """A picture whose pixels say where they are: (3, h, w) of x, y and 0."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)]).to(torch.uint8)


def test_a_crop_of_the_authors_is_anywhere_in_the_square() -> None:
    """256x256 is what they stretched to: those pictures are only cropped."""
    picture = chart(256, 256)
    places, mirrored = set(), 0
    for row in range(3000):
        random = streams._uniform(7, row)
        crop = CHANGES["crop"].trained(picture, 227, random)
        left, top = int(crop[0, 0, 0]), int(crop[1, 0, 0])
        assert torch.equal(crop, picture[:, top : top + 227, left : left + 227])
        either = CHANGES["crop_flip"].trained(picture, 227, random)
        mirrored += not torch.equal(either, crop)
        assert torch.equal(either, crop) or torch.equal(either, crop.flip(2))
        places.add((left, top))
    assert {left for left, _ in places} == {top for _, top in places} == set(range(30))
    assert len(places) > 800
    assert abs(mirrored - 1500) < 4 * 27.4


@pytest.mark.parametrize("augment", ["none", "crop", "crop_flip"])
def test_the_authors_judge_the_middle_of_the_square(augment: str) -> None:
    crop = CHANGES[augment].judged(chart(256, 256), 227, np.empty(0))
    assert torch.equal(crop, chart(256, 256)[:, 14:241, 14:241])
    wide = CHANGES[augment].judged(chart(250, 50), 227, np.empty(0))
    assert wide.shape == (3, 227, 227)
    reach = [int(value) for value in (wide[0, 0, 0], wide[0, 0, -1], wide[1, 0, 0], wide[1, -1, 0])]
    expected = [14 / 256 * 250, 241 / 256 * 250, 14 / 256 * 50, 241 / 256 * 50]
    assert reach == pytest.approx(expected, abs=1.5)  # all of its shape is lost, none of its width
    assert torch.equal(
        CHANGES["none"].trained(wide, 64, np.empty(0)),
        CHANGES["none"].judged(wide, 64, np.empty(0)),
    )


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (375, 500), (256, 256), (10, 9), (300, 7)]
)
def test_torchvision_s_judging_is_torchvision_s(width: int, height: int) -> None:
    picture = torch.from_numpy(np.array(waves(width, height))).permute(2, 0, 1)
    theirs = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])(picture)
    assert torch.equal(CHANGES["resized_crop_flip"].judged(picture, 224, np.empty(0)), theirs)


def test_torchvision_s_crops_have_its_areas_and_shapes() -> None:
    areas, shapes, corners = [], [], []
    for row in range(2000):
        top, left, height, width = streams._part_of(375, 500, streams._uniform(3, row))
        assert 0 <= top <= 375 - height
        assert 0 <= left <= 500 - width
        areas.append(height * width / (375 * 500))
        shapes.append(width / height)
        corners.append((top, left))
    assert min(areas) > 0.079
    assert max(areas) < 1.001
    assert min(shapes) > 0.74
    assert max(shapes) < 1.35
    # The median of torchvision's own over 2,000 draws: large areas fit less often.
    torch.manual_seed(0)
    picture = torch.empty(3, 375, 500)
    theirs = [v2.RandomResizedCrop(224).make_params([picture]) for _ in range(2000)]
    ours = np.median(areas)
    assert ours == pytest.approx(
        np.median([p["height"] * p["width"] / (375 * 500) for p in theirs]), abs=0.04
    )
    assert np.median(shapes) == pytest.approx(
        np.median([p["width"] / p["height"] for p in theirs]), abs=0.04
    )
    assert len(set(corners)) > 1500


@pytest.mark.parametrize(
    ("height", "width", "part"),
    [(5, 1000, (0, 496, 5, 7)), (1000, 6, (496, 0, 8, 6)), (1, 1, (0, 0, 1, 1))],
)
def test_a_shape_that_no_crop_fits_in_gives_its_middle(
    height: int, width: int, part: tuple[int, ...]
) -> None:
    assert {streams._part_of(height, width, streams._uniform(1, row)) for row in range(50)} == {
        part
    }


def test_a_resized_crop_is_mirrored_every_other_time() -> None:
    picture, mirrored = chart(250, 200), 0
    for row in range(1000):
        crop = CHANGES["resized_crop_flip"].trained(picture, 32, streams._uniform(2, row))
        assert crop.shape == (3, 32, 32)
        mirrored += bool(crop[0, 0, 0] > crop[0, 0, -1])
        assert crop[1, 0, 0] <= crop[1, -1, 0]
    assert abs(mirrored - 500) < 4 * 15.8


# Normalising ------------------------------------------------------------------------------------


def test_pictures_are_normalised_by_the_data_set_or_as_caffe_does(tmp_path: Path) -> None:
    red = encoded(Image.new("RGB", (40, 30), (255, 128, 0)), "PNG")
    files = {f"{p}/{c}/{n}.png": red for p in ("train", "val") for c in "ab" for n in range(4)}
    root = write(tmp_path / "root", files)
    data, caffe = stream(root), stream(root, normalise="caffe")
    x = epoch(data)[0][0]
    expected = (torch.tensor([1.0, 128 / 255, 0.0]).view(3, 1, 1) - MEAN) / STD
    assert torch.allclose(x, expected.expand_as(x), atol=1e-6)
    x = next(caffe.batches(caffe.test))[0]
    assert torch.equal(x, torch.tensor([132.0, 11.0, -104.0]).view(3, 1, 1).expand_as(x))


# Loaders ----------------------------------------------------------------------------------------


def names(data: Stream) -> list[bytes]:
    return [line.split(b" ", 1)[1] for line in data.files.listing.splitlines()]


def descendants() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid]


def listed(place: str) -> set[str]:
    return {path.name for path in Path(place).iterdir()}


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pids: list[int], seconds: float) -> float:
    """How long that took; fails where it takes longer."""
    start = time.monotonic()
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() - start < seconds, [pid for pid in pids if not gone(pid)]
        time.sleep(0.01)
    return time.monotonic() - start


def test_two_passes_at_once_do_not_mix(root: Path) -> None:
    data, alone = stream(root, 2, augment="crop"), stream(root, 0, augment="crop")
    passes = [(data.train_batches(4, seed, 1), epoch(alone, 4, seed)) for seed in (0, 1)]
    both: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[], []]
    for first, second in zip(*(iterator for iterator, _ in passes), strict=True):
        both[0].append(first)
        both[1].append(second)
    assert same(both[0], passes[0][1])
    assert same(both[1], passes[1][1])


def test_a_pass_that_is_left_leaves_nothing(root: Path) -> None:
    data = stream(root, 2)
    before, descriptors = set(descendants()), len(listed("/proc/self/fd"))
    shared = listed("/dev/shm")
    for number in range(1, 4):
        batches = data.train_batches(8, 0, number)
        next(batches)
        assert len(set(descendants()) - before) == 2
        batches.close()  # type: ignore[attr-defined]
        assert len(epoch(data)) == 5
    assert set(descendants()) == before
    assert len(listed("/proc/self/fd")) <= descriptors + 1
    assert listed("/dev/shm") == shared


def test_a_broken_picture_ends_the_loaders_at_once(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", test=1)
    data = stream(root, 2)
    write(root, {name.decode(): b"x" for name in names(data)})
    before = set(descendants())
    with pytest.raises(Unfit) as caught:
        epoch(data)
    assert caught.tb  # which keeps every local variable of the pass
    assert set(descendants()) == before


def test_a_batch_of_any_size_is_spread(distinct: Path) -> None:
    """Far more chunks of one picture than a pipe holds words, and slots than there are chunks."""
    data, part = stream(distinct, 1), stream(distinct).train
    many = streams.Part(part.rows.repeat(120), part.labels.repeat(120))
    sums = [x.double().sum((1, 2, 3)) for x, _ in data.batches(many, 2000)]
    assert [len(s) for s in sums] == [2000, 2000, 200]
    rounds = torch.cat(sums).view(120, 35)
    assert torch.equal(rounds, rounds[:1].expand_as(rounds))
    assert len(rounds[0].unique()) == 35


def test_few_descriptors_are_enough(root: Path) -> None:
    data = stream(root, 2, augment="crop")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = max(map(int, listed("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 40, limits[1]))
    try:
        for number in range(1, 4):
            assert len(epoch(data, 2, number=number)) == 17
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_loader_that_dies_ends_the_pass(root: Path) -> None:
    data = stream(root, 2)
    before = set(descendants())
    batches = data.train_batches(2, 0, 1)
    next(batches)
    victim = min(set(descendants()) - before)
    os.kill(victim, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="a loader ended with exit code -9"):
        list(batches)
    assert time.monotonic() - start < 20
    wait_until_gone(list(set(descendants()) - before), 5)


TRIAL = """
import multiprocessing, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_streams
data = test_streams.stream(Path(sys.argv[2]), 2, image_size=227, augment="crop")
batches = data.train_batches(4, 0, 1)
next(batches)
print(*test_streams.descendants(), flush=True)
time.sleep(60)
"""


def test_loaders_die_with_their_trial(root: Path) -> None:
    command = [sys.executable, "-c", TRIAL, str(HERE), str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trial:
        assert trial.stdout is not None
        loaders = [int(word) for word in trial.stdout.readline().split()]
        assert len(loaders) == 2
        assert not any(gone(pid) for pid in loaders)
        trial.kill()
        trial.wait(10)
        assert wait_until_gone(loaders, 5) < 2


# A whole trial ----------------------------------------------------------------------------------


def command(tmp_path: Path, root: Path, protocol: str, *words: str) -> list[str]:
    """A sweep of one network an eighth as wide, by `protocol` on a folder."""
    return [
        *(sys.executable, "-m", "dse.sweep", "--config-name", "squeezenet"),
        *(f"protocol={protocol}", f"data.root={root}", f"data.cache={tmp_path / 'cache'}"),
        *("epochs=1", "base_e=16", "incr_e=16", "lr=0.01", "data.loaders=2"),
        *("runner.workers=1", *words),
    ]


def swept(tmp_path: Path, root: Path, protocol: str, *words: str) -> records.Record:
    """The one record of a sweep."""
    run = subprocess.run(
        command(tmp_path, root, protocol, *words),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "data").exists()
    (path,) = (tmp_path / "results/squeezenet/trials").glob("*/record.json")
    return records.read(path)


@pytest.mark.parametrize(
    ("protocol", "size", "kernel"), [("imagenet", 227, 7), ("imagenet_torchvision", 224, 7)]
)
def test_the_protocols_of_imagenet_train_on_a_folder(
    tmp_path: Path, protocol: str, size: int, kernel: int
) -> None:
    root = folder(tmp_path / "root", train=11, test=3)
    record = swept(tmp_path, root, protocol, "validation_share=0.5", "batch_size=7")
    question, answer = record.trial.question, record.answer
    assert record.trial.protocol.manifest.startswith("2-22-6-")
    assert (question["image_size"], question["conv1_kernel"]) == (size, kernel)
    assert answer.steps == 2  # 11 pictures, 7 at a time
    assert answer.status in ("learned", "partly_dead", "never_learned")
    for top1, pictures in ((answer.top1, 6), (answer.val_top1, 11)):
        assert top1 * pictures / 100 == pytest.approx(round(top1 * pictures / 100))
    assert 0 < answer.loss < 10


@pytest.mark.slow
def test_loaders_that_stall_cost_an_attempt_and_die_with_it(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", train=60, test=3)
    words = ("validation_share=0.5", "batch_size=2", "runner.patience=10")
    with subprocess.Popen(
        command(tmp_path, root, "imagenet", *words), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as driver:
        loaders: list[int] = []
        while not loaders:
            assert driver.poll() is None, driver.communicate()
            loaders = [pid for trial in workers(driver.pid) for pid in children(trial)]
        for pid in loaders:
            os.kill(pid, signal.SIGSTOP)
        _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert "attempt 1: the process sent no sign of life for 10 s and was killed" in errors
    assert all(gone(pid) for pid in loaders)
    assert len(list((tmp_path / "results/squeezenet/trials").glob("*/record.json"))) == 1


@pytest.mark.skipif("SQUEEZENET_DSE_DATA" not in os.environ, reason="no ImageNet here")
def test_a_sweep_trains_on_pictures_of_imagenet(tmp_path: Path) -> None:
    root = Path(os.environ["SQUEEZENET_DSE_DATA"]) / "imagenet10"
    record = swept(tmp_path, root, "imagenet", "train_share=0.2", "batch_size=32")
    protocol, answer = record.trial.protocol, record.answer
    assert protocol.facts.num_classes == 10
    assert answer.steps == -(-protocol.train_pictures // 32)
    assert (answer.top1 * protocol.facts.test / 100) == pytest.approx(
        round(answer.top1 * protocol.facts.test / 100)
    )
    assert answer.loss < 3


@pytest.mark.skipif("SQUEEZENET_DSE_DATA" not in os.environ, reason="no ImageNet here")
def test_pictures_of_imagenet_stream_alike_from_any_number_of_loaders(tmp_path: Path) -> None:
    root = Path(os.environ["SQUEEZENET_DSE_DATA"]) / "imagenet10"
    found = image_folder.read(root, tmp_path)
    protocol = Protocol(
        data="image_folder",
        manifest=found.text,
        image_size=227,
        augment="crop",
        normalise="caffe",
        validation_share=0.9,
        train_share=1.0,
    )
    passes = [
        epoch(load(protocol, Store(root=root, cache=tmp_path, loaders=loaders)), 64)
        for loaders in (0, 2)
    ]
    assert same(*passes)
    x = torch.cat([x for x, _ in passes[0]])
    assert x.shape == (150, 3, 227, 227)
    assert x.mean().abs() < 25  # of 255: the mean of ten classes is about that of a thousand
    assert 40 < x.std() < 90
    assert all(a != b for a, b in pairwise(x.flatten(1).sum(1).tolist()))
