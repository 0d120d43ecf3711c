"""The optimiser from the parameter table, the schedule of its learning rate, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from ..transfer.strategy import Row
from ..workflow.sections import Optimiser, Schedule

LR = {"adamw": 2e-3, "sgd": 1e-2}


def highest_rate(options: Optimiser) -> float:
    """The learning rate that rows start from."""
    return options.lr or LR[options.use]


def make_optimiser(
    rows: Sequence[Row], parameters: Mapping[str, nn.Parameter], options: Optimiser
) -> torch.optim.Optimizer:
    """An optimiser with one group for each pair of learning rate and weight decay.

    Every parameter is registered from the start, also those a strategy keeps fixed for now: their gradient is None and
    they are skipped, and thawing one later needs no new group.

    Args:
        rows: The parameter table, with a learning rate and a weight decay for each parameter.
        parameters: Name -> parameter, for every row.
        options: The workflow's section.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for row in rows:
        group = groups.setdefault(
            (row.lr, row.weight_decay),
            {"params": [], "names": [], "lr": row.lr, "highest": row.lr, "weight_decay": row.weight_decay},
        )
        group["params"].append(parameters[row.name])
        group["names"].append(row.name)
    if options.use == "sgd":
        return torch.optim.SGD(list(groups.values()), momentum=options.momentum, nesterov=options.momentum > 0)
    return torch.optim.AdamW(list(groups.values()))


def rate_factor(progress: float, schedule: Schedule) -> float:
    """What the highest learning rate is multiplied by.

    Args:
        progress: The share of the budget that is used up, 0 to 1.
    """
    if progress < schedule.warmup:
        return max(progress, 1e-3 * schedule.warmup) / schedule.warmup
    done = min(1.0, (progress - schedule.warmup) / (1 - schedule.warmup))
    if schedule.use == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule.use == "poly":
        return float((1 - done) ** schedule.power)
    if schedule.use == "step":
        return float(schedule.factor ** sum(progress >= milestone for milestone in schedule.milestones))
    if schedule.use == "exponential":
        return float(schedule.factor**done)
    return 1.0


def set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Every group gets its own highest rate times the factor."""
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * factor


N = TypeVar("N", bound=nn.Module)


class Average(Generic[N]):
    """The exponential moving average of a network's weights (Polyak; warm start as in Tarvainen and Valpola 2017).

    Buffers, such as BatchNorm's statistics, are copied: they are averages already.
    """

    def __init__(self, network: N, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.network: N = deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """After a step of the optimiser."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(_detached(self.network.parameters()), _detached(network.parameters()), 1 - decay)
        for average, current in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "network": self.network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = int(state["updates"])
        self.network.load_state_dict(state["network"])


def _detached(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in parameters]
