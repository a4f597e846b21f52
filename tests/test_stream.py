"""Streams of a folder of images: parts, batches, random numbers, and loader processes."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from images import encoded, folder, waves, write
from PIL import Image
from reading import composed_once
from toy_runs import alive, soon
from toy_trial import children, workers

import dse
from dse.data import folder as image_folder
from dse.data.crops import CROPS
from dse.data.loaders import Files, _uniform
from dse.data.memory import Data
from dse.data.resident import on_device
from dse.data.store import DataError, Store
from dse.data.stream import Part, Stream, load
from dse.results import records
from dse.runner.task import Died
from dse.space.architecture import LAYOUTS
from dse.sweep import launch, preflight
from dse.sweep.request import read_request
from dse.training.execute import execute
from dse.trial.protocol import Protocol, random_seed
from dse.trial.question import Trial

__all__ = ["composed_once"]

HERE = Path(__file__).parent

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 classes of 25 + 4 images, of all kinds."""
    return folder(tmp_path_factory.mktemp("folder"), train=25)


@pytest.fixture(scope="module")
def distinct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 classes of 25 + 4 images, no two of them equal."""
    files = {}
    for number in range(58):
        part, label = ("val", number % 2) if number < 8 else ("train", number % 2)
        files[f"{part}/class{label:02d}/{number:02d}.png"] = encoded(waves(30, 40, number), "PNG")
    return write(tmp_path_factory.mktemp("distinct"), files)


def stream(root: Path, loaders: int = 0, **values: object) -> Stream:
    """A stream of 35 training, 15 validation and 8 test images of 24 pixels, or as said."""
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


# The split ------------------------------------------------------------------------------------


def test_a_plan_says_how_many_images_are_trained_on(root: Path) -> None:
    """Of several shares the smallest and the largest."""
    protocols = [replace(stream(root).protocol, train_share=share) for share in (1.0, 0.1, 0.5)]
    trials = [Trial(layout=LAYOUTS["px8"], protocol=protocol) for protocol in protocols]
    begin = f"{root}: 2 classes; 50 images in train/: 15 held out, "
    assert preflight.splits(trials, Store(root=root)) == [
        f"{begin}4 of 35 trained on (train_share=0.1); 8 in val/",
        f"{begin}35 trained on; 8 in val/",
    ]


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
def test_a_broken_image_is_reported_with_its_path(
    change: object, said: str, loaders: int, tmp_path: Path
) -> None:
    root = folder(tmp_path / "donn\u00e9es", test=1)
    data = stream(root, loaders)
    path = next((root / "train/class01").glob("007_*"))
    change(path)  # type: ignore[operator]
    with pytest.raises(DataError) as caught:  # it is trained on or held out
        epoch(data) + list(data.batches(data.validation))
    assert str(caught.value).startswith(
        f"`data.root` must hold images that can be decoded, got {path}: "
    )
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_folder_other_than_the_question_s_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r": other names or sizes \(`manifest` 2-50-8-"):
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
    """What an image is without augmentation."""
    crop = CROPS["none"].evaluate(data.files.image(row), 24, np.empty(0))
    return (crop / 255 - MEAN) / STD


@pytest.mark.parametrize("batch_size", [4, 16, 17, 34, 35, 64])
def test_an_epoch_has_every_image_once_but_for_a_single_left_over(
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
    rows = [row_of(known, image) for x, _ in batches for image in x]
    assert len(set(rows)) == len(rows) == seen


def row_of(known: Mapping[int, torch.Tensor], image: torch.Tensor) -> int:
    """The one row whose image it is."""
    (row,) = [row for row, its in known.items() if torch.allclose(image, its, atol=1e-5)]
    return row


ODD = [b"a\rb", b"\x07", b"\xff\xfe", "\u00e9\u732b".encode(), b" x ", b"a=b#(c)'d\"", b"\\n"]


def test_classes_may_have_any_name_without_a_line_break(tmp_path: Path) -> None:
    image = encoded(waves(30, 40), "PNG")
    for name in ODD:
        for part, count in (("train", 10), ("val", 1)):
            place = os.fsencode(tmp_path / "root" / part) + b"/" + name
            os.makedirs(place)  # noqa: PTH103 (a `Path` takes no bytes)
            for number in range(count):
                with open(b"%s/%d.png" % (place, number), "wb") as file:  # noqa: PTH123
                    file.write(image)
    data = stream(tmp_path / "root", validation_share=0.5)
    labels = torch.cat([y for _, y in [*epoch(data), *data.batches(data.validation)]])
    assert labels.bincount().tolist() == [10] * len(ODD)
    assert torch.cat([y for _, y in data.batches(data.test)]).tolist() == [*range(len(ODD))]


# Random numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", CROPS)
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
    kept = Files.image
    root = folder(tmp_path / "root", train=25)
    data, taken = stream(root), list[int]()
    batches = epoch(data)
    monkeypatch.setattr(Files, "image", lambda files, row: taken.append(row) or kept(files, row))
    epoch(data)
    monkeypatch.undo()
    for line in (data.files.listing.splitlines()[row] for row in taken[:24]):
        path = root / line.partition(b" ")[2].decode()
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError):
        epoch(data)
    assert same(epoch(data, start=3), batches[3:])


def test_an_image_s_crop_is_a_function_of_seed_and_epoch(root: Path) -> None:
    """Not of its batch, nor of the other images in it."""
    data = stream(root, augment="crop_flip")
    small, large = epoch(data, 5), epoch(data, 35)
    assert torch.equal(torch.cat([x for x, _ in small]), large[0][0])
    less = stream(root, augment="crop_flip", train_share=0.4)
    key = random_seed(0, "augment", 1)
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


def test_no_two_images_share_random_numbers() -> None:
    drawn = [tuple(_uniform(key, row)) for key in (1, 2) for row in range(200)]
    flat = [number for numbers in drawn for number in numbers]
    assert len(set(flat)) == len(flat) == 400 * 24
    assert abs(np.mean(flat) - 0.5) < 0.01
    assert drawn == [tuple(_uniform(key, row)) for key in (1, 2) for row in range(200)]


# Normalising ------------------------------------------------------------------------------------


def test_images_are_normalised_by_the_data_set_or_as_caffe_does(tmp_path: Path) -> None:
    red = encoded(Image.new("RGB", (40, 30), (255, 128, 0)), "PNG")
    files = {f"{p}/{c}/{n}.png": red for p in ("train", "val") for c in "ab" for n in range(4)}
    root = write(tmp_path / "root", files)
    data, caffe = stream(root), stream(root, normalise="caffe")
    x = epoch(data)[0][0]
    expected = (torch.tensor([1.0, 128 / 255, 0.0]).view(3, 1, 1) - MEAN) / STD
    assert torch.allclose(x, expected.expand_as(x), atol=1e-6)
    x = next(caffe.batches(caffe.test))[0]
    assert torch.equal(x, torch.tensor([132.0, 11.0, -104.0]).view(3, 1, 1).expand_as(x))


def test_images_are_normalised_on_the_device(root: Path) -> None:
    """The device `meta` has no numbers, but refuses to compute with a tensor of another device."""
    data = cast(Stream, on_device(cast(Data, stream(root, 2)), torch.device("meta")))
    for (x, y), (same_x, same_y) in zip(epoch(data), epoch(stream(root)), strict=True):
        assert (x.device.type, y.device.type) == ("meta", "meta")
        assert (x.shape, x.dtype, x.stride()) == (same_x.shape, same_x.dtype, same_x.stride())
        assert y.shape == same_y.shape


@pytest.mark.gpu
@pytest.mark.parametrize("normalise", ["dataset", "caffe"])
def test_images_on_a_gpu_are_the_same(root: Path, normalise: str) -> None:
    data = stream(root, 2, augment="crop_flip", normalise=normalise)
    placed = cast(Stream, on_device(cast(Data, data), torch.device("cuda")))
    for number in (1, 2):
        batches = [(x.cpu(), y.cpu()) for x, y in epoch(placed, number=number)]
        assert same(batches, epoch(data, number=number))


# Loaders ----------------------------------------------------------------------------------------


def names(data: Stream) -> list[bytes]:
    return [line.split(b" ", 1)[1] for line in data.files.listing.splitlines()]


def descendants() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid]


def listed(place: str) -> set[str]:
    return {path.name for path in Path(place).iterdir()}


def shared_memory(process: int | str = "self") -> set[str]:
    """The files of /dev/shm that a process has in its memory; other programs have theirs there."""
    lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if "/dev/shm" in line}


def test_two_passes_at_once_do_not_mix(root: Path) -> None:
    data, alone = stream(root, 2, augment="crop"), stream(root, 0, augment="crop")
    passes = [(data.train_batches(4, seed, 1), epoch(alone, 4, seed)) for seed in (0, 1)]
    both: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[], []]
    for first, second in zip(*(iterator for iterator, _ in passes), strict=True):
        both[0].append(first)
        both[1].append(second)
    assert same(both[0], passes[0][1])
    assert same(both[1], passes[1][1])


def test_a_pass_that_is_abandoned_leaves_nothing(root: Path) -> None:
    data = stream(root, 2)
    before, descriptors = set(descendants()), len(listed("/proc/self/fd"))
    shared = shared_memory()
    for number in range(1, 4):
        batches = data.train_batches(8, 0, number)
        next(batches)
        loaders = set(descendants()) - before
        assert len(loaders) == 2
        assert all(shared_memory(pid) == shared for pid in (*loaders, "self"))
        batches.close()  # type: ignore[attr-defined]
        assert len(epoch(data)) == 5
    assert set(descendants()) == before
    assert len(listed("/proc/self/fd")) <= descriptors + 1


def test_a_broken_image_ends_the_loaders_at_once(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", test=1)
    data = stream(root, 2)
    write(root, {name.decode(): b"x" for name in names(data)})
    before = set(descendants())
    with pytest.raises(DataError) as caught:
        epoch(data)
    assert caught.tb  # which keeps every local variable of the pass
    assert set(descendants()) == before


def test_a_batch_of_any_size_is_spread(distinct: Path) -> None:
    """More chunks of a batch than may be in flight at a time."""
    data, part = stream(distinct, 1), stream(distinct).train
    many = Part(part.rows.repeat(64), part.labels.repeat(64))
    sums = [x.double().sum((1, 2, 3)) for x, _ in data.batches(many, 1100)]
    assert [len(s) for s in sums] == [1100, 1100, 40]
    rounds = torch.cat(sums).view(64, 35)
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
    assert soon(lambda: not alive(victim))
    with pytest.raises(Died, match="a loader was killed by SIGKILL"):  # the trial is retried
        list(batches)
    assert set(descendants()) == before


def test_loaders_die_with_their_trial(root: Path) -> None:
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()

    def trial() -> None:
        torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
        batches = stream(root, 2, image_size=227, augment="crop").train_batches(4, 0, 1)
        next(batches)
        theirs.send(descendants())
        time.sleep(1000)

    victim = fork.Process(target=trial)
    victim.start()
    assert ours.poll(60)
    loaders = ours.recv()
    assert len(loaders) == 2
    assert all(map(alive, loaders))
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join(60)
    assert soon(lambda: not any(map(alive, loaders)))


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


def test_a_sweep_trains_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "import_figures", lambda: None)  # none are drawn here
    root = folder(tmp_path / "root", train=11, test=3)
    words = ("validation_share=0.5", "batch_size=7", "layout=px32", "image_size=32")
    arguments = [*command(tmp_path, root, "imagenet", *words)[5:], f"results.root={tmp_path}"]
    asked = read_request("sweep", "Train.", arguments, "squeezenet")
    assert launch.run(asked.trials, asked.folder, asked.workers, asked.store) == 0
    (path,) = asked.folder.glob("trials/*/record.json")
    record = records.read(path)
    answer = record.answer
    assert record.trial.protocol.manifest.startswith("2-22-6-")
    assert answer.steps == 2  # 11 images, 7 at a time
    assert answer.status in ("learned", "partly_dead", "never_learned")
    for top1, images in ((answer.top1, 6), (answer.val_top1, 11)):
        assert top1 * images / 100 == pytest.approx(round(top1 * images / 100))
    assert 0 < answer.loss < 10
    network = dse.network(asked.folder, record.trial)
    assert network.classes == ("class00", "class01")
    assert network.preprocess(next(root.glob("val/class00/*"))).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(("protocol", "size"), [("imagenet", 227), ("imagenet_torchvision", 224)])
def test_the_protocols_of_imagenet_train_on_a_folder(
    tmp_path: Path, protocol: str, size: int
) -> None:
    root, cache = folder(tmp_path / "root", train=11, test=3), tmp_path / "cache"
    network = ("conv1_filters=8", "base_e=8", "incr_e=8", "epochs=1", "lr=0.01")
    place = (f"data.root={root}", f"data.cache={cache}", "validation_share=0.5", "batch_size=7")
    arguments = (f"protocol={protocol}", *network, *place)
    (trial,) = read_request("sweep", "Train.", arguments, "squeezenet").trials
    assert (trial.protocol.image_size, trial.layout.conv1_kernel) == (size, 7)
    record = execute(trial, store=Store(root=root, cache=cache)).record
    assert record.answer.steps == 2
    assert 0 < record.answer.loss < 10


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
    assert "attempt 1: the process sent no heartbeat for 10 s and was killed" in errors
    assert soon(lambda: not any(map(alive, loaders)))
    assert len(list((tmp_path / "results/squeezenet/trials").glob("*/record.json"))) == 1


@pytest.mark.skipif("SQUEEZENET_DSE_DATA" not in os.environ, reason="no ImageNet here")
def test_a_sweep_trains_on_images_of_imagenet(tmp_path: Path) -> None:
    root = Path(os.environ["SQUEEZENET_DSE_DATA"]) / "imagenet10"
    record = swept(tmp_path, root, "imagenet", "train_share=0.2", "batch_size=32")
    protocol, answer = record.trial.protocol, record.answer
    assert protocol.facts.num_classes == 10
    assert answer.steps == -(-protocol.train_images // 32)
    assert (answer.top1 * protocol.facts.test / 100) == pytest.approx(
        round(answer.top1 * protocol.facts.test / 100)
    )
    assert answer.loss < 3


@pytest.mark.skipif("SQUEEZENET_DSE_DATA" not in os.environ, reason="no ImageNet here")
def test_images_of_imagenet_do_not_depend_on_the_number_of_loaders(tmp_path: Path) -> None:
    root = Path(os.environ["SQUEEZENET_DSE_DATA"]) / "imagenet10"
    manifest = image_folder.read(root, tmp_path)
    protocol = Protocol(
        data="image_folder",
        manifest=manifest.text,
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
