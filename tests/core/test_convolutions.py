"""Convolutions of volumes by oneDNN: torch's values, and torch's own way wherever oneDNN is not meant."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from voxgraft.inference.precision import VolumesByOneDNN
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
        with VolumesByOneDNN():
            torch.testing.assert_close(module(maps), expected, rtol=1e-5, atol=1e-5)
            assert "slow_conv3d_forward" not in kernels(lambda: module(maps))


@pytest.mark.parametrize("maps", [torch.ones(4, 8, 8, 8), torch.ones(1, 4, 8, 8, 8, dtype=torch.float64)])
def test_what_is_not_meant_is_torchs_own(maps: Tensor) -> None:
    module = nn.Conv3d(4, 6, 3, padding="same").to(maps.dtype)
    with VolumesByOneDNN(), torch.inference_mode():
        there = module(maps)
    assert torch.equal(there, module(maps))


def test_wrong_channels_are_refused_in_torchs_words() -> None:
    module = nn.Conv3d(4, 6, 3)
    with VolumesByOneDNN(), torch.inference_mode(), pytest.raises(RuntimeError, match="channels"):
        module(torch.ones(1, 3, 8, 8, 8))


def test_half_precision_is_left_alone() -> None:
    module = nn.Conv3d(4, 6, 3)
    with VolumesByOneDNN(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert module(torch.ones(1, 4, 8, 8, 8)).dtype == torch.bfloat16


def test_windows_of_a_scan_are_computed_by_onednn() -> None:
    torch.manual_seed(7)
    network = nn.Conv3d(1, 3, 3, padding=1).eval()
    image = torch.randn(1, 20, 18, 16)
    assert kernels(lambda: network(image[None, :, :16, :16])) == {"slow_conv3d_forward"}
    assert kernels(lambda: sliding_window(network, image, (16, 16, 16))) == {"mkldnn_convolution"}
