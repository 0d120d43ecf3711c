"""How the losses of several tasks become one number: learnt uncertainties, rates of fall, gradients that agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Uncertainties(nn.Module):
    """`sum_i exp(-s_i) L_i / 2 + s_i / 2` (Kendall et al. 2018); at rest `exp(s_i) = L_i`."""

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self._tasks = tuple(tasks)
        self.log_variance = nn.Parameter(torch.zeros(len(tasks)))

    def forward(self, terms: Mapping[str, Tensor]) -> Tensor:
        total = self.log_variance.new_zeros(())
        for index, name in enumerate(self._tasks):
            if name in terms:
                s = self.log_variance[index]
                total = total + 0.5 * torch.exp(-s) * terms[name] + 0.5 * s
        return total


class Rates:
    """Dynamic weight average (Liu et al. 2019): `K softmax(r / T)` with `r_i` the mean loss of the last interval over
    that of the one before; all weights are 1 until there are two."""

    def __init__(self, tasks: Sequence[str], temperature: float, interval: int) -> None:
        self._tasks, self._temperature, self._interval = tuple(tasks), temperature, interval
        self._means: list[list[float]] = []
        self._sums = [0.0] * len(self._tasks)
        self._calls = self._steps = 0

    @property
    def weights(self) -> tuple[float, ...]:
        if len(self._means) < 2:
            return (1.0,) * len(self._tasks)
        before, last = self._means[-2:]
        rates = [now / max(then, 1e-12) for now, then in zip(last, before, strict=True)]
        shares = (torch.tensor(rates, dtype=torch.float64) / self._temperature).softmax(0)
        return tuple((len(self._tasks) * shares).tolist())

    def weighed(self, terms: Mapping[str, Tensor]) -> Tensor:
        self._calls += 1
        total = next(iter(terms.values())).new_zeros(())
        for index, (name, weight) in enumerate(zip(self._tasks, self.weights, strict=True)):
            self._sums[index] += float(terms[name].detach())
            total = total + weight * terms[name]
        return total

    def end_of_step(self) -> None:
        self._steps += 1
        if self._steps % self._interval == 0 and self._calls:
            self._means = [*self._means[-1:], [value / self._calls for value in self._sums]]
            self._sums, self._calls = [0.0] * len(self._tasks), 0

    def state_dict(self) -> dict[str, Any]:
        return {"means": self._means, "sums": self._sums, "calls": self._calls, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._means, self._sums = [list(row) for row in state["means"]], list(state["sums"])
        self._calls, self._steps = int(state["calls"]), int(state["steps"])


def without_conflicts(losses: Sequence[Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
    """A number with the value of the sum, whose gradient at shared parameters is PCGrad's (Yu et al. 2020): from each
    task's gradient its part against each other task's is taken, those in random order, and the rest is added up.

    Parameters that only one task has, such as the heads or a branch of its own, keep that task's gradient, and count in
    no projection.

    Args:
        shared: Those that several tasks may have; which ones they do is found out.
    """
    by_task = [torch.autograd.grad(loss, list(shared), retain_graph=True, allow_unused=True) for loss in losses]
    several = [index for index in range(len(shared)) if sum(parts[index] is not None for parts in by_task) > 1]
    total = torch.stack([loss.float() for loss in losses]).sum()
    if not several:
        return total
    shared = [shared[index] for index in several]
    gradients = [_flat([parts[index] for index in several], shared) for parts in by_task]
    projected = []
    for index, gradient in enumerate(gradients):
        projection = gradient.clone()
        for other in torch.randperm(len(gradients)).tolist():
            against = gradients[other]
            product = projection @ against
            if other != index and product < 0:
                projection -= product / against.pow(2).sum().clamp_min(1e-30) * against
        projected.append(projection)
    correction = torch.stack(projected).sum(0) - torch.stack(gradients).sum(0)
    done = 0
    for parameter in shared:
        change = correction[done : done + parameter.numel()].reshape(parameter.shape).to(parameter.dtype)
        total = total + (change * (parameter - parameter.detach())).sum()
        done += parameter.numel()
    return total


def _flat(gradients: Sequence[Tensor | None], shared: Sequence[nn.Parameter]) -> Tensor:
    pairs = zip(gradients, shared, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])
