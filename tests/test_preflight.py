"""What is checked before trials run: the results folder, and the data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_records import place, record

from dse.data.store import Store
from dse.results import records
from dse.space.architecture import LAYOUTS
from dse.sweep.errors import RequestError
from dse.sweep.preflight import check_data, check_folder, other_images
from dse.trial.protocol import Protocol
from dse.trial.question import Trial


def test_a_folder_must_be_writable_and_nothing_else(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "deep", tmp_path):
        check_folder(folder)
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "main.tex").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    for folder in ("file", "file/below", "file/far/below", "loop/below", "gone/below"):
        with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
            check_folder(tmp_path / folder)
    with pytest.raises(RequestError, match="`name` must be a new folder or one with results"):
        check_folder(tmp_path / "notes")
    with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
        check_folder(Path("/proc/dse/results"))
    check_folder(Path("/proc/dse/results"), write=False)  # a plan writes nothing
    with pytest.raises(RequestError, match="`name` must be a new folder or one with results"):
        check_folder(tmp_path / "notes", write=False)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RequestError, match=r"`results\.root` must be writable"):
        check_folder(tmp_path / "locked" / "results")


def test_a_folder_of_results_may_be_used_again(tmp_path: Path) -> None:
    records.fail(tmp_path, "0" * 20, {"reason": "killed"})
    check_folder(tmp_path)


def test_what_makes_a_folder_another_s_is_named(tmp_path: Path) -> None:
    (tmp_path / "trials" / "mine").mkdir(parents=True)
    with pytest.raises(RequestError, match="which holds mine"):
        check_folder(tmp_path)


def trial(**values: Any) -> Trial:
    return Trial(layout=LAYOUTS["px8"], protocol=Protocol(**values))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(root=tmp_path, cache=tmp_path / "cache")


def test_every_set_that_is_missing_has_a_line(store: Store) -> None:
    sets = ("cifar10", "digits", "mnist", "cifar10")
    folder = trial(data="image_folder", manifest=f"2-2000-3-{0:020}", image_size=64)
    with pytest.raises(RequestError) as caught:
        check_data([*(trial(data=data) for data in sets), folder], store)
    first, second, third, *_ = caught.value.lines
    assert first.startswith("`data.root` must hold cifar10, ")
    assert second.startswith("`data.root` must hold mnist, ")
    assert third.startswith("`data.root` must hold train/ and val/ ")


def test_embedded_digits_need_no_preparation(store: Store) -> None:
    check_data([trial()], store)
    check_data([], store)
    assert not store.cache.exists()


def test_trials_of_other_images_are_counted(tmp_path: Path) -> None:
    """Where none has the images that are asked for."""
    old, new = (f"2-200{n}-3-{n:020}" for n in (0, 1))
    first = trial(data="image_folder", manifest=old, image_size=64)
    asked = [trial(data="image_folder", manifest=new, image_size=64)]
    assert other_images(tmp_path, asked) == []
    records.save(tmp_path, replace(record(), trial=trial()), {})
    assert other_images(tmp_path, asked) == []
    records.save(tmp_path, replace(record(), trial=first), {})
    assert other_images(tmp_path, asked) == [
        f"{tmp_path} has 1 trial of other images (`manifest` {old}); the images are now {new}: "
        "nothing is done for them"
    ]
    assert other_images(tmp_path, [trial()]) == other_images(tmp_path, [*asked, first]) == []
    (place(tmp_path, replace(record(), trial=first)) / "record.json").write_text("{")
    assert other_images(tmp_path, asked) == []  # a damaged record stops no sweep
