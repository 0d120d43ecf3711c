"""Multi-task branches: what is predicted besides the segmentation, from the same encoder and decoder.

Their losses become one number by learnt uncertainties, rates of fall, or gradients that agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import CONVOLUTION, Context, Output, Row, TrainingError

from .options import MultiTaskOptions
from .own import Teaching, has_regions, levels_of, resized
from .soft import mean_over


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


BRANCH = "branch_"
UNCERTAINTIES = "uncertainties"


class MultiTask(Teaching):
    """Branches on the decoder's finest map, or on the encoder's coarsest: `boundary`, the signed distance to each
    structure's border in units of `reach`, cut at -1 and 1 and positive inside (mean absolute error); `reconstruction`
    of the image (mean squared error); `presence`, whether each structure is in the patch (cross-entropy).

    Weighting of segmentation and branches: `equal`; `uncertainty`, `sum_i exp(-s_i) L_i / 2 + s_i / 2` with learnt s_i
    between -5 and 5 and no weight decay (Kendall et al. 2018); `dwa`, `K softmax(r / T)` of the rates at which losses
    fell between the last two intervals (Liu et al. 2019); `pcgrad`, each task's gradient without its part against
    another's, in random order (Yu et al. 2020). Terms of other strategies are added as they are.
    """

    name = "multi-task"

    def __init__(self, options: MultiTaskOptions) -> None:
        self._options = options
        self._tasks = ("segmentation", *options.branches)
        self._rates = Rates(self._tasks, options.temperature, options.interval)
        if options.weighting != "equal":
            self.combine = self._combined

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        network, dims = context.network, context.network.dims
        fine = int(network.decoder.channels[0])
        structures = network.classes if has_regions(context) else network.classes - 1
        channels = 1 if context.plan is None else len(context.plan.channels)
        modules: dict[str, nn.Module] = {}
        for branch in self._options.branches:
            if branch == "presence":
                modules[BRANCH + branch] = nn.Linear(levels_of(network)[-1], structures)
            else:
                width = structures if branch == "boundary" else channels
                modules[BRANCH + branch] = CONVOLUTION[dims](fine, width, 1)
        if self._options.weighting == "uncertainty":
            modules[UNCERTAINTIES] = Uncertainties(self._tasks)
        return modules

    def edit_own(self, rows: Sequence[Row], context: Context) -> list[Row]:
        start = f"{UNCERTAINTIES}."
        return [row.but(lr=self._options.lr, weight_decay=0.0) if row.name.startswith(start) else row for row in rows]

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        losses = {branch: getattr(self, f"_{branch}")(context, batch, output) for branch in self._options.branches}
        return {branch: self._options.weight * term for branch, term in losses.items()}

    def after_step(self, context: Context) -> None:
        self._rates.end_of_step()
        if UNCERTAINTIES in context.extra:
            with torch.no_grad():
                context.extra[UNCERTAINTIES].log_variance.clamp_(-5.0, 5.0)  # type: ignore[operator]

    def state_dict(self) -> dict[str, Any]:
        return self._rates.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rates.load_state_dict(state)

    def _combined(self, context: Context, terms: Mapping[str, Tensor]) -> Tensor:
        tasks = {name: terms[name] for name in self._tasks if name in terms}
        rest = [term for name, term in terms.items() if name not in tasks]
        if self._options.weighting == "uncertainty":
            module = context.extra[UNCERTAINTIES]
            if not isinstance(module, Uncertainties):
                raise TrainingError("transfer: two strategies bring a module called 'uncertainties'")
            total = module(tasks)
        elif self._options.weighting == "dwa":
            total = self._rates.weighed(tasks)
        else:
            shared = [parameter for parameter in context.network.parameters() if parameter.requires_grad]
            total = without_conflicts(list(tasks.values()), shared)
        return sum(rest, start=total)

    def _boundary(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Tensor:
        predicted = self._fine(context, output, "boundary", batch["image"])
        target = distances(_masks(context, batch["target"]), _spacing(context), self._options.reach)
        error = (predicted - target.to(predicted.device)).abs()
        return mean_over(error.mean(1), batch.get("counted"))

    def _reconstruction(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Tensor:
        predicted = self._fine(context, output, "reconstruction", batch["image"])
        return functional.mse_loss(predicted, batch["image"].float())

    def _presence(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Tensor:
        logits = context.extra[f"{BRANCH}presence"](output.features[-1].flatten(2).mean(2)).float()
        present = _masks(context, batch["target"]).flatten(2).any(2).float()
        return functional.binary_cross_entropy_with_logits(logits, present)

    def _fine(self, context: Context, output: Output, branch: str, image: Tensor) -> Tensor:
        return resized(context.extra[BRANCH + branch](output.maps[0]).float(), image)


def distances(masks: Tensor, spacing: Sequence[float], reach: float) -> Tensor:
    """Signed distances to the border of each structure in units of `reach`, positive inside, cut at -1 and 1.

    The border lies between voxels: the nearest voxel of the other kind is counted up to half a voxel before its middle
    along the finest axis. A structure that is not there is -1 away, one that fills the patch 1.

    Args:
        masks: bool (batch, structure, *spatial).
        spacing: Millimetres along each axis.
    """
    from edt import edt

    masked = masks.cpu().numpy()
    result = np.empty(masked.shape, np.float32)
    half = 0.5 * min(spacing)
    for index in np.ndindex(masked.shape[:2]):
        inside = np.ascontiguousarray(masked[index])
        if inside.all() or not inside.any():
            result[index] = 1.0 if inside.any() else -1.0
            continue
        within, without = (edt(np.ascontiguousarray(part), anisotropy=tuple(spacing)) for part in (inside, ~inside))
        signed = np.where(inside, within - half, half - without)
        result[index] = np.clip(signed / reach, -1.0, 1.0)
    return torch.from_numpy(result)


def _masks(context: Context, target: Tensor) -> Tensor:
    """bool (batch, structure, *spatial) from a target as losses take it."""
    if target.is_floating_point():
        return target > 0.5
    classes = torch.arange(1, context.network.classes, device=target.device)
    return target[:, None] == classes.reshape(-1, *[1] * (target.ndim - 1))


def _spacing(context: Context) -> tuple[float, ...]:
    if context.plan is None:
        return (1.0,) * context.network.dims
    plan = context.plan
    if plan.dims == plan.image_dims:
        return tuple(plan.spacing)
    return tuple(step for axis, step in enumerate(plan.spacing) if axis != plan.slice_axis)
