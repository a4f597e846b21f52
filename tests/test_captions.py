"""Captions name what is fixed, not the default and not in the title, and count what is left out."""

from __future__ import annotations

import pandas as pd
import pytest
from reading import composed_once, read

from dse.analysis.devices import mixed_devices
from dse.sweep.captions import caption

__all__ = ["composed_once"]

FOLDER = f"manifest=10-2000-20-{'0' * 20}"


def table(*arguments: str, page: str = "squeezenet") -> pd.DataFrame:
    return pd.DataFrame([trial.question for trial in read(*arguments, page=page).trials])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ""),
        (["seed=1,2"], ""),
        (["sr=0.125,0.5"], ""),
        (["sr=0.5"], "Fixed: sr 0.5."),
        (["lr=0.01", "epochs=8", "sr=0.25,0.5"], "Fixed: lr 0.01."),
        (["protocol=cifar10"], ""),
        (["protocol=cifar10", "epochs=8"], ""),
        (["protocol=imagenet", FOLDER], ""),
        (["protocol=imagenet", FOLDER, "lr=0.01"], "Fixed: lr 0.01."),
        (
            [
                *("data=image_folder", FOLDER, "image_size=32", "layout=px32", "train_share=1"),
                *("augment=crop_flip", "batch_size=32", "lr=0.05", "warmup=0"),
            ],
            "Fixed: conv1_filters 64, image_size 32, augment crop_flip, train_share 1, "
            "batch_size 32, lr 0.05, warmup 0.",
        ),
        (["layout=px8"], "Fixed: layout px8."),
        (["layout=v1_1", "image_size=64"], "Fixed: layout v1_1, image_size 64."),
        (
            ["layout=zynqnet", "image_size=64", "lr=0.1"],
            "Fixed: layout zynqnet, image_size 64, lr 0.1.",
        ),
        (["pool_after=1-3-5"], "Fixed: pool_after 1-3-5."),
        (["nesterov=false"], "Fixed: nesterov false."),
        (["recipe=paper", "epochs=60"], "Fixed: recipe paper."),
        (["protocol=demo,cifar10", "lr=0.01"], "Fixed: lr 0.01."),
    ],
)
def test_a_caption_names_what_is_not_the_default(arguments: list[str], words: str) -> None:
    assert caption(table(*arguments)) == words


def test_a_page_that_changes_a_default_is_no_exception() -> None:
    """Whichever command drew it, the figure says that Figure 3(b) is at sr 0.5."""
    assert caption(table(page="figure3b")) == "Fixed: sr 0.5."


def test_other_trials_are_counted() -> None:
    assert caption(table(), 1) == "Not shown: 1 other trial in this folder."
    assert caption(table("lr=0.01"), 1200) == (
        "Fixed: lr 0.01. Not shown: 1,200 other trials in this folder."
    )
    assert caption(table()[:0], 2) == "Not shown: 2 other trials in this folder."


def test_what_a_search_varied_is_not_fixed() -> None:
    rows = table("lr=0.01", "bypass=simple")
    assert caption(rows) == "Fixed: bypass simple, lr 0.01."
    left = "Searched, with one value here: bypass simple."
    assert caption(rows, searched={"bypass", "sr"}) == f"Fixed: lr 0.01. {left}"
    chosen = {"bypass": ["simple"]}
    said = "Fixed: lr 0.01. Selected: bypass=simple (1 of 1 trial)."
    assert caption(rows, selected=chosen, searched={"bypass"}) == said


def test_different_devices_are_named() -> None:
    """Older records, and tables of one device, get no such sentence."""
    four = table("seed=0,1,2,3").assign(trial_id=["a", "b", "c", "d"])
    assert mixed_devices(four) == ""
    assert mixed_devices(four.assign(device="NVIDIA H200")) == ""
    both = four.assign(device=["cpu", "cpu", "NVIDIA H200", "cpu"])
    devices = "Trained on different devices: cpu (3 trials), NVIDIA H200 (1 trial)."
    assert mixed_devices(both) == devices
    assert mixed_devices(pd.concat([both, both])) == devices  # a trial counts once
    assert "cpu (3 compressed networks)" in mixed_devices(both.assign(compressed_id=["a"] * 4))


def test_older_training_semantics_are_named() -> None:
    assert caption(table().assign(semantics=2)) == "Trained by an earlier version of dse."


def test_a_selection_is_named_and_counted() -> None:
    """What was selected is not repeated among what is fixed."""
    rows = table("sr=0.5", "lr=0.01", "seed=0,1")
    assert caption(rows, 10, selected={"seed": ["0", "1"], "sr": ["0.5"]}) == (
        "Fixed: lr 0.01. Selected: seed=0, 1; sr=0.5 (2 of 12 trials)."
    )
    assert caption(rows, 10, selected={"lr": ["<0.02"], "seed": ["<2"]}) == (
        "Fixed: sr 0.5, lr 0.01. Selected: lr<0.02; seed<2 (2 of 12 trials)."
    )
    assert caption(rows, 10, selected={"sr": ["0.5", "1", "<0.7"]}) == (
        "Fixed: sr 0.5, lr 0.01. Selected: sr=0.5, 1; sr<0.7 (2 of 12 trials)."
    )
    many = caption(table(), 11, selected={"trial_id": [f"id{n}" for n in range(9)]})
    assert many == "Selected: trial_id=id0 .. id8 (9) (1 of 12 trials)."
