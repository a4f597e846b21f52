"""Simulate EIE on the authors' released network: what it reads and multiplies for real images.

    python benchmarks/eie.py --data DIR [--images 10] [--elements 64]

DIR is as for `benchmarks/released.py`. The images are the first of each class of `val`. Prints
the counts of `dse.compress.eie.Counts` for each layer and image as Markdown, and how far the
class scores are from those of the dense network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from released import CLASSES, centred, images

from dse.coding.tensors import Shared
from dse.compress.eie import Counts, interleaved, simulated
from dse.compress.networks import module
from dse.compress.released import read_released


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--elements", type=int, default=64)
    options = parser.parse_args()
    model = read_released((options.data / "compressed_SqueezeNet.net").read_bytes())
    network = module(model)
    weights = {n: t for n, t in model.tensors.items() if isinstance(t, Shared)}
    every, _ = images(options.data / "imagenet10" / "val")
    chosen = every[:: len(every) // len(CLASSES)][: options.images]
    with torch.inference_mode():
        dense = torch.cat([network(centred(one[None])) for one in chosen])
        with simulated(network, weights, options.elements) as counts:
            found = torch.cat([network(centred(one[None])) for one in chosen])
    names = [name for name in Counts.__slots__ if name != "cycles"]
    print("| layer | " + " | ".join(names) + " | cycles |")
    print("|---|" + "---|" * (len(names) + 1))
    whole = Counts(**{n: sum(getattr(c, n) for c in counts.values()) for n in Counts.__slots__})
    for layer, own in [*counts.items(), ("all", whole)]:
        cells = [f"{getattr(own, name) // len(chosen):,}" for name in Counts.__slots__]
        print(f"| {layer} | " + " | ".join(cells) + " |")
    stored = [interleaved(tensor, options.elements) for tensor in weights.values()]
    fillers, entries = (sum(getattr(s, n) for s in stored) for n in ("fillers", "entries"))
    error = float((found - dense).abs().max() / dense.abs().max())
    print(f"\n{len(chosen)} images, {options.elements} elements: {entries:,} entries are stored,")
    print(f"{fillers:,} of them fillers. Largest difference of a score: {error:.1e} of the largest")


if __name__ == "__main__":
    main()
