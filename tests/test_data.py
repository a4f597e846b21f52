"""The embedded digits: what is in each part, and what comes out as batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dse.data import AUGMENTATIONS, READERS, Data, Part, load
from dse.protocol import DATA_SETS, Protocol

DIGITS = DATA_SETS["digits"]


def small(pictures: int = 10, augment: str = "none") -> Data:
    """Pictures that can be told apart: the first pixel of each is its number, and its label."""
    numbers = torch.arange(pictures)
    images = torch.zeros(pictures, 1, 5, 5, dtype=torch.uint8)
    images[:, 0, 2, 2] = numbers.to(torch.uint8) + 1
    part = Part(images, numbers)
    return Data(train=part, validation=part, test=part, facts=DIGITS, augment=augment)


def pixels(part: Part) -> list[bytes]:
    return [picture.numpy().tobytes() for picture in part.pictures]


def epoch(data: Data, batch_size: int, seed: int, number: int) -> tuple[torch.Tensor, list[int]]:
    """All pictures of one epoch in order, and their labels."""
    batches = list(data.train_batches(batch_size, seed, number))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]).tolist()


# The parts ------------------------------------------------------------------------------------


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    published = load_digits()
    train, test = READERS["digits"](DIGITS)
    assert (len(train), len(test)) == (DIGITS.train, DIGITS.test) == (1197, 600)
    ours = torch.cat([train.pictures, test.pictures])[:, 0].double() * 16 / 255
    labels = torch.cat([train.labels, test.labels]).tolist()
    found = sorted(
        (*p.round().int().flatten().tolist(), y) for p, y in zip(ours, labels, strict=True)
    )
    theirs = zip(published.data.astype(int).tolist(), published.target.tolist(), strict=True)
    assert found == sorted((*p, y) for p, y in theirs)


def test_other_pictures_than_the_declared_ones_are_refused() -> None:
    with pytest.raises(ValueError, match=f"must have the digest 0+, got {DIGITS.digest}"):
        READERS["digits"](replace(DIGITS, digest="0" * 64))


def test_training_and_validation_parts_are_the_training_set_without_overlap() -> None:
    data = load(Protocol(image_size=8, validation_share=0.3, train_share=1.0))
    train, test = READERS["digits"](DIGITS)
    assert sorted(pixels(data.train) + pixels(data.validation)) == sorted(pixels(train))
    assert pixels(data.test) == pixels(test)
    # The published digits hold no picture twice: none stands on both sides of a split.
    parts = (data.train, data.validation, data.test)
    assert len(set().union(*(pixels(part) for part in parts))) == 1797


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
    assert pixels(once.validation) == pixels(again.validation)
    assert pixels(once.train)[: len(again.train)] == pixels(again.train)
    torch.manual_seed(123)
    torch.rand(5)
    third = load(Protocol(train_share=0.2))
    assert pixels(third.train) == pixels(again.train)
    assert third.train.labels.tolist() == again.train.labels.tolist()


@pytest.mark.parametrize("side", [5, 8, 12, 32])
def test_pictures_are_resized_as_bytes(side: int) -> None:
    data = load(Protocol(image_size=side))
    for part in (data.train, data.validation, data.test):
        assert part.pictures.shape == (len(part), 1, side, side)
        assert part.pictures.dtype == torch.uint8
        assert part.labels.dtype == torch.int64
        assert set(part.labels.tolist()) == set(range(10))
    reference = load(Protocol(image_size=8))
    shade = data.test.pictures.double().mean((1, 2, 3))
    assert (shade - reference.test.pictures.double().mean((1, 2, 3))).abs().max() < 10  # of 255
    assert data.test.pictures.max() > 230


def test_pictures_are_normalised_by_the_declared_facts() -> None:
    data = load(Protocol(image_size=8, train_share=1.0))
    training_set = data.normalise(torch.cat([data.train.pictures, data.validation.pictures]))
    assert training_set.dtype == torch.float32
    assert training_set.mean().abs() < 0.005  # the facts have three digits
    assert (training_set.std() - 1).abs() < 0.005
    black_and_white = data.normalise(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
    expected = [-0.305 / 0.376, (1 - 0.305) / 0.376]
    assert black_and_white.flatten().tolist() == pytest.approx(expected)


def test_each_channel_is_normalised_by_its_own_facts() -> None:
    facts = replace(DIGITS, channels=3, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    data = replace(small(), facts=facts)
    white = data.normalise(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8))
    assert white.mean((0, 2, 3)).tolist() == pytest.approx([1.0, 1.0, 0.0])


# Batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(4, [4, 4, 2]), (5, [5, 5]), (3, [3, 3, 3]), (9, [9]), (10, [10]), (64, [10]), (1, [1] * 10)],
)
def test_an_epoch_has_every_picture_once_but_for_a_single_left_over(
    batch_size: int, sizes: list[int]
) -> None:
    data = small(10)
    assert [len(y) for _, y in data.train_batches(batch_size, 0, 1)] == sizes
    assert data.steps(batch_size) == len(sizes)
    left_out = set()
    for number in range(1, 30):
        pictures, labels = epoch(data, batch_size, 0, number)
        assert len(set(labels)) == len(labels) == sum(sizes)
        assert torch.equal(pictures, data.normalise(data.train.pictures[labels]))
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


def moves(pictures: torch.Tensor) -> list[tuple[int, int]]:
    """How far each of `small`'s pictures was moved: its only bright pixel stood in the middle."""
    found = [picture[0].nonzero().tolist() for picture in pictures]
    return [(y - 2, x - 2) for ((y, x),) in found]


def test_shift_moves_a_picture_by_at_most_a_pixel() -> None:
    data = small(200, augment="shift")
    moved = AUGMENTATIONS["shift"](data.train.pictures, torch.Generator().manual_seed(0))
    assert moved.shape == data.train.pictures.shape
    assert moved.dtype == torch.uint8
    assert moved.amax((1, 2, 3)).tolist() == [number + 1 for number in range(200)]
    assert set(moves(moved)) == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}


def test_shift_drops_what_leaves_the_picture_and_moves_channels_together() -> None:
    bright = torch.randint(1, 256, (50, 3, 4, 4), dtype=torch.uint8)
    moved = AUGMENTATIONS["shift"](bright, torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(bright, (1, 1, 1, 1))
    for before, after in zip(padded, moved, strict=True):
        windows = [before[:, y : y + 4, x : x + 4] for y in range(3) for x in range(3)]
        assert any(torch.equal(after, window) for window in windows)


def test_augmentation_is_a_function_of_seed_and_epoch_alone() -> None:
    plain, data = small(100), small(100, augment="shift")
    black = data.normalise(torch.zeros(1, dtype=torch.uint8))

    def drawn(seed: int, number: int) -> list[tuple[int, int]]:
        return moves(epoch(data, 16, seed, number)[0] - black)

    first = epoch(data, 16, 0, 1)
    torch.manual_seed(5)
    assert torch.equal(epoch(data, 16, 0, 1)[0], first[0])
    assert first[1] == epoch(plain, 16, 0, 1)[1]  # the order is that without augmentation
    assert len({tuple(drawn(seed, number)) for seed in range(3) for number in range(1, 4)}) == 9
    assert torch.equal(data.train.pictures, plain.train.pictures)


@pytest.mark.parametrize("batch_size", [1, 7, 256, 600, 1000])
def test_evaluation_takes_the_whole_part_in_order(batch_size: int) -> None:
    data = load(Protocol(image_size=8, augment="shift"))
    batches = list(data.batches(data.test, batch_size))
    assert torch.equal(torch.cat([y for _, y in batches]), data.test.labels)
    assert torch.equal(torch.cat([x for x, _ in batches]), data.normalise(data.test.pictures))
    assert {len(y) for _, y in batches[:-1]} <= {batch_size}
