"""`python -m dse.compress`: grids, plans and mistakes, without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sample_compressed import compressed_record
from sample_records import FILES, contents, record

from dse.compress import __main__
from dse.compress.request import read_request
from dse.results import packing, records, studies
from dse.results.compressed import FILE
from dse.results.files import COMPRESSED
from dse.sweep.errors import RequestError
from dse.trial.compression import SETTINGS

IDS = sorted(record(sr, seed).trial.trial_id for sr in (0.125, 0.25) for seed in (0, 1))
METHODS = "none, svd, prune, deep_compression, ristretto"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A results folder of four trials with something in place of weights."""
    for sr in (0.125, 0.25):
        for seed in (0, 1):
            records.save(tmp_path / "x", record(sr, seed), FILES)
    return tmp_path / "x"


def test_a_grid_of_settings_and_trials(folder: Path) -> None:
    request = read_request([str(folder), "method=svd,prune", "density=0.5,0.3", "seed=0"])
    assert list(request.names.values()) == [
        f"sr={sr} {rest}"
        for sr in (0.125, 0.25)
        for rest in ("method=svd", "method=prune density=0.5", "method=prune density=0.3")
    ]
    assert len(read_request([str(folder)]).compressions) == 4
    many = read_request([str(folder), "bits=range(2,9)", "quality=0.5,1", "sr=0.25"])
    assert len(many.compressions) == 2 * 7 * 2


def test_a_plan_says_what_is_done_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = compressed_record(method="prune")
    for one in (done, compressed_record(method="ristretto")):  # the second one is not asked for
        records.save_row(folder, one.compressed_id, one.row(), {FILE: b"f"}, COMPRESSED)
    before = contents(folder)
    assert __main__.main([str(folder), "method=prune,svd", "sr=0.125", "plan=true"]) == 0
    assert contents(folder) == before
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        ["seed=0", "method=prune", done.compressed_id[:8], "done"],
        ["seed=0", "method=svd", lines[2][2], "to", "do"],
        ["seed=1", "method=prune", lines[3][2], "to", "do"],
        ["seed=1", "method=svd", lines[4][2], "to", "do"],
        ["4", "compressed", "networks,", "1", "done,", "3", "to", "do"],
    ]
    path = folder / COMPRESSED / done.compressed_id / "record.json"
    path.write_bytes(path.read_bytes()[:-9])
    for more in ([], ["plan=true"]):
        assert __main__.main([str(folder), "method=prune,svd", "sr=0.125", *more]) == 1
        count, line = capsys.readouterr().err.splitlines()
        assert count.endswith("/x: 4 compressed networks, 1 damaged; nothing was started")
        assert line.startswith(f"{path} is damaged (it is cut off or not JSON): ")


def test_a_plan_of_data_that_are_missing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = record()
    trial = replace(one.trial, protocol=replace(one.trial.protocol, data="cifar10"))
    records.save(tmp_path / "x", replace(one, trial=trial), FILES)
    words = [str(tmp_path / "x"), f"data.root={tmp_path}", f"data.cache={tmp_path}", "plan=true"]
    assert __main__.main(words) == 2
    assert capsys.readouterr().err.startswith("`data.root` must hold cifar10, ")


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["method=zip"], [f"`method` must be one of {METHODS}, got 'zip'"]),
        (["bits=0,33"], [f"`bits` must be a whole number in 2 .. 8, got {n}" for n in (0, 33)]),
        (["density=0,2"], [f"`density` must be in (0, 1], got {n}" for n in (0, 2)]),
        (
            ["densities=conv10:2,conv1:0.5-conv1:0.2,conv1,1:0.5"],
            [
                "`densities` must be none, or LAYER:DENSITY joined by '-', each layer once, each "
                f"density in (0, 1], got {got}"
                for got in ("'conv10:2'", "'conv1:0.5-conv1:0.2'", "'conv1'", "'1:0.5'")
            ],
        ),
        (
            ["densities=none,conv10:0.5-conv11:0.5,fire2:0.5-fire10.squeeze:0.2"],
            [
                f"`densities` must name layers of the network, conv1 .. conv10 (26), got {got}"
                for got in (
                    "conv11; did you mean `conv1`?",
                    "fire2; did you mean `fire2.squeeze` or `fire2.expand1x1` or "
                    "`fire2.expand3x3`?",
                    "fire10.squeeze; did you mean `fire9.squeeze`?",
                )
            ],
        ),
        (
            ["quality=1", "densities=conv10:0.5"],
            ["`densities` has no effect where `quality` is 1, got conv10:0.5"],
        ),
        (["bits="], ["`bits` must be a whole number in 2 .. 8, got ''"]),
        (["bits=[]"], ["`bits` must have a value"]),
        (["bits=4,4"], ["the values of `bits` must differ, got 4,4"]),
        (
            ["bits=0_6", "trial_id=12345e67"],
            [
                "`bits` must be a whole number in 2 .. 8, got '0_6'; write plain numbers, such as "
                "8, 0.5 or 1e-3",
                f"`trial_id` must be one of {', '.join(IDS)}, got 12345e67",
            ],
        ),
        (["bit=6"], ["unknown key `bit`; did you mean `bits`?"]),
        (["name=x"], ["unknown key `name`; see --help"]),
        (
            ["file_bytes<9"],
            ["`file_bytes` is of compressed networks; here a condition selects trials"],
        ),
        (["sr=0.3"], ["`sr` must be one of 0.125, 0.25, got 0.3"]),
        (["bits=3", "bits=4"], ["`bits` must be given once, got 'bits=4' too"]),
        (
            ["method=svd,none", "bits=4"],
            ["`bits` has no effect where `method` is svd or none, got 4"],
        ),
        (["quality=1", "density=0.5"], ["`density` has no effect where `quality` is 1, got 0.5"]),
        (
            ["retrain_epochs=0", "retrain_lr=1"],
            ["`retrain_lr` has no effect where `retrain_epochs` is 0, got 1"],
        ),
        (
            ["method=prune,svd", "rounds=1,2,4", "retrain_epochs=0,3,8"],
            [
                f"`rounds` must be at most {most} where `retrain_epochs` is {epochs}, got {rounds}"
                for rounds, most, epochs in ((2, 1, 0), (4, 1, 0), (4, 3, 3))
            ],
        ),
        (
            ["rounds=6,7"],
            ["`rounds` must be at most 6 where `retrain_epochs` is 8, got 7"],
        ),
        (
            ["bits!=5", "method!=none", "runner.workers>1", "n_trials>3"],
            [
                "`bits` is a setting: give its values by =, got bits!=5",
                "`method` is a setting: give its values by =, got method!=none",
                "`runner.workers` is a setting: give its values by =, got runner.workers>1",
                "unknown key `n_trials`; did you mean `trial_id`?",
            ],
        ),
        (["val_top1=80"], ["`val_top1` is 1 in every trial, got 80"]),
        (["study=tpe"], ["unknown key `study`; columns that vary are sr, seed"]),
        (["limit=3"], ["`limit` must be at least the 4 points of the grid, got 3"]),
        (
            ["runner.workers=0", "bits=1"],
            [
                "`runner.workers` must be a whole number in 1 .. 1024, got 0",
                "`bits` must be a whole number in 2 .. 8, got 1",
            ],
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    folder: Path, words: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    assert __main__.main([str(folder), *words]) == 2
    assert capsys.readouterr().err.splitlines() == lines
    assert contents(folder) == before


def test_a_network_that_diverged_is_refused(tmp_path: Path) -> None:
    records.save(tmp_path, record(seed=0, status="diverged"), FILES)
    records.save(tmp_path, record(seed=1), FILES)
    with pytest.raises(RequestError, match=r"must not be diverged, got 1 of 2 trials \(\w{20}\)"):
        read_request([str(tmp_path)])
    for condition in ("seed=1", "seed>0", "status!=diverged"):
        (chosen,) = read_request([str(tmp_path), condition]).compressions
        assert chosen.trial.seed == 1
    with pytest.raises(RequestError, match=r"`seed` is 0 \.\. 1 in these trials, got seed>1"):
        read_request([str(tmp_path), "seed>1"])


def test_every_column_selects_trials(folder: Path) -> None:
    """Also those that only the tables of searches have."""
    study = dict.fromkeys(studies.KEYS, "") | {
        "points": [{"number": n, "state": "trained", "trials": [one]} for n, one in enumerate(IDS)]
    }
    studies.save(folder, "tpe", study)
    for words, count in {
        "val_top1=1": 4,
        "val_top1==1": 4,
        "study=tpe study_trial<3": 2,
        "study_trial=4": 1,
        "sr=0.125,0.25 sr>0.2": 2,
    }.items():
        assert len(read_request([str(folder), *words.split()]).compressions) == count


def test_a_folder_without_trials_or_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"must be a results folder, .* it has no trials"):
        read_request([str(tmp_path)])
    (tmp_path / "y" / "trials").mkdir(parents=True)
    with pytest.raises(RequestError, match="must have finished trials"):
        read_request([str(tmp_path / "y")])
    records.save(tmp_path / "y", record(seed=0), FILES)
    records.save(tmp_path / "y", record(seed=1), {})
    with pytest.raises(
        RequestError, match=r"1 of 2 trials has no weights\.safetensors \(\w{20}\); "
    ):
        read_request([str(tmp_path / "y")])
    assert len(read_request([str(tmp_path / "y"), "seed=0"]).compressions) == 1
    packing.pack(tmp_path / "y", remove=True)
    with pytest.raises(RequestError, match=r"\(\w{20}, \.\.\.\): a pack holds no weights; select"):
        read_request([str(tmp_path / "y")])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["method=ristretto"], "`method` must be one of none, svd, prune, deep_compression for "),
        (["retrain_epochs=2"], "`retrain_epochs` must be 0 for weights that were not trained here"),
        (["bits=6,5"], "`bits` must have one value, got 2"),
        (["num_classes=0"], "`num_classes` must be a whole number in 1 .. 65536, got 0"),
        (["epochs=3"], "unknown key `epochs`"),
        (
            ["network=alexnet"],
            "`network` must be squeezenet for weights that were not trained here",
        ),
        (["sr=2"], "`sr` must be in (0, 1], got 2"),
        ([], "`file` must be readable, got none.safetensors: No such file or directory"),
    ],
)
def test_mistakes_about_weights_from_elsewhere(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main(["none.safetensors", *words]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(line)


@pytest.mark.parametrize("words", [[], ["layout=v1_1"]])
@pytest.mark.parametrize("name", ["a.pth", "a.bin"])
def test_weights_in_another_kind_of_file_are_refused_with_what_to_do(
    name: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).touch()
    assert __main__.main([str(tmp_path / name), *words]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"a file of weights must be .safetensors, got {tmp_path / name}: write")


def test_help_plans_and_mistakes_import_no_torch(folder: Path, tmp_path: Path) -> None:
    calls = [
        ["--help"],
        ["decode", "--help"],
        ["verify", "--help"],
        [str(folder), "plan=true"],
        [str(folder), "bits=33"],
        ["decode", str(tmp_path / "none")],
        ["verify", str(tmp_path)],
        ["none.safetensors", "method=ristretto"],
    ]
    code = f"""
import sys
from dse.compress.__main__ import main
codes = []
for call in {calls!r}:
    try:
        codes.append(main(call))
    except SystemExit as end:
        codes.append(end.code)
print("end", codes, "torch" in sys.modules, "matplotlib" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "end [0, 0, 0, 0, 2, 2, 2, 2] False False"
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert {*SETTINGS, "layout", "num_classes", "in_channels"} <= set(listed)
    assert max(map(len, done.stdout.splitlines())) <= 100
