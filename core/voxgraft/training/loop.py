"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..errors import TrainingError
from ..networks.network import SegmentationNetwork
from ..preprocessing.plan import Plan, outside
from ..support.torch_dims import CHANNELS_LAST, channels_last
from ..transfer.stack import Stack
from ..transfer.strategy import Context, Row
from ..workflow.sections import Training
from .arithmetic import Arithmetic
from .augment import augment
from .batches import BEYOND, Batches, RawBatch
from .checkpoint import load_checkpoint, save_checkpoint
from .loss import Loss
from .optimiser import Average, make_optimiser, rate_factor, set_rate
from .targets import deep_loss, unpacked

SAVE_EVERY = 30.0
"""Seconds between two checkpoints."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is trained, and on what.

    Attributes:
        strengths: The modality's augmentation.
        spacing: Millimetres along the network's axes.
        arithmetic: The numbers, of which Fabric knows, and the order in memory; a checkpoint keeps them.
        identity: A fingerprint of everything that decides the outcome; only its own checkpoint is gone on from.
        look: Scores a network on validation cases, the one that would be kept at that moment; the first number decides
            about patience. A number that is not defined is not a bad score: it is left out.
        report: Called with numbers and the step they belong to.
        say: Called with a line for people.
    """

    network: SegmentationNetwork
    stack: Stack
    rows: Sequence[Row]
    context: Context
    extra: Mapping[str, nn.Module]
    batches: Batches
    plan: Plan
    spacing: tuple[float, ...]
    loss: Loss
    strengths: Mapping[str, float]
    options: Training
    folder: Path
    identity: str
    look: Callable[[SegmentationNetwork], dict[str, float]]
    report: Callable[[dict[str, float], int], None]
    show: Callable[[float, str], None]
    say: Callable[[str], None] = lambda text: None
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    @property
    def part(self) -> tuple[int, int]:
        """Which of how many processes this is: each computes its part of a step's batch."""
        return self.batches.rank, self.batches.world


@dataclass(slots=True)
class State:
    """What changes while training goes on, besides weights."""

    step: int = 0
    seconds: float = 0.0
    looks: int = 0
    best: float = float("-inf")
    without_better: int = 0
    micro: int = 1
    """Into how many parts a batch is cut; doubled when the device's memory runs out."""

    curve: list[dict[str, float]] = field(default_factory=list)


def fit(job: Job, fabric: Fabric) -> tuple[SegmentationNetwork, State]:
    """Train until the budget is used up or patience has run out.

    Returns:
        The network to keep: the running average of the weights, through every strategy's `export`; and the state.

    Raises:
        TrainingError: The loss or what is kept is not a finite number, or the device's memory cannot hold one sample.
    """
    options, context, stack = job.options, job.context, job.stack
    context.criterion = lambda output, coded: deep_loss(job.loss, output.logits, output.deep, coded, job.plan)
    average, forward, optimiser = _set_up(job, fabric)
    state = _resume(job, average, optimiser)
    _agree_on_start(job, state, fabric)
    clock = _Clock(state.seconds)
    saved = state.seconds
    if state.step:
        job.say(f"train: continues from step {state.step}{_of_budget(job, state)}")
    stream = job.batches.stream(state.step)
    loss = ""  # what a person sees of it; asking the device at each step would slow it down
    try:
        for raw in stream:
            progress = _agreed(fabric, _progress(options, state.step, clock.seconds, job.batches))
            if progress >= 1 or _out_of_patience(options, state):
                break
            context.step, context.progress = state.step, progress
            torch.manual_seed(options.seed * 1_000_003 + state.step)
            context.factor = rate_factor(stack.schedule(progress), options.schedule)
            set_rate(optimiser, context.factor)
            stack.before_step(context)
            job.network.train()
            stack.train_mode(context)
            terms = _step(job, forward, optimiser, raw, state, fabric)
            stack.after_step(context)
            average.update(job.network)
            state.step += 1
            state.seconds = clock.seconds
            progress = _agreed(fabric, _progress(options, state.step, state.seconds, job.batches))
            if state.step % 10 == 0 or progress >= 1:
                numbers = {name: float(value) for name, value in terms.items()}
                shares = numbers if len(numbers) > 1 else {}  # a single term is the loss itself
                job.report({"loss": sum(numbers.values()), **shares, "lr": optimiser.param_groups[0]["lr"]}, state.step)
                loss = f", loss {sum(numbers.values()):.3f}"
            job.show(min(1.0, progress), f"step {state.step}{loss}")
            if progress >= min(1.0, (state.looks + 1) * options.validate_every):
                job.show(min(1.0, progress), f"step {state.step}{loss}, validating")
                _look(job, average, state, clock, fabric)
                _save(job, average, optimiser, state, fabric)
                saved = state.seconds
            elif state.seconds - saved > SAVE_EVERY:
                _save(job, average, optimiser, state, fabric)
                saved = state.seconds
    finally:
        stream.close()
    return _kept(job, average, state, fabric), state


def _set_up(job: Job, fabric: Fabric) -> tuple[Average[SegmentationNetwork], nn.Module, Any]:
    """The running average of the weights, what computes the network's outputs, and the optimiser, on their device."""
    average = Average(job.network, job.options.ema)
    average.network.to(fabric.device)
    named = dict(job.network.named_parameters())
    for name, module in job.extra.items():
        named.update({f"{name}.{key}": parameter for key, parameter in module.named_parameters()})
    optimiser = make_optimiser(job.rows, named, job.options.optimiser)
    if job.arithmetic.channels_last:
        channels_last(job.network)
        channels_last(average.network)
    forward, optimiser = fabric.setup(job.network, optimiser)
    for module in job.extra.values():
        module.to(fabric.device)
    return average, forward, optimiser


def _kept(job: Job, average: Average[SegmentationNetwork], state: State, fabric: Fabric) -> SegmentationNetwork:
    """The network that training leaves; see `fit`."""
    network = job.stack.export(job.context, average.network if job.options.ema > 0 else job.network).eval()
    if job.options.patience is not None and state.best > float("-inf") and fabric.is_global_zero:
        best = load_checkpoint(job.folder / "best.pt", job.identity)
        if best is not None:
            network.load_state_dict(best["network"])
    if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):
        raise TrainingError(
            f"after {state.step} steps the network contains NaN or infinite values; "
            "set a smaller training.optimiser.lr, or weaker strategies"
        )
    return network


def _step(
    job: Job, forward: nn.Module, optimiser: Any, raw: RawBatch, state: State, fabric: Fabric
) -> dict[str, Tensor]:
    """One step of the optimiser; where the device's memory runs out, again in smaller parts."""
    while True:
        try:
            return _accumulate(job, forward, optimiser, raw, state.micro, fabric)
        except torch.OutOfMemoryError:
            size = raw.image.shape[0]
            if fabric.world_size > 1:
                raise TrainingError(
                    f"the device of process {fabric.global_rank} cannot hold a batch of {size}, which is not cut "
                    "into parts with several processes; set a smaller training.batch or training.patch"
                ) from None
            if state.micro >= size:
                raise TrainingError(
                    f"the device's memory cannot hold one sample of {tuple(job.plan.patch)}; "
                    "set a smaller training.patch or another training.device"
                ) from None
            state.micro = min(size, state.micro * 2)
            optimiser.zero_grad()
            torch.cuda.empty_cache()
            job.report({"micro_batches": float(state.micro)}, state.step)


def _accumulate(
    job: Job, forward: nn.Module, optimiser: Any, raw: RawBatch, micro: int, fabric: Fabric
) -> dict[str, Tensor]:
    plan, options = job.plan, job.options
    image = torch.from_numpy(raw.image).to(fabric.device, non_blocking=True)
    label = torch.from_numpy(raw.label).to(fabric.device, non_blocking=True)
    target = label.long()
    if not raw.crops:
        image, target = augment(
            image, label, plan.patch, job.spacing, job.strengths, raw.seed, options.augment, outside(plan), job.part
        )
    image = job.stack.inputs(job.context, image, raw.seed + job.part[0])
    image = image.contiguous(memory_format=_order(job))
    with fabric.autocast():
        known = job.stack.features(job.context, image, raw.crops)
    unlabelled, inside = _unlabelled(job, raw, fabric)
    optimiser.zero_grad()
    totals: dict[str, Tensor] = {}
    features = [None] * micro if known is None else list(zip(*(feature.chunk(micro) for feature in known), strict=True))
    others = [{}] * micro if unlabelled is None else _chunks(unlabelled, inside, micro)
    for part, truth, maps, other in zip(image.chunk(micro), target.chunk(micro), features, others, strict=False):
        output = forward(part) if maps is None else forward(part, maps)
        batch = {"image": part, "coded": truth, **_target(truth, plan), **other}
        terms: dict[str, Tensor] = {}
        if job.stack.supervised:
            terms["segmentation"] = deep_loss(job.loss, output.logits, output.deep, truth, plan)
        with fabric.autocast():
            terms.update(job.stack.losses(job.context, batch, output))
        loss = job.stack.combine(job.context, terms)
        if not bool(torch.isfinite(loss)):
            more = "" if options.precision == "32" else ", or set training.precision to 32"
            raise TrainingError(
                f"the loss is NaN or infinite at step {job.context.step}; set a smaller training.optimiser.lr{more}"
            )
        share = part.shape[0] / image.shape[0]
        fabric.backward(loss * share)
        for name, term in terms.items():
            totals[name] = totals.get(name, torch.zeros((), device=term.device)) + term.detach() * share
    _agree_on_gradients(job, fabric)
    fabric.clip_gradients(forward, optimiser, max_norm=options.clip, error_if_nonfinite=False)
    optimiser.step()
    return totals


def _target(truth: Tensor, plan: Plan) -> dict[str, Tensor]:
    target, counts = unpacked(truth, plan)
    return {"target": target} if counts is None else {"target": target, "counted": counts}


def _unlabelled(job: Job, raw: RawBatch, fabric: Fabric) -> tuple[Tensor | None, Tensor | None]:
    """Augmented patches of unlabelled cases, where a strategy learns from them, and which of their voxels lie in the
    scan: (batch, channel, *patch) and bool (batch, *patch)."""
    if raw.unlabelled is None:
        return None, None
    image = torch.from_numpy(raw.unlabelled.image).to(fabric.device, non_blocking=True)
    labels = torch.from_numpy(raw.unlabelled.label).to(fabric.device, non_blocking=True)
    strengths, strength = job.strengths, job.options.augment
    image, labels = augment(
        image, labels, job.plan.patch, job.spacing, strengths, raw.unlabelled.seed, strength, None, job.part
    )
    image = job.stack.inputs(job.context, image, raw.unlabelled.seed + job.part[0])
    return image.contiguous(memory_format=_order(job)), labels != BEYOND


def _order(job: Job) -> torch.memory_format:
    return CHANNELS_LAST[job.plan.dims] if job.arithmetic.channels_last else torch.contiguous_format


def _chunks(image: Tensor, inside: Tensor | None, micro: int) -> list[dict[str, Tensor]]:
    assert inside is not None
    pairs = zip(image.chunk(micro), inside.chunk(micro), strict=True)
    return [{"unlabelled": part, "inside": where} for part, where in pairs]


def _agree_on_gradients(job: Job, fabric: Fabric) -> None:
    """Modules that strategies brought are not wrapped for several devices: their gradients are averaged here."""
    if fabric.world_size == 1:
        return
    for module in job.extra.values():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.copy_(fabric.all_reduce(parameter.grad, reduce_op="mean"))


def _progress(options: Training, step: int, seconds: float, batches: Batches) -> float:
    budget = options.budget
    if budget.unit == "minutes":
        return seconds / (60 * budget.amount)
    steps = budget.amount * (batches.epoch_steps if budget.unit == "epochs" else 1)
    return step / steps


def _agreed(fabric: Fabric, progress: float) -> float:
    """The first process's clock counts for all: else one would stop a step before the others and leave them waiting."""
    return progress if fabric.world_size == 1 else float(fabric.broadcast(progress))


def _agree_on_start(job: Job, state: State, fabric: Fabric) -> None:
    """See that all processes go on from the same checkpoint.

    Raises:
        TrainingError: One does not see what another sees.
    """
    first = state.step if fabric.world_size == 1 else int(fabric.broadcast(state.step))
    if first != state.step:
        raise TrainingError(
            f"{job.folder}: process {fabric.global_rank} would begin at step {state.step}, the first one at {first}; "
            "the run's folder has to lie on storage that all processes share"
        )


def _out_of_patience(options: Training, state: State) -> bool:
    return options.patience is not None and state.without_better >= options.patience


def _look(job: Job, average: Average[SegmentationNetwork], state: State, clock: _Clock, fabric: Fabric) -> None:
    """Score what would be kept now on validation cases, and remember it if it is the best so far.

    Every strategy's `export` is applied to a copy first: a pruned network is scored pruned, a teacher that is kept is
    scored itself, and what patience goes back to is what was scored. Patience waits for what is done at set times.
    """
    kept = job.stack.export(job.context, deepcopy(average.network)).eval()
    scores = job.look(kept) if fabric.is_global_zero else {}
    scores = scores if fabric.world_size == 1 else fabric.broadcast(scores)  # or patience would end at different steps
    scores = {name: score for name, score in scores.items() if math.isfinite(score)}
    state.looks += 1
    state.seconds = clock.seconds
    score = next(iter(scores.values()), None)
    if score is not None and score > state.best:
        state.best, state.without_better = score, 0
        if job.options.patience is not None and fabric.is_global_zero:
            weights = {name: tensor.cpu() for name, tensor in kept.state_dict().items()}
            save_checkpoint(job.folder / "best.pt", {"identity": job.identity, "network": weights})
    elif score is not None and job.stack.settled(job.context):
        state.without_better += 1
    state.curve.append({"step": state.step, "seconds": round(state.seconds, 2), **scores})
    job.report({**scores, "minutes": state.seconds / 60}, state.step)


def _save(job: Job, average: Average[SegmentationNetwork], optimiser: Any, state: State, fabric: Fabric) -> None:
    if not fabric.is_global_zero:
        return
    save_checkpoint(
        job.folder / "last.pt",
        {
            "identity": job.identity,
            "state": {name: getattr(state, name) for name in State.__slots__},
            "network": job.network.state_dict(),
            "extra": {name: module.state_dict() for name, module in job.extra.items()},
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "stack": job.stack.state_dict(),
            "arithmetic": job.arithmetic.document(),
        },
    )


def _resume(job: Job, average: Average[SegmentationNetwork], optimiser: Any) -> State:
    """Go on from the last checkpoint of this very training, if there is one."""
    saved = load_checkpoint(job.folder / "last.pt", job.identity)
    if saved is None:
        return State()
    job.network.load_state_dict(saved["network"])
    for name, module in job.extra.items():
        module.load_state_dict(saved["extra"][name])
    average.load_state_dict(saved["average"])
    optimiser.load_state_dict(saved["optimiser"])
    job.stack.load_state_dict(saved["stack"])
    return State(**saved["state"])


def _of_budget(job: Job, state: State) -> str:
    budget = job.options.budget
    if budget.unit == "minutes":
        return f", {state.seconds / 60:.1f} of {budget.amount:g} min"
    return f" of {budget.amount * (job.batches.epoch_steps if budget.unit == 'epochs' else 1):g}"


class _Clock:
    """Seconds of training, those before an interruption counted in."""

    def __init__(self, before: float) -> None:
        self._before, self._start = before, time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start
