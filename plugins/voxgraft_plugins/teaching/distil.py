"""Distillation: learn the outputs and the maps of a larger or older model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import CONVOLUTION, Context, Output, SegmentationNetwork, TrainingError

from .options import DistilOptions
from .own import Teaching, has_regions, levels_of, map_at, resized
from .soft import divergence

if TYPE_CHECKING:
    from voxgraft.plugin import Models, Plan

ADAPTER = "distil_adapter"
SCALES = frozenset({"low", "high", "mean", "std", "white"})


class Distil(Teaching):
    """Distillation (Hinton et al. 2015): `weight * T^2 KL(teacher_T || student_T)`, summed over classes and averaged
    over the voxels that count. FitNets (Romero et al. 2015): `features` times the mean squared difference of a map of
    the teacher and the student's, brought to the same number of channels by a learnt 1x1 convolution.

    The teacher computes as in prediction and without gradient, on the same patches; where the two plans scale
    intensities by other numbers, it sees them in its own.
    """

    name = "distil"
    needs = frozenset({"teacher"})

    def __init__(self, options: DistilOptions) -> None:
        self._options = options
        self.teacher: SegmentationNetwork | None = None
        self._plans: tuple[Plan, Plan] | None = None

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        if self.teacher is None:
            self.teacher, plan = trained(self._options.teacher, context.models)
            if context.plan is not None:
                complain_of_difference(self._options.teacher, plan, context.plan)
                self._plans = (context.plan, plan)
        self.teacher.eval().requires_grad_(False)
        if self._options.features == 0:
            return {}
        width, teacher_width = (
            map_at(levels_of(network), self._options.level, "distil.level")
            for network in (context.network, self.teacher)
        )
        return {ADAPTER: CONVOLUTION[context.network.dims](width, teacher_width, 1)}

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        image = batch["image"]
        if self.teacher is None:
            raise TrainingError("transfer: 'distil' has no teacher")
        self.teacher = self.teacher.to(image.device).eval()
        with torch.no_grad():
            if self._plans is not None:
                image = rescaled(image, *self._plans)
            teacher_output: Output = self.teacher(image)
        terms = {}
        if self._options.weight > 0:
            heat, regions = self._options.temperature, has_regions(context)
            kl = divergence(output.logits, teacher_output.logits, heat, regions, batch.get("counted"))
            terms["distil"] = self._options.weight * kl
        if self._options.features > 0:
            target = teacher_output.features[self._options.level].float()
            student = context.extra[ADAPTER](output.features[self._options.level]).float()
            loss = functional.mse_loss(student, resized(target, student))
            terms["distil_features"] = self._options.features * loss
        return terms


def trained(reference: str, models: Models | None) -> tuple[SegmentationNetwork, Plan]:
    """The network of a package, and the plan it was trained by.

    Raises:
        ModelError: There is no such model, or it cannot be used here.
    """
    from voxgraft.plugin import Predictor, Resolver

    if not isinstance(models, Resolver):
        raise TrainingError(f"transfer: the teacher {reference} can be looked up only during a training")
    package = models.resolve(reference)
    return Predictor(package, models.catalogue, device="cpu").network, package.plan


def complain_of_difference(reference: str, teacher: Plan, student: Plan) -> None:
    """Both must see the same patches and find the same structures.

    Args:
        reference: Names the teacher, for the message.
        teacher: The plan that the teacher was trained with.
        student: The plan of this training.

    Raises:
        TrainingError: They do not; the message says in what they differ.
    """
    pairs: dict[str, tuple[Any, Any]] = {
        "axes (model.dims)": (teacher.dims, student.dims),
        "channels": (teacher.channels, student.channels),
        "structures (data.labels)": (teacher.labels, student.labels),
        "regions (data.regions)": (teacher.regions, student.regions),
        "modality (data.modality)": (teacher.modality, student.modality),
    }
    if student.dims != student.image_dims:
        pairs["axis that is cut across"] = (teacher.slice_axis, student.slice_axis)
    for key, (of_teacher, of_student) in pairs.items():
        if of_teacher != of_student:
            raise TrainingError(
                f"transfer: the teacher {reference} has other {key}: {of_teacher}, this run has {of_student}"
            )
    if any(abs(a - b) > 0.01 * b for a, b in zip(teacher.spacing, student.spacing, strict=True)):
        raise TrainingError(
            f"transfer: the teacher {reference} sees voxels of {list(teacher.spacing)} mm, this run of "
            f"{list(student.spacing)} mm; set data.spacing: {list(teacher.spacing)}"
        )
    unknown = {key for plan in (teacher, student) for numbers in plan.normalisation for key in numbers} - SCALES
    if teacher.normalisation != student.normalisation and unknown:
        raise TrainingError(
            f"transfer: the teacher {reference} was trained on intensities scaled in another way "
            f"({', '.join(sorted(unknown))}), which cannot be undone"
        )


def rescaled(image: Tensor, student: Plan, teacher: Plan) -> Tensor:
    """Patches (batch, channel, *spatial) as a teacher's plan scales intensities, from the student's scale.

    Args:
        image: As this training normalises it.
        student: The plan of this training.
        teacher: The plan that the teacher was trained with.
    """
    if student.normalisation == teacher.normalisation:
        return image
    channels = []
    for index, (source, target) in enumerate(zip(student.normalisation, teacher.normalisation, strict=True)):
        values = (image[:, index] * source.get("std", 1.0) + source.get("mean", 0.0)) * source.get("white", 1.0)
        values = values / target.get("white", 1.0)
        values = values.clamp(target.get("low", -torch.inf), target.get("high", torch.inf))
        channels.append((values - target.get("mean", 0.0)) / target.get("std", 1.0))
    return torch.stack(channels, 1)
