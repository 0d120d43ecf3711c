"""Tests of the losses: known values, agreement with a plain reference, gradients, and numbers at the edge."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import TrainingError
from voxgraft.training.loss import Loss

NAMES = ("dice-ce", "dice", "cross-entropy")


def loss(catalogue: Catalogue, use: str, **options: Any) -> Loss:
    made: Loss = choose(catalogue, "loss", {"use": use, **options}).build()
    return made


def example(
    dims: int = 3, classes: int = 4, batch: int = 2, dtype: torch.dtype = torch.double
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(dims)
    size = (5, 4, 3)[:dims]
    logits = torch.randn(batch, classes, *size, generator=draw, dtype=dtype)
    return logits, torch.randint(0, classes, (batch, *size), generator=draw)


def reference(logits: Tensor, target: Tensor, use: str, smooth: float = 1.0, batch: bool = True) -> Tensor:
    """The definitions, by one-hot arrays."""
    truth = functional.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    probability = logits.softmax(1)
    axes = [0, *range(2, logits.ndim)] if batch else list(range(2, logits.ndim))
    overlap = (probability * truth).sum(axes)
    dice = (2 * overlap + smooth) / (probability.sum(axes) + truth.sum(axes) + smooth)
    entropy = -(truth * probability.log()).sum(1).mean()
    terms = {"dice": 1 - dice[..., 1:].mean(), "cross-entropy": entropy}
    terms["dice-ce"] = terms["dice"] + entropy
    return terms[use]


@pytest.mark.parametrize("use", NAMES)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("batch", [True, False])
def test_value_and_gradient_agree_with_the_definition(catalogue: Catalogue, use: str, dims: int, batch: bool) -> None:
    options = {} if use == "cross-entropy" else {"batch": batch, "smooth": 0.7}
    logits, target = example(dims)
    mine, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = loss(catalogue, use, **options)(mine, target)
    wanted = reference(theirs, target, use, 0.7, batch)
    assert value.dtype == torch.double
    assert float((value - wanted).detach().abs()) < 1e-12
    value.backward()
    wanted.backward()
    assert torch.allclose(mine.grad, theirs.grad, rtol=1e-9, atol=1e-14)
    assert torch.autograd.gradcheck(loss(catalogue, use, **options), (logits.clone().requires_grad_(), target))


def test_batch_and_sample_dice_differ(catalogue: Catalogue) -> None:
    logits, target = example()
    both = [float(loss(catalogue, "dice", batch=batch)(logits, target)) for batch in (True, False)]
    assert abs(both[0] - both[1]) > 1e-4


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_known_values(catalogue: Catalogue, classes: int) -> None:
    target = torch.arange(classes).repeat(1, 12).reshape(1, -1, 4)
    voxels = target.numel() // classes
    even = torch.zeros(1, classes, *target.shape[1:])
    assert float(loss(catalogue, "cross-entropy")(even, target)) == pytest.approx(math.log(classes))
    dice = (2 * voxels / classes + 1) / (voxels + voxels + 1)
    assert float(loss(catalogue, "dice")(even, target)) == pytest.approx(1 - dice)
    right = 50.0 * functional.one_hot(target, classes).movedim(-1, 1).float()
    for use in NAMES:
        assert float(loss(catalogue, use)(right, target)) == pytest.approx(0, abs=1e-6)
    wrong = right.roll(1, 1)
    assert float(loss(catalogue, "dice")(wrong, target)) == pytest.approx(1 - 1 / (2 * voxels + 1))
    assert float(loss(catalogue, "cross-entropy")(wrong, target)) == pytest.approx(50)


def test_a_structure_that_is_absent_and_not_predicted_loses_nothing(catalogue: Catalogue) -> None:
    target = torch.zeros(2, 6, 6, dtype=torch.long)
    logits = torch.zeros(2, 3, 6, 6)
    logits[:, 0] = 60
    value = loss(catalogue, "dice")(logits.requires_grad_(), target)
    assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    value.backward()
    assert bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize("use", NAMES)
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_large_logits_give_finite_numbers(catalogue: Catalogue, use: str, size: float) -> None:
    logits, target = example(dtype=torch.float32)
    logits = (logits * size).requires_grad_()
    value = loss(catalogue, use)(logits, target)
    value.backward()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(logits.grad).all())
    assert use == "dice" or float(logits.grad.abs().max()) > 0


@pytest.mark.parametrize("use", NAMES)
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_half_precision_is_left_before_anything_is_added_up(catalogue: Catalogue, use: str, low: torch.dtype) -> None:
    """40,000 voxels: float16 cannot count them, bfloat16 stops at 256."""
    target = (torch.arange(40_000) % 4 == 0).long().reshape(1, 200, 200)
    logits = torch.zeros(1, 2, 200, 200, dtype=low)
    logits[:, 1] = target.to(low) - 0.5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(catalogue, use)(logits, target)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(reference(logits.double(), target, use)), rel=1e-5)


@pytest.mark.parametrize("use", NAMES)
def test_memory_layout_does_not_matter(catalogue: Catalogue, use: str) -> None:
    logits, target = example()
    last = logits.contiguous(memory_format=torch.channels_last_3d)
    assert not last.is_contiguous()
    assert torch.allclose(loss(catalogue, use)(last, target), loss(catalogue, use)(logits, target), atol=1e-12)


def test_class_weights_count_as_in_torch(catalogue: Catalogue) -> None:
    logits, target = example()
    weights = (0.1, 1.0, 2.5, 0.0)
    wanted = functional.cross_entropy(logits, target, torch.tensor(weights, dtype=torch.double))
    entropy = loss(catalogue, "cross-entropy", class_weights=weights)(logits, target)
    assert float((entropy - wanted).abs()) < 1e-12
    both = loss(catalogue, "dice-ce", class_weights=weights, dice=2.0, cross_entropy=0.5)(logits, target)
    assert float((both - 2 * reference(logits, target, "dice") - 0.5 * wanted).abs()) < 1e-12
    nothing = loss(catalogue, "cross-entropy", class_weights=(0.0, 1.0))(logits[:, :2], torch.zeros_like(target))
    assert float(nothing) == 0


@pytest.mark.parametrize("use", ["dice-ce", "cross-entropy"])
def test_another_number_of_class_weights_is_refused(catalogue: Catalogue, use: str) -> None:
    logits, target = example()
    with pytest.raises(TrainingError, match="class_weights has 2 numbers for 4 classes"):
        loss(catalogue, use, class_weights=(1.0, 2.0))(logits, target)


@pytest.mark.parametrize(
    "options",
    [
        {"use": "dice", "smooth": 0},
        {"use": "dice", "class_weights": [1, 1]},
        {"use": "cross-entropy", "class_weights": [1, -1]},
        {"use": "cross-entropy", "class_weights": [1, float("nan")]},
        {"use": "dice-ce", "dice": float("inf")},
    ],
)
def test_options_that_do_not_fit_are_refused(catalogue: Catalogue, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        choose(catalogue, "loss", options)
