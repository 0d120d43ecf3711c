"""Sliding windows: what blending must give, whatever the sizes, and that memory does not grow with the image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from voxgraft.inference.sliding import gaussian, logits_by_slab, sliding_window


def pointwise(classes: int, channels: int = 1, dims: int = 3) -> nn.Module:
    """A network whose logits depend on the voxel alone: windows and blending must then change nothing."""
    torch.manual_seed(0)
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    return convolution(channels, classes, 1)


def blended_by_hand(network: nn.Module, image: Tensor, roi: tuple[int, ...], starts: list[list[int]]) -> Tensor:
    """The definition: the sum of weighted window logits over the sum of weights."""
    weight = gaussian(roi[0])[:, None, None] * gaussian(roi[1])[:, None] * gaussian(roi[2])
    with torch.no_grad():
        classes = network(torch.zeros(1, image.shape[0], *roi)).shape[1]
        total, weights = torch.zeros(classes, *image.shape[1:]), torch.zeros(image.shape[1:])
        for i in starts[0]:
            for j in starts[1]:
                for k in starts[2]:
                    place = (slice(i, i + roi[0]), slice(j, j + roi[1]), slice(k, k + roi[2]))
                    total[(slice(None), *place)] += network(image[(slice(None), *place)][None])[0] * weight
                    weights[place] += weight
    return total / weights


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(3, 29)] * 3),
    roi=st.tuples(*[st.integers(4, 12)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.7]),
    batch=st.integers(1, 3),
    mirror=st.booleans(),
)
def test_a_pointwise_network_is_reproduced_exactly(shape, roi, overlap, batch, mirror) -> None:
    network = pointwise(3)
    image = torch.randn(1, *shape)
    with torch.no_grad():
        truth = network(image[None])[0]
    found = sliding_window(network, image, roi, overlap=overlap, batch=batch, mirror=mirror, result="logits")
    assert found.shape == truth.shape
    assert torch.allclose(found, truth, atol=1e-4)
    labels = sliding_window(network, image, roi, overlap=overlap, batch=batch)
    assert labels.dtype == torch.uint8
    assert (labels != truth.argmax(0)).float().mean() < 0.01  # ties within rounding


def test_blending_is_the_weighted_mean_of_the_windows() -> None:
    torch.manual_seed(1)
    network = nn.Conv3d(1, 2, 5, padding=2)  # sees its window's border, so that windows disagree
    image = torch.randn(1, 20, 16, 14)
    found = sliding_window(network, image, (8, 8, 8), overlap=0.5, result="logits")
    truth = blended_by_hand(network, image, (8, 8, 8), [[0, 4, 8, 12], [0, 4, 8], [0, 3, 6]])
    assert torch.allclose(found, truth, atol=1e-5)


def test_columns_give_the_values_of_the_whole_image() -> None:
    torch.manual_seed(2)
    network = nn.Conv3d(1, 2, 5, padding=2)
    image = torch.randn(1, 21, 19, 14)
    whole = sliding_window(network, image, (8, 8, 8), result="logits")
    parts = [slab.clone() for _, slab in logits_by_slab(network, image, (8, 8, 8), columns=(5, 12))]
    assert torch.allclose(torch.cat(parts, 1), whole[:, :, 5:12], atol=1e-5)


def test_slabs_are_consecutive_and_never_larger_than_a_window() -> None:
    image = torch.randn(1, 50, 9, 9)
    rows = 0
    for start, slab in logits_by_slab(pointwise(4), image, (8, 8, 8)):
        assert start == rows and slab.shape[1] <= 8
        rows += slab.shape[1]
    assert rows == 50


def test_two_dimensional_images_and_many_classes() -> None:
    network = pointwise(300, channels=2, dims=2)
    image = torch.randn(2, 33, 17)
    with torch.no_grad():
        truth = network(image[None])[0].argmax(0)
    found = sliding_window(network, image, (16, 16))
    assert found.dtype == torch.int32 and (found != truth).float().mean() < 0.02


@pytest.mark.parametrize(("roi", "overlap"), [((8, 8), 0.5), ((8, 8, 8), 1.0), ((8, 8, 8), -0.1)])
def test_what_does_not_fit_is_refused(roi, overlap) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        sliding_window(pointwise(2), torch.zeros(1, 9, 9, 9), roi, overlap=overlap)
