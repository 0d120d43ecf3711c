"""From the fingerprint to the plan: spacing, patch, levels of the network, batch.

The rules are those that nnU-Net showed to work (Isensee et al., Nature Methods 2021): the median spacing, a finer one
along a strongly anisotropic axis, patches as large as memory allows in the shape of the median image, and levels that
halve an axis only once its voxels are no longer much thicker than the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..datasets.cases import Dataset
from ..datasets.options import Data
from ..errors import DataError, TrainingError
from ..imaging.orientation import shape_at
from ..imaging.structures import Labels
from .modality import HOUNSFIELD, KnowsUnits, Modality, ModalitySpec
from .plan import Plan, fault_of

ANISOTROPIC = 3.0
SMALLEST = 4
"""Voxels along an axis of the coarsest level."""

VOXELS = {("cpu", 2): 192 * 192, ("cpu", 3): 96_000, ("cuda", 2): 512 * 512, ("cuda", 3): 128**3}
"""The largest patch, by device and axes of the network."""

BATCH = {("cpu", 2): 12, ("cpu", 3): 2, ("cuda", 2): 24, ("cuda", 3): 4}
LEVELS = {2: 7, 3: 6}
COVERED = (75, 90, 100)
"""Percentiles of the sizes of scans that a patch may cover whole, besides the median."""


def derive_plan(
    fingerprint: Mapping[str, Any],
    dataset: Dataset,
    labels: Labels,
    data: Data,
    modality: Modality,
    device: str,
    *,
    dims: Literal[2, 3],
    patch: Sequence[int] | Literal["auto"] = "auto",
    batch: int | Literal["auto"] = "auto",
) -> Plan:
    """Every number that training and prediction need.

    Args:
        fingerprint: What `summarise` made of the measured cases.
        dataset: Gives the channels and how they are aligned, and what scans its model will be for.
        data: The workflow's section: spacing, modality, options of readers.
        modality: Plans how intensities are normalised.
        device: `cuda` or `cpu`: how large a patch may be.
        dims: Axes of the network, 2 or 3; a 2D network works on slices of 3D images.

    Raises:
        DataError: 2D images are to be fed to a 3D network, or a spacing lies beyond what a plan holds.
        TrainingError: A number the workflow fixes does not fit the images.
    """
    cases = list(fingerprint["cases"].values())
    image_dims = len(cases[0]["shape"])
    if any(len(case["shape"]) != image_dims for case in cases):
        raise DataError("some images are 2D and some 3D; train on one kind at a time")
    if dims > image_dims:
        raise DataError("the images are 2D: set model.dims to 2")
    spacing = _target_spacing(cases, data.spacing, image_dims)
    slice_axis = _slice_axis(spacing)
    seen = [axis for axis in range(image_dims) if image_dims == dims or axis != slice_axis]
    shapes = np.array([shape_at(case["shape"], case["spacing"], spacing) for case in cases])
    kind = "cuda" if device.startswith("cuda") else "cpu", dims
    shape, strides = _patch_and_strides(shapes[:, seen], [spacing[axis] for axis in seen], patch, kind)
    normalisation = tuple(modality.plan(fingerprint["intensities"]))
    units = modality.units(normalisation) if isinstance(modality, KnowsUnits) else ()
    try:
        return Plan(
            dims=dims,
            image_dims=image_dims,  # type: ignore[arg-type]  # 2 or 3: checked above
            channels=dataset.channels,
            labels=_outputs(labels),
            regions=labels.regions,
            structures=labels.values if labels.regions else (),
            paint=labels.paint,
            ignored=labels.ignored,
            optional=dataset.optional,
            readers=data.reader_options,
            modality=data.modality.name,
            normalisation=normalisation,
            spacing=tuple(spacing),
            interpolation=data.interpolation,
            slice_axis=slice_axis,
            patch=shape,
            batch=batch if batch != "auto" else _batch(shape, kind),
            strides=strides,
            align=dataset.align,
            contract=_contract(cases, dataset, data, fingerprint["intensities"], units),
        )
    except ValidationError as error:
        raise DataError(
            f"no plan can be made of these scans: {fault_of(error)}; compare the images with the scanner's protocol "
            "(`voxgraft inspect`)"
        ) from None


def _patch_and_strides(
    shapes: NDArray[Any], steps: Sequence[float], patch: Sequence[int] | Literal["auto"], kind: tuple[str, int]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The patch, and the strides of the levels that it has voxels for; `kind` is the device and the network's axes."""
    levels = LEVELS[kind[1]]
    shape = tuple(patch) if patch != "auto" else _patch(shapes, steps, VOXELS[kind], levels)
    strides = network_strides(shape, steps, levels)
    return _fit(shape, strides[-1]), strides


def _batch(patch: Sequence[int], kind: tuple[str, int]) -> int:
    """As many patches as the largest ones would be in memory, within bounds."""
    usual = BATCH[kind]
    return max(2, min(4 * usual, int(usual * VOXELS[kind] / float(np.prod(patch)))))


def network_strides(patch: Sequence[int], spacing: Sequence[float], levels: int) -> tuple[tuple[int, ...], ...]:
    """Cumulative strides of each level, from 1: an axis is halved while it has voxels left and is not the thick one.

    Args:
        levels: At most so many.

    Examples:
        >>> network_strides((64, 64, 16), (1.0, 1.0, 4.0), levels=4)
        ((1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 8, 2))
    """
    size, step = np.array(patch, dtype=float), np.array(spacing, dtype=float)
    strides = [np.ones(len(size), dtype=int)]
    while len(strides) < levels:
        halve = (size / 2 >= SMALLEST) & (step < 2 * step[size / 2 >= SMALLEST].min(initial=np.inf))
        if not halve.any():
            break
        factor = np.where(halve, 2, 1)
        size, step = np.ceil(size / factor), step * factor
        strides.append(strides[-1] * factor)
    return tuple(tuple(int(v) for v in level) for level in strides)


def _outputs(labels: Labels) -> tuple[tuple[int, str], ...]:
    """Value and name of each output of the network but background."""
    if not labels.regions:
        return tuple((label.value, label.name) for label in labels.items)
    values = labels.paint or range(1, len(labels.regions) + 1)
    return tuple((value, region.name) for value, region in zip(values, labels.regions, strict=True))


def _slice_axis(spacing: Sequence[float]) -> int:
    """Slices are cut across the coarsest axis; where the axes are alike, from foot to head."""
    coarsest = int(np.argmax(spacing))
    return coarsest if spacing[coarsest] > 1.2 * spacing[-1] else 2


def _target_spacing(cases: Sequence[Mapping[str, Any]], chosen: Sequence[float] | None, image_dims: int) -> list[float]:
    if chosen is not None:
        if len(chosen) != image_dims:
            raise TrainingError(f"data.spacing has {len(chosen)} numbers, the images have {image_dims} axes")
        return [float(step) for step in chosen]
    spacings = np.array([case["spacing"] for case in cases], dtype=float)
    target = np.median(spacings, axis=0)
    worst = int(np.argmax(target))
    others = np.delete(target, worst)
    if target[worst] > ANISOTROPIC * others.max():
        finer = float(np.percentile(spacings[:, worst], 10))
        target[worst] = max(finer, float(others.max()))
    return [round(float(step), 6) or float(step) for step in target]


def _patch(shapes: np.ndarray[Any, Any], spacing: Sequence[float], most: int, levels: int) -> tuple[int, ...]:
    """Voxels of a patch along each axis, before every level has to divide them.

    Small scans are covered whole, as many of them as make prediction cheapest: a window that covers also the largest
    has more voxels, one that covers the median alone cuts the others into several. Of scans that are too large for that
    it is the part in the shape of the median.

    Args:
        shapes: Voxels of each case (case, axis), at the spacing of the network.
        most: Voxels of the largest patch.
        levels: Of the network, at most.
    """
    median = np.median(shapes, axis=0).round()
    sizes = [median, *(np.percentile(shapes, share, axis=0).round() for share in COVERED)]
    wholes = [_fit([max(8, int(n)) for n in size], _coarsest(size, spacing, levels)) for size in sizes]
    wholes = [whole for whole in wholes if np.prod(whole) <= most]
    if wholes:
        return min(wholes, key=lambda whole: _computed(shapes, whole))
    patch = median.astype(float)
    while patch.prod() > most:
        longest = int(np.argmax(patch * np.array(spacing)))
        patch[longest] *= 0.95
    return tuple(max(8, int(n)) for n in patch)


def _coarsest(size: Sequence[float], spacing: Sequence[float], levels: int) -> tuple[int, ...]:
    return network_strides([max(8, int(n)) for n in size], spacing, levels)[-1]


def _computed(shapes: np.ndarray[Any, Any], patch: Sequence[int]) -> float:
    """Voxels in all windows of all scans, windows that overlap by half."""
    step = np.maximum(1, np.array(patch) // 2)
    windows = 1 + np.maximum(0, -(-(shapes - np.array(patch)) // step))
    return float(windows.prod(1).sum() * np.prod(patch))


def _fit(patch: Sequence[int], coarsest: Sequence[int]) -> tuple[int, ...]:
    """The next larger patch that every level divides."""
    return tuple(-(-n // stride) * stride for n, stride in zip(patch, coarsest, strict=True))


def _contract(
    cases: Sequence[Mapping[str, Any]],
    dataset: Dataset,
    data: Data,
    intensities: Sequence[Mapping[str, float]],
    units: Sequence[str],
) -> dict[str, Any]:
    """What incoming scans are compared with: the ranges seen in training, and the rules by which series were chosen.

    A channel in Hounsfield units is a CT, whatever the modality of the others. `units` are those of the channel that
    gives the grid, as its files say them or else the modality.
    """
    spacing = np.array([case["spacing"] for case in cases], dtype=float)
    size = spacing * np.array([case["shape"] for case in cases], dtype=float)
    codes = {case["modality"] for case in cases if case.get("modality")}
    spec = data.modality.component
    codes |= set(spec.dicom) if isinstance(spec, ModalitySpec) else set()
    codes |= {code for channel in dataset.described for code in channel.modality}
    codes |= {"CT"} if HOUNSFIELD in units else set()
    grid = dataset.align.onto if dataset.align is not None else 0
    said = {case["unit"] for case in cases if case.get("unit")} or set(units[grid : grid + 1]) - {""}
    described = [channel.document() for channel in dataset.described]
    values = [[round(float(channel[name]), 3) for name in ("p00_5", "p99_5")] for channel in intensities]
    return {
        "modality": sorted(codes),
        "channels": len(dataset.channels),
        "spacing_mm": _ranges(spacing),
        "size_mm": _ranges(size),
        "values": values,
        **({"units": sorted(said)} if said else {}),
        **({"series": dataset.chosen.document()} if dataset.chosen is not None else {}),
        **({"described": described} if described else {}),
    }


def _ranges(values: np.ndarray[Any, Any]) -> list[list[float]]:
    return [[round(float(v), 3) for v in (axis.min(), axis.max())] for axis in values.T]


CPU_VOXELS = 400_000
"""Voxels of a median volume that are worth their time on a CPU: `docs/transfer.md` has the left atrium at 1.25 mm."""

COARSEST = 2.0
"""A CPU's voxels are at most so many times as long as those of the scans."""


def affordable_spacing(shape: Sequence[int], spacing: Sequence[float]) -> tuple[float, ...] | None:
    """The spacing (mm) at which two cores learn from such volumes in the usual minutes; None where their own will do.

    Axes that are coarse already stay as they are.

    Args:
        shape: Voxels of the median volume, along its axes in RAS order.
        spacing: Millimetres between them, in the same order.
    """
    factor = min(COARSEST, (math.prod(shape) / CPU_VOXELS) ** (1 / 3))
    if factor <= 1.1:
        return None
    finest = min(spacing)
    return tuple(float(f"{max(step, finest * factor):.3g}") for step in spacing)
