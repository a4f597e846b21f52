"""The module against its closed-form cost, against torchvision, and through its gradients."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torchvision
from conftest import random_points
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dse.space.architecture import FIRES, LAYOUTS, V1_0, V1_1, Layout, Metaparameters, generate
from dse.space.cost import Cost, cost
from dse.training.initial import initialise
from dse.training.network import Dropout, SqueezeNet
from dse.training.torchvision_names import (
    from_torchvision,
    to_torchvision,
    torchvision_names,
)
from dse.trial.protocol import random_seed

LAYERS = {  # all that a layout can do to the order of layers, as narrow as it can be
    "v1_1": replace(V1_1, conv1_filters=8),
    "px8": replace(LAYOUTS["px8"], conv1_filters=8),
    "zynqnet": replace(
        LAYOUTS["zynqnet"],
        conv1_filters=8,
        squeeze_filters="8-8-10-10-12-12-14-14",
        expand_filters="16-16-24-24-32-32-40-40",
    ),
}


class Liveness(TorchDispatchMode):
    """Logs which storages each operation reads and makes, to find the most that live at once.

    Norms and ReLU are folded or in place: their output stands for their input.
    """

    FOLDED = ("batch_norm", "relu", "dropout")

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}  # name of a tensor -> elements
        self.born: dict[int, int] = {}  # -> the operation that made it
        self.read: dict[int, int] = {}  # -> the last operation that read it
        self.names: dict[int, int] = {}  # id of a storage -> name
        self.kept: list[torch.Tensor] = []
        self.time = 0

    def name(self, tensor: torch.Tensor) -> int:
        return self.names[tensor.untyped_storage()._cdata]

    def hold(self, tensor: torch.Tensor, name: int | None = None) -> None:
        """Give a tensor's storage a name; keeping it alive keeps its address unique."""
        self.kept.append(tensor)
        known = self.names.get(tensor.untyped_storage()._cdata)
        if name is None and known is None:
            name = len(self.kept)
            self.sizes[name] = tensor.numel()
            self.born[name] = self.read[name] = self.time
        if known is None:
            self.names[tensor.untyped_storage()._cdata] = name

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.time += 1
        inputs = [a for a in args if isinstance(a, torch.Tensor)]
        inputs += [a for group in args if isinstance(group, (list, tuple)) for a in group
                   if isinstance(a, torch.Tensor)]  # fmt: skip
        known = [a for a in inputs if a.untyped_storage()._cdata in self.names]
        for tensor in known:
            self.read[self.name(tensor)] = self.time
        made = out[0] if isinstance(out, (tuple, list)) else out
        folded = any(word in func.__name__ for word in self.FOLDED)
        self.hold(made, self.name(known[0]) if folded and known else None)
        self.read[self.name(made)] = self.time
        return out

    def peak(self) -> int:
        """Elements alive at once, at most: from the operation that makes to the last that reads."""
        return max(
            sum(
                size
                for name, size in self.sizes.items()
                if self.born[name] <= moment <= self.read[name]
            )
            for moment in range(1, self.time + 1)
        )


def meta_module(point) -> tuple[SqueezeNet, torch.Tensor]:
    architecture = generate(
        point.metaparameters,
        point.layout,
        num_classes=point.num_classes,
        in_channels=point.in_channels,
    )
    with torch.device("meta"):
        module = SqueezeNet(architecture).eval()
        image = torch.empty(1, point.in_channels, point.image_size, point.image_size)
    return module, image


def measured(module: nn.Module, image: torch.Tensor) -> Cost:
    """Parameters by numel, MACs by torch's flop counter, activations by hooks, peak by liveness."""
    activations: list[int] = []
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(lambda m, i, out: activations.append(out.numel()))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(image)
    put_out = sum(activations)
    live = Liveness()
    for weight in module.parameters():
        live.hold(weight)
        live.sizes[live.name(weight)] = 0  # no activation
    live.hold(image)
    live.born[live.name(image)] = 0
    with torch.no_grad(), live:
        module(image)
    kept = [t for t in module.state_dict().values() if t.is_floating_point()]
    return Cost(
        params=sum(p.numel() for p in module.parameters()),
        macs=counter.get_total_flops() // 2,
        activations=put_out,
        peak_activation_bytes=4 * live.peak(),
        size_bytes=sum(t.numel() * t.element_size() for t in kept),
    )


@pytest.mark.parametrize("count", [60, pytest.param(320, marks=pytest.mark.slow)])
def test_cost_is_that_of_the_real_module_for_random_points(count: int) -> None:
    wrong = []
    for point in random_points(count, seed=20261120):
        module, image = meta_module(point)
        promised = cost(module.architecture, point.image_size)
        actual = measured(module, image)
        if actual != promised:
            wrong.append((point, promised, actual))
    assert not wrong, wrong[0]


@pytest.mark.parametrize(
    ("layout", "theirs"),
    [(V1_0, torchvision.models.squeezenet1_0), (V1_1, torchvision.models.squeezenet1_1)],
    ids=["squeezenet1_0", "squeezenet1_1"],
)
def test_outputs_are_torchvisions_with_the_same_weights(layout, theirs) -> None:
    torch.manual_seed(0)
    reference = theirs(weights=None).eval()
    ours = SqueezeNet(generate(Metaparameters(), layout)).eval()
    state = reference.state_dict()
    ours.load_state_dict(from_torchvision(layout, state))
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), reference(images), rtol=1e-5, atol=1e-5)
        assert ours(images).abs().max() > 0
    back = to_torchvision(layout, ours.state_dict())
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_fires_stand_where_torchvision_numbers_them() -> None:
    """torchvision, models/squeezenet.py: the places of the Fire modules in `features`."""

    def places(layout):
        return [
            int(v.split(".")[1]) for k, v in torchvision_names(layout).items() if "squeeze" in k
        ]

    assert places(V1_0) == [3, 4, 5, 7, 8, 9, 10, 12]
    assert places(V1_1) == [3, 4, 6, 7, 9, 10, 11, 12]


def test_foreign_weights_are_refused_by_name() -> None:
    state = torchvision.models.squeezenet1_0(weights=None).state_dict()
    del state["features.3.squeeze.bias"]
    with pytest.raises(ValueError, match=r"features\.3\.squeeze\.bias is missing"):
        from_torchvision(V1_0, state)
    with pytest.raises(ValueError, match="left over"):
        from_torchvision(V1_0, {**state, "features.3.squeeze.bias": torch.zeros(16), "x": state})


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("bypass", ["none", "simple", "complex"])
@pytest.mark.parametrize("name", list(LAYERS))
def test_a_gradient_reaches_every_parameter(name: str, bypass: str, norm: str) -> None:
    module = small(LAYERS[name], bypass, norm=norm, dropout=0.0, head_relu=False)
    initialise(module, "he", seed=0)
    size = 16 if name == "px8" else 64
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(2))
    module(images).square().sum().backward()
    unreached = [
        n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum()
    ]
    assert unreached == []


def test_wires_add_what_the_authors_add() -> None:
    """Fire5 and fire9 take the pooled map, sums are of ReLU's outputs, and no ReLU follows."""
    architecture = generate(Metaparameters(bypass="simple"), V1_0, num_classes=10)
    module = SqueezeNet(architecture).eval()
    initialise(module, "he", seed=1)
    seen: dict[str, torch.Tensor] = {}
    for number in range(2, 10):
        fire = module.get_submodule(f"fire{number}")
        fire.register_forward_hook(
            lambda m, i, out, name=f"fire{number}": seen.update(
                {name: out.clone(), f"{name}.in": i[0].clone()}
            )
        )
    with torch.no_grad():
        module(torch.randn(1, 3, 96, 96))
        for number in range(2, 10):
            fire, x = module.get_submodule(f"fire{number}"), seen[f"fire{number}.in"]
            squeezed = fire.squeeze(x).relu()
            plain = torch.cat([fire.expand1x1(squeezed), fire.expand3x3(squeezed)], 1).relu()
            expected = plain + x if number in (3, 5, 7, 9) else plain
            if number in (4, 8):
                expected = F.max_pool2d(expected, 3, 2, ceil_mode=True)
            torch.testing.assert_close(seen[f"fire{number}"], expected)
    assert seen["fire4"].shape[2:] == (11, 11)
    assert torch.equal(seen["fire5.in"], seen["fire4"])


def test_complex_bypass_joins_before_the_pool() -> None:
    module = SqueezeNet(generate(Metaparameters(bypass="complex"), V1_0, num_classes=10)).eval()
    initialise(module, "he", seed=1)
    wired = [n for n in range(2, 10) if hasattr(module.get_submodule(f"fire{n}"), "bypass")]
    assert wired == [2, 4, 6, 8]
    fire, x = module.get_submodule("fire4"), torch.randn(1, 128, 7, 7)
    with torch.no_grad():
        squeezed = fire.squeeze(x).relu()
        expected = torch.cat([fire.expand1x1(squeezed), fire.expand3x3(squeezed)], 1).relu()
        torch.testing.assert_close(fire(x), expected + fire.bypass(x))


# Pooling before the ReLU ----------------------------------------------------------------------


def small(layout: Layout, bypass: str, **more: object) -> SqueezeNet:
    """A narrow network of any layout, for three channels and five classes."""
    metaparameters = Metaparameters(base_e=16, incr_e=8, sr=0.5, bypass=bypass)
    if layout.squeeze_filters != "none":
        metaparameters = Metaparameters(bypass=bypass)
    return SqueezeNet(generate(metaparameters, replace(layout, **more), num_classes=5))


def pooled_after(module: SqueezeNet) -> SqueezeNet:
    """A copy that pools what the ReLU, or the sum of a wire, has put out: as published."""

    def pool(_: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
        x, *rest = inputs
        return F.max_pool2d(x, 3, 2, ceil_mode=True), *rest

    published = copy.deepcopy(module)
    for number in published.pools:
        name = "dropout" if number == FIRES[-1] else f"fire{number + 1}"
        published.get_submodule(name).register_forward_pre_hook(pool)
    published.pools = frozenset()
    return published


def backward(module: SqueezeNet, images: Tensor) -> dict[str, Tensor]:
    """Class scores, gradients and statistics of one step of training."""
    x = images.clone().requires_grad_()
    scores = module(x)
    F.cross_entropy(scores, torch.arange(len(x)) % 5).backward()
    gradients = {n: p.grad for n, p in module.named_parameters()} | dict(module.named_buffers())
    return {**gradients, "scores": scores, "images": x.grad}


@pytest.mark.parametrize(
    ("name", "pools", "bypass"),
    [
        *((name, "", bypass) for name in LAYERS for bypass in ("none", "simple", "complex")),
        *(("px8", pools, "complex") for pools in ("1", "2-9", "1-2-3-8")),
    ],
)
def test_pooling_before_the_relu_changes_no_bit(name: str, pools: str, bypass: str) -> None:
    """Nor do ties and zeros, which whole numbers make often, nor maps of an odd side."""
    side = 23 if name == "px8" else 49
    random = torch.Generator().manual_seed(3)
    layout = replace(LAYERS[name], dropout=0.0, head_relu=False)
    for norm, memory in (("none", torch.contiguous_format), ("batch", torch.channels_last)):
        module = small(layout, bypass, norm=norm, pool_after=pools or layout.pool_after)
        initialise(module, "he", seed=5)
        images = torch.randn(2, 3, side, side, generator=random)
        if norm == "none":
            images = images.round()
            with torch.no_grad():
                for weight in module.parameters():
                    weight.copy_((weight / weight.std()).round() / 4 if weight.any() else weight)
        module, images = module.to(memory_format=memory), images.to(memory_format=memory)
        theirs = backward(pooled_after(module), images)
        ours = backward(module, images)
        assert ours.keys() == theirs.keys()
        assert [n for n in ours if not torch.equal(ours[n], theirs[n])] == []
        assert ours["images"].any()
        assert ours["images"].isfinite().all()


# Dropout --------------------------------------------------------------------------------------

SHAPES = [(1, 1, 1, 1), (1, 3, 1, 1), (2, 1, 3, 3), (3, 5, 7, 1), (2, 8, 3, 5), (4, 4, 4, 4)]


def dropped(p: float, x: Tensor, seed: int = 0) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Dropout(p).train()(x)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.2, 0.5, 0.9])
def test_dropout_drops_its_share_and_scales_what_it_keeps(p: float) -> None:
    """In each quarter of the positions too: four elements share one random number."""
    x = torch.rand(37, 31, 29, 11) + 1
    y = dropped(p, x)
    zeros = (y == 0).permute(0, 2, 3, 1).flatten()
    for part in (zeros, *(zeros[lane::4] for lane in range(4))):
        sigma = (p * (1 - p) / len(part)) ** 0.5
        assert abs(part.double().mean().item() - p) <= 5 * sigma
    assert torch.equal(y[y != 0], x[y != 0] * torch.tensor(1 / (1 - p)))
    neighbours = (zeros[:-1] & zeros[1:]).double().mean().item()
    assert abs(neighbours - p**2) <= 5 * (2 * p**2 / len(zeros)) ** 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_dropout_is_a_function_of_the_stream(shape: tuple[int, ...]) -> None:
    """Not of the order in memory, nor of the arithmetic."""
    x = torch.rand(shape) + 1
    once = dropped(0.5, x)
    assert once.shape == x.shape
    assert torch.equal(dropped(0.5, x), once)
    last = dropped(0.5, x.contiguous(memory_format=torch.channels_last))
    assert torch.equal(last, once)
    half = dropped(0.5, x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.equal(half != 0, once != 0)
    assert len({tuple((dropped(0.5, x, seed) != 0).flatten().tolist()) for seed in range(99)}) > 1


def test_dropout_draws_again_each_time() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, x = Dropout(0.5).train(), torch.ones(2, 5, 3, 3)
        first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    assert torch.equal(first, dropped(0.5, x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p", [0.0, 0.2, 0.9])
def test_the_gradient_of_dropout_is_its_mask(p: float, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    y = dropped(p, x)
    y.backward(torch.ones(shape))
    assert torch.equal(x.grad, dropped(p, torch.ones(shape)))
    assert torch.equal(y, x * x.grad)


def test_dropout_of_nothing_and_of_a_judge_is_the_identity() -> None:
    x = torch.randn(2, 3, 5, 7)
    with torch.random.fork_rng(devices=[]):
        stream = torch.get_rng_state()
        assert torch.equal(Dropout(0.5).eval()(x), x)
        assert torch.equal(Dropout(0.0).eval()(x), x)
        assert torch.equal(torch.get_rng_state(), stream)
    assert torch.equal(dropped(0.0, x), x)


@pytest.mark.parametrize(
    ("p", "kept"), [(1e-9, 1), (2**-18, 1), (1 - 2**-16, 2**-16), (1 - 2**-18, 0), (1 - 1e-9, 0)]
)
def test_dropout_at_its_ends(p: float, kept: float) -> None:
    """Where a share is rounded to nothing or to everything too."""
    y = dropped(p, torch.ones(8, 8, 16, 16))
    share = (y != 0).double().mean().item()
    assert abs(share - kept) <= 5 * (kept * (1 - kept) / y.numel()) ** 0.5
    assert y.isfinite().all()


# Initial weights ------------------------------------------------------------------------------


def outputs(module: SqueezeNet, images: Tensor) -> dict[str, Tensor]:
    """What each convolution puts out where the network judges."""
    results: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_hook(
            lambda m, i, out, name=name: results.update({name: out.clone()})
        )
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad():
        module.eval()(images)
    for hook in hooks:
        hook.remove()
    return results


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("bypass", ["none", "simple", "complex"])
@pytest.mark.parametrize("name", list(LAYERS))
def test_lsuv_gives_every_output_the_variance_one(name: str, bypass: str, norm: str) -> None:
    """Except those of conv10. Before any training a norm in eval mode changes nothing."""
    module = small(LAYERS[name], bypass, norm=norm).to(memory_format=torch.channels_last)
    images = torch.rand(8, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    stream = torch.get_rng_state()
    initialise(module.train(), "lsuv", 3, images.to(memory_format=torch.channels_last))
    assert torch.equal(torch.get_rng_state(), stream)
    assert module.training
    assert not any(layer._forward_hooks for layer in module.modules())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    results = outputs(module, images)
    assert len(results) >= 26
    for layer, out in results.items():
        if not layer.startswith("conv10"):
            assert out.var().item() == pytest.approx(1, abs=1e-3), layer
    weights = [p for n, p in module.named_parameters() if n.startswith("conv10") and p.dim() == 4]
    assert all(w.std().item() == pytest.approx(0.01, rel=0.2) for w in weights)
    if norm == "batch":
        assert not any(b.any() for n, b in module.named_buffers() if n.endswith("mean"))


def test_lsuv_is_orthonormal_up_to_scale_and_repeats() -> None:
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    states = []
    for seed, attempt in ((1, 0), (1, 0), (2, 0), (1, 1), (1, 2)):
        module = small(LAYERS["px8"], "complex", norm="none")
        torch.rand(3)  # numbers drawn elsewhere change nothing
        initialise(module, "lsuv", seed, images, attempt)
        states.append({n: w for n, w in module.state_dict().items() if w.dim() == 4})
    first, again, *others = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in others:
        assert not any(torch.equal(first[name], other[name]) for name in first)
    for name, weight in first.items():
        rows = weight.flatten(1)
        if not name.startswith("conv10") and len(rows) <= rows.shape[1]:
            products = rows @ rows.T
            unit = torch.eye(len(rows)) * products[0, 0]
            torch.testing.assert_close(products / products[0, 0], unit / products[0, 0])


def test_lsuv_needs_images() -> None:
    with pytest.raises(ValueError, match="must be given") as caught:
        initialise(small(LAYERS["px8"], "none"), "lsuv", seed=0)
    assert str(caught.value) == "`images` must be given for `init` lsuv, got None"


def test_lsuv_leaves_what_no_image_reaches() -> None:
    """Black images excite nothing: no variance can be made of that, nor a huge weight."""
    module = small(LAYERS["px8"], "simple", norm="none")
    initialise(module, "lsuv", 0, torch.zeros(2, 3, 16, 16))
    for name, weight in module.named_parameters():
        assert weight.isfinite().all()
        assert name.startswith("conv10") or weight.abs().max() <= 1


@pytest.mark.parametrize("init", ["he", "xavier"])
def test_each_attempt_has_streams_of_its_own(init: str) -> None:
    """The first has those of a trial that knows of no other."""
    drawn = []
    for attempt, key in ((0, "conv1"), (1, "conv1/1"), (2, "conv1/2")):
        module = small(LAYERS["px8"], "none")
        initialise(module, init, seed=7, attempt=attempt)
        stream = torch.Generator().manual_seed(random_seed(7, "init", key))
        weight = torch.empty_like(module.conv1.weight)
        fan_in = weight[0].numel()
        if init == "he":
            weight.normal_(0.0, (2 / fan_in) ** 0.5, generator=stream)
        else:
            weight.uniform_(-((3 / fan_in) ** 0.5), (3 / fan_in) ** 0.5, generator=stream)
        assert torch.equal(module.conv1.weight, weight)
        drawn.append(weight)
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_initial_weights_depend_on_seed_and_layer_alone() -> None:
    """The layers that two networks share start equal; `he` and `xavier` have their variance."""
    one = SqueezeNet(generate(Metaparameters(sr=0.25), V1_0))
    other = SqueezeNet(generate(Metaparameters(sr=0.25, bypass="complex"), V1_0))
    for module in (one, other):
        torch.rand(3)  # numbers drawn elsewhere change nothing
        initialise(module, "he", seed=7)
    shared = one.state_dict()
    assert all(torch.equal(other.state_dict()[name], shared[name]) for name in shared)
    weight = one.fire9.squeeze.weight
    assert weight.var().item() == pytest.approx(2 / 512, rel=0.05)
    initialise(one, "xavier", seed=7)
    assert one.fire9.squeeze.weight.var().item() == pytest.approx(1 / 512, rel=0.05)
    assert one.conv10.weight.std().item() == pytest.approx(0.01, rel=0.05)
    initialise(other, "xavier", seed=8)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


def test_alexnet_is_torchvisions() -> None:
    """Table 2's baseline; torchvision counts 61,100,840 parameters."""
    with torch.device("meta"):
        assert sum(p.numel() for p in torchvision.models.alexnet().parameters()) == 61_100_840
