"""In what numbers, and in which order in memory, a network is trained.

Half precision is torch's autocast, through Fabric: weights, losses and averages stay float32. Which order in memory is
faster depends on the numbers: float32 convolutions read channels-last fastest, bfloat16 ones the plain order (seen).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from ..networks.network import SegmentationNetwork
from ..preprocessing.plan import Plan
from ..support.machine import has_bf16, precision_of
from ..support.torch_dims import CHANNELS_LAST, channels_last
from ..workflow.sections import Training

FULL, HALF = "32-true", "bf16-mixed"
"""Fabric's words."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a network is trained.

    Attributes:
        precision: Fabric's word.
        channels_last: The order in memory; else the plain one.
        seconds: What a step took in each way that was tried.
    """

    precision: str = FULL
    channels_last: bool = True
    seconds: Mapping[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Plain values, as a checkpoint and the summary keep them."""
        return asdict(self)


def choose_arithmetic(
    network: SegmentationNetwork, plan: Plan, options: Training, device: torch.device, devices: int
) -> Arithmetic:
    """What training will use. In bfloat16 on a processor with units for it both orders are tried, some steps of each.

    On a processor `auto` is float32: that bfloat16 learns as well is not shown yet (benchmarks/bf16_training.py).

    Args:
        network: Is left as it is.
        plan: Gives patch and channels.
        options: Say the precision.
        device: Where it is trained.
        devices: Several must do the same, so nothing is tried on them.
    """
    plain = Arithmetic(precision_of(options.precision, device))
    if device.type != "cpu" or devices > 1 or options.precision != "bf16" or not has_bf16():
        return plain
    ways = [Arithmetic(HALF, False), Arithmetic(HALF, True)]
    taken = [_seconds(network, plan, way) for way in ways]
    fastest = ways[taken.index(min(taken))]
    return replace(fastest, seconds={_name(way): round(one, 4) for way, one in zip(ways, taken, strict=True)})


def _name(way: Arithmetic) -> str:
    return f"{way.precision}, {'channels-last' if way.channels_last else 'contiguous'}"


def _seconds(network: SegmentationNetwork, plan: Plan, way: Arithmetic) -> float:
    """Of one step forward and back with one patch, the least of two after one to warm up."""
    network = deepcopy(network).train()
    image = torch.zeros(1, len(plan.channels), *plan.patch)
    if way.channels_last:
        channels_last(network)
        image = image.contiguous(memory_format=CHANNELS_LAST[plan.dims])
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=way.precision == HALF):
            output = network(image)
        losses = [logits.float().square().mean() for logits in (output.logits, *output.deep)]
        torch.autograd.backward(losses)
        taken.append(time.perf_counter() - start)
    return min(taken[1:])
