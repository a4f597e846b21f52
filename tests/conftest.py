"""Random points of the design space, for tests of properties that hold everywhere in it."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from dse.space.architecture import FIRES, Layout, Metaparameters, map_sizes

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in as many processes as there are cores
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's `pytest &` ignores it


class Point(NamedTuple):
    """Everything that the cost of a network depends on."""

    metaparameters: Metaparameters
    layout: Layout
    image_size: int
    num_classes: int
    in_channels: int


def random_points(n: int, seed: int) -> list[Point]:
    """`n` valid points, the same for one `seed`.

    Images have 4 to 256 pixels; `pool_after`, strided Fire modules, listed filters, the split of
    conv10, bypass and norm vary too. Ratios are of `random_ratio`'s three kinds.
    """
    rng = random.Random(seed)
    points: list[Point] = []
    while len(points) < n:
        layout, image_size = random_layout(rng), rng.choice((4, 8, 12, 28, 32, 64, 96, 224, 256))
        if _fits(layout, image_size):
            points.append(
                Point(
                    random_metaparameters(rng, layout),
                    layout,
                    image_size,
                    num_classes=rng.choice((2, 10, 37, 100, 1000)),
                    in_channels=rng.choice((1, 3, 4)),
                )
            )
    return points


def random_metaparameters(rng: random.Random, layout: Layout) -> Metaparameters:
    """Metaparameters; those that the layout's own filters replace keep their default."""
    free: dict[str, object] = {"pct3x3": random_ratio(rng)}
    free["bypass"] = rng.choice(("none", "simple", "complex"))
    if layout.squeeze_filters == "none":
        free["sr"] = random_ratio(rng)
    if layout.expand_filters == "none":
        free["base_e"] = rng.choice((rng.randint(2, 160), max(2, layout.conv1_filters)))
        free["incr_e"] = rng.choice((0, rng.randint(1, 96)))
        free["freq"] = rng.randint(1, 8)
    return Metaparameters(**free)


def random_layout(rng: random.Random) -> Layout:
    """A layout of any kind, which may be too deep for a small image."""
    return Layout(
        conv1_filters=rng.randint(1, 96),
        conv1_kernel=rng.choice((1, 3, 5, 7)),
        conv1_stride=rng.choice((1, 2, 3)),
        conv1_padding=rng.randint(0, 3),
        pool_after=_some(rng, range(1, 10)),
        strided_fires=rng.choice(("none", _some(rng, FIRES))),
        squeeze_filters=_listed(rng, 1, 64),
        expand_filters=_listed(rng, 2, 256),
        conv10_padding=rng.randint(0, 1),
        conv10_split=rng.choice((1, 1, 2, 3)),
        conv10_multiple=rng.choice((1, 1, 16)),
        head_relu=rng.random() < 0.5,
        norm=rng.choice(("none", "batch")),
        dropout=rng.choice((0.0, 0.5)),
    )


def random_ratio(rng: random.Random) -> float:
    """A ratio in (0, 1): a short decimal, an eighth (whose products are often ties), or any."""
    short, eighth = rng.randint(1, 999) / 1000, rng.randint(1, 7) / 8
    return rng.choice((short, eighth, rng.uniform(1e-9, 1 - 1e-9)))


def _some(rng: random.Random, numbers: Iterable[int]) -> str:
    return "-".join(str(n) for n in numbers if rng.random() < 0.3) or "none"


def _listed(rng: random.Random, low: int, high: int) -> str:
    filters = "-".join(str(rng.randint(low, high)) for _ in FIRES)
    return rng.choice(("none", "none", "none", filters))


def _fits(layout: Layout, image_size: int) -> bool:
    try:
        map_sizes(layout, image_size)
    except ValueError:
        return False
    return True


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands run by tests keep their cache in a folder of the tests, one for all processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        yield


@pytest.fixture(autouse=True)
def _without_gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are of the CPU, except those that are marked `gpu`."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: a test checks what would be written, and in which order."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
