"""Add the whole seeds of the page `squeezebench` to results/reference/squeezebench.

    python benchmarks/squeezebench.py FOLDER ... [--out results/reference/squeezebench]

Each FOLDER is a results folder in which `python -m dse.sweep --config-name squeezebench` has run,
or still runs, or in which some of its networks were compressed. It is only read. A seed is whole
when all its networks have a record there; `--partial` adds what there is.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from dse.results import atomic, files, packing, records
from dse.sweep.request import read_request


def wanted(folders: list[Path], partial: bool) -> dict[str, Path]:
    """The folders of the trials and of the compressed networks to add, by their new places."""
    seeds: dict[int, set[str]] = {}
    for trial in read_request("sweep", "", [], page="squeezebench").trials:
        seeds.setdefault(trial.seed, set()).add(trial.trial_id)
    done = set().union(*(records.ids(folder) for folder in folders))
    chosen = set().union(*(ids for ids in seeds.values() if partial or ids <= done)) & done
    found: dict[str, Path] = {}
    for folder in folders:
        for kind in files.KINDS:
            for own in files.finished(folder, files.trial_ids(folder, kind), kind):
                if kind == files.COMPRESSED or own in chosen:
                    home = files.trial_folder(folder, own, kind).absolute()
                    found.setdefault(f"{kind}/{own}", home)
    for seed, ids in seeds.items():
        print(f"seed {seed}: {len(ids & done):,} of {len(ids):,} done, {len(ids & chosen):,} taken")
    return found


def add(folders: list[Path], out: Path, partial: bool) -> None:
    """Add to the packs in `out`, by way of a folder of links."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for kind in files.KINDS:
            (work / kind).mkdir()
            if files.pack_of(out, kind).is_file():
                shutil.copy(files.pack_of(out, kind), work)
        for place, home in wanted(folders, partial).items():
            (work / place).symlink_to(home)
        out.mkdir(parents=True, exist_ok=True)
        for one in packing.pack(work):
            path = files.pack_of(out, one.kind)
            atomic.write(path, files.pack_of(work, one.kind).read_bytes())
            print(f"{path}: {one.total:,}, {one.added:,} new, {one.size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("results/reference/squeezebench"))
    parser.add_argument("--partial", action="store_true")
    options = parser.parse_args()
    add(options.folders, options.out, options.partial)


if __name__ == "__main__":
    main()
