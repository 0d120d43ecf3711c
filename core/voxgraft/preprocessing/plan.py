"""The plan: every number that follows from the fingerprint, and travels with the weights; and an image as it asks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le, Len
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..components.choice import Options
from ..errors import ModelError
from ..imaging.orientation import shape_at
from ..imaging.resample import Interpolation, resample_image
from ..imaging.structures import Region
from ..imaging.volume import Align, Array
from ..support.files import read_bytes

if TYPE_CHECKING:
    from .modality import Modality

_Range = Annotated[Sequence[float], Len(2, 2)]
_Rule = dict[Literal["modality", "takes", "leaves", "orientation"], Sequence[str]]


class _Contract(BaseModel):
    """What a plan may expect of scans; other keys are left alone."""

    model_config = ConfigDict(extra="allow", strict=True)

    modality: Sequence[str] | None = None
    spacing_mm: Sequence[_Range] | None = None
    size_mm: Sequence[_Range] | None = None
    values: Sequence[_Range] | None = None
    units: Sequence[str] | None = None
    series: _Rule | None = None
    described: Sequence[_Rule] | None = None


def _checked(contract: dict[str, Any]) -> dict[str, Any]:
    try:
        _Contract.model_validate(contract)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return contract


class Plan(Options):
    """How images become what the network sees. Training and prediction read the same plan.

    A 3D network sees volumes in RAS order of axes, resampled to `spacing`. A 2D network sees the slices of such a
    volume along `slice_axis`, or 2D images as they are.
    """

    version: Literal[1] = 1
    dims: Literal[2, 3]
    """Axes of the network."""

    image_dims: Literal[2, 3]
    """Axes of the images: 3 with `dims` 2 means slice by slice."""

    channels: tuple[str, ...]
    """Names of the input channels."""

    labels: tuple[tuple[int, str], ...]
    """Value in masks and name of each structure, by class: class 0 is background, class 1 the first of these. Of a
    network of regions: what each region is painted with, or its place from 1, and its name."""

    regions: tuple[Region, ...] = ()
    """Where there are any, the network has a sigmoid output for each of them, and no background; they may overlap.
    Their members are values of `structures`."""

    structures: tuple[int, ...] = ()
    """The values in the masks of the training data that regions are made of, in their order."""

    paint: tuple[int, ...] = ()
    """The value with which each region is painted over those before it; where there are none, predictions hold a
    channel for each region."""

    ignored: int | None = None
    """The value in masks of voxels that counted neither in training nor in scores."""

    optional: tuple[str, ...] = ()
    """The channels that a scan may lack."""

    readers: dict[str, dict[str, Any]] = Field(default={})
    """Options of readers by their names, with which the training data were read; scans to segment are read so too."""

    modality: str
    normalisation: tuple[dict[str, float], ...]
    """The modality's numbers, by channel."""

    spacing: tuple[Annotated[float, Ge(1e-6), Le(1e4)], ...]
    """Millimetres between voxels, along the image's axes in RAS order."""

    interpolation: Interpolation = "linear"
    """How images are brought to that spacing."""

    slice_axis: int = 2
    """For slices of volumes: the axis (in RAS order) that is walked along."""

    patch: tuple[Annotated[int, Ge(1), Le(8192)], ...]
    """Voxels of a training patch and of an inference window, along the network's axes."""

    batch: Annotated[int, Ge(1), Le(4096)]
    strides: tuple[tuple[Annotated[int, Ge(1), Le(8192)], ...], ...]
    """For each level of the network, how much coarser than the image it is along each axis."""

    mirrored: tuple[int, ...] = ()
    """The network's axes along which training mirrored patches; prediction mirrors along no others."""

    align: Align | None = None
    """How channels from files or series of their own come onto one grid; None where they must lie on one."""

    contract: Annotated[dict[str, Any], AfterValidator(_checked)] = Field(default={})
    """What incoming scans are compared with: modality codes, ranges of spacing and size seen in training."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Plan:
        """Lists with an entry for each axis, channel or output have as many: without this each scan would fail, or be
        compared with nothing."""
        images, network = (self.image_dims, "axes of the images"), (self.dims, "axes of the network")
        channels, outputs = (len(self.channels), "channels"), (len(self.labels), "outputs")
        lists: dict[str, tuple[Sequence[Any], tuple[int, str]]] = {
            "spacing": (self.spacing, images),
            "patch": (self.patch, network),
            "normalisation": (self.normalisation, channels),
            **{f"strides.{level}": (steps, network) for level, steps in enumerate(self.strides)},
            **{name: (part, outputs) for name in ("regions", "paint") if (part := getattr(self, name))},
        }
        ranges = {"spacing_mm": images, "size_mm": images, "values": channels}
        lists |= {f"contract.{key}": (part, size) for key, size in ranges.items() if (part := self.contract.get(key))}
        for name, (entries, (number, of)) in lists.items():
            if len(entries) != number:
                raise ValueError(f"{name} has the length {len(entries)}, and there are {number} {of}")
        if not self.strides or not self.channels or self.dims > self.image_dims:
            raise ValueError("a network needs channels and levels, and has no more axes than its images")
        if not 0 <= self.slice_axis < 3 or any(not 0 <= axis < self.dims for axis in self.mirrored):
            raise ValueError("slice_axis or mirrored names an axis that is not there")
        return self

    @property
    def classes(self) -> int:
        """Outputs of the network."""
        return len(self.labels) + (0 if self.regions else 1)

    @property
    def values(self) -> tuple[int, ...]:
        """The value in masks of each class, background first."""
        return (0, *(value for value, _ in self.labels))


def read_plan(path: Path) -> Plan:
    """The plan in a JSON file."""
    try:
        return Plan.model_validate_json(read_bytes(path))
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no plan") from None
    except OSError as error:
        raise ModelError(f"{path}: is not a plan: {error.strerror}") from None
    except ValidationError as error:
        raise ModelError(f"{path}: is not a plan: {fault_of(error)}") from None


def fault_of(error: ValidationError) -> str:
    """What is wrong with the numbers of a plan, the first of it: where, and why."""
    first = error.errors()[0]
    return ": ".join([*filter(None, [".".join(map(str, first["loc"]))]), first["msg"].removeprefix("Value error, ")])


def network_image(
    array: Array, spacing: tuple[float, ...], plan: Plan, modality: Modality, missing: Sequence[int] = ()
) -> NDArray[np.float32]:
    """Normalise and resample (channel, *spatial), axes in RAS order: the one path for training and for prediction.

    Args:
        missing: The channels that are not there; the network sees zeros in them, the mean of what is.
    """

    def normalised(voxels: Array) -> NDArray[np.float32]:
        result = modality.normalise(voxels, plan.normalisation)
        if missing:
            result = np.array(result)
            result[list(missing)] = 0
        return result

    shape = shape_at(array.shape[1:], spacing, plan.spacing)
    if getattr(modality, "voxelwise", False):  # plane by plane: there is never a copy of the scan in float32
        return resample_image(array, shape, plan.interpolation, normalised)
    return resample_image(normalised(array), shape, plan.interpolation)


def encoded_type(plan: Plan) -> type[np.uint8] | type[np.int16] | type[np.int32]:
    """The smallest type of class indices with their two codes, or of bits, that training and its libraries take."""
    if plan.regions:
        return np.uint8 if plan.classes + (plan.ignored is not None) <= 8 else np.int32
    return np.uint8 if plan.classes <= 254 else np.int16


def outside(plan: Plan) -> int | None:
    """The class index of voxels beyond the image, before augmentation makes them background; None where each region
    has a bit. It is the largest number of the type, which no class has."""
    return None if plan.regions else int(np.iinfo(encoded_type(plan)).max)


def left_out(plan: Plan) -> int:
    """The class index of voxels that count neither in the loss nor in scores: the largest number but one."""
    return int(np.iinfo(encoded_type(plan)).max) - 1


def left_out_bit(plan: Plan) -> int:
    """The bit of voxels that count nowhere, where each region has a bit."""
    return 1 << plan.classes
