"""`python -m dse.compress` on real networks: what is written, verified and decoded."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from reading import composed_once
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from safetensors.torch import save as encode_weights
from test_api import TRIAL, leave

import dse
from dse import plot
from dse.analysis import sensitivity
from dse.coding.authors import write
from dse.coding.container import decode, encode
from dse.coding.tensors import Dense, Shared, Tensor
from dse.compress import __main__, check, scan, worker
from dse.compress.descriptions import build
from dse.compress.released import SHAPES
from dse.compress.request import read_request
from dse.data import memory
from dse.results import compressed, packing, records
from dse.results.compressed import AGAIN, COSTS, CURVE, FILE
from dse.results.files import COMPRESSED, trial_folder
from dse.runner.task import Reporter
from dse.sweep.errors import RequestError
from dse.training.execute import execute
from dse.training.judge import judge
from dse.training.network import SqueezeNet
from dse.training.torchvision_names import to_torchvision
from dse.trial.compressed import COLUMNS

__all__ = ["composed_once"]

WORDS = (
    *("method=none,svd,prune,deep_compression", "coder=huffman", "retrain_epochs=1", "bits=4"),
    *("runner.device=cpu", "runner.workers=2"),
)
METHODS = {"none", "svd", "prune", "deep_compression"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A results folder with a small trial, compressed by every method."""
    place = tmp_path_factory.mktemp("compressed") / "x"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    leave(place, replace(TRIAL, seed=3))
    assert __main__.main([str(place), *WORDS]) == 0
    yield place
    torch.set_num_threads(threads)


def rows(folder: Path) -> pd.DataFrame:
    """The compressed networks, without the trials as they were trained."""
    table = dse.load_compressed(folder)
    return table[table["compressed_id"] != ""]


def test_a_row_says_what_its_file_measures(folder: Path) -> None:
    (trial,) = dse.load(folder).to_dict("records")
    table = dse.load_compressed(folder)
    pd.testing.assert_frame_equal(dse.load_compressed(folder, f"{folder.parent}/./x/../x"), table)
    assert list(table) == [*COLUMNS, *COSTS]
    assert sorted(table["method"]) == sorted([*METHODS, "none"])
    assert set(table["trial_id"]) == {trial["trial_id"]}
    for row in rows(folder).to_dict("records"):
        home = trial_folder(folder, row["compressed_id"], COMPRESSED)
        assert row["file_bytes"] == (home / FILE).stat().st_size
        assert row["fp32_bytes"] == trial["size_bytes"] > row["file_bytes"]
        assert row["epochs_total"] == trial["epochs"] + 1
        assert len((home / CURVE).read_text().splitlines()) == 2
    density = rows(folder).set_index("method")["stored_density"]
    assert density["none"] == pytest.approx(1, abs=0.01)
    assert density["prune"] == pytest.approx(0.33, abs=0.05)
    bits = rows(folder).set_index("method")["weight_bits"]
    assert bits["none"] == 32
    assert 3 < bits["deep_compression"] <= 4
    size = rows(folder).set_index("method")["file_bytes"]
    assert size["deep_compression"] < size["prune"] < size["none"]


def test_what_is_done_is_not_made_again(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = [*(folder / COMPRESSED).rglob("*"), folder / "compressed.svg", folder / "table2.md"]
    before = {path: path.stat().st_mtime_ns for path in paths}
    assert __main__.main([str(folder), *WORDS]) == 0
    out, errors = capfd.readouterr()
    assert "4 compressed networks, 4 already done, 0 to do" in errors
    lines = [line.split() for line in out.splitlines()]
    header = [line[:2] for line in lines].index(["method", "networks"])
    assert lines[header][-3:] == ["change", "vs", "none"]
    assert [line[0] for line in lines[header + 1 : header + 5]] == sorted(METHODS)
    assert {path: path.stat().st_mtime_ns for path in paths} == before
    assert set(paths) >= set((folder / COMPRESSED).rglob("*"))


def test_decoded_weights_give_the_accuracy_of_the_record(folder: Path, tmp_path: Path) -> None:
    data = memory.load(TRIAL.protocol, memory.DEFAULT)
    for row in rows(folder).to_dict("records"):
        home = trial_folder(folder, row["compressed_id"], COMPRESSED)
        out = tmp_path / "out.safetensors"
        assert __main__.main(["decode", str(home / FILE), "-o", str(out)]) == 0
        with safe_open(out, "pt") as file:
            network = build(json.loads(file.metadata()["architecture"]))
        network.load_state_dict(load_file(out), assign=True)
        test = judge(network, lambda: data.batches(data.test, 256))
        assert test.top1 == row["top1"]


def test_a_row_of_the_table_is_the_network_of_its_file(folder: Path) -> None:
    data = memory.load(TRIAL.protocol, memory.DEFAULT)
    for _, row in dse.load_compressed(folder).iterrows():
        network = dse.network(folder, row)
        assert judge(network, lambda: data.batches(data.test, 256)).top1 == row.top1
        norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert bool(norms) == (row.compressed_id == "")  # the trial as it was trained
        assert network.preprocess(np.zeros((8, 8), np.uint8)).shape == (1, 1, 10, 10)
        assert network.classes is None
    same = dse.network(folder, row.compressed_id[:12]).state_dict()
    assert all(torch.equal(same[name], one) for name, one in network.state_dict().items())


def test_a_file_alone_is_the_network_of_its_row(folder: Path, tmp_path: Path) -> None:
    home, alone = tmp_path / "x", tmp_path / "alone.bin"
    shutil.copytree(folder, home)
    svd = rows(home).set_index("method").loc["svd", "compressed_id"]
    record = compressed.read(home, svd)
    model = decode((trial_folder(home, svd, COMPRESSED) / FILE).read_bytes())
    content = encode(replace(model, activations={"input": (8, 6), "conv1": (4, 1)}), "huffman")
    digest = {"file_sha256": hashlib.sha256(content).hexdigest()}
    rounded = replace(
        record,
        settings=replace(record.settings, method="ristretto"),
        measured=replace(record.measured, **digest),
    )
    own = rounded.compressed_id
    records.save_row(home, own, rounded.row(), {FILE: content}, COMPRESSED)
    images, scores = torch.rand(2, 1, 10, 10), {}
    for _, row in rows(home).iterrows():
        shutil.copy(trial_folder(home, row.compressed_id, COMPRESSED) / FILE, alone)
        network = dse.network(str(alone))
        scores[row.method] = network(images)
        assert torch.equal(scores[row.method], dse.network(home, row)(images))
        assert not network.training
        assert not hasattr(network, "preprocess")
    assert scores.keys() == {*METHODS, "ristretto"}
    assert not torch.equal(scores["ristretto"], scores["svd"]), "activations are rounded"


def test_a_file_that_is_no_network_is_one_line(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.bin"
    missing = f"`file` must be readable, got {alone}: No such file or directory"
    with pytest.raises(ValueError, match=f"^{re.escape(missing)}$"):
        dse.network(alone)
    alone.write_bytes(b"0")
    with pytest.raises(ValueError, match=re.escape(f"`file` cannot be decoded, got {alone}: ")):
        dse.network(alone)
    with pytest.raises(TypeError, match=f"`trial` must be given .* got the folder {folder} only$"):
        dse.network(folder)


def test_a_compressed_network_without_its_own_file_is_refused(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "x"
    shutil.copytree(folder, home)
    own, other, *_ = rows(home)["compressed_id"]
    for path in home.glob("trials/*/weights.safetensors"):  # as of a folder of images
        save_file(load_file(path), path, {"classes": '["cat", "\\u00e9glise"]'})
    assert dse.network(home, own).classes == ("cat", "\u00e9glise")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=f"{path} cannot be read: "):
        [dse.network(home, each) for each in rows(home)["compressed_id"]]
    (trial_folder(home, own, COMPRESSED) / FILE).unlink()
    with pytest.raises(ValueError, match=f"must hold .*{own}.*, which has its record only"):
        dse.network(home, own)
    (trial_folder(home, other, COMPRESSED) / FILE).write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"is not the file of its record: {AGAIN}"):
        dse.network(home, other)


def test_what_a_file_holds_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = rows(folder).set_index("method").loc["deep_compression"]
    file = trial_folder(folder, row["compressed_id"], COMPRESSED) / FILE
    assert __main__.main(["show", str(file)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "kept", "bits", "params", "params_after"]
    assert [line.split()[0] for line in lines[2:]] == [
        *("conv1", *(f"fire{number}" for number in range(2, 10)), "conv10", "total")
    ]
    assert last == f"{file}: {row['file_bytes']:,} bytes"
    assert __main__.main(["show", str(file), "other.bin"]) == 2
    assert capsys.readouterr().err == f"show takes one file, got {file} and other.bin\n"


def test_verify_finds_what_changed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["verify", str(folder), "runner.device=cpu", "runner.workers=2"]
    assert __main__.main(words) == 0
    assert capfd.readouterr().out == "4 compressed networks, no difference\n"
    first, second, *_ = rows(folder)["compressed_id"]
    one, two = (trial_folder(folder, own, COMPRESSED) / FILE for own in (first, second))
    content, other = one.read_bytes(), two.read_bytes()
    try:
        one.write_bytes(content[:-20])
        two.write_bytes(content)
        assert __main__.main(words) == 1
        lines = capfd.readouterr().out.splitlines()
        damage = f"{FILE}: the file is damaged: its checksum differs; {AGAIN}"
        assert f"{one.parent}: {damage}" in lines
        changed = [line.split("`")[1] for line in lines if line.startswith(f"{two.parent}: `")]
        assert {"file_bytes", "file_sha256", "stored_density"} <= set(changed)
        assert lines[-1] == f"4 compressed networks, {len(changed) + 1} differences"
        one.unlink()
        assert __main__.main(words) == 1
        assert f"{one.parent}: {FILE} is missing; {AGAIN}" in capfd.readouterr().out.splitlines()
    finally:
        one.write_bytes(content)
        two.write_bytes(other)


def test_verify_says_what_a_pack_cannot_show(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "packed"
    shutil.copytree(folder, home)
    packing.pack(home, remove=True)
    assert __main__.main(["verify", str(home)]) == 2
    said = capfd.readouterr().err.splitlines()
    assert said[0].startswith("4 packed networks cannot be verified")
    assert said[1].startswith("`folder` must have files of compressed networks, got ")


def test_another_device_may_differ_by_a_tenth_of_a_point() -> None:
    from sample_compressed import compressed_record

    was = compressed_record(top1=50.0, top5=90.0).measured
    now = replace(was, top1=50.05, top5=90.2)
    assert check.differences(was, was, 0.0) == []
    assert check.differences(was, now, check.ELSEWHERE) == ["`top5` was 90.0, is 90.2"]
    assert len(check.differences(was, now, 0.0)) == 2


@pytest.mark.parametrize(
    ("method", "device", "points"),
    [
        ("prune", "cpu", 0.0),
        ("prune", "NVIDIA H200", 0.1),
        ("ristretto", "cpu", 0.0),
        ("ristretto", "NVIDIA H200", 0.2),
    ],
)
def test_where_activations_are_rounded_it_may_differ_by_two(
    method: str, device: str, points: float
) -> None:
    from sample_compressed import compressed_record

    one = compressed_record()
    one = replace(one, settings=replace(one.settings, method=method))
    assert one.circumstance.device == "cpu"
    assert check.tolerance(one, device) == points


def test_a_damaged_file_is_one_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = rows(folder)["compressed_id"].iloc[0]
    content = (trial_folder(folder, own, COMPRESSED) / FILE).read_bytes()
    bad = tmp_path / "bad.bin"
    for damaged in (b"", content[:100], content[:-1], content[:50] + b"\0" + content[51:]):
        bad.write_bytes(damaged)
        assert __main__.main(["decode", str(bad)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"`file` cannot be decoded, got {bad}: the file is ")
        assert list(tmp_path.iterdir()) == [bad]


@pytest.mark.parametrize("words", [[], ["sensitivity"]])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    words: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    assert __main__.main([*words, str(folder), "density=0.4"]) == 2
    line = f"`folder` must be writable, got {folder}: Read-only file system\n"
    assert capsys.readouterr().err == line


def test_a_file_is_never_replaced_by_what_is_made_of_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = rows(folder)["compressed_id"].iloc[0]
    content = (trial_folder(folder, own, COMPRESSED) / FILE).read_bytes()
    file, link = tmp_path / "a.safetensors", tmp_path / "b.bin"
    file.write_bytes(content)
    link.symlink_to(file)
    for words in ([], ["-o", str(file)], ["-o", str(link)]):
        assert __main__.main(["decode", str(file), *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"`output` must be another file than {file}, got {tmp_path}")
    assert __main__.main([str(file), "-o", str(link)]) == 2
    assert "`output` must be another file" in capsys.readouterr().err
    assert file.read_bytes() == content
    assert link.is_symlink()
    absent = tmp_path / "absent" / "c.safetensors"
    assert __main__.main(["decode", str(file), "-o", str(absent)]) == 2
    missing = f"`output` must be writable, got {absent}: No such file or directory\n"
    assert capsys.readouterr().err == missing
    assert not absent.parent.exists()
    for words in ([str(file), "-o", "."], [str(file), "-o", str(tmp_path)], ["."]):
        assert __main__.main(["decode", *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_report_and_plots_show_them(folder: Path, tmp_path: Path) -> None:
    names = ("compressed.csv", "compressed.svg", "compressed.png", "table2.csv", "table2.md")
    assert all((folder / name).stat().st_size for name in names)
    assert len(pd.read_csv(folder / "compressed.csv")) == len(METHODS) + 1
    assert len(pd.read_csv(folder / "table2.csv")) == len(METHODS) + 1
    page = (folder / "report.html").read_text()
    assert "Compressed networks" in page
    assert all(own[:8] in page for own in rows(folder)["compressed_id"])
    out = tmp_path / "x.svg"
    words = ["x=file_bytes", "y=top1", "hue=method", f"output={out}"]
    assert plot.main([str(folder), *words]) == 0
    assert "length of the compressed file" in out.read_text()
    assert plot.main([str(folder), "curves", "hue=method"]) == 2
    assert plot.main([str(folder), "compressed", "file_bytes>0", f"output={out}"]) == 0
    assert "front of the compressed" in out.read_text()
    assert f" of {len(dse.load_compressed(folder))} networks)." in out.read_text()
    assert "Table 2, here and in the paper" in page
    assert 'data-name="compressed.svg"' in page
    assert (folder / "table2.md").read_text().startswith("| network | method | bits |")


def test_the_authors_format_is_decoded_and_recoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors: dict[str, Tensor] = {}
    codebook = np.linspace(0, 1, 256, dtype=np.float32)
    for name, shape in SHAPES.items():
        codes = np.arange(math.prod(shape)).reshape(shape) % 251
        tensors[f"{name}.weight"] = Shared(codes=codes.astype(np.uint8), codebook=codebook)
        tensors[f"{name}.bias"] = Dense(values=np.ones(shape[0], np.float32))
    (tmp_path / "a.net").write_bytes(write(tensors))
    assert __main__.main(["decode", str(tmp_path / "a.net")]) == 0
    decoded = load_file(tmp_path / "a.safetensors")
    assert all(np.array_equal(decoded[name], one.dense()) for name, one in tensors.items())
    loaded = dse.network(tmp_path / "a.net").state_dict()
    assert all(np.array_equal(loaded[name], one.dense()) for name, one in tensors.items())
    for name, source, coder in (
        ("a.bin", "a.net", []),
        ("h.bin", "a.bin", ["coder=huffman"]),
        ("b.bin", "h.bin", ["coder=adaptive"]),
    ):
        words = ["recode", str(tmp_path / source), "-o", str(tmp_path / name), *coder]
        assert __main__.main(words) == 0
    first, huffman, again = ((tmp_path / f"{one}.bin").read_bytes() for one in "ahb")
    assert first == again != huffman
    recoded = decode(huffman).tensors
    assert all(np.array_equal(recoded[name].dense(), one.dense()) for name, one in tensors.items())
    line = f"b.bin: {len(again):,} bytes, without loss from {len(huffman):,}\n"
    assert capsys.readouterr().out.endswith(line)
    twice = "unrecognized arguments: coder=adaptive; see --help"
    for wrong, rule in {
        ("coder=zip",): "`coder` must be one of ",
        ("bits=6",): "`coder` must be one of ",
        ("coder=huffman", "coder=adaptive"): twice,
        ("-o", str(tmp_path / "h.bin")): "",
    }.items():
        assert __main__.main([*words[:-1], *wrong]) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert error.startswith(rule)
    assert __main__.main([str(tmp_path / "a.net")]) == 2
    assert "use python -m dse.compress recode" in capsys.readouterr().err
    (tmp_path / "a.net").write_bytes(write(tensors)[:-1])
    assert __main__.main(["show", str(tmp_path / "a.net")]) == 2


def test_the_file_of_the_sparse_phase_is_measured(tmp_path: Path) -> None:
    recipe = replace(TRIAL.protocol.recipe, epochs=3, dsd_density=0.5, dsd_sparse=1, dsd_final=1)
    trial = replace(TRIAL, protocol=replace(TRIAL.protocol, recipe=recipe))
    outcome = execute(trial)
    weights = {"weights.safetensors": encode_weights(outcome.weights)}
    weights["sparse.safetensors"] = encode_weights(dict(outcome.sparse))
    records.save(tmp_path, outcome.record, weights)
    words = [str(tmp_path), "method=prune", "density=0.5", "retrain_epochs=0", "phase=sparse"]
    (trial_folder(tmp_path, trial.trial_id) / "weights.safetensors").unlink()  # is not read
    (one,) = read_request(words).compressions
    where = tmp_path, memory.DEFAULT, "cpu"
    row = worker.run((one, *where), Reporter(lambda message: None))
    assert row is not None
    assert row["epochs_total"] == 2
    file = trial_folder(tmp_path, one.compressed_id, COMPRESSED) / FILE
    kept = decode(file.read_bytes()).tensors["fire4.expand3x3.weight"].dense()
    sparse = outcome.sparse["fire4.expand3x3.weight"].numpy()
    assert ((kept != 0) == (sparse != 0)).all()
    records.save(tmp_path, replace(outcome.record, trial=TRIAL), weights)
    with pytest.raises(RequestError, match="must be final for trials without a sparse phase"):
        read_request(words)


def test_weights_from_elsewhere_by_both_kinds_of_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = dse.LAYOUTS["v1_1"]
    small = dse.Metaparameters(base_e=8, incr_e=8, sr=0.5)
    network = SqueezeNet(dse.generate(small, layout, num_classes=7))
    state = network.state_dict()
    save_file(state, tmp_path / "ours.safetensors")
    save_file(to_torchvision(layout, state), tmp_path / "theirs.safetensors")
    keys = ["layout=v1_1", "base_e=8", "incr_e=8", "sr=0.5", "num_classes=7"]
    words = [*keys, "method=none", "coder=huffman"]
    for name in ("ours", "theirs"):
        assert __main__.main([str(tmp_path / f"{name}.safetensors"), *words]) == 0
    ours, theirs = (tmp_path / f"{name}.bin" for name in ("ours", "theirs"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert __main__.main(["decode", str(ours), "-o", str(tmp_path / "back.safetensors")]) == 0
    back = load_file(tmp_path / "back.safetensors")
    assert all(torch.equal(back[name], state[name]) for name in state | back)
    capsys.readouterr()
    content = ours.read_bytes()
    assert __main__.main([str(tmp_path / "ours.safetensors"), *keys, "method=svd"]) == 2
    assert capsys.readouterr().err == f"`output` must be given by -o OUT, since {ours} exists\n"
    assert ours.read_bytes() == content
    words += ["-o", str(tmp_path / "again.bin")]
    assert __main__.main([str(tmp_path / "ours.safetensors"), *words[1:]]) == 2
    shapes = "conv1.weight must have shape (96, 3, 7, 7), got (64, 3, 3, 3)"
    line = f"{tmp_path / 'ours.safetensors'}: the weights must be of this network: {shapes}\n"
    assert capsys.readouterr().err == line
    assert __main__.main([str(tmp_path / "theirs.safetensors"), *words[1:]]) == 2
    assert "; keys such as layout=v1_1 choose the network\n" in capsys.readouterr().err
    (tmp_path / "bad.safetensors").write_bytes(encode_weights(state)[:99])
    assert __main__.main([str(tmp_path / "bad.safetensors"), *words]) == 2
    assert "the file must be safetensors" in capsys.readouterr().err


def test_a_decoded_file_brings_its_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its metadata: it needs no keys, and others than its own are refused."""
    network = SqueezeNet(dse.generate(dse.Metaparameters(base_e=8, incr_e=8), num_classes=7))
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    keys = ["base_e=8", "incr_e=8", "num_classes=7"]
    words = [str(tmp_path / "a.safetensors"), "method=none"]
    assert __main__.main([*words, *keys]) == 0
    assert (
        __main__.main(["decode", str(tmp_path / "a.bin"), "-o", str(tmp_path / "b.safetensors")])
        == 0
    )
    words[0] = str(tmp_path / "b.safetensors")
    for own in ([], [*keys, "norm=batch"]):
        again = tmp_path / f"{len(own)}.bin"
        assert __main__.main([*words, *own, "-o", str(again)]) == 0
        assert again.read_bytes() == (tmp_path / "a.bin").read_bytes()
    assert capsys.readouterr().err == ""
    architecture = {"architecture": json.dumps(decode(again.read_bytes()).architecture)}
    formats = {"activations": '{"conv1": [8, 5]}'}  # as of a file by ristretto
    save_file(load_file(words[0]), words[0], architecture | formats)
    assert __main__.main([*words, "-o", str(again)]) == 0
    left_out = "the file's fixed-point formats of activations are left out"
    line = f"{words[0]}: {left_out}: the new network computes them in floating point\n"
    assert capsys.readouterr().err == line
    assert again.read_bytes() == (tmp_path / "a.bin").read_bytes()
    assert __main__.main([*words, "sr=0.5", "num_classes=7"]) == 2
    rule = "`sr`, `num_classes` must give the network in the file's metadata, or be left out"
    assert capsys.readouterr().err == f"{words[0]}: {rule}\n"
    for metadata, line in (
        ('{"network": "alexnet", "image_size": 224}', "must be a SqueezeNet, got alexnet"),
        ("SqueezeNet", "conv1.weight must have shape (96, 3, 7, 7), got (1,)"),
    ):
        save_file({"conv1.weight": torch.ones(1)}, words[0], {"architecture": metadata})
        assert __main__.main(words) == 2
        assert line in capsys.readouterr().err


def test_the_sensitivity_of_the_layers_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["density=0.5,0.05", "seed=3", "margin=2.5", f"data.root={folder}", "runner.device=cpu"]
    assert __main__.main(["sensitivity", str(folder), *words]) == 0
    *lines, csv, svg, png = capsys.readouterr().out.splitlines()
    paths = [Path(line) for line in (csv, svg, png)]
    name = "sensitivity_density=0.5,0.05_seed=3"
    assert paths == [folder / "plots" / f"{name}.{kind}" for kind in ("csv", "svg", "png")]
    assert all(path.stat().st_size for path in paths)
    table = pd.read_csv(paths[0])
    assert table.groupby("density")["layer"].nunique().to_dict() == {0.05: 26, 0.5: 26, 1.0: 26}
    assert table["val_top1"].between(0, 100).all()
    assert lines == sensitivity.text(table, 2.5)
    monkeypatch.setattr(scan, "scanned", lambda *_: table)
    long = f"density=0.5{'0' * 120},"
    for last in ("0.1", "0.2"):
        assert __main__.main(["sensitivity", str(folder), f"{long}{last}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sensitivity.text(table, 1)[-1] in lines
    names = {line for line in lines if line.startswith(str(folder))}
    assert len(names) == 6  # they are cut off, but not equal
    for words, line in (
        (["bits=4"], "`bits` has no effect on a sensitivity"),
        (["margin=1,2"], "`margin` must have one value, got 2"),
        (["margin=-1"], "`margin` must be in [0, 100], got -1"),
    ):
        assert __main__.main(["sensitivity", str(folder), *words]) == 2
        assert capsys.readouterr().err.splitlines() == [line]
