"""What a small network buys, against numbers computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dse.analysis.rendering import markdown
from dse.analysis.small import (
    ABOUT,
    Environment,
    explained,
    paper_networks,
    readable,
    what_small_buys,
)
from dse.trial.names import written

NETWORKS = pd.DataFrame(
    {
        "sr": [0.125, 0.25],
        "params": [1000, 3001],
        "size_bytes": [4200, 12_004],  # the first has running statistics too
        "peak_activation_bytes": [800, 1],
    },
    index=[7, 3],
)
LINKS = Environment(
    workers=4, training_bytes_per_second=1000, air_bytes_per_second=100, memory_bytes=5000
)


def test_by_hand() -> None:
    bought = what_small_buys(NETWORKS, LINKS)
    assert bought.index.tolist() == [7, 3]
    assert bought[NETWORKS.columns].equals(NETWORKS)
    assert bought.gradient_bytes.tolist() == [4000, 12_004]
    assert bought.allreduce_bytes.tolist() == [6000, 18_006]  # 2 * 3 / 4
    assert bought.allreduce_seconds.tolist() == [6.0, 18.006]
    assert bought.download_seconds.tolist() == [42.0, 120.04]
    assert bought.weights_fit.tolist() == [True, False]
    assert bought.all_fits.tolist() == [True, False]
    assert bought.gradient_bytes.dtype == bought.allreduce_bytes.dtype == np.int64


@pytest.mark.parametrize(
    ("workers", "sent"), [(1, 0), (2, 12_004), (3, 16_006), (7, 20_579), (1_000_000, 24_008)]
)
def test_bytes_are_rounded_up_and_less_than_twice_the_gradient(workers: int, sent: int) -> None:
    bought = what_small_buys(NETWORKS, Environment(workers=workers))
    assert bought.allreduce_bytes[3] == sent  # 12,004 * 2 (n - 1) / n


def test_what_fits_exactly_fits() -> None:
    for memory, weights, both in ((4199, False, False), (4200, True, False), (5000, True, True)):
        bought = what_small_buys(NETWORKS, Environment(memory_bytes=memory))
        assert (bought.weights_fit[7], bought.all_fits[7]) == (weights, both)
    assert not what_small_buys(NETWORKS, Environment(memory_bytes=4999)).all_fits[7]


def test_unknown_activations_are_not_guessed() -> None:
    for table in (
        NETWORKS.drop(columns="peak_activation_bytes"),
        NETWORKS.assign(peak_activation_bytes=[np.nan, np.nan]),
    ):
        bought = what_small_buys(table, LINKS)
        assert bought.all_fits[7] is pd.NA
        assert not bought.all_fits[3]  # its weights alone do not fit
    assert readable(bought, ["sr"])["all_fits"].tolist() == ["unknown", "no"]


def test_large_counts_are_exact() -> None:
    table = pd.DataFrame({"params": [2_090_294_120], "size_bytes": [8_361_176_480]})
    bought = what_small_buys(table, Environment(workers=1_000_000))
    assert bought.allreduce_bytes[0] == 16_722_336_238  # 16,722,352,960 less a millionth


def test_an_empty_table_stays_one() -> None:
    assert what_small_buys(NETWORKS.iloc[:0]).empty


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({"air_bytes_per_second": -1}, ["`air_bytes_per_second` must be in (0, 1e+15], got -1"]),
        ({"training_bytes_per_second": float("nan")}, ["`training_bytes_per_second` must be in"]),
        (
            {"memory_bytes": 0, "workers": 0},
            ["`workers` must be a whole number in 1", "`memory_bytes` must be a whole number in 1"],
        ),
    ],
)
def test_impossible_environments_are_refused(values: dict[str, float], lines: list[str]) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        Environment(**values)  # type: ignore[arg-type]
    said = str(caught.value).splitlines()
    assert [a.startswith(b) for a, b in zip(said, lines, strict=True)] == [True] * len(lines)


def test_sizes_must_be_known() -> None:
    with pytest.raises(ValueError, match="must have a value of `params` in each row"):
        what_small_buys(NETWORKS.drop(columns="params"))
    with pytest.raises(ValueError, match="must have a value of `size_bytes` in each row"):
        what_small_buys(NETWORKS.assign(size_bytes=[1, np.nan]))


def test_a_table_for_people() -> None:
    shown = readable(what_small_buys(NETWORKS, LINKS), ["sr"])
    assert shown.iloc[1].to_dict() == {
        "sr": 0.25,
        "size_bytes": 12_004,
        "gradient_bytes": 12_004,
        "allreduce_bytes": 18_006,
        "allreduce_seconds": 18.0,
        "download_seconds": 120.0,
        "weights_fit": "no",
        "all_fits": "no",
    }
    assert shown.columns.tolist() == ["sr", *ABOUT]
    text = explained(LINKS)
    assert "each of 4 workers sends 1.5 times the gradient's bytes" in text
    assert "at 1,000 bytes/s" in text
    assert "at 100 bytes/s" in text
    assert "5,000 bytes of memory" in text


# The paper's networks -----------------------------------------------------------------------


def test_the_paper_s_three_reasons() -> None:
    bought = what_small_buys(paper_networks()).set_index("key")
    alexnet, squeezenet, six_bits = (
        bought.loc[key] for key in ("alexnet", "squeezenet", "squeezenet_6bit")
    )
    assert alexnet.gradient_bytes == 4 * 60_965_224
    assert squeezenet.gradient_bytes == six_bits.gradient_bytes == 4 * 1_248_424
    assert alexnet.allreduce_seconds == pytest.approx(4 * 60_965_224 * 1.875 / 1.25e9)
    assert alexnet.download_seconds == pytest.approx(195.0887)
    assert six_bits.download_seconds == pytest.approx(0.376)
    assert bought.weights_fit.to_dict() == {
        "alexnet": False,
        "svd": False,
        "pruning": False,
        "deep_compression": True,
        "squeezenet": True,
        "squeezenet_8bit": True,
        "squeezenet_6bit": True,
    }
    assert bought.all_fits["squeezenet"] == (4_993_696 + 5_971_968 <= 8_500_000)


def test_the_documentation_s_table_is_computed() -> None:
    shown = readable(what_small_buys(paper_networks()), ["network", "approach", "paper_size"])
    for name in ("allreduce_seconds", "download_seconds"):
        shown[name] = shown[name].map(written)
    text = Path(__file__).parents[1].joinpath("docs", "api.md").read_text(encoding="utf-8")
    assert markdown([*shown], shown.itertuples(index=False)) in text
