"""What a training needs of memory, worked out before any of it is taken.

One step is followed on torch's `meta` device, where tensors have shapes and no values: what autograd would save for
the gradient is counted, each storage once. A network that cannot be followed so is run on a small patch instead, and
what it saves is scaled with the number of voxels. Loss, gradients and batches drawn ahead are added by rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, TrainingError
from ..networks.network import SegmentationNetwork
from ..preprocessing.plan import Plan
from ..support.machine import choose_device, device_count, free_memory, gigabytes
from .batches import MARGIN

COPIES = 5
"""Of the weights: themselves, gradients, two moments of the optimiser, the running average."""

LOSS = 6
"""Copies of the logits that a loss and its gradient hold."""

AHEAD = 6
"""Batches on the host: three drawn ahead, one being drawn, one put together, one in use."""

FOLLOWED = 2**32
"""Voxels of the largest patch that is followed as it is; of larger ones a part is, and scaled."""

SMALL = 32
"""Voxels along an axis of a patch that stands for a larger one."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a training takes.

    Attributes:
        fixed: Whatever the batch.
        sample: For each patch of a batch, where the network is.
        host: For each patch of a batch, where batches are drawn.
    """

    fixed: float
    sample: float
    host: float

    def total(self, batch: int) -> float:
        """On one machine that does both."""
        return self.fixed + batch * (self.sample + self.host)


def need_of(network: SegmentationNetwork, plan: Plan, others: Iterable[nn.Module] = ()) -> Need:
    """What a training of a network takes with a plan's patch.

    Args:
        others: Modules that strategies brought.
    """
    weights = sum(_size(module.parameters()) for module in (network, *others))
    voxels = prod(plan.patch)
    size = plan.patch if voxels <= FOLLOWED else _small(plan)
    saved = _saved_by_sample(network, len(plan.channels), size, plan) * (voxels / prod(size))
    logits = 4.0 * voxels * plan.classes
    block = voxels * (MARGIN ** len(plan.patch)) * (4.0 * len(plan.channels) + 1.0)
    moved = 4.0 * voxels * (3 * len(plan.patch) + 3 * len(plan.channels))  # where voxels come from, augmented copies
    return Need(COPIES * weights, saved + LOSS * logits + moved, AHEAD * block)


def check_memory(need: Need, plan: Plan, device: str, free: float | None = None) -> None:
    """Refuse a training that does not fit into memory, before it starts.

    Args:
        device: As a workflow names it. Where it is a GPU, a batch is cut into parts if need be: one patch must fit.
        free: Bytes; by default what the machine has left, or what its control group allows.

    Raises:
        TrainingError: It says what is needed, what is free, and a value that would fit.
    """
    if choose_device(device).type == "cuda":
        left = float(torch.cuda.mem_get_info(choose_device(device))[0]) if free is None else free
        _refuse(Need(need.fixed, need.sample, 0.0), plan, 1, left, "memory of the GPU")
        need = Need(0.0, 0.0, need.host)
    share = (free_memory() if free is None else free) / device_count(device)
    _refuse(need, plan, plan.batch, share, "memory" if device_count(device) == 1 else "memory for each process")


def _refuse(need: Need, plan: Plan, batch: int, free: float, what: str) -> None:
    total = need.total(batch)
    if total <= free:
        return
    size = "x".join(map(str, plan.patch))
    patches = f"a patch of {size}" if batch == 1 else f"a batch of {batch} patches of {size}"
    raise TrainingError(
        f"training: {patches} takes about {gigabytes(total)} of memory, and {gigabytes(free)} of {what} are free; "
        f"{_remedy(need, plan, batch, free)}"
    )


def _remedy(need: Need, plan: Plan, batch: int, free: float) -> str:
    """What to set, with a value that fits into nine tenths of what is free."""
    left = 0.9 * free - need.fixed
    each = need.sample + need.host
    if left <= 0:
        return "choose a smaller encoder or decoder"
    if (fitting := int(left / each)) >= min(2, batch - 1) and fitting >= 1:
        return f"set training.batch to {fitting} or less"
    fewest = 1 if batch == 1 else 2
    shrink = min(1.0, left / (fewest * each)) ** (1 / len(plan.patch))
    smaller = [max(step, int(n * shrink) // step * step) for n, step in zip(plan.patch, plan.strides[-1], strict=True)]
    smaller = [max(8, n) for n in smaller]
    more = "" if batch <= fewest else f", and training.batch to {fewest}"
    return f"set training.patch to {smaller} or less{more}"


def _small(plan: Plan) -> tuple[int, ...]:
    """A patch that every level of the network divides, and that is no larger than it need be."""
    sizes = zip(plan.patch, plan.strides[-1], strict=True)
    return tuple(min(n, -(-SMALL // step) * step) for n, step in sizes)


def _saved_by_sample(network: SegmentationNetwork, channels: int, size: Sequence[int], plan: Plan) -> float:
    """Bytes that autograd saves for one patch of a size."""
    with torch.random.fork_rng(devices=[]):
        try:
            copy = deepcopy(network).to("meta").train()
            return _saved(copy, torch.empty(2, channels, *size, device="meta")) / 2
        except ModelError:
            raise
        except Exception:
            small = _small(plan)
            device = next(network.parameters()).device
            saved = _saved(deepcopy(network).train(), torch.zeros(2, channels, *small, device=device)) / 2
            return saved * prod(size) / prod(small)


def _saved(network: nn.Module, image: Tensor) -> float:
    """Bytes that a pass in training saves, each storage once, without the parameters; and the largest of them twice
    more, for gradients on their way."""
    known: set[Any] = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: list[Tensor] = []  # a storage that is given back could come again under the same number
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            known.add(storage._cdata)
            kept.append(tensor)
            sizes.append(storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(image)
    return float(sum(sizes) + 2 * max(sizes, default=0))


def _size(parameters: Iterable[nn.Parameter]) -> float:
    return float(sum(parameter.numel() * parameter.element_size() for parameter in parameters))
