"""One step of a training: augmented patches, the terms of the loss, and a step of the optimiser."""

from __future__ import annotations

from itertools import repeat

import torch
from torch import Tensor

from ..errors import TrainingError
from ..preprocessing.plan import outside
from ..support.torch_dims import CHANNELS_LAST
from .augment import augment
from .batches import BEYOND, RawBatch
from .job import Live
from .targets import deep_loss, unpacked


def take_step(live: Live, raw: RawBatch) -> dict[str, Tensor]:
    """One step of the optimiser; where the device's memory runs out, again in smaller parts.

    Returns:
        The terms of the loss over the whole batch.

    Raises:
        TrainingError: The loss is not a finite number, or the device's memory cannot hold one sample.
    """
    job, state, fabric, size = live.job, live.state, live.fabric, raw.image.shape[0]
    while True:
        try:
            return accumulate(live, raw)
        except torch.OutOfMemoryError:
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
            live.optimiser.zero_grad()
            torch.cuda.empty_cache()
            job.report({"micro_batches": float(state.micro)}, state.step)


def accumulate(live: Live, raw: RawBatch) -> dict[str, Tensor]:
    """One step of the optimiser, its gradient summed over the parts that the batch is cut into."""
    job, fabric, micro = live.job, live.fabric, live.state.micro
    image, target = _patches(live, raw)
    with fabric.autocast():
        known = job.stack.features(job.context, image, raw.crops)
    batch = {"image": image, "coded": target, **_unlabelled(live, raw)}
    live.optimiser.zero_grad()
    totals: dict[str, Tensor] = {}
    parts = zip(*(tensor.chunk(micro) for tensor in batch.values()), strict=True)
    maps = repeat(None) if known is None else zip(*(feature.chunk(micro) for feature in known), strict=True)
    for tensors, features in zip(parts, maps, strict=False):
        part = dict(zip(batch, tensors, strict=True))
        terms = _terms(live, part, features)
        share = part["image"].shape[0] / image.shape[0]
        fabric.backward(_combined(live, terms) * share)
        for name, term in terms.items():
            totals[name] = totals.get(name, torch.zeros((), device=term.device)) + term.detach() * share
    _agree_on_gradients(live)
    fabric.clip_gradients(live.forward, live.optimiser, max_norm=job.options.clip, error_if_nonfinite=False)
    live.optimiser.step()
    return totals


def _patches(live: Live, raw: RawBatch) -> tuple[Tensor, Tensor]:
    """The images (batch, channel, *patch) as the network is to see them, and their labels, int64 (batch, *patch)."""
    if raw.crops:  # they were augmented when they were made
        image, label = _on_device(live, raw)
        return _seen(live, image, raw.seed), label.long()
    image, label = _augmented(live, raw, outside(live.job.plan))
    return _seen(live, image, raw.seed), label


def _unlabelled(live: Live, raw: RawBatch) -> dict[str, Tensor]:
    """Augmented patches of unlabelled cases, where a strategy learns from them, and which of their voxels lie in the
    scan: (batch, channel, *patch) and bool (batch, *patch)."""
    if raw.unlabelled is None:
        return {}
    image, label = _augmented(live, raw.unlabelled, None)
    return {"unlabelled": _seen(live, image, raw.unlabelled.seed), "inside": label != BEYOND}


def _augmented(live: Live, raw: RawBatch, beyond: int | None) -> tuple[Tensor, Tensor]:
    job, (image, label) = live.job, _on_device(live, raw)
    strength = job.options.augment
    return augment(image, label, job.plan.patch, job.spacing, job.strengths, raw.seed, strength, beyond, job.part)


def _on_device(live: Live, raw: RawBatch) -> tuple[Tensor, Tensor]:
    image, label = (
        torch.from_numpy(array).to(live.fabric.device, non_blocking=True) for array in (raw.image, raw.label)
    )
    return image, label


def _seen(live: Live, image: Tensor, seed: int) -> Tensor:
    """The images as strategies leave them, in the order in memory that was chosen."""
    job = live.job
    image = job.stack.inputs(job.context, image, seed + job.part[0])
    last = job.arithmetic.channels_last
    return image.contiguous(memory_format=CHANNELS_LAST[job.plan.dims] if last else torch.contiguous_format)


def _terms(live: Live, part: dict[str, Tensor], features: tuple[Tensor, ...] | None) -> dict[str, Tensor]:
    """The terms of the loss of one part: that of the labels, and what strategies add."""
    job = live.job
    output = live.forward(part["image"]) if features is None else live.forward(part["image"], features)
    target, counted = unpacked(part["coded"], job.plan)
    batch = {**part, "target": target, **({} if counted is None else {"counted": counted})}
    terms: dict[str, Tensor] = {}
    if job.stack.supervised:
        terms["segmentation"] = deep_loss(job.loss, output.logits, output.deep, part["coded"], job.plan)
    with live.fabric.autocast():
        terms.update(job.stack.losses(job.context, batch, output))
    return terms


def _combined(live: Live, terms: dict[str, Tensor]) -> Tensor:
    """One number of all terms.

    Raises:
        TrainingError: It is not finite.
    """
    job = live.job
    loss = job.stack.combine(job.context, terms)
    if not bool(torch.isfinite(loss)):
        more = "" if job.options.precision == "32" else ", or set training.precision to 32"
        raise TrainingError(
            f"the loss is NaN or infinite at step {job.context.step}; set a smaller training.optimiser.lr{more}"
        )
    return loss


def _agree_on_gradients(live: Live) -> None:
    """Modules that strategies brought are not wrapped for several devices: their gradients are averaged here."""
    if live.fabric.world_size == 1:
        return
    for module in live.job.extra.values():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.copy_(live.fabric.all_reduce(parameter.grad, reduce_op="mean"))
