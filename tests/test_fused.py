"""Batch norm, ReLU and max-pooling as Triton kernels.

The tests marked `gpu` run on a GPU, and in a process of their own where Triton interprets them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest
import torch
from test_network import LAYERS, small
from torch import Tensor, nn
from torch.nn import functional as F

from dse.training import cuda, fused, ranks
from dse.training.initial import initialise
from dse.training.network import Norm, normed

gpu = pytest.mark.gpu

INTERPRETED = bool(os.environ.get("TRITON_INTERPRET"))
"""Whether Triton interprets the kernels, in Python: it must be known when Triton is imported. It
then cuts numbers off to bf16, where a GPU rounds."""

DEVICE = "cpu" if INTERPRETED else "cuda"

IMAGES = 2 if INTERPRETED else 128


def off(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    difference = (found.detach().double() - expected.detach().double()).abs().max()
    return float(difference / expected.detach().double().abs().max().clamp(min=1e-30))


def channels_last(*shape: int, spread: float = 1.0, far: float = 0.0) -> Tensor:
    """Random bf16 numbers, around another mean in each channel."""
    x = torch.randn(*shape) * spread + far * torch.rand(1, shape[1], 1, 1)
    return x.to(DEVICE, torch.bfloat16).to(memory_format=torch.channels_last).requires_grad_()


def norm_of(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).to(DEVICE)
    for values in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(values)
    return norm


def check_norm(shares: tuple[int, ...], relu: bool, images: int, side: int) -> None:
    """Against torch in float64; equal when it is computed again."""
    torch.manual_seed(0)
    parts = [channels_last(images, c, side, side, spread=2, far=30) for c in shares]
    norms = [norm_of(sum(shares)) for _ in range(3)]
    for other in norms[1:]:
        other.load_state_dict(norms[0].state_dict())
    own, repeated, exact = *norms[:2], norms[2].double()
    out = fused.batch_norm(parts, own, relu=relu)
    again = [part.detach().requires_grad_() for part in parts]
    out_again = fused.batch_norm(again, repeated, relu=relu)
    doubles = [part.detach().double().requires_grad_() for part in parts]
    expected = exact(torch.cat(doubles, 1))
    expected = F.relu(expected) if relu else expected
    given = torch.randn_like(expected).bfloat16()
    for result in (out, out_again, expected):
        result.backward(given.to(result.dtype))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert off(out, expected) < 2**-7
    for part, same, double in zip(parts, again, doubles, strict=True):
        assert part.grad is not None
        assert double.grad is not None
        assert same.grad is not None
        assert off(part.grad, double.grad) < 2**-7
        assert torch.equal(part.grad, same.grad)
    for name in ("weight", "bias"):
        found, wanted, same = (getattr(norm, name).grad for norm in (own, exact, repeated))
        assert off(found, wanted) < 1e-5
        assert torch.equal(found, same)
    for name in ("running_mean", "running_var"):
        found, wanted, same = (getattr(norm, name) for norm in (own, exact, repeated))
        assert off(found, wanted) < 1e-5
        assert torch.equal(found, same)


@gpu
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("shares", [(1,), (5,), (64,), (16, 1), (70, 3)])
def test_batch_norm_is_that_of_torch(shares: tuple[int, ...], relu: bool) -> None:
    check_norm(shares, relu, IMAGES, 5 if INTERPRETED else 6)
    check_norm(shares, relu, IMAGES - 1, 3)


def check_pool(shape: tuple[int, ...], relu: bool) -> None:
    """Against torch, with many equal numbers."""
    torch.manual_seed(0)
    x = (4 * channels_last(*shape).detach()).round() / 4
    mine, torchs = x.clone().requires_grad_(), x.float().requires_grad_()
    out = fused.max_pool(mine, relu=relu)
    expected = F.max_pool2d(torchs, 3, 2, ceil_mode=True)
    expected = F.relu(expected) if relu else expected
    given = torch.randn_like(expected).bfloat16()
    out.backward(given)
    expected.backward(given.float())
    assert torch.equal(out.float(), expected)
    assert mine.grad is not None
    assert torchs.grad is not None
    rounded = torchs.grad.bfloat16()
    assert off(mine.grad, rounded) < 2**-7 if INTERPRETED else torch.equal(mine.grad, rounded)


@gpu
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("shape", [(5, 8, 8), (70, 3, 3), (16, 7, 10), (17, 31, 2), (1, 4, 4)])
def test_max_pooling_is_that_of_torch(shape: tuple[int, ...], relu: bool) -> None:
    check_pool((IMAGES, *shape), relu)


@gpu
def test_nan_stays() -> None:
    """A step that diverges is noticed by its loss."""
    x = channels_last(1, 2, 5, 5).detach()
    x[0, 1, 2, 2] = float("nan")
    for relu in (True, False):
        for out in (
            fused.max_pool(x, relu=relu),
            fused.batch_norm([x], nn.BatchNorm2d(2).to(DEVICE), relu=relu),
        ):
            assert out[0, 0].isfinite().all()
            assert out[0, 1].isnan().all()


def gradient(model: nn.Module, x: Tensor, y: Tensor, *, half: bool) -> Tensor:
    """The gradient of a network's loss, which it also has."""
    model.zero_grad()
    with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
        loss = F.cross_entropy(model(x).float(), y)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def check_network(bypass: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of a whole network is as near to that in fp32 as torch's own in bf16 is."""
    torch.manual_seed(0)
    model = small(replace(LAYERS["px8"], dropout=0.0, head_relu=False), bypass, norm="batch")
    initialise(model, "he", seed=0)
    model.to(DEVICE, memory_format=torch.channels_last)
    images = 4 if INTERPRETED else 16
    x = torch.randn(images, 3, 8, 8).to(DEVICE).to(memory_format=torch.channels_last)
    y = torch.arange(images, device=DEVICE) % 5
    calls = []

    def supports(*tensors: Tensor) -> bool:
        calls.append(len(tensors))
        return True

    monkeypatch.setattr(fused, "supports", lambda *_: False)
    exact, torchs = (gradient(model, x, y, half=half) for half in (False, True))
    monkeypatch.setattr(fused, "supports", supports)
    found = gradient(model, x, y, half=True)
    assert {1, 2} <= set(calls)
    mine, theirs = (1 - float(F.cosine_similarity(g, exact, 0)) for g in (found, torchs))
    assert mine < 2 * theirs < 0.4


@gpu
@pytest.mark.parametrize("bypass", ["complex"] if INTERPRETED else ["none", "simple", "complex"])
def test_a_network_is_that_of_torch(bypass: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_network(bypass, monkeypatch)


def test_the_kernels_are_right_where_triton_interprets_them() -> None:
    pytest.importorskip("triton", "3.8")  # earlier ones do not interpret with NumPy 2.5
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=", "-q"]
    done = subprocess.run(
        [*command, "-m", "gpu", __file__],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^24 passed", done.stdout, re.M)


@gpu
def test_all_kernels_are_tried_before_they_are_used() -> None:
    """Within a forward pass that keeps no gradients, too."""
    with torch.no_grad():
        fused._try_all(DEVICE)


@gpu
def test_sums_over_several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of large maps: a program adds up more than one tile."""
    monkeypatch.setattr(fused, "CHUNKS", 4)
    images, side = (2, 12) if INTERPRETED else (8, 18)
    check_norm((64, 5), relu=True, images=images, side=side)


def normed_by(monkeypatch: pytest.MonkeyPatch, norm: nn.Module, *parts: Tensor) -> str:
    """What computes a norm."""
    monkeypatch.setattr(fused, "batch_norm", lambda inputs, norm, relu: inputs[0])
    given = list(parts)
    out = normed(given, norm, relu=False)
    assert bool(given) == (out is parts[0])  # else it is freed
    return "kernels" if given else "PyTorch"


def test_the_kernels_compute_norms_of_one_process_in_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fused, "supports", lambda *_: True)
    monkeypatch.setattr(ranks, "batch_norm", lambda x, norm: x + 0)
    norm, x = Norm(2), torch.randn(4, 2, 3, 3)
    assert normed_by(monkeypatch, norm, x) == "kernels"
    norm.shared = True
    assert normed_by(monkeypatch, norm, x) == "PyTorch"
    norm.shared = False
    assert normed_by(monkeypatch, norm.eval(), x) == "PyTorch"
    norm.train()
    monkeypatch.setattr(fused, "supports", lambda *_: False)
    assert normed_by(monkeypatch, norm, x) == "PyTorch"


class Placed(Tensor):
    """A tensor that says it is on a GPU."""

    is_cuda = True  # type: ignore[assignment]


def test_what_the_kernels_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "available", lambda: True)
    shape, last = (2, 3, 4, 4), torch.channels_last
    half = torch.zeros(shape, dtype=torch.bfloat16).to(memory_format=last)
    huge = torch.empty((2**10, 2, 2**10, 2**9), dtype=torch.bfloat16, device="meta")
    placed, part = half.as_subclass(Placed), huge.to(memory_format=last).as_subclass(Placed)
    assert fused.supports(placed, placed)
    assert not fused.supports(half)
    assert not fused.supports(placed.float())
    assert not fused.supports(placed.contiguous())
    assert not fused.supports(placed[:0])
    assert fused.supports(part)
    assert not fused.supports(part, part)
    monkeypatch.setattr(fused, "available", lambda: False)
    assert not fused.supports(placed)


def test_networks_in_bf16_are_evaluated_in_tf32() -> None:
    def precisions() -> tuple[str, str]:
        backends = torch.backends
        return backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision

    cuda.prepare("bf16")
    assert precisions() == ("tf32", "tf32")
    assert torch.backends.mkldnn.matmul.fp32_precision != "tf32"  # a CPU's arithmetic stays
    cuda.prepare()
    assert precisions() == ("ieee", "ieee")


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Kernels that cannot be run."""

    def fails() -> None:
        raise error

    monkeypatch.setattr(fused, "_try_all", fails)
    monkeypatch.setattr(fused, "available", cache(fused.available.__wrapped__))


def test_kernels_that_do_not_work_are_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where there is no C compiler; PyTorch's own operations do it."""
    failing(monkeypatch, RuntimeError("Failed to find C compiler.\nPlease set CC"))
    assert [fused.available(), fused.available()] == [False, False]
    assert fused.triton_version() == ""
    said = "training with PyTorch's own norms and pooling, which is slower: "
    assert capsys.readouterr().err == f"{said}Failed to find C compiler.\n"


def test_memory_that_is_short_says_nothing_about_the_kernels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trial is run again alone, with the same kernels."""
    failing(monkeypatch, torch.OutOfMemoryError("out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        fused.available()
    monkeypatch.setattr(fused, "_try_all", lambda: None)
    assert fused.available()
    assert capsys.readouterr().err == ""
