"""The module against its closed-form cost, against torchvision, and through its gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torchvision
from conftest import random_points
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dse.cost import cost
from dse.model import (
    SqueezeNet,
    alexnet,
    from_torchvision,
    initialise,
    to_torchvision,
    torchvision_names,
)
from dse.space import LAYOUTS, V1_0, V1_1, Metaparameters, generate

POINTS = random_points(320, seed=20261120)


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
        picture = torch.empty(1, point.in_channels, point.image_size, point.image_size)
    return module, picture


def test_cost_is_that_of_the_real_module_for_random_points() -> None:
    """Parameters by numel, MACs by torch's flop counter, activations by hooks, peak by liveness."""
    wrong = []
    for point in POINTS:
        module, picture = meta_module(point)
        promised = cost(module.architecture, point.image_size)
        activations = []
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(
                    lambda m, i, out, seen=activations: seen.append(out.numel())
                )
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(picture)
        put_out = sum(activations)
        live = Liveness()
        for weight in module.parameters():
            live.hold(weight)
            live.sizes[live.name(weight)] = 0  # no activation
        live.hold(picture)
        live.born[live.name(picture)] = 0
        with torch.no_grad(), live:
            module(picture)
        kept = [t for t in module.state_dict().values() if t.is_floating_point()]
        bytes_kept = sum(t.numel() * t.element_size() for t in kept)
        found = (
            sum(p.numel() for p in module.parameters()),
            counter.get_total_flops() // 2,
            put_out,
            4 * live.peak(),
            bytes_kept,
        )
        if found != tuple(getattr(promised, n) for n in type(promised).__slots__):
            wrong.append((point, promised, found))
    assert len(POINTS) >= 300
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
    pictures = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(pictures), reference(pictures), rtol=1e-5, atol=1e-5)
        assert ours(pictures).abs().max() > 0
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
@pytest.mark.parametrize("name", list(LAYOUTS))
def test_a_gradient_reaches_every_parameter(name: str, bypass: str, norm: str) -> None:
    layout = replace(LAYOUTS[name], norm=norm, dropout=0.0, head_relu=False)
    module = SqueezeNet(generate(Metaparameters(bypass=bypass), layout, num_classes=10))
    initialise(module, "he", seed=0)
    size = 64 if name.startswith(("v1", "zynq", "px64")) else 16
    module(torch.randn(2, 3, size, size)).square().sum().backward()
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
            torch.testing.assert_close(seen[f"fire{number}"], expected)
    pooled = torch.nn.functional.max_pool2d(seen["fire4"], 3, 2, ceil_mode=True)
    assert torch.equal(seen["fire5.in"], pooled)


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
        assert sum(p.numel() for p in alexnet().parameters()) == 61_100_840
