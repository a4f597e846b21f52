"""AlexNet as a trial: its counts, its identity, its training, and tables that hold it too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from drawn import dots, text
from reading import composed_once, lines, read
from test_network import measured

from dse.analysis.axes import NoSweep, sweep
from dse.analysis.compare import compare, comparisons
from dse.analysis.folder import rows_of
from dse.analysis.front import front
from dse.analysis.pairs import mixed_pairs
from dse.analysis.summary import summary
from dse.api import network
from dse.figures.chance import shares
from dse.figures.effects import main_effects
from dse.figures.heat_map import heat_map
from dse.figures.overview import overview
from dse.figures.plots import scatter
from dse.paper.related import ALEXNET_CAFFE
from dse.report.sections import pareto
from dse.results import packs
from dse.results.records import save
from dse.space.alexnet import AlexNet, small_alexnet
from dse.space.architecture import Layout
from dse.space.cost import cost, layers
from dse.sweep.captions import differences
from dse.sweep.plan import plan
from dse.training.alexnet import AlexNetModule
from dse.training.execute import Callbacks, Outcome, execute
from dse.training.initial import initialise
from dse.training.worker import safetensors
from dse.trial.names import trial_names
from dse.trial.protocol import Protocol
from dse.trial.question import Trial, trial_from
from dse.trial.recipe import Recipe

__all__ = ["composed_once"]

REFERENCE = Path(__file__).parents[1] / "results/reference"
TRIAL = Trial(
    network="alexnet",
    layout=Layout(norm="batch", dropout=0.2),
    protocol=Protocol(recipe=Recipe(epochs=2, batch_size=64, warmup=1)),
)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return execute(TRIAL)


# Counts -------------------------------------------------------------------------------------


def test_the_published_counts() -> None:
    """Of BVLC/caffe, models/bvlc_alexnet: 60,965,224 parameters, 724 million MACs."""
    published = cost(AlexNet(), 227)
    assert published.params == sum(layer.params for layer in ALEXNET_CAFFE) == 60_965_224
    assert published.macs == 724_406_816
    with_weights = [layer.params for layer in layers(AlexNet(), 227) if layer.params]
    assert with_weights == [layer.params for layer in ALEXNET_CAFFE]


def test_the_small_one_has_a_quarter_of_every_width() -> None:
    small = small_alexnet(norm="none", dropout=0.5, num_classes=10, in_channels=3)
    widths = [c.filters for c in small.convolutions] + [*small.linear]
    published = [c.filters for c in AlexNet().convolutions] + [*AlexNet().linear]
    assert [4 * width for width in widths] == published
    assert cost(small, 32).params == 2_255_210


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(("image_size", "channels"), [(12, 1), (32, 3), (8, 3)])
def test_the_cost_is_that_of_the_real_module(norm: str, image_size: int, channels: int) -> None:
    small = small_alexnet(norm=norm, dropout=0.5, num_classes=10, in_channels=channels)
    with torch.device("meta"):
        module = AlexNetModule(small, image_size).eval()
        image = torch.empty(1, channels, image_size, image_size)
    assert measured(module, image) == cost(small, image_size)


@pytest.mark.parametrize("size", [4, 65])
def test_images_must_fit(size: int) -> None:
    with pytest.raises(ValueError, match=f"`image_size` must be in 8 .. 64 .*, got {size}"):
        trial_from({**TRIAL.question, "image_size": size})
    with pytest.raises(ValueError, match="`image_size` must be larger for AlexNet, got 30"):
        cost(AlexNet(), 30)


# Identity -----------------------------------------------------------------------------------


def test_records_from_before_it_keep_their_ids() -> None:
    rows = packs.rows(REFERENCE / "demo")
    assert len(rows) > 100
    for row in rows:
        del row["network"]
        trial = trial_from(row)
        assert (trial.trial_id, trial.network) == (row["trial_id"], "squeezenet")
        assert trial_from(trial.question).trial_id == row["trial_id"]
    large = {**TRIAL.question, "image_size": 64}
    assert trial_from(large).trial_id != trial_from({**large, "network": "squeezenet"}).trial_id


def test_what_it_does_not_read_has_one_value() -> None:
    (demo,) = read("network=alexnet").trials
    assert demo in read(page="table2").trials
    with pytest.raises(ValueError, match=r"`sr` must stay .* 0.125 where `network` is alexnet"):
        trial_from({**demo.question, "sr": 0.5})


def test_the_page_of_table_2_trains_it_once_per_seed() -> None:
    trials = read(page="table2").trials
    assert Counter(trial.network for trial in trials) == {"squeezenet": 25, "alexnet": 5}
    names = trial_names(trials).values()
    assert "network=alexnet seed=4" in names
    assert "network=squeezenet sr=0.25 seed=4" in names


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ("sr=0.5", ["sr"]),
        ("sr=0.25,0.5", ["sr"]),
        ("base_e=32 pool_after=1-4 bypass=simple", ["base_e", "bypass", "pool_after"]),
        ("layout=px8", ["layout"]),
    ],
)
def test_a_key_that_it_does_not_read_is_refused(arguments: str, fields: list[str]) -> None:
    expected = [f"`{field}` has no effect where `network` is alexnet" for field in fields]
    assert sorted(lines("network=alexnet", *arguments.split())) == expected
    assert len(read("network=alexnet,squeezenet", *arguments.split()).trials) > 1


def test_norm_and_dropout_are_read() -> None:
    assert len(read("network=alexnet", "norm=none,batch", "dropout=0,0.5").trials) == 4


# Training -----------------------------------------------------------------------------------


def test_it_learns_and_leaves_a_record(outcome: Outcome) -> None:
    answer = outcome.record.answer
    assert answer.status == "learned"
    assert answer.top1 > 60
    assert answer.params == sum(w.numel() for n, w in outcome.weights.items() if "running" not in n)


@pytest.mark.parametrize("step", [7, 10], ids=["the last of an epoch", "amid an epoch"])
def test_it_resumes_to_the_same_end(outcome: Outcome, step: int) -> None:
    states: list[bytes] = []

    def on_step(done: int, state: Callable[[], bytes]) -> None:
        if done == step:
            states.append(state())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        execute(TRIAL, Callbacks(on_step=on_step))
    again = execute(TRIAL, states=states)
    assert again.record.answer == outcome.record.answer
    assert all(torch.equal(again.weights[n], w) for n, w in outcome.weights.items())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns_on_a_gpu_too(precision: str) -> None:
    trial = trial_from({**TRIAL.question, "precision": precision, "epochs": 6})
    answer = execute(trial, device=torch.device("cuda")).record.answer
    assert answer.status == "learned"
    assert answer.top1 > 85


def test_the_trained_network_is_loaded(outcome: Outcome, tmp_path: Path) -> None:
    save(tmp_path, outcome.record, {"weights.safetensors": safetensors(outcome.weights)})
    module = network(tmp_path, TRIAL)
    assert torch.equal(module.get_parameter("fc8.weight"), outcome.weights["fc8.weight"])
    assert module(torch.zeros(2, 1, 12, 12)).shape == (2, 10)


@pytest.mark.parametrize("init", ["he", "xavier", "lsuv"])
def test_its_linear_layers_are_initialised_too(init: str) -> None:
    def initial(seed: int) -> AlexNetModule:
        small = small_alexnet(norm="none", dropout=0, num_classes=10, in_channels=1)
        module = AlexNetModule(small, 12)
        images = torch.randn(32, 1, 12, 12, generator=torch.Generator().manual_seed(1))
        initialise(module, init, seed, images)
        return module

    one, again, other = initial(0), initial(0), initial(1)
    for name in ("fc6", "fc7", "fc8"):
        weight = one.get_parameter(f"{name}.weight").detach()
        assert torch.equal(weight, again.get_parameter(f"{name}.weight"))
        assert not torch.equal(weight, other.get_parameter(f"{name}.weight"))
        assert not one.get_parameter(f"{name}.bias").any()
        if name == "fc8":
            assert weight.std() == pytest.approx(0.01, rel=0.05)
        elif init != "lsuv":
            variance = (2 if init == "he" else 1) / weight.shape[1]
            assert weight.var() == pytest.approx(variance, rel=0.05)


# Tables -------------------------------------------------------------------------------------


def table() -> pd.DataFrame:
    """A row for each trial of the page of Table 2, without training."""
    trials = read(page="table2").trials
    answers = [
        {"trial_id": t.trial_id, "top1": 90.0, "val_top1": 90.0, "status": "learned"}
        | {name: getattr(cost(t.architecture, 12), name) for name in ("params", "size_bytes")}
        for t in trials
    ]
    return pd.DataFrame([{**t.question, **a} for t, a in zip(trials, answers, strict=True)])


def test_only_what_is_read_varies_in_a_table() -> None:
    both = table()
    found = sweep(both)
    assert [axis.name for axis in found.axes] == ["network", "sr"]
    assert found.fixed["base_e"] == 16
    text = summary(both, len(both))
    assert "\nalexnet     -  " in text
    assert differences(both) == {}
    alone = both[both["network"] == "alexnet"].reset_index(drop=True)
    assert sweep(alone).axes == ()
    assert not {"sr", "base_e", "conv1_filters"} & set(sweep(alone).fixed)
    assert differences(alone) == {"network": "alexnet"}


def test_what_it_does_not_read_is_not_shown() -> None:
    both = table()
    alexnet = both["network"] == "alexnet"
    both["val_top1"] += 5 * alexnet
    found = sweep(both)
    assert found.read({"network": "alexnet", "sr": 0.125}) == {"network": "alexnet"}
    assert pareto(found).tables[0].frame.set_index("network")["sr"].isna()["alexnet"]
    share = front(both, "sr").set_index("network")["front_share"]
    assert share.isna().tolist() == [True] + 5 * [False]  # that of AlexNet is not known
    assert shares(found, ["sr"])["count"].tolist() == [5] * 6
    assert set(rows_of(both, {"sr": ["0.125"]})["network"]) == {"squeezenet"}
    with pytest.raises(ValueError, match="`sr` is not read by any of the trials selected"):
        rows_of(both, {"sr": ["0.125"], "network": ["alexnet"]})
    by_size = scatter(found, "size_bytes", hue="sr")
    assert "sr 0.75 sr 1 no value of sr" in text(by_size)
    assert len(dots(by_size.axes[0])) == len(both)
    assert "Not shown: 5 trials without a value of sr." in text(scatter(found, "sr"))
    assert "network" not in main_effects(found)


def test_it_is_compared_with_the_squeezenets_of_every_squeeze_ratio() -> None:
    both = table()
    both["top1"] -= (both["network"] == "squeezenet") * (10 - 8 * both["sr"])
    found = compare(both, "network")
    assert [one.pairs.setting["sr"] for one in found] == [0.125, 0.25, 0.5, 0.75, 1.0]
    assert [one.difference.mean for one in found] == [-9, -8, -6, -4, -2]
    (mean, *_) = comparisons(both)
    assert (mean.pairs.settings, mean.difference.mean) == (5, pytest.approx(-5.8))
    both["device"] = both["network"].map({"alexnet": "GPU", "squeezenet": "cpu"})
    varied = sweep(both)
    mixed = mixed_pairs(varied, varied.axis("network"), ["alexnet", "squeezenet"])
    assert "cpu (25 trials), GPU (5 trials). In 25 of 25 pairs" in mixed


def test_it_has_no_place_on_a_map_of_what_it_does_not_read() -> None:
    found = sweep(table())
    with pytest.raises(NoSweep, match="`sr` has no effect where `network` is alexnet"):
        heat_map(found, "sr", "network")
    assert list(overview(found, without=["lines"])) == ["points"]


def test_a_plan_shows_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dse.sweep.plan.estimate", lambda *_: (_ for _ in ()).throw(RuntimeError))
    request = replace(read("network=alexnet", page="table2"), folder=tmp_path)
    text = plan(request, request.trials, print)
    assert "1,271,314" in text
    assert "fire2" not in text
