"""The networks that a command's arguments describe."""

from __future__ import annotations

import pytest

from dse.space.architecture import LAYOUTS, V1_0, Metaparameters, generate
from dse.space.cost import cost
from dse.sweep.errors import RequestError
from dse.sweep.networks import read_networks
from dse.trial.protocol import Protocol


def test_the_default_is_the_paper_s_network() -> None:
    networks, common, module, _ = read_networks([])
    assert networks == {"SqueezeNet v1.0": (generate(Metaparameters(), V1_0), 224)}
    assert cost(*networks["SqueezeNet v1.0"]).params == 1_248_424
    assert (common, module) == ("", "fire2")


def test_values_make_a_grid_and_are_in_the_titles() -> None:
    networks, common, module, _ = read_networks(
        ["sr=0.25", "bypass=none,simple,complex", "module=fire9"]
    )
    assert networks == {
        f"bypass={bypass}": (generate(Metaparameters(sr=0.25, bypass=bypass)), 224)
        for bypass in ("none", "simple", "complex")
    }
    assert (common, module) == ("sr=0.25", "fire9")


def test_what_networks_have_in_common_is_in_no_title() -> None:
    titles, common, *_ = read_networks(["protocol=cifar10", "sr=0.125,0.25"])
    assert [*titles] == ["sr=0.125", "sr=0.25"]
    assert common.split()[:2] == ["base_e=32", "incr_e=32"]
    assert common.endswith(" layout=px32")
    titles, common, *_ = read_networks(["sr=0.25", "norm=none,batch"])
    assert ([*titles], common) == (["norm=none", "norm=batch"], "sr=0.25")
    assert [*read_networks(["sr=0.25", "pct3x3=0.75"])[0]] == ["pct3x3=0.75 sr=0.25"]


def test_layouts_are_called_by_their_names_where_they_have_one() -> None:
    named, *_ = read_networks(["layout=v1_1,zynqnet", "image_size=256"])
    assert named["layout=zynqnet"] == (generate(Metaparameters(), LAYOUTS["zynqnet"]), 256)
    assert [*named] == ["layout=v1_1", "layout=zynqnet"]
    assert [*read_networks(["pool_after=1-3-5,1-4-8"])[0]] == [
        "pool_after=1-3-5", "pool_after=1-4-8"
    ]  # fmt: skip
    assert [*read_networks(["norm=none,batch"])[0]] == ["SqueezeNet v1.0", "norm=batch"]
    assert [*read_networks(["norm=batch"])[0]] == ["norm=batch"]


def test_a_sweep_s_page_and_protocol_draw_what_they_train() -> None:
    page, *_ = read_networks(["-cn", "figure3a", "seed=0,1"])
    (demo, size), *others = page.values()
    assert len(others) == 4
    assert (demo.fires[0].filters, size, demo.num_classes, demo.in_channels) == (16, 12, 10, 1)
    assert read_networks(["protocol=demo"])[0].popitem()[1] == (demo, Protocol().image_size)
    ((cifar, _),) = read_networks(["data=cifar100", "image_size=32", "layout=px32"])[0].values()
    assert (cifar.num_classes, cifar.in_channels) == (100, 3)
    manifest = "manifest=7-700-70-0123456789abcdef0123"
    ((folder, _),) = read_networks(["protocol=imagenet", manifest])[0].values()
    assert folder.num_classes == 7


def test_a_drawing_names_the_defaults_that_decide_its_sizes() -> None:
    start = "drawn with the defaults of protocol=imagenet_torchvision: "
    pixels, classes, norm = (
        "images of 224 pixels (image_size=)", "3 channels and 1,000 classes (data=)",
        "norm none (norm=)",
    )  # fmt: skip
    assert read_networks(["layout=px32"])[3] == f"{start}{pixels}, {classes}, {norm}"
    small = ["image_size=32", "layout=px32"]
    assert read_networks(small)[3] == f"{start}{classes}, {norm}"
    assert read_networks([*small, "data=cifar10", "recipe=robust"])[3] == ""
    assert read_networks(["protocol=demo"])[3] == read_networks(["-cn", "figure3a"])[3] == ""


def test_all_mistakes_are_listed() -> None:
    with pytest.raises(RequestError) as caught:
        read_networks(["sr=2", "bypas=none", "plan=true", "module=fire1"])
    assert caught.value.lines == (
        "unknown key `bypas`; did you mean `bypass`?",
        "`plan` must be left out: no network depends on it",
        "`module` must be one of fire2, fire3, fire4, fire5, fire6, fire7, fire8, fire9, "
        "got 'fire1'",
        "`sr` must be in (0, 1], got 2",
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("sr=0.1,0.2,0.3 pct3x3=0.1,0.2,0.3", "there must be at most 8 networks, got 9"),
        ("sr=range(0.0001,1,0.0001)", "there must be at most 8 networks, got 9,999"),
        ("layout=zynqnet sr=0.25", "`sr` must stay at its default 0.125 where the layout lists"),
        ("image_size=16", "`pool_after` must leave a map to pool: after layer 8 it is 1x1"),
        ("image_size=0", "`image_size` must be a whole number in 1 .. 2048, got 0"),
        ("base_e=1_28", "`base_e` must be a whole number in 2 .. 8192, got '1_28'"),
        ("pool_after=8-4", "`pool_after` must be none, or ascending whole numbers"),
        ("module=fire2 module=fire3", "`module` must be given once, got fire2 and fire3"),
        ("-cn nothing", "`--config-name` must be one of downsample, dsd, figure3a,"),
        ("architecture", "`architecture` must be written key=value, as in sr=0.25"),
        ("--dpi 300", "unrecognized arguments: --dpi; keys are written as in sr=0.25; see --help"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, line: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_networks(arguments.split())
    assert [text.startswith(line) for text in caught.value.lines] == [True], caught.value.lines
