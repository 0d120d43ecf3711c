"""Do the images serve the workflow: channels, axes, modality, and numbers that the modality stands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..datasets.cases import Dataset
from ..preprocessing.modality import ModalitySpec, like_hounsfield, not_hounsfield
from ..support.texts import counted
from ..workflow.requirements import channels_of
from .problem import CaseProblem, Severity, millimetres

if TYPE_CHECKING:
    from ..workflow.workflow import Workflow
    from .record import Look

APART = 1.25
"""How many times coarser or finer voxels may be than those of a pretraining before that is told."""

NAMES = {"ct": "CT", "mr": "MR", "mri": "MR", "t1": "MR", "t2": "MR", "flair": "MR", "pet": "PT", "us": "US"}
"""Names that data sets give to channels, and the DICOM modality they mean."""


def judge_channels(dataset: Dataset, looks: Sequence[Look], workflow: Workflow | None) -> Iterator[CaseProblem]:
    """Against the names of channels where a workflow is there, else against what most images have.

    Args:
        workflow: None where a folder is checked without one.
    """
    named = workflow is not None
    read = [look for look in looks if look.channels]
    if not read:
        return
    usual = Counter(len(look.channels) for look in read).most_common(1)[0][0]
    expected, where = (len(dataset.channels), "the data set names") if named else (usual, "most images have")
    used = named or any(look.case.label is not None for look in looks)
    severity: Severity = "error" if used else "warning"  # a pile of images need not be of one kind
    for look in read:
        lacking = look.case.images.count(None)  # channels that a case may lack
        if len(look.channels) != expected - lacking and (named or not lacking):
            message = f"the image has {_channels(len(look.channels), workflow)}, and {where} {expected}"
            yield CaseProblem("channel-count", severity, look.case.id, message)


def _channels(number: int, workflow: Workflow | None) -> str:
    """So many channels; one is called grey where the workflow is for colours."""
    colours = workflow is not None and len(channels_of(workflow)) > 1
    return "1 channel (it is grey)" if number == 1 and colours else counted(number, "channel")


def judge_voxels(look: Look, codes: Sequence[str], names: Sequence[str] = ()) -> Iterator[CaseProblem]:
    """What is wrong with the numbers of an image.

    Args:
        codes: The DICOM modalities that the workflow is for; empty where none is known.
        names: Of the channels; one that is called a CT may hold Hounsfield units beside others.
    """
    several = len(look.channels) > 1
    if len(look.shape) == 3 and min(look.shape) == 1:
        yield CaseProblem("flat-image", "warning", look.case.id, "the volume is one slice thick")
    for number, channel in enumerate(look.channels, 1):
        which = f"channel {number} of the image" if several else "the image"
        if channel.bad:
            share = f"{channel.bad} voxels of {which} ({channel.bad / channel.size:.2%}) are NaN or infinite"
            yield CaseProblem("nan-voxels", "warning", look.case.id, share)
        if channel.constant:
            message = f"every voxel of {which} is {channel.least:g}"
            yield CaseProblem("constant-image", "warning", look.case.id, message)
            continue
        hounsfield = look.modality == "CT" or (look.modality is None and tuple(codes) == ("CT",))
        why = not_hounsfield(channel.least, channel.greatest) if hounsfield else ""
        if why:
            message = f"{which} is not a CT in Hounsfield units: {why}"
            yield CaseProblem("not-hounsfield", "warning", look.case.id, message)
        elif channel.distinct > 16 and channel.at_most > 0.01 and not (several and len(look.shape) == 2):
            share = f"{channel.at_most:.1%} of the voxels of {which}"
            message = f"{share} have its greatest value {channel.greatest:g}: it is clipped"
            yield CaseProblem("clipped-image", "warning", look.case.id, message)
        if (
            look.modality is None
            and codes
            and "CT" not in codes
            and "CT" not in (NAMES.get(name.casefold()) for name in names[number - 1 : number])
            and like_hounsfield(channel.low, channel.high, channel.whole)
        ):
            wanted = " or ".join(codes[:3])
            message = f"{which} holds what looks like Hounsfield units, and the workflow is for {wanted}"
            yield CaseProblem("other-modality", "warning", look.case.id, message)


def judge_modality(dataset: Dataset, looks: Sequence[Look], workflow: Workflow) -> Iterator[CaseProblem]:
    """Axes and modality against the workflow's.

    Args:
        dataset: Gives the names of channels.
    """
    if workflow.model.dims == 3 and any(len(look.shape) == 2 for look in looks):
        yield CaseProblem("dims", "error", None, "the images are 2D: set model.dims to 2")
    codes = codes_of(workflow)
    name = workflow.data.modality.name
    for look in looks:
        if codes and look.modality is not None and look.modality not in codes:
            message = f"the image is of modality {look.modality}, the workflow is for {name!r}"
            yield CaseProblem("other-modality", "warning", look.case.id, message)
    meant = {NAMES[channel.casefold()] for channel in dataset.channels if channel.casefold() in NAMES}
    if codes and meant and not meant & set(codes) and name != "image":
        message = f"the data set calls its channels {', '.join(dataset.channels[:4])}, the workflow is for {name!r}"
        yield CaseProblem("other-modality", "warning", None, message)


def judge_pretrained(workflow: Workflow) -> Iterator[CaseProblem]:
    """Whether the encoder's own pretrained weights get images as they saw them: of the same modality and spacing."""
    saw = workflow.model.saw
    if saw is None:
        return
    own, spacing = workflow.data.modality.name, workflow.data.spacing or ()
    if saw.modality not in ("", own):
        message = f"the weights of {saw.name!r} were pretrained on images of modality {saw.modality!r}, not {own!r}"
        yield CaseProblem("other-than-pretrained", "warning", None, message)
    if len(spacing) == len(saw.spacing) and any(
        not 1 / APART < a / b < APART for a, b in zip(spacing, saw.spacing, strict=True)
    ):
        seen = f"the weights of {saw.name!r} were pretrained at {millimetres(saw.spacing)} mm"
        message = f"{seen}, data.spacing is {millimetres(spacing)}"
        yield CaseProblem("other-than-pretrained", "warning", None, message)


def codes_of(workflow: Workflow | None) -> tuple[str, ...]:
    """The DICOM modalities that a workflow's modality stands for."""
    spec = workflow.data.modality.component if workflow is not None else None
    return spec.dicom if isinstance(spec, ModalitySpec) else ()
