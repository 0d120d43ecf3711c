"""How layers that are new start."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from voxgraft.plugin import Context

from .options import InitOptions
from .own import OwnStrategy


class Init(OwnStrategy):
    """Convolutions and linear layers whose weights were not loaded start with a variance of 2 / fan-in (He et al. 2015)
    or 2 / (fan-in + fan-out) (Glorot and Bengio 2010), and biases of zero. What was loaded is not touched."""

    name = "init"
    needs = frozenset[str]()

    def __init__(self, options: InitOptions) -> None:
        self._he, self._normal = options.scheme == "he", options.distribution == "normal"

    @torch.no_grad()
    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        for name, module in context.network.named_modules():
            if not isinstance(module, (_ConvNd, nn.Linear)) or "weight" not in module._parameters:
                continue
            if f"{name}.weight" not in context.pretrained:
                inwards, outwards = fans(module)
                deviation = math.sqrt(2 / (inwards if self._he else inwards + outwards))
                if self._normal:
                    module.weight.normal_(0, deviation)
                else:
                    module.weight.uniform_(-math.sqrt(3) * deviation, math.sqrt(3) * deviation)
            if module.bias is not None and f"{name}.bias" not in context.pretrained:
                module.bias.zero_()
        return {}


def fans(module: _ConvNd | nn.Linear) -> tuple[float, float]:
    """How many inputs an output is made of, and how many outputs an input goes to."""
    weight = module.weight
    if isinstance(module, nn.Linear):
        return float(weight.shape[1]), float(weight.shape[0])
    kernel, stride = math.prod(module.kernel_size), math.prod(module.stride)
    inwards = module.in_channels / module.groups * kernel
    outwards = module.out_channels / module.groups * kernel
    return (inwards / stride, outwards) if isinstance(module, _ConvTransposeNd) else (inwards, outwards / stride)
