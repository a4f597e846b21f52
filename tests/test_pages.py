"""The pages of `sweeps/` hold the values that they promise; so do pages of a user's own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from reading import (
    BASE,
    FOLDER,
    GROUP_PAGES,
    LAYOUT_NAMES,
    NAME,
    PAGES,
    composed_once,
    lines,
    own,
    read,
    values,
)

from dse.paper.published import FIGURE_3A, FIGURE_3B, SOLVER, TABLE_3
from dse.space.architecture import LAYOUTS, Metaparameters
from dse.space.cost import cost
from dse.trial.protocol import Protocol
from dse.trial.question import QUESTION, SEMANTICS

__all__ = ["composed_once", "own"]

# What the pages set, compared with the page `squeezenet`.
PX32 = {"conv1_filters": 64}
V1_0 = {
    "base_e": 128, "incr_e": 128,
    "conv1_filters": 96, "conv1_kernel": 7, "conv1_stride": 2, "conv1_padding": 0,
}  # fmt: skip
PAPER_RECIPE = {
    "head_relu": True, "norm": "none", "lr": 0.04, "warmup": 0, "nesterov": False,
    "weight_decay": 0.0002, "clip": 0, "init": "xavier", "dead_after": 0, "ladder": "none",
}  # fmt: skip
TORCHVISION_RECIPE = PAPER_RECIPE | {"lr": 0.01, "schedule": "step", "init": "he"}
CIFAR10 = PX32 | {
    "base_e": 32, "incr_e": 32, "data": "cifar10", "image_size": 32, "augment": "crop_flip",
    "validation_share": 0.1, "train_share": 1, "epochs": 30, "batch_size": 128,
    "precision": "bf16",
}  # fmt: skip
IMAGENET = V1_0 | {
    "dropout": 0.5, "data": "image_folder", "train_share": 1, "validation_share": 0.02,
}  # fmt: skip
GROUPED = {
    "layout=px8": {"conv1_filters": 12, "pool_after": "1-4"},
    "layout=px16": {},
    "layout=px32": PX32,
    "layout=px64": PX32 | {"conv1_stride": 2},
    "layout=v1_0": V1_0,
    "layout=v1_0_caffe": V1_0 | {"conv10_padding": 1},
    "layout=v1_1": V1_0 | {"conv1_filters": 64, "conv1_kernel": 3, "pool_after": "1-3-5"},
    "layout=zynqnet": {
        "base_e": 128, "incr_e": 128, "conv1_filters": 64, "conv1_stride": 2,
        "pool_after": "none", "strided_fires": "2-4-6-8",
        "squeeze_filters": "16-16-32-32-64-64-112-112",
        "expand_filters": "128-128-256-256-512-384-512-736", "conv10_split": 2,
        "conv10_multiple": 16,
    },
    "recipe=robust": {},
    "recipe=paper": PAPER_RECIPE,
    "recipe=torchvision": TORCHVISION_RECIPE,
    "protocol=demo": {},
    "protocol=cifar10": CIFAR10,
    "protocol=cifar100": CIFAR10 | {"data": "cifar100"},
    "protocol=mnist": CIFAR10 | {"data": "mnist", "image_size": 28, "augment": "crop"},
    "protocol=fashion_mnist": CIFAR10 | {"data": "fashion_mnist", "image_size": 28},
    "protocol=imagenet": IMAGENET | PAPER_RECIPE | {
        "conv10_padding": 1, "image_size": 227, "augment": "crop", "normalise": "caffe",
        "epochs": 68, "batch_size": 512,
    },
    "protocol=imagenet_torchvision": IMAGENET | TORCHVISION_RECIPE | {
        "image_size": 224, "augment": "resized_crop_flip", "epochs": 100, "batch_size": 128,
    },
}  # fmt: skip
SWEPT = {
    "squeezenet": {},
    "figure3a": {"sr": [point.value for point in FIGURE_3A]},
    "figure3b": {"sr": [0.5], "pct3x3": [point.value for point in FIGURE_3B]},
    "table3": {"bypass": [row.bypass for row in TABLE_3]},
    "downsample": {"pool_after": ["1-2-3", "1-3-5", "1-4-8", "4-6-8", "5-7-9", "7-8-9"]},
    "widths": {"base_e": [8, 16, 32], "incr_e": [8, 16], "freq": [1, 2, 4]},
    "trainability": {key: [value] for key, value in PAPER_RECIPE.items()} | {
        "epochs": [60], "init": ["xavier", "he", "lsuv"], "head_relu": [True, False],
        "norm": ["none", "batch"], "sr": [0.125, 0.5], "seed": list(range(10)),
    },
}  # fmt: skip
MANIFEST = f"10-2000-20-{'0' * 20}"


def test_squeezenet_is_the_small_network_of_the_demo() -> None:
    (trial,) = read().trials
    assert trial.metaparameters == Metaparameters(base_e=16, incr_e=16)
    assert trial.layout == replace(LAYOUTS["px16"], norm="batch", head_relu=False, dropout=0.2)
    assert trial.protocol == Protocol()  # the defaults of a key are the same everywhere
    assert trial.seed == 0


@pytest.mark.parametrize("page", SWEPT)
def test_a_page_is_its_grid(page: str) -> None:
    request = read(page=page)
    base = read().trials[0].question
    axes = {key: [value] for key, value in base.items()} | SWEPT[page]
    assert {key: list(dict.fromkeys(values(request, key))) for key in base} == axes
    assert len(request.trials) == math.prod(len(axis) for axis in axes.values())
    assert request.folder.name == page


@pytest.mark.parametrize("page", [f"{group}={name}" for group, name in GROUP_PAGES])
def test_a_page_of_a_group_has_its_values(page: str) -> None:
    folder = {"manifest": MANIFEST} if page.startswith("protocol=imagenet") else {}
    side = {"image_size": 256} if page.startswith("layout") else {}  # enough for any layout
    (trial,) = read(page, *(f"{key}={value}" for key, value in (folder | side).items())).trials
    assert trial.question == read().trials[0].question | folder | side | GROUPED[page]


def test_the_imagenet_protocol_is_the_published_solver() -> None:
    """forresti/SqueezeNet, solver.prototxt and train_val.prototxt."""
    (trial,) = read("protocol=imagenet", f"manifest={MANIFEST}").trials
    protocol, recipe = trial.protocol, trial.protocol.recipe
    assert (recipe.lr, recipe.momentum) == (SOLVER.base_lr, SOLVER.momentum)
    assert recipe.weight_decay == SOLVER.weight_decay
    assert (recipe.schedule, SOLVER.power) == ("linear", 1.0)
    assert recipe.batch_size == SOLVER.images_per_step
    assert recipe.epochs == round(SOLVER.epochs)
    assert protocol.image_size == SOLVER.crop_size
    assert trial.layout.dropout == SOLVER.dropout
    assert (protocol.augment, SOLVER.mirror) == ("crop", False)
    assert trial.metaparameters == Metaparameters()


@pytest.mark.parametrize("page", [*PAGES, *(f"{group}/{name}" for group, name in GROUP_PAGES)])
def test_a_page_opens_with_a_summary(page: str) -> None:
    """One line for `--help`; a page that is run also names its command."""
    first, second, *_ = (FOLDER / f"{page}.yaml").read_text().splitlines()
    if "/" in page:
        assert first == "# @package _global_"
        assert second.startswith("# ")
    else:
        assert first.startswith("# ")
        option = "" if page == "figure3a" else f" --config-name {page}"
        own = "search sampler=tpe" if page == "search" else f"sweep{option}"
        assert second.startswith(f"#   python -m dse.{own}")


def test_squeezenet_sets_every_key_to_the_value_that_it_composes_to() -> None:
    page = OmegaConf.to_container(OmegaConf.load(FOLDER / "squeezenet.yaml"))
    assert isinstance(page, dict)
    del page["defaults"]
    assert (*page, "semantics") == QUESTION  # which cannot be chosen
    (trial,) = read().trials
    assert {**page, "semantics": SEMANTICS} == trial.question


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_layout_page_is_its_layout(name: str, own: Callable[..., tuple[str, ...]]) -> None:
    arguments = own({"plain.yaml": BASE, "protocol/plain.yaml": "# @package _global_\nseed: 0\n"})
    (trial,) = read(
        *arguments, f"layout={name}", "recipe=paper", "protocol=plain", "image_size=256"
    ).trials
    assert trial.layout == LAYOUTS[name]
    widths = {} if name in PUBLISHED else {"base_e": 16, "incr_e": 16}
    assert trial.metaparameters == Metaparameters(**widths)


PUBLISHED = {"v1_0": 1_248_424, "v1_0_caffe": 1_248_424, "v1_1": 1_235_496, "zynqnet": 2_528_800}
"""Parameters for 1,000 classes and images in colour (the sources are in tests/test_cost.py)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_layout_has_the_published_widths(name: str) -> None:
    """On the ten digits as on ImageNet, and its page says so."""
    layout, folder = f"layout={name}", f"manifest=1000-50000-50000-{'0' * 20}"
    (imagenet,) = read(layout, "protocol=imagenet", folder, "image_size=256").trials
    assert cost(imagenet.architecture, 256).params == PUBLISHED[name]
    (digits,) = read(layout, "recipe=paper", "image_size=256").trials
    assert digits.metaparameters == Metaparameters()


def test_v1_1_on_the_digits_has_its_own_widths_in_any_sweep() -> None:
    """1,235,496 for ImageNet, less 990 classes of 513 numbers and 2 channels of 64 3x3 filters."""
    request = read("layout=v1_1", "image_size=224", "norm=none", page="figure3a")
    assert cost(request.trials[0].architecture, 224).params == 726_474
    assert 726_474 == 1_235_496 - 990 * 513 - 2 * 64 * 9
    assert set(values(request, "base_e")) == {128}
    assert values(read("layout=v1_1", "image_size=224", "base_e=16"), "base_e") == [16]


def test_the_named_layouts_are_the_pages() -> None:
    assert sorted(LAYOUTS) == [name for group, name in GROUP_PAGES if group == "layout"]


def test_the_robust_recipe_changes_the_layout_where_it_says() -> None:
    (trial,) = read("layout=v1_0", "image_size=224", "recipe=robust").trials
    assert (trial.layout.norm, trial.layout.head_relu) == ("batch", False)


# Pages of a user's own ----------------------------------------------------------------------


def test_a_page_of_a_users_own(own: Callable[..., tuple[str, ...]]) -> None:
    arguments = own({"mine.yaml": BASE + "sr: [0.1, 0.2]\nbypass: [none, simple]\nname: it\n"})
    request = read(*arguments, page="figure3a")
    assert len(request.trials) == 4
    assert request.folder == Path("results/it")
    assert values(read(*arguments, "sr=0.5"), "sr") == [0.5, 0.5]
    assert len(read(*arguments[:2], page="figure3a").trials) == 5  # the bundled ones are there too


def test_a_layout_with_the_name_of_a_shipped_one_is_refused(
    own: Callable[..., tuple[str, ...]],
) -> None:
    """A page on top may be an edited copy; one of a group would change all pages that use it."""
    pages = {"table3.yaml": BASE + "sr: 0.25\n", "layout/px32.yaml": "conv1_filters: 8\n"}
    assert lines(*own(pages)) == ["`px32` is a shipped layout too: give your page another name"]
    pages["layout/px32.yaml"] = (FOLDER / "layout" / "px32.yaml").read_text()
    assert values(read(*own(pages)), "sr") == [0.25]


def test_trials_do_not_depend_on_the_name_of_their_page(
    own: Callable[..., tuple[str, ...]],
) -> None:
    text = BASE + "sr: 0.25\n"
    ids = [[t.trial_id for t in read(*own({f"{n}.yaml": text})).trials] for n in ("a", "b")]
    assert ids[0] == ids[1] == [t.trial_id for t in read("sr=0.25").trials]


@pytest.mark.parametrize("folder", ["with space", "it's, =odd [x]", "r\u00e9sultats"])
def test_a_folder_of_pages_may_have_any_name(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder / "layout").mkdir(parents=True)
    (tmp_path / folder / "mine.yaml").write_text(BASE + "seed: [3, 4]\n")
    (tmp_path / folder / "layout" / "thin.yaml").write_text(
        "# @package _global_\ndefaults: [px8, _self_]\nconv1_filters: 7\n"
    )
    request = read("-cd", str(tmp_path / folder), "-cn", "mine", "layout=thin,px8")
    assert values(request, "conv1_filters") == [7, 7, 12, 12]
    assert values(request, "seed") == [3, 4, 3, 4]
    names = LAYOUT_NAMES.replace("v1_0,", "thin, v1_0,")
    assert lines("-cd", str(tmp_path / folder), "-cn", "mine", "layout=nope") == [
        f"`layout` must be one of {names}, got 'nope'"
    ]


def test_a_protocol_of_a_users_own(own: Callable[..., tuple[str, ...]]) -> None:
    arguments = own(
        {
            "mine.yaml": BASE,
            "protocol/larger.yaml": "# @package _global_\ndefaults: [{override /layout: px32}]\n"
            "image_size: [28, 32]\nbase_e: 128\n",
        }
    )
    request = read(*arguments, "protocol=larger,demo")
    assert values(request, "image_size") == [28, 32, 12]
    assert values(request, "conv1_filters") == [64, 64, 16]
    assert values(request, "base_e") == [128, 128, 16]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("srr: 1", "unknown key `srr`; did you mean `sr`?"),
        ("sr: 2", "`sr` must be in (0, 1], got 2"),
        ("sr: [0.1, 2]", "`sr` must be in (0, 1], got 2"),
        ("sr: []", "`sr` must have a value"),
        ("sr:", "`sr` must be in (0, 1], got None"),
        ("sr: {}", "`sr` must be in (0, 1], got {}"),
        ("bypass: no", "`bypass` must be one of none, simple, complex, got 'no'"),
        ("name: ../../x", f"`name` must be {NAME}, got '../../x'"),
        ("layout: px8", "`layout` must be chosen in the defaults list: `- override /layout: NAME`"),
        ("_target_: os.system", "unknown key `_target_`; see --help"),
        ('"a\\nb": 1', "unknown key `a\\nb`; see --help"),
        ("hydra: {sweeper: {params: {sr: '0.1,0.2'}}}", "unknown key `hydra`; see --help"),
        (
            "sr: ${oc.env:HOME}",
            "`sr` must be a value, not an interpolation, got '${oc.env:HOME}'",
        ),
        (
            "results: {root: '${oc.env:HOME}'}",
            "`results.root` must be a value, not an interpolation, got '${oc.env:HOME}'",
        ),
        ("data.root: /no/such", "`data.root` must be an existing folder, got '/no/such'"),
    ],
)
def test_a_mistake_in_a_page_is_a_line(
    own: Callable[..., tuple[str, ...]], text: str, line: str
) -> None:
    assert lines(*own({"mine.yaml": f"{BASE}{text}\n"})) == [line]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BASE + "sr: [1\n", "DIR/mine.yaml, line 3: expected ',' or ']', but got '<stream end>'"),
        (BASE + "sr: 1\nsr: 2\n", "DIR/mine.yaml, line 3: found duplicate key sr"),
        (BASE + "\tsr: 1", "DIR/mine.yaml, line 2: found character '\\t' that cannot start any"),
        (
            BASE + "sr: !!python/object/apply:os.system ['touch pwned']\n",
            "DIR/mine.yaml, line 2: could not determine a constructor for the tag",
        ),
        (BASE + "seed: " + "9" * 5000, "Exceeds the limit (4300 digits)"),
        (
            BASE + "---\n" + BASE,
            "DIR/mine.yaml holds several pages; save each in a file of its own",
        ),
        ("- 1\n", "it must hold keys with values, as in sr: 0.25"),
        ("sr\n", "it must hold keys with values, as in sr: 0.25"),
        (BASE.encode() + b"# \xe9", "DIR/mine.yaml: it must be text in UTF-8"),
        ("defaults: [nope]\n", "In 'mine': Could not load 'nope'."),
        ("defaults: 3\n", "Invalid defaults list in 'mine', defaults must be a list"),
        ("defaults: [mine]\n", "a page in its defaults list leads back to itself"),
        ("defaults: [squeezenet, {layout: px8}]\n", "Multiple values for layout."),
    ],
)
def test_a_page_that_cannot_be_read_is_a_line(
    own: Callable[..., tuple[str, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str | bytes,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    mistakes = lines(*own({"mine.yaml": text}), "sr=2")
    start = f"page `mine` cannot be read: {reason.replace('DIR', str(tmp_path))}"
    assert mistakes[0].startswith(start)
    assert mistakes[1:] == ["`sr` must be in (0, 1], got 2"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_page_without_self_comes_last(own: Callable[..., tuple[str, ...]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values(read(*own({"mine.yaml": "defaults: [squeezenet]\nsr: 0.5\n"})), "sr") == [0.5]


@pytest.mark.parametrize(
    ("own_pages", "line"),
    [
        (
            {"mine.yaml": "defaults: [_self_, squeezenet]\nsr: 0.5\nbypass: none\n"},
            "`sr` of page `mine` is replaced by a page after `_self_` in its `defaults`: "
            "`_self_` must come last",
        ),
        ({"mine.yaml": "defaults: [_self_, squeezenet]\nname: kept\n"}, ""),
        (
            {
                "mine.yaml": "defaults: [squeezenet, _self_, machine]\nrunner: {patience: 600}\n",
                "machine.yaml": "runner: {workers: 2}\n",
            },
            "",
        ),
        (
            {
                "mine.yaml": "defaults: [_self_, squeezenet, {override /recipe: own}]\nlr: 0.05\n",
                "recipe/own.yaml": "# @package _global_\ndefaults: [robust, _self_]\nlr: [0.05]\n",
            },
            "",
        ),
    ],
)
def test_a_page_does_not_lose_its_own_values(
    own: Callable[..., tuple[str, ...]], own_pages: dict[str, str], line: str
) -> None:
    if line:
        assert lines(*own(own_pages)) == [line]
    else:
        read(*own(own_pages))


def test_a_page_must_have_every_key(own: Callable[..., tuple[str, ...]]) -> None:
    (line,) = lines(*own({"mine.yaml": "sr: 0.5\n"}))
    assert line == (
        "page `mine` must begin with `defaults: [squeezenet, _self_]` or set every key, "
        "got no base_e, incr_e, freq ..."
    )


def test_a_page_of_a_group_must_be_global(
    own: Callable[..., tuple[str, ...]],
) -> None:
    arguments = own({"mine.yaml": BASE, "layout/thin.yaml": "conv1_filters: 7\n"})
    assert lines(*arguments, "layout=thin") == [
        "`layout.conv1_filters` must be written `conv1_filters`; a page of a group begins "
        "with `# @package _global_`"
    ]
