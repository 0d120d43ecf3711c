"""Convolutions of volumes by oneDNN, whatever the size of the maps.

For a batch of one, torch takes its plain convolution where channels x depth x height of the maps are at most 20,480
(`ConvParams::use_mkldnn` in ATen's Convolution.cpp, torch 2.13): a rule for pictures, which leaves the last axis of a
volume out. Small windows and deep maps fall under it, and are computed two to thirteen times as slowly there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class VolumesByOneDNN(TorchFunctionMode):
    """While it is entered, `torch.conv3d` of float32 maps on a processor is computed by oneDNN."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is torch.conv3d and len(args) == 7 and not given and _fits(args[0], args[1], args[4]):
            maps, weight, bias, stride, padding, dilation, groups = args
            return torch.mkldnn_convolution(
                maps, weight, bias, _three(padding), _three(stride), _three(dilation), groups
            )
        return func(*args, **given)


def _fits(maps: Tensor, weight: Tensor, padding: object) -> bool:
    alike = maps.dtype == weight.dtype == torch.float32 and maps.device.type == weight.device.type == "cpu"
    one = maps.ndim == 5 and maps.shape[0] == 1 and maps.shape[1] > 0
    there = bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)  # type: ignore[no-untyped-call]
    return alike and one and there and not isinstance(padding, str) and not torch.is_autocast_enabled("cpu")


def _three(value: int | Sequence[int]) -> list[int]:
    return [value] * 3 if isinstance(value, int) else list(value)
