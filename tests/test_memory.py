"""What is in each part of a data set, and what comes out as batches."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dse.data import cache, memory
from dse.data.cache import CacheFile
from dse.data.formats import Bytes
from dse.data.memory import AUGMENTATIONS, Data, Drawn, Part, changed, digits, load
from dse.data.published import Published
from dse.data.store import Store
from dse.trial.datasets import DATA_SETS
from dse.trial.protocol import Protocol

DIGITS = DATA_SETS["digits"]
REAL = Path(os.environ.get("SQUEEZENET_DSE_DATA", "/nonexistent"))


def small(images: int = 10, augment: str = "none") -> Data:
    """Distinct images: the middle pixel of each is its number + 1."""
    numbers = np.arange(images)
    images = np.zeros((images, 5, 5, 1), np.uint8)
    images[:, 2, 2, 0] = numbers + 1
    part = Part(images, numbers, numbers)
    return Data(train=part, validation=part, test=part, facts=DIGITS, augment=augment)


def held(part: Part) -> Bytes:
    return part.images[part.rows]


def pixels(images: Bytes) -> list[bytes]:
    return [image.tobytes() for image in images]


def epoch(data: Data, batch_size: int, seed: int, number: int) -> tuple[torch.Tensor, list[int]]:
    """All images of one epoch in order, and their labels."""
    batches = list(data.train_batches(batch_size, seed, number))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]).tolist()


# The parts ------------------------------------------------------------------------------------


def test_the_digits_are_the_published_ones() -> None:
    """The counts of each class are those of UCI's optdigits.names for the test set."""
    train, train_labels, test, test_labels = digits(DIGITS)
    assert (train.shape, test.shape) == ((1197, 8, 8, 1), (600, 8, 8, 1))
    counts = np.bincount(np.concatenate([train_labels, test_labels])).tolist()
    assert counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    table = np.loadtxt(Path(memory.__file__).with_name("digits.csv.gz"), delimiter=",")
    ours = (np.concatenate([train, test]) * (16 / 255)).round().reshape(1797, 64)
    assert sorted(ours.tolist()) == sorted(table[:, :64].tolist())


def test_digits_other_than_the_declared_ones_are_refused() -> None:
    with pytest.raises(ValueError, match=f"must have the digest 0+, got {DIGITS.digest}"):
        digits(replace(DIGITS, digest="0" * 64))


def test_training_and_validation_parts_are_the_training_set_without_overlap() -> None:
    data = load(Protocol(image_size=8, validation_share=0.3, train_share=1.0))
    published = digits(DIGITS)
    train, validation, test = map(held, (data.train, data.validation, data.test))
    assert sorted(pixels(train) + pixels(validation)) == sorted(pixels(published.train_images))
    assert pixels(test) == pixels(published.test_images)
    # No published digit occurs twice, so none is on both sides of a split.
    assert len({*pixels(train), *pixels(validation), *pixels(test)}) == 1797


@pytest.mark.parametrize(
    ("validation_share", "train_share", "counts"),
    [
        (0.25, 0.5, (449, 299)),  # of 1,197: 299.25, then half of 898
        (0.25, 1.0, (898, 299)),
        (0.5, 0.1, (60, 598)),  # 598.5 is rounded to even, then 59.9
        (1e-9, 1.0, (1196, 1)),
    ],
)
def test_shares_are_exact(
    validation_share: float, train_share: float, counts: tuple[int, int]
) -> None:
    data = load(Protocol(validation_share=validation_share, train_share=train_share))
    assert (len(data.train), len(data.validation)) == counts
    assert len(data.test) == 600


def test_the_split_is_one_and_a_smaller_share_is_part_of_a_larger_one() -> None:
    once, again = (load(Protocol(train_share=share)) for share in (1.0, 0.2))
    assert once.validation.rows.tolist() == again.validation.rows.tolist()
    assert once.train.rows.tolist()[: len(again.train)] == again.train.rows.tolist()
    torch.manual_seed(123)
    torch.rand(5)
    third = load(Protocol(train_share=0.2))
    assert third.train.rows.tolist() == again.train.rows.tolist()
    assert third.train.labels.tolist() == again.train.labels.tolist()


@pytest.mark.parametrize("side", [5, 12])
def test_images_are_resized_as_bytes(side: int) -> None:
    data = load(Protocol(image_size=side))
    for part in (data.train, data.validation, data.test):
        assert held(part).shape == (len(part), side, side, 1)
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == part.rows.dtype == np.int64
        assert set(part.labels[part.rows].tolist()) == set(range(10))
    reference = load(Protocol(image_size=8))
    shade = data.test.images.mean((1, 2, 3)) - reference.test.images.mean((1, 2, 3))
    assert np.abs(shade).max() < 10  # of 255
    assert data.test.images.max() > 230


def test_images_are_normalised_by_the_declared_facts() -> None:
    data = load(Protocol(image_size=8, train_share=1.0))
    training_set = data.normalise(data.train.images)
    assert training_set.dtype == torch.float32
    assert training_set.mean().abs() < 0.005  # the facts have three digits
    assert (training_set.std() - 1).abs() < 0.005
    black_and_white = data.normalise(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
    expected = [-0.305 / 0.376, (1 - 0.305) / 0.376]
    assert black_and_white.flatten().tolist() == pytest.approx(expected)


def test_each_channel_is_normalised_by_its_own_facts() -> None:
    facts = replace(DIGITS, channels=3, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    data = replace(small(), facts=facts)
    white = data.normalise(np.full((2, 4, 4, 3), 255, np.uint8))
    assert white.mean((0, 2, 3)).tolist() == pytest.approx([1.0, 1.0, 0.0])


# Batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(4, [4, 4, 2]), (5, [5, 5]), (3, [3, 3, 3]), (9, [9]), (10, [10]), (64, [10]), (1, [1] * 10)],
)
def test_an_epoch_has_every_image_once_but_for_a_single_left_over(
    batch_size: int, sizes: list[int]
) -> None:
    data = small(10)
    assert [len(y) for _, y in data.train_batches(batch_size, 0, 1)] == sizes
    assert data.steps(batch_size) == len(sizes)
    left_out = set()
    for number in range(1, 30):
        images, labels = epoch(data, batch_size, 0, number)
        assert len(set(labels)) == len(labels) == sum(sizes)
        assert torch.equal(images, data.normalise(data.train.images[labels]))
        left_out |= set(range(10)) - set(labels)
    # Which one is left over changes from epoch to epoch: none is never trained on.
    assert (len(left_out) > 5) == (sum(sizes) < 10)


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    data = load(Protocol())
    before = epoch(data, 64, 3, 5)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = epoch(data, 32, 3, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert again[1][:448] == before[1]  # the last of 449 is left over in batches of 64
    orders = {tuple(epoch(data, 64, seed, n)[1]) for seed in range(3) for n in range(1, 4)}
    assert len(orders) == 9


def moves(images: torch.Tensor) -> list[tuple[int, int]]:
    """How far each of `small`'s images was moved: its only bright pixel was in the middle."""
    places = [image[0].nonzero().tolist() for image in images]
    return [(y - 2, x - 2) for ((y, x),) in places]


def augmented(augment: str, images: Bytes, seed: int = 0) -> tuple[Bytes, Drawn]:
    random = torch.Generator().manual_seed(seed)
    drawn = AUGMENTATIONS[augment].draw(len(images), images.shape[1], random)
    return changed(images.copy(), drawn), drawn


def test_shift_moves_an_image_by_at_most_a_pixel() -> None:
    moved, _ = augmented("shift", small(200).train.images)
    assert moved.shape == (200, 5, 5, 1)
    assert moved.dtype == np.uint8
    assert moved.max((1, 2, 3)).tolist() == [number + 1 for number in range(200)]
    shifts = moves(torch.from_numpy(moved).permute(0, 3, 1, 2))
    assert set(shifts) == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("augment", "side", "margin"),
    [("shift", 4, 1), ("crop", 8, 1), ("crop", 32, 4), ("crop_flip", 28, 3), ("none", 8, 0)],
)
def test_a_change_is_one_window_of_the_padded_image(
    augment: str, side: int, margin: int, channels: int
) -> None:
    """Pixels that leave the image are dropped and replaced by zeros; channels move together."""
    bright = np.random.default_rng(0).integers(1, 256, (300, side, side, channels), np.uint8)
    shifted, drawn = augmented(augment, bright)
    padded = np.pad(bright, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    flips = drawn.mirrored if augment == "crop_flip" else np.zeros(300, bool)
    seen = set()
    for n in range(300):
        y, x = (drawn.y[n], drawn.x[n]) if margin else (0, 0)
        window = padded[n, y : y + side, x : x + side]
        assert np.array_equal(shifted[n], window[:, ::-1] if flips[n] else window)
        seen.add((y, x, bool(flips[n])))
    assert {y for y, _, _ in seen} == {x for _, x, _ in seen} == set(range(2 * margin + 1))
    assert (augment == "crop_flip") == (100 < flips.sum() < 200)


def test_half_of_the_images_are_flipped() -> None:
    """Within 4 standard deviations of a fair coin, over the batches of many epochs."""
    flips = 0
    data = small(100, augment="crop_flip")  # a margin of 5 // 8 = 0: nothing is shifted
    data.train.images[:, 2, 3, 0] = 255
    for number in range(1, 101):
        images, _ = epoch(data, 25, 0, number)
        flips += int((images[:, 0, 2, 1] > images[:, 0, 2, 3]).sum())
    assert abs(flips - 5000) < 4 * 50


@pytest.mark.parametrize("augment", sorted(AUGMENTATIONS))
@pytest.mark.parametrize("batch_size", [96, 64, 1000])
def test_an_epoch_can_start_at_any_batch(augment: str, batch_size: int) -> None:
    data = small(250, augment)
    whole = list(data.train_batches(batch_size, 3, 2))
    assert len(whole) == data.steps(batch_size)
    for start in {0, 1, 3, len(whole) - 1, len(whole), len(whole) + 1}:
        rest = list(data.train_batches(batch_size, 3, 2, start))
        assert len(rest) == max(len(whole) - start, 0)
        for (x, y), (again, labels) in zip(whole[start:], rest, strict=True):
            assert torch.equal(x, again)
            assert torch.equal(y, labels)


def test_augmentation_is_a_function_of_seed_and_epoch_alone() -> None:
    plain, data = small(100), small(100, augment="shift")
    black = data.normalise(np.zeros((1, 5, 5, 1), np.uint8))

    def drawn(seed: int, number: int) -> list[tuple[int, int]]:
        return moves(epoch(data, 16, seed, number)[0] - black)

    first = epoch(data, 16, 0, 1)
    torch.manual_seed(5)
    assert torch.equal(epoch(data, 16, 0, 1)[0], first[0])
    assert first[1] == epoch(plain, 16, 0, 1)[1]  # the order is that without augmentation
    assert len({tuple(drawn(seed, number)) for seed in range(3) for number in range(1, 4)}) == 9
    assert np.array_equal(data.train.images, plain.train.images)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 256])
def test_evaluation_takes_the_whole_part_in_order(batch_size: int) -> None:
    data = small(20, "shift")
    batches = list(data.batches(data.test, batch_size))
    assert torch.cat([y for _, y in batches]).tolist() == data.test.labels.tolist()
    assert torch.equal(torch.cat([x for x, _ in batches]), data.normalise(data.test.images))
    assert {len(y) for _, y in batches[:-1]} <= {batch_size}


def test_batches_of_colour_are_channels_last() -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 4, 5, 3), np.uint8)
    facts = replace(DIGITS, channels=3, mean=(0.1, 0.5, 0.9), std=(1.0, 0.5, 0.25))
    batch = replace(small(), facts=facts).normalise(images)
    assert batch.shape == (6, 3, 4, 5)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    mean, std = (torch.tensor(v).view(-1, 1, 1) * 255 for v in (facts.mean, facts.std))
    assert torch.equal(batch, (torch.from_numpy(images).permute(0, 3, 1, 2).float() - mean) / std)


# Which augmentations there are --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"augment": "resized_crop_flip"},
            "`augment` must be one of none, shift, crop, crop_flip where `data` is digits, "
            "got resized_crop_flip",
        ),
        (
            {"data": "image_folder", "manifest": f"2-8-8-{'0' * 20}", "augment": "shift"},
            "`augment` must be one of none, crop, crop_flip, resized_crop_flip where `data` is "
            "image_folder, got shift",
        ),
        (
            {"augment": "crop_flip", "image_size": 7},
            "`image_size` must be at least 8 where `augment` is crop_flip, got 7",
        ),
    ],
)
def test_an_augmentation_of_other_sets_is_refused(values: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        Protocol(**values)  # type: ignore[arg-type]
    assert str(caught.value) == line


# Sets that are mapped -----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store whose cache holds a small set in the place of CIFAR-10."""
    facts = replace(DATA_SETS["cifar10"], train=2000, test=300, digest="0" * 64)
    tiny = Published(name="cifar10", facts=facts, forms=())
    monkeypatch.setattr(cache, "PUBLISHED", {"cifar10": tiny})
    monkeypatch.setattr("dse.trial.protocol.DATA_SETS", {**DATA_SETS, "cifar10": facts})
    random = np.random.default_rng(0)
    parts = [
        part
        for count in (facts.train, facts.test)
        for part in (
            random.integers(0, 256, (count, 32, 32, 3), np.uint8),
            random.integers(0, 10, count, np.uint8),
        )
    ]
    place = Store(root=tmp_path, cache=tmp_path)
    CacheFile(tiny, place, 32).write(parts)
    return place


def test_parts_of_a_mapped_set_share_its_images(store: Store) -> None:
    protocol = Protocol(data="cifar10", image_size=32, validation_share=0.1, train_share=1.0)
    data = load(protocol, store)
    assert data.train.images is data.validation.images
    assert not data.train.images.flags.owndata
    assert not data.train.images.flags.writeable
    assert (len(data.train), len(data.validation), len(data.test)) == (1800, 200, 300)
    assert sorted([*data.train.rows, *data.validation.rows]) == list(range(2000))
    shown, labels = epoch(data, 100, 0, 1)
    order = [row for row in data.train.rows if data.train.labels[row] == labels[0]]
    firsts = data.normalise(data.train.images[order])
    assert any(torch.equal(shown[0], first) for first in firsts)


def test_images_of_another_size_are_resized_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Protocol(data="cifar10", image_size=12)
    data = load(protocol, store)
    assert data.train.images.shape == (2000, 12, 12, 3)
    whole = load(replace(protocol, image_size=32), store)
    planes = torch.from_numpy(whole.test.images.transpose(0, 3, 1, 2).astype(np.float32))
    expected = torch.nn.functional.interpolate(
        planes, size=(12, 12), mode="bilinear", align_corners=False, antialias=True
    )
    resized = torch.from_numpy(data.test.images.transpose(0, 3, 1, 2).astype(np.float32))
    assert torch.equal(resized, expected.round().clamp(0, 255))
    monkeypatch.setattr(torch.nn.functional, "interpolate", None)  # nothing is resized again
    assert np.array_equal(load(protocol, store).train.images, data.train.images)


def mapped_kilobytes(path: Path) -> int:
    """Of this process's proportional set size, what is the file at `path`."""
    kilobytes, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key = line.split()[0]
        if not key.endswith(":"):
            inside = line.endswith(str(path))
        elif inside and key == "Pss:":
            kilobytes += int(line.split()[1])
    return kilobytes


def test_two_processes_hold_the_images_once(store: Store) -> None:
    """Proportional set size: a page that two processes share counts half in each."""
    context = multiprocessing.get_context("fork")
    both, counted = context.Barrier(2), context.SimpleQueue()
    protocol = Protocol(data="cifar10", image_size=32, augment="crop_flip", train_share=1.0)
    (path,) = store.cache.glob("*.bin")

    def process() -> None:
        torch.set_num_threads(1)
        data = load(protocol, store)
        seen = sum(len(y) for _, y in data.train_batches(100, 0, 1))
        seen += sum(len(y) for part in (data.validation, data.test) for _, y in data.batches(part))
        both.wait(60)
        counted.put((seen, mapped_kilobytes(path)))
        both.wait(60)

    running = [context.Process(target=process) for _ in range(2)]
    for each in running:
        each.start()
    for each in running:
        each.join(100)
    size = path.stat().st_size / 1024
    counts = [counted.get() for _ in running]
    assert [seen for seen, _ in counts] == [2300, 2300]
    assert 0.9 * size < sum(kilobytes for _, kilobytes in counts) < 1.1 * size
    assert all(kilobytes < 0.6 * size for _, kilobytes in counts)


@pytest.mark.skipif(
    not (REAL / "cifar-10-batches-py").is_dir(), reason="SQUEEZENET_DSE_DATA has no CIFAR-10"
)
def test_cifar10_as_its_protocol_has_it(tmp_path: Path) -> None:
    protocol = Protocol(
        data="cifar10", image_size=32, augment="crop_flip", validation_share=0.1, train_share=1.0
    )
    data = load(protocol, Store(root=REAL, cache=tmp_path))
    assert (len(data.train), len(data.validation), len(data.test)) == (45_000, 5_000, 10_000)
    assert data.steps(128) == 352
    normalised = torch.cat([x for x, _ in data.batches(data.validation, 999)])
    assert normalised.mean((0, 2, 3)).abs().max() < 0.02
    assert (normalised.std((0, 2, 3)) - 1).abs().max() < 0.02
    assert data.test.labels[:5].tolist() == [3, 8, 8, 0, 6]  # a cat, two ships, a plane, a frog
