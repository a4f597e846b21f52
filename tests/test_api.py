"""The public API: `import dse` alone, and docs/api.md as it is written."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from images import folder as write_folder
from PIL import Image
from safetensors.torch import save as encode

import dse
from dse.coding import container
from dse.compress.networks import compressed
from dse.compress.request import read_request
from dse.data import folder as image_folder
from dse.data import memory, stream
from dse.data.store import Store
from dse.results import files, packing, records, studies
from dse.sweep.errors import RequestError
from dse.training.execute import execute
from dse.training.network import SqueezeNet
from dse.training.trained import Preprocess
from dse.trial.record import ANSWER, CIRCUMSTANCE, COLUMNS

ROOT = Path(__file__).parents[1]
SMALL = dse.Metaparameters(base_e=8, incr_e=4, sr=0.5)
TRIAL = dse.Trial(
    metaparameters=SMALL,
    layout=replace(dse.LAYOUTS["px8"], norm="batch", head_relu=False),
    protocol=dse.Protocol(
        image_size=10, train_share=0.3, recipe=dse.Recipe(epochs=2, batch_size=32, warmup=0)
    ),
)


def leave(folder: Path, trial: dse.Trial, **answer: float) -> None:
    """Train a trial and save its record, with some values of its answer replaced."""
    outcome = execute(trial)
    record = replace(outcome.record, answer=replace(outcome.record.answer, **answer))
    records.save(folder, record, {"weights.safetensors": encode(outcome.weights)})


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with three small finished trials."""
    folder = tmp_path_factory.mktemp("api") / "results" / "reproduce"
    for seed in range(3):
        leave(folder, replace(TRIAL, seed=seed))
    return folder


@pytest.fixture
def records_only(results: Path, tmp_path: Path) -> Path:
    """The same folder without weights, as committed results are."""
    folder = tmp_path / "records"
    shutil.copytree(results, folder, ignore=shutil.ignore_patterns("weights.safetensors"))
    return folder


# The names ----------------------------------------------------------------------------------


def test_the_public_names_are_these() -> None:
    assert dse.__all__ == [
        *("LAYOUTS", "AlexNet", "Layout", "Metaparameters", "Protocol", "Recipe", "Trial"),
        *("cost", "cost_grid", "generate", "latency", "load", "load_compressed"),
        *("load_study", "network"),
    ]
    assert set(dse.__all__) <= set(dir(dse))
    assert all(getattr(dse, name) is not None for name in dse.__all__)


def test_no_public_name_is_a_module_of_the_package() -> None:
    assert not [name for name in dse.__all__ if find_spec(f"dse.{name}")]


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'dse' has no attribute 'laod'"):
        dse.laod  # noqa: B018


def test_importing_dse_imports_nothing_else() -> None:
    code = (
        "import sys, time; before = set(sys.modules); start = time.process_time(); import dse;"
        "print(time.process_time() - start);"
        "print(*(n.split('.')[0] for n in set(sys.modules) - before));"
        "dse.load, dse.generate, dse.cost_grid; print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, names, torch_loaded = done.stdout.splitlines()
    assert float(seconds) < 0.1
    assert set(names.split()) <= {"dse"} | sys.stdlib_module_names
    assert torch_loaded == "False"


# Tables -------------------------------------------------------------------------------------


def test_a_folder_is_one_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dse.load(str(results))
    assert list(table.columns) == list(COLUMNS)
    assert table["seed"].to_list() == [0, 1, 2]
    pd.testing.assert_frame_equal(table, dse.load(results))
    monkeypatch.setenv("HOME", str(results.parent))
    pd.testing.assert_frame_equal(dse.load(f"~/{results.name}"), table)


def test_several_folders_are_one_table_and_a_trial_counts_once(
    results: Path, tmp_path: Path
) -> None:
    other, empty = tmp_path / "other", tmp_path / "empty"
    (empty / "trials").mkdir(parents=True)
    leave(other, replace(TRIAL, seed=2), loss=7.0)  # as another machine may answer
    leave(other, replace(TRIAL, seed=9))
    with warnings.catch_warnings(action="error"):
        ours = dse.load(results, empty, other)
    assert ours["seed"].to_list() == [0, 1, 2, 9]
    assert 7.0 not in ours["loss"].to_list()
    theirs = dse.load([other, results])
    assert theirs["trial_id"].to_list() == ours["trial_id"].to_list()
    assert 7.0 in theirs["loss"].to_list()
    assert theirs.dtypes.to_dict() == dse.load(results).dtypes.to_dict()


def test_answers_of_a_trial_that_differ_by_more_than_rounding_are_a_warning(
    results: Path, tmp_path: Path
) -> None:
    own = replace(TRIAL, seed=1).trial_id
    one = records.read(results / "trials" / own / "record.json")
    records.save(tmp_path, replace(one, answer=replace(one.answer, top1=100.0)), {})
    which = rf"more than 0.5 points .*: {own[:8]} \({re.escape(f'{results}, {tmp_path}')}\)$"
    with pytest.warns(UserWarning, match=which):
        assert dse.load(results, tmp_path)["top1"].max() < 100
    with pytest.warns(UserWarning, match=which):
        small = dse.load_compressed([results, tmp_path])
    assert small["trial_id"].to_list() == dse.load(results)["trial_id"].to_list()


def test_a_folder_that_has_its_table_only_is_loaded(tmp_path: Path) -> None:
    reference = ROOT / "results/reference/demo"
    shutil.copy(reference / "table.csv", tmp_path)
    pd.testing.assert_frame_equal(dse.load(tmp_path), dse.load(reference))
    with pytest.raises(ValueError, match=r"it has no trials, only a table\.csv"):
        dse.network(tmp_path, TRIAL)


def test_an_empty_results_folder_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    assert len(dse.load(tmp_path)) == len(dse.load(tmp_path, tmp_path)) == 0


@pytest.mark.parametrize(
    ("folders", "error", "line"),
    [
        ((), ValueError, "at least one results folder"),
        ((3,), TypeError, "`folder` must be a str or a Path, got int"),
        ((None,), TypeError, "`folder` must be a str or a Path, got NoneType"),
        (
            ("no_such_folder",),
            ValueError,
            "must be a results folder, got no_such_folder: there is no",
        ),
        ((ROOT / "tests",), ValueError, "must be a results folder"),
        ((ROOT / "README.md",), ValueError, "must be a results folder"),
    ],
)
def test_what_is_not_a_results_folder_is_one_line(
    folders: tuple[Any, ...], error: type[Exception], line: str
) -> None:
    with pytest.raises(error, match=re.escape(line)) as raised:
        dse.load(*folders)
    assert "\n" not in str(raised.value)


# Networks -----------------------------------------------------------------------------------


def test_predictions_are_those_of_the_trial_s_own_evaluation(results: Path) -> None:
    row = dse.load(results).iloc[1]
    network = dse.network(results, row)
    assert not network.training
    published = memory.digits(TRIAL.protocol.facts)
    x = torch.cat([network.preprocess(image) for image in published.test_images])
    with torch.no_grad():
        right = network(x).argmax(1).numpy() == published.test_labels
    assert 100 * int(right.sum()) / len(right) == row["top1"]
    test = memory.load(TRIAL.protocol)
    assert torch.equal(x, torch.cat([batch for batch, _ in test.batches(test.test)]))


def test_a_trial_is_named_by_its_id_its_beginning_itself_or_a_row(results: Path) -> None:
    table = dse.load(results)
    trial = replace(TRIAL, seed=1)
    row = table[table["trial_id"] == trial.trial_id]
    names = [trial.trial_id, trial.trial_id[:6], trial, row.iloc[0], next(row.itertuples())]
    names += [row.assign(compressed_id=lacking).iloc[0] for lacking in ("", math.nan)]
    for name in names:
        weight = dse.network(results, name).conv1.weight
        assert torch.equal(weight, dse.network(str(results), trial.trial_id).conv1.weight)


@pytest.mark.parametrize(
    ("trial", "error", "line"),
    [
        ("", ValueError, "which 3 ids of"),
        ("0" * 20, ValueError, "`trial` must be a finished trial of"),
        (replace(TRIAL, seed=99), ValueError, "`trial` must be a finished trial of"),
        (7, TypeError, "`trial` must be a trial_id, a Trial or one row of the table, got int"),
        (pd.DataFrame({"trial_id": ["a"]}), TypeError, "got DataFrame"),
        (pd.DataFrame({"compressed_id": ["a", "b"]}), TypeError, "got DataFrame"),
    ],
)
def test_what_is_not_a_trial_of_the_folder_is_one_line(
    results: Path, trial: Any, error: type[Exception], line: str
) -> None:
    with pytest.raises(error, match=re.escape(line)):
        dse.network(results, trial)


def test_a_folder_without_weights_says_so(records_only: Path) -> None:
    with pytest.raises(
        ValueError, match=r"must hold the trial's weights, got .*records, which has"
    ):
        dse.network(records_only, TRIAL)
    packing.pack(records_only, remove=True)
    with pytest.raises(ValueError, match="must hold the trial's weights"):
        dse.network(records_only, TRIAL)


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 40, encode({"conv1.weight": torch.zeros(1)}), encode({})]
)
def test_weights_of_something_else_are_refused(records_only: Path, content: bytes) -> None:
    home = records_only / "trials" / TRIAL.trial_id
    (home / "weights.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"safetensors is not what its record says: changed or of"):
        dse.network(records_only, TRIAL)
    as_before(home)
    with pytest.raises(ValueError, match="does not hold the weights of this trial's network"):
        dse.network(records_only, TRIAL)


def test_weights_of_another_trial_are_refused_where_the_record_says(
    results: Path, records_only: Path
) -> None:
    home, other = records_only / "trials" / TRIAL.trial_id, replace(TRIAL, seed=1).trial_id
    shutil.copy(results / "trials" / other / "weights.safetensors", home)
    with pytest.raises(ValueError, match="is not what its record says") as caught:
        dse.network(records_only, TRIAL)
    with pytest.raises(RequestError) as refused:
        read_request([str(records_only), "seed=0"])
    assert str(refused.value) == str(caught.value)
    assert str(caught.value).endswith("; remove its folder to train the trial again")
    packing.pack(records_only)  # whose record stays
    with pytest.raises(ValueError, match=r"; train it again under another `name`$"):
        dse.network(records_only, TRIAL)
    (records_only / "trials.parquet").unlink()
    as_before(home)
    assert read_request([str(records_only), "seed=0"]).compressions
    weights = dse.network(records_only, TRIAL).state_dict()
    expected = dse.network(results, other).state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def as_before(home: Path) -> None:
    """Make a trial's record one of an earlier version, which does not name its weights."""
    path = home / "record.json"
    row = records.read_row(path)
    del row["weights_sha256"]
    path.write_bytes(files.sealed(row))


# Images -----------------------------------------------------------------------------------


def preprocess(**protocol: Any) -> Preprocess:
    return Preprocess(dse.Protocol(**protocol))


def test_an_image_of_published_data_is_resized_and_normalised() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    ready = preprocess(data="cifar10", image_size=32)(image)
    facts = dse.Protocol(data="cifar10", image_size=32).facts
    expected = (image / 255 - np.array(facts.mean)) / np.array(facts.std)
    np.testing.assert_allclose(ready[0].permute(1, 2, 0), expected, atol=1e-5)
    assert preprocess(data="cifar10", image_size=40)(image).shape == (1, 3, 40, 40)


def test_one_image_is_the_same_in_every_form(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (9, 9), dtype=np.uint8)
    image = Image.fromarray(grey)
    image.save(tmp_path / "a.png")
    forms = [grey, grey[:, :, None], np.stack([grey] * 3, 2), image, image.convert("RGB")]
    for name, channels in (("digits", 1), ("cifar10", 3)):
        ready = preprocess(data=name, image_size=12)
        expected = ready(grey)
        assert expected.shape == (1, channels, 12, 12)
        for form in (*forms, tmp_path / "a.png", str(tmp_path / "a.png")):
            assert torch.equal(ready(form), expected)


def test_digits_may_have_their_published_values() -> None:
    values = np.arange(64, dtype=float).reshape(8, 8) % 17
    stretched = np.round(values / 16 * 255).astype(np.uint8)
    ready = preprocess(data="digits")
    assert torch.equal(ready(values), ready(stretched))
    assert torch.equal(ready(np.zeros((8, 8))), ready(np.zeros((8, 8), np.uint8)))


def test_an_image_that_is_not_square_is_stretched() -> None:
    wide = np.zeros((12, 30), np.uint8)
    assert preprocess(data="digits")(wide).shape == (1, 1, 12, 12)


@pytest.mark.parametrize("augment", ["crop_flip", "resized_crop_flip"])
@pytest.mark.parametrize("normalise", ["dataset", "caffe"])
def test_a_file_of_a_folder_is_preprocessed_as_it_is_judged(
    tmp_path: Path, augment: str, normalise: str
) -> None:
    root = write_folder(tmp_path / "root", train=4, test=6)
    store = Store(root=root, cache=tmp_path / "cache")
    protocol = dse.Protocol(
        data="image_folder",
        manifest=image_folder.read(root, store.cache).text,
        **{"image_size": 24, "augment": augment, "normalise": normalise},
    )
    data = stream.load(protocol, store)
    judged = torch.cat([x for x, _ in data.batches(data.test)])
    files = [path for label in (0, 1) for path in sorted((root / f"val/class0{label}").iterdir())]
    assert torch.equal(torch.cat([Preprocess(protocol)(path) for path in files]), judged)


@pytest.mark.parametrize(
    ("image", "error", "line"),
    [
        (np.zeros((8, 8), np.int64), ValueError, "an array of uint8, (h, w) or (h, w, 1 or 3)"),
        (np.zeros((8, 8, 4), np.uint8), ValueError, "got uint8 (8, 8, 4)"),
        (np.zeros((0, 8), np.uint8), ValueError, "must have pixels"),
        (np.full((8, 8), 17.0), ValueError, "0 .. 16"),
        (np.full((8, 8), 0.5), ValueError, "0 .. 16, as floats, got at most 0.5: multiply"),
        (torch.zeros(8, 8), TypeError, "a path, a PIL image or an array, got Tensor"),
        (ROOT / "README.md", ValueError, "must be an image file"),
        (ROOT / "none.png", FileNotFoundError, "none.png"),
    ],
)
def test_what_is_not_an_image_is_one_line(image: Any, error: type[Exception], line: str) -> None:
    with pytest.raises(error, match=re.escape(line)):
        preprocess(data="digits")(image)


# Types --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: dse.generate({"sr": 0.5}),
            "`metaparameters` must be of type Metaparameters, got dict",
        ),
        (
            lambda: dse.generate(dse.Metaparameters(), "v1_1"),
            "`layout` must be of type Layout, got str",
        ),
        (lambda: dse.cost(TRIAL, 32), "`architecture` must be of type Architecture, got Trial"),
        (lambda: dse.cost_grid("v1_1", 224), "`layout` must be of type Layout, got str"),
        (lambda: replace(TRIAL, layout="px8"), "`layout` must be of type Layout, got str"),
        (lambda: replace(TRIAL, protocol="demo"), "`protocol` must be of type Protocol, got str"),
    ],
)
def test_a_wrong_type_is_one_line(call: Callable[[], object], line: str) -> None:
    with pytest.raises(TypeError, match=re.escape(line)):
        call()


def test_a_network_of_the_api_is_the_one_that_was_trained(results: Path) -> None:
    network = dse.network(results, TRIAL)
    assert isinstance(network, SqueezeNet)
    assert network.architecture == TRIAL.architecture


# docs/api.md --------------------------------------------------------------------------------


def examples() -> list[str]:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_documentation_s_examples_run(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(results, "results/reproduce")
    leave(Path("results/reproduce"), replace(TRIAL, metaparameters=replace(SMALL, sr=0.125)))
    Image.fromarray(memory.digits(TRIAL.protocol.facts).test_images[0, :, :, 0]).save("digit.png")
    model = compressed(dse.network(results, TRIAL), {})
    Path("network.bin").write_bytes(container.encode(model, "huffman"))
    shutil.copytree(results, "results/reference/demo")
    Path("images/0").mkdir(parents=True)
    shutil.copy("digit.png", "images/0/a.png")
    leave(Path("results/search"), TRIAL)
    point = {"state": "trained", "point": {"sr": 0.5}, "values": [80.0], "epochs": 2}
    point |= {"trials": [TRIAL.trial_id], "costs": {"params": 9}}
    study = dict.fromkeys(studies.KEYS, "") | {"objectives": ["val_top1"], "points": [point]}
    studies.save(Path("results/search"), "tpe", study)
    names: dict[str, Any] = {}
    for example in examples():
        exec(compile(example, "docs/api.md", "exec"), names)
    assert set(dse.__all__) <= set(re.findall(r"dse\.(\w+)", "\n".join(examples())))


def test_the_documentation_lists_the_columns() -> None:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    listed = text.partition("- the *results*:")[2].partition("Accuracies are percent")[0]
    assert re.findall(r"`(\w+)`", listed) == [*ANSWER, *CIRCUMSTANCE]


def test_the_readme_s_prediction_is_one_of_them_and_takes_four_lines() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (prediction,) = [block for block in blocks if "preprocess" in block]
    assert prediction in examples()
    assert len([line for line in prediction.splitlines() if line]) <= 4
