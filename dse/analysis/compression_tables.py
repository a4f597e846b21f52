"""Tables of compressed networks as people read them: few columns, intervals in brackets."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dse.analysis.labels import KILO, MEGA
from dse.analysis.rendering import signed
from dse.analysis.statistics import Interval
from dse.trial.names import brief

TABLE2_ABOUT = {
    "bits": "of a stored weight; for ristretto, the widest that was allowed",
    "bytes": "length of the file; of a network as it was trained, its weights at fp32",
    "times smaller": "than the network's weights at fp32",
    "than AlexNet": "times smaller than uncompressed AlexNet's weights",
    "top-1": "of the network decoded from the file, test set, percent; 95% interval from 3 seeds",
    "top-5": "the same for top-5",
    "change": "of top-1 compared with the uncompressed network after as many epochs in all (method "
    "none), paired by seed, points; 95% interval from 3 seeds on",
    "paper's size": "on ImageNet, as are its accuracies: one run each",
}
BUDGETS_ABOUT = {
    "at most": "bytes that the file may have, KB of 2^10, MB of 2^20",
    "uncompressed": "the network that is best on the validation set, and its bytes",
    "compressed": "the same of the compressed networks",
    "uncompressed top-1": "on the test set, percent; 95% interval from 3 seeds on",
    "compressed top-1": "the same",
    "difference": "compressed compared with uncompressed, paired by seed, points",
    "seeds": "that both have",
}


def readable_table2(found: pd.DataFrame) -> pd.DataFrame:
    """`dse.analysis.table2.table2` with few columns, those of `TABLE2_ABOUT` among them.

    A column that says the same of all rows, or nothing, is left out.
    """
    names = [str(name) for name in found]
    keys = [name for name in names[: names.index("seeds")] if _says(name, found[name])]
    columns: dict[str, Any] = {
        **{n: found[n].map(brief) if n == "densities" else found[n] for n in keys},
        "bytes": found["file_bytes"].round().astype(int),
        "times smaller": found["ratio"],
        "than AlexNet": found["factor"],
        "top-1": _intervals(found, "top1", "top1"),
        "top-5": found["top5"],
        "change": _intervals(found, "change", "change", sign="+"),
        "seeds": found["seeds"],
        "paper's size": found["paper_size"],
        "paper's top-1": found["paper_top1"],
        "paper's top-5": found["paper_top5"],
    }
    table = pd.DataFrame(columns)
    return table.loc[:, (table.notna() & (table != "")).any()]


def readable_budgets(found: pd.DataFrame) -> pd.DataFrame:
    """`dse.analysis.budgets.at_budgets` with the columns of `BUDGETS_ABOUT`."""
    columns: dict[str, Any] = {"at most": found["budget_bytes"].map(_budget)}
    for kind in ("uncompressed", "compressed"):
        columns[kind] = [
            f"{words}: {size:,.0f} bytes" if words else "none fits"
            for words, size in zip(found[kind], found[f"{kind}_bytes"], strict=True)
        ]
        columns[f"{kind} top-1"] = _intervals(found, f"{kind}_top1", kind)
    columns["difference"] = _intervals(found, "difference", "difference", sign="+")
    columns["seeds"] = [str(count) if count else "" for count in found["seeds"]]
    return pd.DataFrame(columns)


def budget_sentences(found: pd.DataFrame) -> list[str]:
    """A sentence for each two networks that `at_budgets` compares, at the smallest budget."""
    both = found[found["difference"].notna()].drop_duplicates(["uncompressed", "compressed"])
    sentences = []
    for row in both.to_dict("records"):
        low, high, seeds = row["difference_low"], row["difference_high"], row["seeds"]
        known = Interval(mean=row["difference"], low=low, high=high, count=seeds)
        epochs = [row["compressed_epochs"], row["uncompressed_epochs"]]
        unequal = " ({:g} epochs against {:g})".format(*epochs) if epochs[0] != epochs[1] else ""
        sentences.append(
            f"Within {_budget(row['budget_bytes'])}, {row['compressed']} compared with "
            f"{row['uncompressed']}: {signed(known, 'points')}{unequal}."
        )
    return sentences


def _budget(size: float) -> str:
    """Bytes in the unit that suits them, such as 64 KB or 2 MB."""
    return f"{size / MEGA:.4g} MB" if size >= MEGA else f"{size / KILO:.4g} KB"


def _says(name: str, values: pd.Series[Any]) -> bool:
    """Whether a column of keys differs between the rows that have it."""
    return name in ("network", "method", "bits") or values[values != ""].nunique() > 1


def _intervals(found: pd.DataFrame, name: str, ends: str, sign: str = "") -> list[str]:
    """Means with their intervals: "81.2 [80.1, 82.3]"; "" where there is none."""
    texts = []
    for mean, low, high in found[[name, f"{ends}_low", f"{ends}_high"]].itertuples(index=False):
        whole = f" [{low:z.1f}, {high:z.1f}]" if low == low else ""
        texts.append(f"{mean:{sign}z.1f}{whole}" if mean == mean else "")
    return texts
