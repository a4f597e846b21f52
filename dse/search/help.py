"""The arguments of `python -m dse.search`, and its `--help`."""

from __future__ import annotations

import argparse

from dse.search.keys import COMPRESS, COMPRESSED_BYTES, OWN, SETTINGS
from dse.sweep.help import CODES, HelpParser, entry, section, setting_entries
from dse.trial.names import written

DESCRIPTION = (
    "Search a space of networks: a sampler proposes networks one by one, guided by the validation "
    "accuracies so far (random and grid ignore them), and each is trained from scratch as in a "
    "sweep. Writes records, tables, figures and a report to "
    "results/NAME."
)
GRAMMAR = """\
Several values of a key are choices: sr=0.125,0.5 or 'base_e=range(8,33,8)'.
Continuous ranges are 'sr=interval(0.1,1)' and, on a log scale,
'lr=tag(log,interval(0.01,0.5))'. Other keys are fixed. With seed=0,1,2 every
network is trained three times and judged by its mean accuracy. Networks that
exceed a limit are never trained, and none is trained twice. The same command
resumes a study."""
PLAN = "print the space, how much of it is within the limits, and the estimated time; train nothing"
EXAMPLES = """\
examples:
  python -m dse.search plan=true
  python -m dse.search sampler=nsga2 objective=size_bytes,val_top1 n_trials=100
  python -m dse.search max.size_bytes=0.1MB max.macs=2e6 name=small
  python -m dse.search 'sr=interval(0.1,1)' bypass=none,simple seed=0,1 name=sr"""


def parser(page: str) -> argparse.ArgumentParser:
    """The parser of the command, whose default page is `page`."""
    usage = "%(prog)s [-h] [-cn PAGE] [-cd DIR] [key=value ...]"
    result = HelpParser("search", usage, DESCRIPTION, GRAMMAR, _epilog)
    result.add_argument("overrides", nargs="*", metavar="key=value", help="keys are listed below")
    result.add_pages(page)
    return result


def _epilog() -> str:
    """Examples, keys and exit codes."""
    shown = {"study": "the sampler's name", "storage": "a file in the results folder"}
    shown["timeout"] = "none"
    shown |= {name: "none" for name in OWN if name.startswith("max.")}
    own = {
        name: entry(one.meaning, one.rule.text, shown.get(name, written(one.default)))
        for name, one in OWN.items()
    }
    compression = {name: own.pop(name) for name in OWN if name.startswith(COMPRESS)}
    others = {name: text for name, text in setting_entries().items() if name in SETTINGS}
    others["plan"] = entry(PLAN, SETTINGS["plan"].rule.text, "false")
    text = [
        *(EXAMPLES, *section("search keys", own)),
        *section(f"compression keys, for {COMPRESSED_BYTES}", compression),
        *section("run and data keys", others),
    ]
    more = "The keys of networks and their training are those of python -m dse.sweep --help."
    return "\n".join([*text, "", more, "", CODES])
