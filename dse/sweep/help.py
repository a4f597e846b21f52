"""The arguments of the commands that sweep, and their `--help`."""

from __future__ import annotations

import argparse
import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dse.sweep import pages
from dse.sweep.errors import RequestParser
from dse.sweep.keys import GROUPS, PARTS, RULES, SETTINGS, knobs
from dse.trial.names import written

WIDTH = 80
GRID = """\
Several values of a key make a grid: every combination of all values is a trial.
Values are separated by commas, sr=0.125,0.25,0.5, or given as a range without
its end, 'seed=range(0,8)', in quotes because of the shell. seed=0,1,2 trains
every network three times. A trial that already has a record in the results
folder is not trained again."""
REPRODUCED = ("figure3a", "figure3b", "table3", "downsample", "widths", "table2")
"""The pages that `dse.reproduce` trains; the first three by default."""

USAGES = {
    "sweep": "[-h] [-cn PAGE] [-cd DIR] [--cfg] [key=value ...]",
    "reproduce": "[-h] [-cd DIR] [PAGE ...] [key=value ...]",
}
EXAMPLES = {
    "sweep": (
        "sr=0.125,0.25 plan=true",
        "sr=0.125,0.25,0.5 seed=0,1,2 name=mine",
        "protocol=cifar10 data.root=DIR data.download=true",
        "layout=px8,px16 bypass=none,simple budget=2h",
    ),
    "reproduce": (
        "plan=true",
        "figure3a seed=0,1,2,3,4",
        "protocol=cifar10 data.root=DIR data.download=true",
    ),
}
DEFAULTS = (
    "Defaults in brackets are those of the page squeezenet; the other pages, layouts, recipes "
    "and protocols change some of them. The command line overrides them all."
)
CODES = """\
exit codes: 0 all done; 1 some trials failed; 2 invalid request, nothing was
run; 130 interrupted. The same command resumes after 1 and 130."""


class HelpParser(RequestParser):
    """The parser of a command whose `--help` ends in a list of keys, made when it is asked for."""

    def __init__(
        self, program: str, usage: str, description: str, grammar: str, end: Callable[[], str]
    ) -> None:
        super().__init__(
            prog=f"python -m dse.{program}",
            usage=usage,
            description=f"{textwrap.fill(description, WIDTH)}\n\n{grammar}",
            formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, width=WIDTH),
            allow_abbrev=False,
        )
        self._end = end

    def format_help(self) -> str:
        self.epilog = self._end()
        return super().format_help()

    def add_pages(self, page: str, *, hidden: bool = False) -> None:
        """Add the arguments that choose a page, `page` by default, and a folder of pages."""
        chosen = argparse.SUPPRESS if hidden else f"page to start from (default: {page})"
        self.add_argument("-cn", "--config-name", metavar="PAGE", default=page, help=chosen)
        self.add_argument(
            "-cd", "--config-dir", metavar="DIR", default="", help="folder with your own pages"
        )


def parser(
    program: str, description: str, page: str, arguments: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """The parser of the command `dse.<program>`, whose default page is `page`.

    Its `--help` also lists the pages of a user's own folder that `arguments` name.
    """
    usage = f"%(prog)s {USAGES[program]}"
    end = functools.partial(_epilog, program, arguments)
    result = HelpParser(program, usage, description, GRID, end)
    alone = program == "sweep"
    what, are = ("key=value", "keys") if alone else ("PAGE, key=value", "pages and keys")
    result.add_argument("overrides", nargs="*", metavar=what, help=f"{are} are listed below")
    result.add_pages(page, hidden=not alone)
    if alone:
        shown = "print every key of a trial, as a page of your own; train nothing"
        result.add_argument(
            "-c", "--cfg", nargs="?", const="job", action="append", metavar="job", help=shown
        )
    result.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)
    return result


def _epilog(program: str, arguments: Sequence[str]) -> str:
    """Examples, pages, keys and exit codes."""
    own = RequestParser(add_help=False, allow_abbrev=False)
    own.add_argument("-cd", "--config-dir", default="")
    folders = pages.searched(own.parse_known_args(arguments)[0].config_dir)
    command = f"python -m dse.{program}"
    text = ["examples:", *(f"  {command} {example}" for example in EXAMPLES[program])]
    every = _summaries(folders, "")
    if program == "sweep":
        text += section("pages (-cn PAGE)", every)
    else:
        text += section("pages", {name: every[name] for name in REPRODUCED})
    for group in GROUPS:
        text += section(f"{group}s ({group}=NAME)", _summaries(folders, group))
    text += ["", *textwrap.wrap(DEFAULTS, WIDTH)]
    for part, entries in _keys().items():
        text += section(f"{part} keys", entries)
    return "\n".join([*text, "", CODES])


def _summaries(folders: Sequence[Path], group: str) -> dict[str, str]:
    """The summary of each page by its name, those of the first folder first."""
    return {
        name: pages.summary(folder / group / f"{name}.yaml")
        for folder in folders
        for name in pages.names([folder], group)
    }


def _keys() -> dict[str, dict[str, str]]:
    """For each part of `--help`: its keys, each with its meaning, rule and default."""
    default = pages.defaults()
    parts = {
        part: {
            name: entry(RULES[name].meaning, RULES[name].rule.text, written(default[name]))
            for name in knobs(*kinds)
        }
        for part, kinds in PARTS.items()
    }
    for name, text in setting_entries().items():
        parts.setdefault("data" if name.startswith("data.") else "run", {})[name] = text
    return parts


def setting_entries() -> dict[str, str]:
    """What `--help` says of each key of `SETTINGS`."""
    return {
        name: entry(own.meaning, own.rule.text, default_text(name))
        for name, own in SETTINGS.items()
    }


def default_text(name: str) -> str:
    """The default of a key of `SETTINGS`, in words where it is not a value."""
    shown = {"name": "the page's name", "budget": "none", "data.cache": "in the user's cache"}
    shown["runner.workers"] = "by device"
    return shown.get(name, written(SETTINGS[name].default))


def entry(meaning: str, rule: str, default: str) -> str:
    """What `--help` says of a key."""
    return f"{meaning}; {rule} [{default or 'empty'}]"


def section(title: str, entries: Mapping[str, str]) -> list[str]:
    """A title and its entries in two columns, the second wrapped."""
    width = max(map(len, entries)) + 4
    lines = ["", f"{title}:"]
    for name, text in entries.items():
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {name}".ljust(width),
            subsequent_indent=" " * width,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
