"""What a small network buys: the paper's three reasons (section 1), as columns of a table.

1. Less communication in data-parallel training. Each step exchanges the gradient of every
   parameter, so that its time is proportional to their number (section 1, after FireCaffe,
   arXiv:1511.00175). A ring all-reduce over n workers, which no algorithm undercuts, has each of
   them send 2 (n - 1) / n of the gradient's bytes (Patarasuk and Yuan, "Bandwidth optimal
   all-reduce algorithms for clusters of workstations", 2009).
2. Smaller updates over the air: a device downloads all weights.
3. It fits on chip. "FPGAs often have less than 10MB" of memory there, and some no other.

Times are bytes over bandwidth: lower bounds, without latency, protocols and waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dse.paper.networks import ALEXNET_PARAMS
from dse.paper.published import TABLE_2
from dse.space.architecture import V1_0, Metaparameters, generate
from dse.space.cost import BYTES, cost
from dse.space.rules import check, expect, integer, knob, real

FPGA_BYTES = 8_500_000
"""On-chip memory of the largest Xilinx Virtex-7: 68 Mbit (the paper's section 1)."""

MAX_BYTES = 10**15


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """The links and the memory that a network is trained with and deployed to.

    The defaults are 16 workers with 10 Gbit/s each, 10 Mbit/s over the air, and the paper's FPGA.
    """

    workers: int = knob(16, integer(1, 1_000_000), "workers of data-parallel training")
    training_bytes_per_second: float = knob(
        1.25e9, real(0, MAX_BYTES, above=True), "bandwidth of each worker's link, bytes/s"
    )
    air_bytes_per_second: float = knob(
        1.25e6, real(0, MAX_BYTES, above=True), "bandwidth of a device's link, bytes/s"
    )
    memory_bytes: int = knob(FPGA_BYTES, integer(1, MAX_BYTES), "memory on the chip, bytes")

    def __post_init__(self) -> None:
        check(self)


def what_small_buys(table: pd.DataFrame, environment: Environment | None = None) -> pd.DataFrame:
    """`table`, such as one of records or of configurations, with these columns added:

    - `gradient_bytes`: the gradient of a step, 4 bytes (float32) for each of `params`;
    - `allreduce_bytes`: what each worker sends in a step, 2 (n - 1) / n of them, rounded up;
    - `allreduce_seconds`: that over `training_bytes_per_second`;
    - `download_seconds`: `size_bytes` over `air_bytes_per_second`;
    - `weights_fit`: whether `size_bytes` is at most `memory_bytes`;
    - `all_fits`: the same for `size_bytes` and `peak_activation_bytes` together (at batch 1,
      float32); NA where that is unknown.

    Raises `ValueError` for a table without `params` and `size_bytes` in each row.
    """
    environment = Environment() if environment is None else environment
    expect("environment", environment, Environment)
    for name in ("params", "size_bytes"):
        if name not in table or table[name].isna().any():
            raise ValueError(f"`table` must have a value of `{name}` in each row")
    size, n = table["size_bytes"].astype("int64"), environment.workers
    gradient = BYTES * table["params"].astype("int64")
    fit = size <= environment.memory_bytes
    sent = -(-2 * (n - 1) * gradient // n)
    peak = table.get("peak_activation_bytes", pd.Series(pd.NA, table.index)).astype("Int64")
    return table.assign(
        gradient_bytes=gradient,
        allreduce_bytes=sent,
        allreduce_seconds=sent / environment.training_bytes_per_second,
        download_seconds=size / environment.air_bytes_per_second,
        weights_fit=fit,
        all_fits=fit & (size + peak <= environment.memory_bytes),
    )


def explained(environment: Environment) -> str:
    """What the columns of `what_small_buys` mean, in sentences, with the numbers of an environment.

    >>> print(explained(Environment(workers=4)).partition(". ")[0])
    In each step of data-parallel training, each of 4 workers sends 1.5 times the gradient's bytes \
(a ring all-reduce: 2 (n - 1) / n), at 1,250,000,000 bytes/s
    """
    share = 2 * (environment.workers - 1) / environment.workers
    return (
        f"In each step of data-parallel training, each of {environment.workers} workers sends "
        f"{share:.4g} times the gradient's bytes (a ring all-reduce: 2 (n - 1) / n), at "
        f"{environment.training_bytes_per_second:,.0f} bytes/s. A device downloads the weights at "
        f"{environment.air_bytes_per_second:,.0f} bytes/s. Times are bytes over bandwidth, without "
        f"latency. The chip has {environment.memory_bytes:,} bytes of memory for the weights and "
        "the activations of one image in float32."
    )


def readable(bought: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The columns `names` and those of `ABOUT`, for people, from `what_small_buys`.

    Times are rounded to three digits; what fits is yes, no or unknown.
    """
    shown = bought[[*names, *ABOUT]].copy()
    for name in ("allreduce_seconds", "download_seconds"):
        shown[name] = [float(f"{value:.3g}") for value in bought[name]]
    for name in ("weights_fit", "all_fits"):
        known = bought[name].astype("boolean").map({True: "yes", False: "no"})
        shown[name] = known.fillna("unknown").astype(str)
    return shown


ABOUT = {
    "size_bytes": "the weights, bytes",
    "gradient_bytes": "the gradient of a training step, bytes",
    "allreduce_bytes": "what each worker sends in a training step, bytes",
    "allreduce_seconds": "the time that this takes, seconds",
    "download_seconds": "the time to download the weights, seconds",
    "weights_fit": "whether the weights fit on the chip",
    "all_fits": "whether the weights and the peak of the activations fit on the chip",
}
"""What columns mean, in the order of a table."""


def paper_networks() -> pd.DataFrame:
    """The networks of the paper's Table 2, in the columns that `what_small_buys` reads.

    Compressed sizes are the paper's, in MB of 10**6 bytes; they do not make a gradient smaller. The
    peak of AlexNet's activations is not known here.

    >>> small = what_small_buys(paper_networks()).set_index("key")
    >>> [int(small.gradient_bytes[key]) for key in ("alexnet", "squeezenet")]
    [243860896, 4993696]
    >>> [bool(small.weights_fit[key]) for key in ("alexnet", "squeezenet", "squeezenet_6bit")]
    [False, True, True]
    """
    squeezenet = cost(generate(Metaparameters(), V1_0), 224)
    rows = []
    for row in TABLE_2:
        ours = row.network == "SqueezeNet"
        params = squeezenet.params if ours else ALEXNET_PARAMS
        rows.append(
            {
                "key": row.key,
                "network": row.network,
                "approach": row.approach,
                "paper_size": f"{row.size}MB",
                "params": params,
                "size_bytes": round(float(row.size) * 1e6) if row.original else BYTES * params,
                "peak_activation_bytes": squeezenet.peak_activation_bytes if ours else pd.NA,
            }
        )
    return pd.DataFrame(rows).astype({"peak_activation_bytes": "Int64"})
