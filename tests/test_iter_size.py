"""Batches that are computed in parts, with the gradient of the whole batch's mean loss."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from test_train import FULL, Toy, easy, network, state, trained
from torch import Tensor, nn
from torch.nn import functional as F

from dse.training.cuda import CudaStep
from dse.training.loop import State
from dse.training.step import TrainStep
from dse.trial.protocol import parts
from dse.trial.recipe import Recipe

STEPS = (TrainStep, CudaStep)
"""The second one computes on a CPU here."""

PARTS = replace(FULL, batch_size=8, dead_after=0)


def without_norm() -> nn.Module:
    layers = network(dropout=0)
    return nn.Sequential(*(m for m in layers if not isinstance(m, nn.BatchNorm2d)))


def test_parts_cover_a_batch_and_have_two_images_each() -> None:
    for images in range(2, 40):
        for count in (1, 3, 4, 16):
            found = parts(images, count)
            places = [place for part in found for place in range(part.start, part.stop)]
            assert places == list(range(images))
            sizes = {part.stop - part.start for part in found}
            assert max(sizes) - min(sizes) <= 1
            assert min(sizes) >= 2
            assert len(found) == min(count, images // 2)


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_norm_and_dropout_the_parts_do_not_matter(
    kind: type[TrainStep], precision: str
) -> None:
    """21 images: two whole batches, then 5, which are 2 parts."""
    rel = {"fp32": 1e-5, "bf16": 0.02}[precision]
    found = []
    for iter_size in (1, 4):
        model = without_norm()
        recipe = replace(PARTS, iter_size=iter_size, precision=precision)
        training = trained(model, easy(21), recipe, train_step=kind)
        found.append((training, state(model)))
    (whole, weights), (ours, our_weights) = found
    assert whole.curve != ours.curve, "another order of additions"
    for row, our_row in zip(whole.curve, ours.curve, strict=True):
        assert our_row.train_loss == pytest.approx(row.train_loss, rel=rel)
        assert our_row.val_loss == pytest.approx(row.val_loss, rel=rel)
        assert our_row.step == row.step
    for name, weight in weights.items():
        torch.testing.assert_close(our_weights[name], weight, rtol=10 * rel, atol=10 * rel)


@pytest.mark.parametrize("kind", STEPS)
def test_a_norm_sees_a_part_at_a_time_and_its_running_statistics_are_the_parts_mean(
    kind: type[TrainStep],
) -> None:
    data = easy(8)
    plain = replace(PARTS, epochs=1, momentum=0, nesterov=False, weight_decay=0, clip=0, warmup=0)
    recipe = replace(plain, iter_size=2, schedule="constant", lr=0.1)
    model = network(dropout=0)
    before = copy.deepcopy(model)
    trained(model, data, recipe, train_step=kind)

    halves = [copy.deepcopy(before) for _ in range(2)]
    for half, part in zip(halves, (slice(0, 4), slice(4, 8)), strict=True):
        F.cross_entropy(half(data.x[part]), data.y[part]).backward()
    for ours, old, *both in zip(*(m.parameters() for m in (model, before, *halves)), strict=True):
        torch.testing.assert_close(ours, old - 0.1 * (both[0].grad + both[1].grad) / 2)
    for name in ("running_mean", "running_var"):
        ours, *both = (getattr(m[1], name) for m in (model, *halves))
        torch.testing.assert_close(ours, (both[0] + both[1]) / 2)


def test_parts_draw_different_masks_and_resume_to_the_same_end() -> None:
    data, recipe = easy(12), replace(PARTS, batch_size=4, iter_size=2)
    states: list[State] = []
    models: list[dict[str, Tensor]] = []
    for resumed in (False, True):
        model = network()
        training = trained(
            model,
            data,
            recipe,
            state=states[len(states) // 2] if resumed else None,
            on_step=lambda step, current: states.append(current()),
        )
        models.append({**state(model), "steps": torch.tensor(training.steps)})
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert _masks(data) > 1


def _masks(data: Toy) -> int:
    """How many different dropout masks the parts of one step have."""
    masks = []
    model = network()
    model[3].register_forward_hook(
        lambda _, given, output: (
            masks.append(tuple((output != 0).flatten().tolist())) if model.training else None
        )
    )
    alike = Toy(data.x[:1].expand(8, -1, -1, -1), data.y[:1].expand(8))
    trained(model, alike, replace(PARTS, epochs=1, iter_size=4, warmup=0))
    assert len(masks) == 4
    return len(set(masks))


@pytest.mark.parametrize("iter_size", [5, 96, 192])
def test_parts_must_be_equal_and_have_two_images(iter_size: int) -> None:
    with pytest.raises(ValueError, match="iter_size") as error:
        Recipe(batch_size=96, iter_size=iter_size)
    assert str(error.value) == (
        "`iter_size` must divide `batch_size`, 96, into equal parts of at least 2 images, "
        f"got {iter_size}"
    )
