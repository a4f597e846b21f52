"""Measure the files of trained networks against the bound of their symbols.

    python benchmarks/coding.py results/NAME [--bits 6 8] [--density 0.33]

Every network of a results folder that has weights is pruned and its weights shared (Deep
Compression without retraining, so that it takes a second), then written by each coder. Prints
bytes, their ratio to `dse.coding.bound`, what 4-bit indices in every layer would take (as in the
authors' files), and the time to write and read. The numbers of docs/compressed_format.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from dse.coding import container
from dse.coding.bits import table
from dse.coding.bound import bound
from dse.coding.heads import split
from dse.coding.prefix import huffman, stream_bits
from dse.coding.relative import entries
from dse.coding.tensors import CompressedModel, same
from dse.compress.fit import fit
from dse.training.trained import load
from dse.trial.compression import Settings


def sizes(model: CompressedModel) -> dict[str, float]:
    """Bytes and seconds of a compressed network's files."""
    least = bound(model)
    row = {"bound": round(least)}
    for coder in container.CODERS:
        start = time.perf_counter()
        content = container.encode(model, coder)
        middle = time.perf_counter()
        assert same(container.decode(content), model)
        row[coder] = len(content)
        row[f"{coder} / bound"] = round(len(content) / least, 4)
        row[f"{coder}: write, s"] = round(middle - start, 3)
        row[f"{coder}: read, s"] = round(time.perf_counter() - middle, 3)
    row["as published"] = round(published(model))
    return row


def published(model: CompressedModel) -> float:
    """Bytes of the tensors with Huffman's own codes and 4-bit indices where zeros are more than a
    tenth; without a header."""
    total = 0.0
    for tensor in model.tensors.values():
        codes, floats = split(tensor)
        kept = np.flatnonzero(codes)
        streams = [codes]
        if len(kept) <= 0.9 * len(codes):
            streams = [*entries(np.diff(kept, prepend=-1) - 1, codes[kept], 4)]
        for symbols in streams:
            if len(symbols):
                counts = np.bincount(symbols)
                lengths = huffman(counts)
                total += (stream_bits(lengths, counts) + table(lengths)[1].sum()) / 8
        total += floats.nbytes
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[6, 8])
    parser.add_argument("--density", type=float, default=0.33)
    args = parser.parse_args()
    rows = []
    for folder in sorted((args.results / "trials").iterdir()):
        if not (folder / "weights.safetensors").exists():
            continue
        network = load(args.results, folder.name)
        for bits in args.bits:
            settings = Settings(
                method="deep_compression", bits=bits, density=args.density, retrain_epochs=0
            )
            row = {"trial": folder.name[:6], "bits": bits}
            rows.append(row | sizes(fit(network, None, settings)))
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
