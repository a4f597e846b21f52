"""Draw docs/released.png and the tables of docs/released.md from results/reference/released.

python benchmarks/released_figure.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from released import NNCODEC, compared

ROOT = Path(__file__).parents[1]
RECORDS, DOCS = ROOT / "results" / "reference" / "released", ROOT / "docs"
RELEASED_BYTES, LOSSLESS_BYTES, CLAIMED_BYTES = 675_763, 515_132, 470_000

# NNCodec 2.1.3 on the same weights: bytes, agreement in percent (see docs/released.md).
TUNED = (*(point[:2] for point in NNCODEC[1:]), (301_528, 78.5))
PLAIN = (NNCODEC[0][:2], (478_530, 96.0), (400_355, 86.0))


def draw(points: list[dict[str, Any]]) -> None:
    """Bytes against agreement; ours, NNCodec's and the released file."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    ours = [(point["bytes"], point["agreement"]) for point in points]
    blue = {"color": "#0072b2"}
    series = (
        ("this project", ours, {**blue, "marker": "o", "linestyle": "-"}),
        ("this project, lossless", ((LOSSLESS_BYTES, 100.0),), {**blue, "marker": "*", "ls": ""}),
        ("NNCodec, tuned", TUNED, {"color": "#d55e00", "marker": "s", "linestyle": "--"}),
        ("NNCodec", PLAIN, {"color": "#d55e00", "marker": "s", "linestyle": "", "mfc": "white"}),
        ("released file", ((RELEASED_BYTES, 100.0),), {"color": "k", "marker": "*", "ls": ""}),
    )
    for label, values, style in series:
        sizes, agreement = zip(*sorted(values), strict=True)
        axes.plot([size / 1000 for size in sizes], agreement, label=label, **style)
    axes.axvline(CLAIMED_BYTES / 1000, color="0.6", linewidth=1, linestyle=":")
    low = axes.get_ylim()[0]
    axes.annotate("paper: 0.47 MB", (CLAIMED_BYTES / 1000, low), (4, 6), textcoords="offset points")
    axes.set_xlabel("bytes of the file (thousands)")
    axes.set_ylabel("same first class as the released network (%)")
    axes.grid(color="0.9")
    axes.legend(loc="center right")
    figure.savefig(DOCS / "released.png", dpi=130)


def goals(rows: list[dict[str, Any]]) -> str:
    """Each of NNCodec's points and the file chosen against it on the held-out images."""
    lines = [
        "| NNCodec: bytes | agreement | KL (nats) | our file | agreement | KL (nats) | saved |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        kl = "-" if row["kl"] is None else f"{row['kl']:.3f}"
        ours = "- | - | - | - |"
        if "file" in row:
            j = row["judges"]
            ours = (
                f"{row['file']:,} | {j['agreement']:.1f}% | {j['kl']:.5f} "
                f"| {row['saving_percent']:.1f}% |"
            )
        lines.append(f"| {row['nncodec_bytes']:,} | {row['agreement']:g}% | {kl} | {ours}")
    return "\n".join(lines)


def files(points: list[dict[str, Any]], released: dict[str, Any]) -> str:
    """Every file, judged."""
    lines = [
        "| bytes | agreement | KL (nats) | top-1 | change of top-1 | top-5 |",
        "|---|---|---|---|---|---|",
        f"| {RELEASED_BYTES:,} (released) | 100% | 0 | {released['top1']:.1f} | "
        f"| {released['top5']:.1f} |",
    ]
    for p in points:
        low, high = p["top1_change_interval"]
        lines.append(
            f"| {p['bytes']:,} | {p['agreement']:.1f}% | {p['kl']:.5f} | {p['top1']:.1f} "
            f"| {p['top1_change']:+.1f} ({low:+.1f} to {high:+.1f}) | {p['top5']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    record = json.loads((RECORDS / "frontier.json").read_text(encoding="utf-8"))
    points = sorted(record["points"], key=lambda point: -point["bytes"])
    draw(points)
    page = (DOCS / "released.md").read_text(encoding="utf-8")
    measured = (
        f"    {record['command']}    # {record['device']}, torch {record['torch']}, "
        f"{record['minutes']} minutes"
    )
    tables = {
        "goals": goals(compared(points)),
        "files": files(points, record["released"]),
        "measured": measured,
    }
    for name, text in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        page = re.sub(pattern, lambda m, own=text: m[1] + own + m[2], page, flags=re.DOTALL)
    (DOCS / "released.md").write_text(page, encoding="utf-8")
    print("wrote docs/released.png and the tables of docs/released.md")


if __name__ == "__main__":
    main()
