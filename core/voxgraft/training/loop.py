"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..errors import TrainingError
from ..networks.network import SegmentationNetwork
from ..support.torch_dims import channels_last
from .checkpoint import load_checkpoint, resume, save, save_checkpoint
from .job import Job, Live, State
from .optimiser import Average, make_optimiser, rate_factor, set_rate
from .step import take_step
from .targets import deep_loss

SAVE_EVERY = 30.0
"""Seconds between two checkpoints."""


def fit(job: Job, fabric: Fabric) -> tuple[SegmentationNetwork, State]:
    """Train until the budget is used up or patience has run out.

    Returns:
        The network to keep: the running average of the weights, through every strategy's `export`; and the state.

    Raises:
        TrainingError: The loss or what is kept is not a finite number, or the device's memory cannot hold one sample.
    """
    options, context, stack = job.options, job.context, job.stack
    context.criterion = lambda output, coded: deep_loss(job.loss, output.logits, output.deep, coded, job.plan)
    live = _set_up(job, fabric)
    resume(live)
    state = live.state
    saved = state.seconds
    if state.step:
        job.say(f"train: continues from step {state.step}{_of_budget(job, state)}")
    stream = job.batches.stream(state.step)
    loss = ""  # what a person sees of it; asking the device at each step would slow it down
    try:
        for raw in stream:
            progress = live.progress
            if progress >= 1 or _out_of_patience(live):
                break
            context.step, context.progress = state.step, progress
            torch.manual_seed(options.seed * 1_000_003 + state.step)
            context.factor = rate_factor(stack.schedule(progress), options.schedule)
            set_rate(live.optimiser, context.factor)
            stack.before_step(context)
            job.network.train()
            stack.train_mode(context)
            terms = take_step(live, raw)
            stack.after_step(context)
            live.average.update(job.network)
            state.step += 1
            state.seconds = live.seconds
            progress = live.progress
            if state.step % 10 == 0 or progress >= 1:
                loss = f", loss {_report(live, terms):.3f}"
            job.show(min(1.0, progress), f"step {state.step}{loss}")
            due = progress >= min(1.0, (state.looks + 1) * options.validate_every)
            if due:
                job.show(min(1.0, progress), f"step {state.step}{loss}, validating")
                _look(live)
            if due or state.seconds - saved > SAVE_EVERY:
                save(live)
                saved = state.seconds
    finally:
        stream.close()
    return _kept(live), state


def _set_up(job: Job, fabric: Fabric) -> Live:
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
    return Live(job, fabric, average, forward, optimiser)


def _of_budget(job: Job, state: State) -> str:
    if job.steps is None:
        return f", {state.seconds / 60:.1f} of {job.options.budget.amount:g} min"
    return f" of {job.steps:g}"


def _out_of_patience(live: Live) -> bool:
    patience = live.job.options.patience
    return patience is not None and live.state.without_better >= patience


def _report(live: Live, terms: dict[str, Tensor]) -> float:
    """Tell the terms of the loss and the learning rate; gives the loss."""
    numbers = {name: float(value) for name, value in terms.items()}
    shares = numbers if len(numbers) > 1 else {}  # a single term is the loss itself
    loss = sum(numbers.values())
    live.job.report({"loss": loss, **shares, "lr": live.optimiser.param_groups[0]["lr"]}, live.state.step)
    return loss


def _look(live: Live) -> None:
    """Score what would be kept now on validation cases, and remember it if it is the best so far.

    Every strategy's `export` is applied to a copy first: a pruned network is scored pruned, a teacher that is kept is
    scored itself, and what patience goes back to is what was scored. Patience waits for what is done at set times.
    """
    job, state, fabric = live.job, live.state, live.fabric
    kept = job.stack.export(job.context, deepcopy(live.average.network)).eval()
    scores = job.look(kept) if fabric.is_global_zero else {}
    scores = fabric.broadcast(scores)  # or patience would end at different steps
    scores = {name: score for name, score in scores.items() if math.isfinite(score)}
    state.looks += 1
    state.seconds = live.seconds
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


def _kept(live: Live) -> SegmentationNetwork:
    """The network that training leaves; see `fit`."""
    job, state = live.job, live.state
    network = job.stack.export(job.context, live.average.network if job.options.ema > 0 else job.network).eval()
    if job.options.patience is not None and state.best > float("-inf") and live.fabric.is_global_zero:
        best = load_checkpoint(job.folder / "best.pt", job.identity)
        if best is not None:
            network.load_state_dict(best["network"])
    if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):
        raise TrainingError(
            f"after {state.step} steps the network contains NaN or infinite values; "
            "set a smaller training.optimiser.lr, or weaker strategies"
        )
    return network
