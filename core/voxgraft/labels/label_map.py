"""From the values and names that masks hold, in whatever type a program stored them, to the values that a data set's
labels say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadImage, DataError
from ..imaging.volume import Array, Problem, Volume
from ..support.texts import composed

if TYPE_CHECKING:
    from ..imaging.structures import Labels, Source


HIGHEST = 65535
"""The largest value of a label."""

CHUNK = 1 << 24
"""Voxels that are looked at together, so that a mask of a whole body needs no copy eight times its size."""


def values_in(array: Array) -> list[int]:
    """The different values of an integer array, in order."""
    return list(counts_in(array))


def counts_in(array: Array) -> dict[int, int]:
    """How often each value of an integer array stands in it, in the order of values."""
    if array.size == 0:
        return {}
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > HIGHEST:
        values, voxels = np.unique(array, return_counts=True)
        return {int(value): int(n) for value, n in zip(values, voxels, strict=True)}
    flat, total = array.ravel(order="K"), np.zeros(high + 1, np.int64)
    for start in range(0, flat.size, CHUNK):
        total += np.bincount(flat[start : start + CHUNK], minlength=high + 1)
    return {int(value): int(total[value]) for value in np.flatnonzero(total)}


def unknown_values(values: Iterable[int], labels: Labels) -> list[int]:
    """The values that nothing stands for; none where the labels say what becomes of others."""
    if labels.others != "error":
        return []
    known = {0, *_table(labels)}
    return sorted(value for value in values if value not in known)


def fix_for(values: Sequence[int], labels: Labels) -> str:
    """What a user can do about values that no structure is made of."""
    if set(values) == {0, 255} and len(labels.items) == 1:
        name, value = labels.items[0].name, labels.items[0].value
        return f"it has only 0 and 255, so write labels: {{{name}: {{value: {value}, from: [255]}}}} under data"
    if labels.by_option:
        return "name them with --labels, or fix the file"
    return "name them under data.labels in the workflow, set data.others, or fix the file"


IGNORED, OTHER = -1, -2
"""What stands in tables of values for voxels that count nowhere, and for what no structure is made of."""


def _table(labels: Labels) -> dict[Source, int]:
    """What each value and name in masks becomes."""
    table: dict[Source, int] = {source: label.value for label in labels.items for source in label.made_of}
    table.update(dict.fromkeys(labels.ignore, IGNORED))
    return table


def map_values(mask: Volume, labels: Labels, name: object) -> Volume:
    """A label map with the values of `labels`; the same array where nothing changes.

    Args:
        mask: Whole numbers (i, j[, k]).
        labels: Which values are known, and what becomes of others.
        name: What messages call the mask, such as its path.
    """
    values = values_in(mask.array)
    strange = unknown_values(values, labels)
    if strange:
        raise DataError(
            f"{name}: holds the label values {some(strange)}, which have no name; {fix_for(values, labels)}"
        )
    rest = IGNORED if labels.others == "ignore" else 0
    table = _table(labels)
    mapping = {value: 0 if value == 0 else table.get(value, rest) for value in values}
    mapping = {value: labels.ignored or 0 if target == IGNORED else target for value, target in mapping.items()}
    if all(value == target for value, target in mapping.items()):
        return mask
    kind = np.uint8 if max(mapping.values()) < 256 else np.uint16
    straight = mask.array.T if mask.array.flags.f_contiguous else mask.array
    if values[0] >= 0 and values[-1] <= HIGHEST:
        lookup = np.zeros(values[-1] + 1, kind)
        lookup[values] = list(mapping.values())
        changed = lookup[straight]
    else:
        changed = np.array(list(mapping.values()), kind)[np.searchsorted(values, straight)]
    array = changed.T if mask.array.flags.f_contiguous else changed
    return note_left_out(mask.with_array(array), [value for value in values if value and value not in table], labels)


def map_segments(mask: Volume, labels: Labels, name: object) -> Volume | None:
    """A mask whose file names its structures (a segmentation of 3D Slicer), by these names.

    Args:
        mask: Values (i, j[, k]), or a channel for each of the names.

    Returns:
        None where there are no names, where `labels` knows none of them, or where they say the same as the values.

    Raises:
        DataError: Some names contradict the values and others are not known.
    """
    segments: list[dict[str, Any]] = list((mask.item.facts.get("segments") if mask.item is not None else None) or ())
    target = match_labels([str(segment["name"]) for segment in segments], labels, name)
    if not target:
        return None
    several = mask.array.ndim > mask.dims
    by_value = match_labels([int(segment["value"]) for segment in segments], labels, name)
    named = [segment for segment in segments if segment["name"] in target]
    contrary = [segment for segment in named if target[segment["name"]] != by_value.get(segment["value"])]
    if not contrary and not several:
        return None
    strange = [str(segment["name"]) for segment in segments if segment["name"] not in target]
    if strange and labels.others == "error":
        first = next(iter(contrary or segments))
        raise DataError(
            f"{name}: its header calls the value {first['value']} {first['name']!r}, and {_where(labels)} not; "
            f"it names {some(strange)} too, which are not there; name them{_or_background(labels)}"
        )
    masks: dict[Source, Array] = {}
    for number, segment in enumerate(segments):
        where = mask.array[number] != 0 if several else mask.array == segment["value"]
        called = str(segment["name"])
        masks[called] = masks[called] | where if called in masks else where
    return combine_structures(masks, mask, labels, name)


def combine_structures(masks: Mapping[Any, Array], grid: Volume, labels: Labels | None, name: object) -> Volume:
    """Structures by what they are called, each bool (i, j[, k]), as one mask.

    Args:
        masks: Name, or whatever else the file tells structures apart by -> bool (i, j[, k]).
        grid: Gives affine and item of the result.
        name: What messages call the mask, such as its path.
    """
    if labels is None:
        raise DataError(f"{name}: holds the structures {some(masks)}; name them with their values under data.labels")
    target = match_labels(list(masks), labels, name)
    strange = [source for source in masks if source not in target]
    if strange and labels.others == "error":
        raise DataError(
            f"{name}: holds the structures {some(strange)}, which are not in {_where(labels)} "
            f"({', '.join(labels.names)}); name them there{_or_background(labels)}"
        )
    by_value: dict[int, Array] = {}
    for source, where in masks.items():
        value = target.get(source, OTHER)
        by_value[value] = by_value[value] | where if value in by_value else where
    ignored = by_value.pop(IGNORED, None)
    other = by_value.pop(OTHER, None)
    array = _stacked(by_value, grid, labels) if labels.overlap == "keep" else _painted(by_value, grid, labels, name)
    if other is not None and labels.others == "ignore":  # where a structure is as well, that is what is known
        array[..., other & ~(array > 0).any(tuple(range(array.ndim - grid.dims)))] = labels.ignored
    if ignored is not None and labels.ignored is not None:
        array[..., ignored] = labels.ignored
    mask = Volume(array, grid.affine, dims=grid.dims, item=grid.item)
    return note_left_out(mask, strange, labels)


def _where(labels: Labels) -> str:
    """Where a person names the structures."""
    return "--labels" if labels.by_option else "data.labels"


def _or_background(labels: Labels) -> str:
    return "" if labels.by_option else ", or set data.others: background"


def match_labels(names: Sequence[Source], labels: Labels, name: object) -> dict[Source, int]:
    """The value of each structure that labels know, by its exact name, else by its name without spaces and case.

    Args:
        names: What the file calls its structures.
        name: What messages call the mask, such as its path.

    Raises:
        DataError: Two structures are the same label, and neither by its exact name.
    """
    table = _table(labels)
    target = {source: table[source] for source in names if source in table}
    alike = {folded(source): value for source, value in table.items() if isinstance(source, str)}
    for source in names:
        value = alike.get(folded(source)) if isinstance(source, str) and source not in target else None
        if value is None:
            continue
        other = next((key for key, taken in target.items() if taken == value), None)
        if other is not None:
            called = next((label.name for label in labels.items if label.value == value), "left out")
            fix = f"write labels: {{{called}: {{value: {value}, from: [NAME]}}}} with the right one"
            fix = "rename the wrong one" if labels.by_option else fix
            raise DataError(f"{name}: the structures {other!r} and {source!r} may both be {called!r}; {fix}")
        target[source] = value
    return target


def folded(name: Source) -> str:
    """A name without blanks, case and the way its accents are encoded."""
    return composed("".join(composed(str(name)).replace("_", " ").casefold().split()))


def _stacked(by_value: Mapping[int, Array], grid: Volume, labels: Labels) -> Array:
    array = np.zeros((len(labels.items), *grid.shape), np.uint8 if (labels.ignored or 0) < 256 else np.uint16)
    for channel, label in zip(array, labels.items, strict=True):
        if label.value in by_value:
            channel[...] = by_value[label.value]
    return array


def _painted(by_value: Mapping[int, Array], grid: Volume, labels: Labels, name: object) -> Array:
    """One label map, lower values first."""
    highest = max((*labels.values, labels.ignored or 0), default=0)
    array = np.zeros(grid.shape, np.uint8 if highest < 256 else np.uint16, order="F")
    for value in sorted(by_value):
        where = by_value[value]
        if labels.overlap == "error" and (shared := array[where]).any():
            other = int(shared[shared > 0][0])
            called = {label.value: label.name for label in labels.items}
            message = f"{name}: {called[value]!r} and {called[other]!r} overlap in {int((shared > 0).sum())} voxels"
            fix = "; set data.overlap: higher (the higher value wins), or data.regions: each (both are learnt)"
            fix = ", which one map of labels cannot hold; name one of them only" if labels.by_option else fix
            raise DataError(f"{message}{fix}")
        array[where] = value
    return array


def note_left_out(mask: Volume, left_out: Sequence[Source], labels: Labels) -> Volume:
    """The mask with a note on what in it no structure is made of.

    Args:
        left_out: Names or values in the file that no structure is made of; with none the mask comes back as it is.
        labels: Say what became of them, by `others`.
    """
    if not left_out or mask.item is None:
        return mask
    became = "counts nowhere" if labels.others == "ignore" else "became background"
    note = Problem("left-out-labels", f"{some(left_out)} in the mask {became}, as data.others says", "repair")
    return replace(mask, item=replace(mask.item, problems=(*mask.item.problems, note)))


def some(names: Iterable[Source]) -> str:
    """At most ten names for a message."""
    listed = sorted(names, key=lambda name: (isinstance(name, str), name))
    return str(listed) if len(listed) <= 10 else f"{listed[:10]} and {len(listed) - 10} more"


NEARLY = 1e-3
"""By how much a label that is held as a float may differ from a whole number."""


def integer_mask(volume: Volume, name: object) -> Volume:
    """A mask whose values are integers; bool becomes uint8.

    Fractions within a thousandth of a whole number are that number. Labels that were stored as whole numbers with a
    scale (the scl_slope of NIfTI, which nibabel makes of labels held as floats) are rounded where each stored number
    comes back by the same rule; a note says so.
    """
    array, scaling = volume.array, volume.item.scaling if volume.item is not None else None
    if array.dtype.kind == "f" and scaling is not None and _scaled_labels(array, *scaling):
        text = f"its labels were stored with a scale (slope {scaling[0]:.4g}) and were rounded to whole numbers again"
        assert volume.item is not None
        item = replace(volume.item, problems=(*volume.item.problems, Problem("scaled-labels", text, "repair")))
        return Volume(np.rint(array).astype(np.int32), volume.affine, dims=volume.dims, item=item)
    try:
        return volume.with_array(whole_numbers(array, name))
    except BadImage as error:
        if scaling is None:
            raise
        scale = f"it was saved as whole numbers with a scale (slope {scaling[0]:.4g})"
        raise BadImage(name, f"{error.reason}: {scale}; save it without") from None


def _scaled_labels(array: Array, slope: float, intercept: float) -> bool:
    """Whether values that a scale made of stored numbers are labels: of each stored number one label, and back."""
    values = np.unique(array).astype(np.float64)
    if not np.isfinite(values).all() or not 0 < abs(slope) <= 1 or len(values) > HIGHEST:
        return False
    labels = np.rint(values)
    if np.abs(values - labels).max() <= NEARLY:
        return False
    stored = np.rint((values - intercept) / slope)
    return bool(labels.min() >= 0 and np.array_equal(np.rint((labels - intercept) / slope), stored))


def whole_numbers(array: Array, name: object) -> Array:
    """Label values as integers; bool becomes uint8."""
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind != "f":
        raise BadImage(name, f"the label holds values of type {array.dtype}, which are not whole numbers")
    rounded = np.rint(array)
    if not np.isfinite(array).all() or np.abs(array - rounded).max(initial=0.0) > NEARLY:
        raise BadImage(name, "the label holds values that are not whole numbers")
    if np.abs(rounded).max(initial=0.0) > 2**31 - 1:
        raise BadImage(name, f"the label holds values beyond {HIGHEST}, the largest there may be")
    return rounded.astype(np.int32)
