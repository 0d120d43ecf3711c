"""By which kernels a network is computed on a processor: torch's values, in a part of the time.

Maps lie channels-last, voxel by voxel. What torch computes slowly in that order, or only in another, to which every map
is moved and back, is computed here by functions of torch that are made for it (docs/speed.md):

- Convolutions of volumes are oneDNN's whatever the size of the maps. For a batch of one, torch takes its plain
  convolution where channels x depth x height of the maps are at most 20,480 (`ConvParams::use_mkldnn` in ATen's
  Convolution.cpp, torch 2.13): a rule for pictures, which leaves the last axis of a volume out. Small windows and deep
  maps fall under it, and are computed two to thirteen times as slowly there.
- The average pooling of volumes is that of pictures, twice. Torch's own knows one order, and float32 alone.
- The norm of each channel is that of groups of one channel.
- In half precision, maps are joined in half precision: with one of float32 (the image itself) torch makes all of them
  float32, which the next convolution casts back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..support.torch_dims import CHANNELS_LAST


def laid_out(windows: Tensor) -> Tensor:
    """Windows (batch, channel, *spatial) in channels-last order.

    Of one channel both orders are the same numbers in a row; the strides say which is meant, and all maps that follow
    are laid out like them.
    """
    windows = windows.contiguous(memory_format=CHANNELS_LAST[windows.ndim - 2])
    if windows.shape[1] != 1 or windows.device.type != "cpu":
        return windows
    return windows.as_strided(windows.shape, (windows.stride(0), 1, *windows.stride()[2:]))


class FastKernels(TorchFunctionMode):
    """While it is entered, a network on a processor is computed by the kernels that are fast there.

    Args:
        weights: What stands for parameters, by their `id`, in products and convolutions under autocast, which would
            cast them anew for every window.
    """

    def __init__(self, weights: Mapping[int, Tensor] | None = None) -> None:
        super().__init__()
        self.weights = weights or {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in CAST and self.weights and len(args) > 1 and torch.is_autocast_enabled("cpu"):
            args = (args[0], self.weights.get(id(args[1]), args[1]), *args[2:])
        own = OWN.get(func)
        result = None if own is None else own(*args, **given)
        return func(*args, **given) if result is None else result


def _convolution(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """`torch.conv3d` of float32 maps on a processor, by oneDNN; None where it is not meant for that."""
    alike = maps.dtype == weight.dtype == torch.float32 and maps.device.type == weight.device.type == "cpu"
    one = maps.ndim == 5 and maps.shape[0] == 1 and maps.shape[1] > 0
    there = bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)  # type: ignore[no-untyped-call]
    if not (alike and one and there) or isinstance(padding, str) or torch.is_autocast_enabled("cpu"):
        return None
    return torch.mkldnn_convolution(maps, weight, bias, _three(padding), _three(stride), _three(dilation), groups)


def _three(value: int | Sequence[int]) -> list[int]:
    return [value] * 3 if isinstance(value, int) else list(value)


def _average_pool(
    maps: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor | None:
    """`avg_pool3d` of channels-last maps on a processor: the two last axes, then the first one; None elsewhere."""
    kernel = _three(kernel_size)
    if not _last(maps) or any(_three(padding)) or divisor_override is not None:
        return None
    if any(size < width for size, width in zip(maps.shape[2:], kernel, strict=True)):
        return None  # which torch refuses
    step = _three(stride) if stride is not None and stride != [] else kernel
    batch, channels, depth, *plane = maps.shape
    planes = maps.transpose(1, 2).reshape(batch * depth, channels, *plane)
    planes = functional.avg_pool2d(planes, kernel[1:], step[1:], ceil_mode=ceil_mode)
    plane = list(planes.shape[2:])
    # One value of a plane is one channel here, so that memory is read in its order.
    columns = planes.permute(0, 2, 3, 1).reshape(batch, depth, 1, -1).permute(0, 3, 1, 2)
    columns = functional.avg_pool2d(columns, (kernel[0], 1), (step[0], 1), ceil_mode=ceil_mode)
    return columns.permute(0, 2, 3, 1).reshape(batch, -1, *plane, channels).permute(0, 4, 1, 2, 3)


def _instance_norm(
    maps: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor | None:
    """`instance_norm` of a map's own values on a processor; None elsewhere."""
    if not use_input_stats or running_mean is not None or not _last(maps) or prod(maps.shape[2:]) < 2:
        return None
    return torch.group_norm(maps, maps.shape[1], weight, bias, eps)


def _joined(maps: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    """`torch.cat` of maps of half precision and of float32, in half precision; None for others."""
    kinds = {one.dtype for one in maps}
    if len(kinds) != 2 or not torch.is_autocast_enabled("cpu"):
        return None
    half = torch.get_autocast_dtype("cpu")
    return torch.cat([one.to(half) for one in maps], dim) if kinds == {half, torch.float32} else None


def _last(maps: Tensor) -> bool:
    """Whether these are channels-last maps on a processor, of more than one channel."""
    dims = maps.ndim - 2
    many = dims in CHANNELS_LAST and maps.shape[1] > 1 and maps.device.type == "cpu"
    return many and maps.is_contiguous(memory_format=CHANNELS_LAST[dims])


OWN: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    torch.conv3d: _convolution,
    functional.avg_pool3d: _average_pool,
    functional.instance_norm: _instance_norm,
    torch.instance_norm: _instance_norm,
    torch.cat: _joined,
}
CAST = {
    functional.linear,
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
}
