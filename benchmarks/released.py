"""Compress the authors' released network with loss, without labels, and judge the files.

    python benchmarks/released.py --data DIR [--device cuda] [--output FOLDER]

DIR holds `compressed_SqueezeNet.net` and the ImageNet images `imagenet10/train/WNID/*.JPEG` and
`imagenet10/val/WNID/*.JPEG`. Every third training image is used to fit: the target is what the
released network says about it; no label is read. A fifth of those is held out, for choices of
the method. The other training images and all of `val` judge: each file is read again, and the
network in it compared with the released one. FOLDER gets `frontier.json`, written again after each
file.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from recoding.fisher import divergence, measure
from recoding.recode import recoded
from torch import Tensor, nn
from torch.nn import functional as F

from dse.coding.bound import bound
from dse.coding.container import CODERS, decode, encode
from dse.coding.relative import INDEX_BITS, entries, gaps
from dse.coding.tensors import CompressedModel, Shared
from dse.compress.networks import compressed, floats, module
from dse.compress.released import read_released
from dse.compress.shared import k_means

CLASSES = {
    "n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497,
    "n03394916": 566, "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701,
}  # fmt: skip
"""ImageNet's numbers of the ten classes; all 1,000 compete."""

SIDE, MEAN_BGR = 227, (104.0, 117.0, 123.0)
PREPROCESSING = "stretched to 227x227, BGR minus (104, 117, 123), conv10 padding 1"
HELD_OUT = 5
"""Every fifth of the images to fit is held out."""

ZOOM = 0.1
"""The largest share of a side that the crop of a copy leaves out."""

PRICES = (9.8e-10, 4e-9, 1.2e-8, 2.12e-8, 4e-8, 6.8e-8, 1.2e-7)
"""Nats of KL divergence that a bit may cost, from the largest file to the smallest."""

NNCODEC = (
    (509_019, 99.0, None),
    (403_502, 94.0, 0.013),
    (373_835, 91.0, 0.027),
    (346_650, 86.5, 0.056),
)
"""The standard's encoder: bytes, agreement (percent), KL divergence (nats). NNCodec 2.1.3; the last
three with tuned steps, scales and biases, on held-out images of the same set."""


SAVING = 0.05
"""Quality is compared at files that are smaller by at least this share."""


# Images ---------------------------------------------------------------------------------------


def images(folder: Path) -> tuple[Tensor, Tensor]:
    """All images of a folder, uint8 BGR (n, 3, 227, 227), and their classes (n)."""
    files = sorted(file for wnid in CLASSES for file in (folder / wnid).iterdir())
    found = np.empty((len(files), 3, SIDE, SIDE), np.uint8)
    for place, file in zip(found, files, strict=True):
        with Image.open(file) as image:
            stretched = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        place[:] = np.asarray(stretched)[:, :, ::-1].transpose(2, 0, 1)
    return torch.from_numpy(found), torch.tensor([CLASSES[file.parent.name] for file in files])


def centred(batch: Tensor) -> Tensor:
    mean = torch.tensor(MEAN_BGR, device=batch.device).view(3, 1, 1)
    return (batch.float() - mean).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def scores(network: nn.Module, batch: Tensor) -> Tensor:
    """Class scores in float32, (n, 1000), on the CPU."""
    device = next(network.parameters()).device
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        parts = [network(centred(part.to(device))).cpu() for part in batch.split(50)]
    return torch.cat(parts)


def moved(images: Tensor, zoom: float, generator: torch.Generator) -> Tensor:
    """Images (n, channels, h, w), half of them mirrored, each cropped by up to `zoom` of its
    side at a random place and resized to what it was."""
    n = len(images)
    side = 1 - zoom * torch.rand(n, generator=generator)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = side * (2.0 * (torch.rand(n, generator=generator) < 0.5) - 1)
    theta[:, 1, 1] = side
    theta[:, :, 2] = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - side)[:, None]
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


# Measures ---------------------------------------------------------------------------------------


def kept(released: Tensor, student: Tensor) -> dict[str, float]:
    """How well the released network's outputs are kept: percent of images with the same first
    class, and the mean KL divergence, nats. Both are scores (n, classes)."""
    same = released.argmax(1) == student.argmax(1)
    return {
        "agreement": round(100 * float(same.double().mean()), 2),
        "kl": round(float(divergence(released, student).double().mean()), 5),
    }


def accuracy(own: Tensor, released: Tensor, classes: Tensor) -> dict[str, Any]:
    """top1 and top5, percent, and the paired difference of top1 to the released network with its
    95% interval."""
    hits = {k: (own.topk(k).indices == classes[:, None]).any(1).double().numpy() for k in (1, 5)}
    change = 100 * (hits[1] - (released.argmax(1) == classes).double().numpy())
    mean, half = float(change.mean()), 1.96 * float(change.std(ddof=1)) / math.sqrt(len(change))
    return {
        "top1": round(100 * float(hits[1].mean()), 2),
        "top5": round(100 * float(hits[5].mean()), 2),
        "top1_change": round(mean, 2),
        "top1_change_interval": [round(mean - half, 2), round(mean + half, 2)],
    }


def rows_kept(released: Tensor, own: Tensor) -> dict[str, float]:
    """Percent of conv10's weights that are still not 0: of the ten classes here, of all others,
    and of the class that keeps fewest."""
    before, after = ((w.flatten(1) != 0).sum(1).double() for w in (released, own))
    here = torch.zeros(len(before), dtype=torch.bool)
    here[list(CLASSES.values())] = True
    shares = {
        "conv10_kept_here": after[here].sum() / before[here].sum(),
        "conv10_kept_others": after[~here].sum() / before[~here].sum(),
        "conv10_kept_least": (after / before).min(),
    }
    return {name: round(100 * float(share), 1) for name, share in shares.items()}


# The frontier -----------------------------------------------------------------------------------


class Bench:
    """The released network, the images to fit, the held-out ones, and the judges."""

    def __init__(self, data: Path, device: str, limit: int | None) -> None:
        self.device = device
        self.released = read_released((data / "compressed_SqueezeNet.net").read_bytes())
        self.network = module(self.released).to(device)
        train, train_classes = images(data / "imagenet10" / "train")
        val, val_classes = images(data / "imagenet10" / "val")
        numbers = torch.arange(len(train))
        third = numbers[::3]
        self.fit = train[third[torch.arange(len(third)) % HELD_OUT != 0]].to(device)
        self.held_out = train[third[::HELD_OUT]]
        self.judges = torch.cat([train[numbers % 3 != 0], val])[:limit]
        self.classes = torch.cat([train_classes[numbers % 3 != 0], val_classes])[:limit]
        self.outputs = {
            name: scores(self.network, getattr(self, name)) for name in ("held_out", "judges")
        }

    def copies(self, count: int) -> Tensor:
        """`count` moved copies of each image to fit, uint8."""
        generator = torch.Generator().manual_seed(0)
        parts = [
            moved(part.float(), ZOOM, generator).round().clamp(0, 255).to(torch.uint8)
            for _ in range(count)
            for part in self.fit.split(50)
        ]
        return torch.cat(parts)

    def judged(self, content: bytes) -> dict[str, Any]:
        """What the network in a file does on the held-out images and on the judges."""
        network = module(decode(content)).to(self.device)
        own = {name: scores(network, getattr(self, name)) for name in self.outputs}
        return {
            "held_out": kept(self.outputs["held_out"], own["held_out"]),
            **kept(self.outputs["judges"], own["judges"]),
            **accuracy(own["judges"], self.outputs["judges"], self.classes),
            **rows_kept(self.network.conv10.weight.cpu(), network.conv10.weight.cpu()),
        }


def compared(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each of NNCodec's points, our largest file that is smaller by `SAVING` or more, judged.

    So a file is chosen by its size alone.
    """
    rows = []
    for size, agreement, kl in NNCODEC:
        row: dict[str, Any] = {"nncodec_bytes": size, "agreement": agreement, "kl": kl}
        smaller = [point for point in points if point["bytes"] <= (1 - SAVING) * size]
        if smaller:
            own = max(smaller, key=lambda point: point["bytes"])
            row["file"] = own["bytes"]
            row["judges"] = {"agreement": own["agreement"], "kl": own["kl"]}
            row["saving_percent"] = round(100 * (1 - own["bytes"] / size), 1)
        rows.append(row)
    return rows


def point(
    bench: Bench, model: CompressedModel, price: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Write a model's file, read it again, and judge it."""
    content = encode(model, options.coder)
    options.files.mkdir(parents=True, exist_ok=True)
    (options.files / f"released_{price:.2e}.dse").write_bytes(content)
    return {
        "price": price,
        "bytes": len(content),
        "bound_bytes": round(bound(model)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "most_levels": max(len(np.unique(t.dense())) for t in model.tensors.values()),
        **bench.judged(content),
    }


def plain_bits(tensor: Shared) -> int:
    """What decodes a tensor of 6-bit codes: its codebook, and the codes of all weights, or those of
    entries, fillers included, with an index each."""
    codes = tensor.codes.ravel()
    stored, _ = entries(gaps(codes), codes[codes != 0], INDEX_BITS)
    return 32 * (len(tensor.codebook) - 1) + min(6 * codes.size, (6 + INDEX_BITS) * len(stored))


def six_bits(bench: Bench, options: argparse.Namespace) -> None:
    """The two readings of the paper's 6-bit file, on the released weights clustered again: with
    entropy coding, as a real file, and as plain codes with indices where these take fewer bits."""
    network = copy.deepcopy(bench.network).cpu()
    own, bits = {}, 0
    for name, parameter in network.named_parameters():
        weight = floats(parameter)
        if name.endswith("weight"):
            codes, kept = np.zeros(weight.shape, np.uint8), weight != 0
            clusters, centroids = k_means(weight[kept].astype(np.float64), 2**6 - 1)
            codes[kept] = clusters + 1
            codebook = np.append(0.0, centroids).astype(np.float32)
            own[name] = Shared(codes=codes, codebook=codebook)
            bits += plain_bits(own[name])
        else:
            bits += 6 * weight.size
    content = encode(compressed(network, own), options.coder)
    record = {
        "command": command(options),
        "coder": options.coder,
        "bytes": len(content),
        "plain_bytes": math.ceil(bits / 8),
        **bench.judged(content),
    }
    write(options.output / "six_bits.json", record)


def write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def frontier(bench: Bench, options: argparse.Namespace) -> None:
    """Write and judge a file for each price."""
    start = time.monotonic()
    copies = bench.copies(options.copies)
    chosen = torch.randperm(len(copies), generator=torch.Generator().manual_seed(0))
    fisher = measure(bench.network, (centred(copies[i : i + 1]) for i in chosen[: options.fisher]))
    record: dict[str, Any] = {
        "command": command(options),
        "preprocessing": PREPROCESSING,
        "images": {n: len(getattr(bench, n)) for n in ("fit", "held_out", "judges")},
        "device": torch.cuda.get_device_name() if bench.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "coder": options.coder,
        "released": accuracy(bench.outputs["judges"], bench.outputs["judges"], bench.classes),
        "points": [],
    }
    for price in options.prices:
        model = recoded(bench.released, fisher, price)
        record["points"].append(point(bench, model, price, options))
        record["minutes"] = round((time.monotonic() - start) / 60, 1)
        write(options.output / "frontier.json", record)
        print({k: v for k, v in record["points"][-1].items() if k != "sha256"}, flush=True)
    for row in compared(record["points"]):
        print(row)


def command(options: argparse.Namespace) -> str:
    """The command that was given, without names of folders."""
    words = ["python", "benchmarks/released.py", "--data", "DIR"]
    for name, value in vars(options).items():
        if name not in ("data", "output", "files") and value != PARSER.get_default(name):
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return " ".join(words)


def main() -> None:
    options = PARSER.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    bench = Bench(options.data, options.device, options.limit)
    (six_bits if options.six_bits else frontier)(bench, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("results/reference/released"))
    parser.add_argument("--files", type=Path, default=Path("results/released"))
    parser.add_argument("--coder", choices=[*CODERS], default="adaptive")
    parser.add_argument("--six-bits", action="store_true", help="only the file of 6-bit codes")
    parser.add_argument("--prices", type=float, nargs="+", default=PRICES)
    parser.add_argument("--copies", type=int, default=4, help="moved ones of each image to fit")
    parser.add_argument("--fisher", type=int, default=1600, help="images to estimate it from")
    parser.add_argument("--limit", type=int, help="judge by so many images only")
    return parser


PARSER = _parser()

if __name__ == "__main__":
    main()
