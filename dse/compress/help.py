"""The keys of `python -m dse.compress`, and its `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from dse.space.architecture import LAYOUTS
from dse.space.rules import integer
from dse.sweep.help import CODES, HelpParser, entry, section, setting_entries
from dse.sweep.keys import SETTINGS as OF_SWEEP
from dse.sweep.keys import TEXT as OF_SWEEP_TEXT
from dse.sweep.keys import Setting
from dse.trial.compression import SETTINGS, USES, Settings
from dse.trial.names import written
from dse.trial.question import QUESTION

NOT_RUN = ("name", "budget", "results.root", "runner.processes_per_trial")
RUN = tuple(key for key in OF_SWEEP if key not in NOT_RUN)
"""The keys that say how and where it runs, as for `dse.sweep`."""

SELECT = (*QUESTION, "layout", "trial_id", "status")
"""The keys that select trials."""

KNOWN = (*SETTINGS, *RUN, *SELECT)

TEXT = {
    *OF_SWEEP_TEXT,
    "trial_id",
    "status",
    *(f.name for f in fields(Settings) if f.metadata["rule"].kind != "number"),
}
"""The keys whose values are taken as they were written."""

FACTS: Mapping[str, Setting] = {
    "num_classes": Setting(integer(1, 2**16), "classes of the network", 1000),
    "in_channels": Setting(integer(1, 2**16), "channels of its images", 3),
}
"""What the data decide of a network that was not trained here."""

DESCRIPTION = (
    "Compress the trained networks of a results folder. Each compressed network is written to "
    "results/NAME/compressed/: its file, and a record with the length of the file and the "
    "accuracies of the network that is decoded from it."
)
GRID = """\
Several values of a setting make a grid: bits=8,6 or 'energy=range(0.5,1,0.1)'.
A key of a sweep selects trials, and so does a condition on a result: sr=0.125
seed=0,1 'val_top1>80'. What already has a record is not compressed again."""
USAGE = """%(prog)s [-h] results/NAME [key=value ...]
       %(prog)s FILE.safetensors [-o OUT] [key=value ...]
       %(prog)s decode FILE [-o OUT.safetensors]
       %(prog)s recode FILE -o OUT [coder=huffman]
       %(prog)s sensitivity results/NAME [key=value ...]
       %(prog)s show FILE
       %(prog)s verify results/NAME"""
EXAMPLES = """\
examples:
  python -m dse.compress results/mine
  python -m dse.compress results/mine method=prune,deep_compression,ristretto
  python -m dse.compress results/mine bits=8,6,5,4 sr=0.125 seed=0,1 plan=true
  python -m dse.compress net.safetensors layout=v1_1 bits=6 -o small.bin
  python -m dse.compress decode network.bin -o mine.safetensors
  python -m dse.compress verify results/mine"""


def parser() -> argparse.ArgumentParser:
    """The parser of a command that compresses the networks of a results folder."""
    result = HelpParser("compress", USAGE, DESCRIPTION, GRID, _epilog)
    result.add_argument("folder", type=Path, metavar="results/NAME", help="a results folder")
    result.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="keys are listed below"
    )
    return result


def _epilog() -> str:
    """Examples, keys and exit codes."""
    settings = {
        f.name: entry(f.metadata["meaning"], f.metadata["rule"].text, written(f.default))
        for f in fields(Settings)
    }
    run = {key: text for key, text in setting_entries().items() if key in RUN}
    run["plan"] = "print what is done and what is to do; leave no results; true or false [false]"
    uses = {method: ", ".join([*names, "phase"]) for method, names in USES.items()}
    text = [EXAMPLES, *section("settings", settings), *section("what each method reads", uses)]
    text += section("network of FILE.safetensors, a SqueezeNet", _of_file())
    text += section("run", run)
    return "\n".join([*text, "", CODES])


def _of_file() -> dict[str, str]:
    """What `--help` says of the keys of a network that was not trained here."""
    others = "metaparameters and the other keys of a layout: see python -m dse.sweep --help"
    return {
        "layout": entry("what is around the Fire modules", f"one of {', '.join(LAYOUTS)}", "v1_0"),
        "sr, ...": f"{others} [the paper's]",
        **{n: entry(own.meaning, own.rule.text, written(own.default)) for n, own in FACTS.items()},
    }
