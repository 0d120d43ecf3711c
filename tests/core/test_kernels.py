"""Networks by the kernels that are fast on a processor: torch's values, and its own way wherever they are not meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from voxgraft.inference.kernels import FastKernels, laid_out
from voxgraft.inference.precision import applied
from voxgraft.inference.sliding import sliding_window

THERE = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
pytestmark = pytest.mark.skipif(not THERE, reason="torch was built without oneDNN")


def kernels(call: Any) -> set[str]:
    """Which of the two ways the convolutions in a call took."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        call()
    names = {event.key for event in seen.key_averages()}
    return {way for way in ("mkldnn_convolution", "slow_conv3d_forward") if f"aten::{way}" in names}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1},
        {"padding": (1, 0, 2), "stride": (1, 2, 1)},
        {"padding": 2, "dilation": 2, "bias": False},
        {"groups": 2},
        {"stride": 3},
    ],
)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_small_volumes_get_torchs_values(options: dict[str, Any], order: torch.memory_format) -> None:
    torch.manual_seed(7)
    module = nn.Conv3d(4, 6, 3, **options).eval()
    maps = torch.randn(1, 4, 9, 8, 7).contiguous(memory_format=order)
    with torch.inference_mode():
        expected = module(maps)
        with FastKernels():
            torch.testing.assert_close(module(maps), expected, rtol=1e-5, atol=1e-5)
            assert "slow_conv3d_forward" not in kernels(lambda: module(maps))


@pytest.mark.parametrize("maps", [torch.ones(4, 8, 8, 8), torch.ones(1, 4, 8, 8, 8, dtype=torch.float64)])
def test_what_is_not_meant_is_torchs_own(maps: Tensor) -> None:
    module = nn.Conv3d(4, 6, 3, padding="same").to(maps.dtype)
    with FastKernels(), torch.inference_mode():
        there = module(maps)
    assert torch.equal(there, module(maps))


def test_wrong_channels_are_refused_in_torchs_words() -> None:
    module = nn.Conv3d(4, 6, 3)
    with FastKernels(), torch.inference_mode(), pytest.raises(RuntimeError, match="channels"):
        module(torch.ones(1, 3, 8, 8, 8))


@pytest.mark.parametrize("shape", [(1, 3, 1, 6, 7), (2, 8, 6, 6, 1), (1, 2, 5, 1, 6)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_maps_smaller_than_what_is_pooled_are_refused_in_torchs_words(shape: Sequence[int], ceil_mode: bool) -> None:
    maps = laid_out(torch.ones(*shape))
    with FastKernels(), torch.inference_mode(), pytest.raises(RuntimeError, match="smaller than kernel size"):
        functional.avg_pool3d(maps, 2, ceil_mode=ceil_mode)


def test_half_precision_is_left_alone() -> None:
    module = nn.Conv3d(4, 6, 3)
    with FastKernels(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert module(torch.ones(1, 4, 8, 8, 8)).dtype == torch.bfloat16


def test_windows_of_a_scan_are_computed_by_onednn() -> None:
    torch.manual_seed(7)
    network = nn.Conv3d(1, 3, 3, padding=1).eval()
    image = torch.randn(1, 20, 18, 16)
    assert kernels(lambda: network(image[None, :, :16, :16])) == {"slow_conv3d_forward"}
    assert kernels(lambda: sliding_window(network, image, (16, 16, 16))) == {"mkldnn_convolution"}


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": [2, 2, 1], "stride": (2, 2, 1), "ceil_mode": True},
        {"kernel_size": (1, 2, 3), "stride": (3, 1, 2)},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 2, "padding": 1},
        {"kernel_size": 2, "divisor_override": 3},
    ],
)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_volumes_are_pooled_to_torchs_values(options: dict[str, Any], order: torch.memory_format) -> None:
    maps = torch.randn(2, 5, 9, 8, 7, generator=torch.manual_seed(7)).contiguous(memory_format=order)
    with FastKernels():
        pooled = functional.avg_pool3d(maps, **options)
    torch.testing.assert_close(pooled, functional.avg_pool3d(maps, **options))
    if order == torch.channels_last_3d and set(options) <= {"kernel_size", "stride", "ceil_mode"}:
        assert pooled.is_contiguous(memory_format=order)


@pytest.mark.parametrize("dims", [2, 3])
def test_each_channel_is_normalised_to_torchs_values(dims: int) -> None:
    kinds: Any = (None, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    maps = laid_out(torch.randn(2, 6, *[7] * dims, generator=torch.manual_seed(7)) * 3 + 1)
    for norm in (kinds[dims](6), kinds[dims](6, affine=True), kinds[dims](6, track_running_stats=True).eval()):
        with FastKernels():
            normed = norm(maps)
        torch.testing.assert_close(normed, norm(maps), rtol=1e-5, atol=1e-5)
    with FastKernels(), pytest.raises(ValueError, match="spatial"):
        kinds[dims](6)(maps[(slice(0, 1), slice(None), *[slice(0, 1)] * dims)])


def test_half_precision_is_joined_in_half_precision_and_nothing_else_is() -> None:
    half, full = torch.ones(1, 2, 3, dtype=torch.bfloat16), torch.ones(1, 1, 3)
    with FastKernels():
        assert torch.cat([half, full], 1).dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.cat([half, full], 1).dtype == torch.bfloat16
            assert torch.cat([full, full], dim=1).dtype == torch.float32
            assert torch.cat([full, full.double()], 1).dtype == torch.float64


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dims", [2, 3])
def test_maps_follow_the_order_of_windows(channels: int, dims: int) -> None:
    windows = torch.randn(2, channels, *[6, 5, 4][:dims])
    order = torch.channels_last if dims == 2 else torch.channels_last_3d
    laid = laid_out(windows)
    assert torch.equal(laid, windows)
    kind: Any = nn.Conv2d if dims == 2 else nn.Conv3d
    with torch.inference_mode():
        network = applied(kind(channels, 4, 3), "32", torch.device("cpu"))
        assert network(windows).is_contiguous(memory_format=order)


def test_weights_are_cast_once_to_what_autocast_would_make_of_them() -> None:
    torch.manual_seed(7)
    network = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ConvTranspose3d(4, 4, 2), nn.LeakyReLU(), nn.Linear(5, 2)).eval()
    windows = torch.randn(1, 1, 6, 6, 6)
    half = applied(network, "bf16", torch.device("cpu"))
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            expected = network(laid_out(windows))
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            found = half(windows)
    assert torch.equal(found, expected)
    assert all(weight.dtype == torch.float32 for weight in network.parameters())
    casts = sum(event.count for event in seen.key_averages() if event.key == "aten::_to_copy")
    assert casts == 1 + 3  # the window and the biases
