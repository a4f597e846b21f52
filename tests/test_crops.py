"""Crops: the authors' and torchvision's, for training and for evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from images import waves
from torchvision.transforms import v2

from dse.data.crops import CROPS, _part_of
from dse.data.loaders import _uniform


def chart(width: int, height: int) -> torch.Tensor:
    """An image whose pixels say where they are: (3, h, w) of x, y and 0."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)]).to(torch.uint8)


def test_a_crop_of_the_authors_is_anywhere_in_the_square() -> None:
    """Images that already have the square's size are only cropped."""
    for draws, square, side in ((20, 256, 227), (800, 36, 32)):
        image, places, flips = chart(square, square), set(), 0
        for row in range(draws):
            random = _uniform(7, row)
            crop = CROPS["crop"].train(image, side, random)
            left, top = int(crop[0, 0, 0]), int(crop[1, 0, 0])
            assert torch.equal(crop, image[:, top : top + side, left : left + side])
            either = CROPS["crop_flip"].train(image, side, random)
            flips += not torch.equal(either, crop)
            assert torch.equal(either, crop) or torch.equal(either, crop.flip(2))
            places.add((left, top))
    assert places == {(left, top) for left in range(5) for top in range(5)}
    assert abs(flips - 400) < 4 * 14.1  # standard deviations


@pytest.mark.parametrize("augment", ["none", "crop", "crop_flip"])
def test_the_authors_evaluate_the_middle_of_the_square(augment: str) -> None:
    crop = CROPS[augment].evaluate(chart(256, 256), 227, np.empty(0))
    assert torch.equal(crop, chart(256, 256)[:, 14:241, 14:241])
    wide = CROPS[augment].evaluate(chart(250, 50), 227, np.empty(0))
    assert wide.shape == (3, 227, 227)
    reach = [int(value) for value in (wide[0, 0, 0], wide[0, 0, -1], wide[1, 0, 0], wide[1, -1, 0])]
    expected = [14 / 256 * 250, 241 / 256 * 250, 14 / 256 * 50, 241 / 256 * 50]
    assert reach == pytest.approx(expected, abs=1.5)  # all of its shape is lost, none of its width
    assert torch.equal(
        CROPS["none"].train(wide, 64, np.empty(0)),
        CROPS["none"].evaluate(wide, 64, np.empty(0)),
    )


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (375, 500), (256, 256), (10, 9), (300, 7)]
)
def test_evaluation_as_torchvision_does_it(width: int, height: int) -> None:
    image = torch.from_numpy(np.array(waves(width, height))).permute(2, 0, 1)
    theirs = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])(image)
    assert torch.equal(CROPS["resized_crop_flip"].evaluate(image, 224, np.empty(0)), theirs)


@pytest.mark.parametrize(("width", "height"), [(500, 375), (40, 300), (1, 1)])
def test_resized_crops_are_resized_as_torchvision_does_it(width: int, height: int) -> None:
    image = torch.from_numpy(np.array(waves(width, height))).permute(2, 0, 1)
    for row in range(20):
        random = _uniform(5, row)
        place = _part_of(height, width, random)
        crop = v2.functional.resized_crop(image, *place, [24, 24], antialias=True)
        theirs = crop.flip(2) if random[22] < 0.5 else crop
        assert torch.equal(CROPS["resized_crop_flip"].train(image, 24, random), theirs)


def test_resized_crops_have_the_areas_and_shapes_of_torchvision() -> None:
    areas, shapes, corners = [], [], []
    for row in range(2000):
        top, left, height, width = _part_of(375, 500, _uniform(3, row))
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
    image = torch.empty(3, 375, 500)
    theirs = [v2.RandomResizedCrop(224).make_params([image]) for _ in range(2000)]
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
def test_an_image_in_which_no_crop_fits_gives_its_middle(
    height: int, width: int, part: tuple[int, ...]
) -> None:
    assert {_part_of(height, width, _uniform(1, row)) for row in range(50)} == {part}


def test_half_of_the_resized_crops_are_flipped() -> None:
    image, flips = chart(50, 40), 0
    for row in range(400):
        crop = CROPS["resized_crop_flip"].train(image, 8, _uniform(2, row))
        assert crop.shape == (3, 8, 8)
        flips += bool(crop[0, 0, 0] > crop[0, 0, -1])
        assert crop[1, 0, 0] <= crop[1, -1, 0]
    assert abs(flips - 200) < 4 * 10
