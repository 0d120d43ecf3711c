"""Masks of any kind as label maps in the grid of their image: files of values, one file a structure, SEG, RTSTRUCT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..components.choice import choose
from ..errors import BadImage, DataError
from ..imaging.orientation import orientation_of, reoriented
from ..imaging.read import asked, find, only, read_item
from ..imaging.structures import check_background
from ..imaging.volume import Array, ImageRef, Item, MaskRef, Problem, Volume, first_channel, millimetres_apart, times
from .label_map import combine_structures, integer_mask, map_segments, map_values, some, values_in

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.structures import Labels, Source

TOLERANCE = 0.01
"""By how many voxels the corners of an image and of its mask may lie apart."""


def read_mask(reference: ImageRef, like: Volume | None, labels: Labels | None, catalogue: Catalogue) -> Volume:
    """The mask that a reference means, in the grid of its image.

    Args:
        like: The image; the mask has its shape and order of axes. None for a mask by itself, which needs values.
        labels: What values and names in masks stand for. None gives the values as they are.

    Returns:
        A label map of whole numbers (i, j[, k]) with the values of `labels`, and `labels.ignored` where voxels count
        nowhere. Where `labels.overlap` is `keep` and the mask can hold overlapping structures: uint8 0 and 1 of shape
        (structure, i, j[, k]) in the order of `labels.items`, and `labels.ignored` in all of them where voxels count
        nowhere. What was left out stands in the problems of its item.

    Raises:
        BadImage: It is damaged, lies elsewhere, or holds what is not a mask.
        DataError: It holds values or names that `labels` does not know, or structures overlap that must not.
    """
    if isinstance(reference, MaskRef):
        if reference.rule != "structures":
            return _agreed(reference, like, labels, catalogue)
        masks = {name: _structure(part, like, catalogue) for name, part in reference.named}
        grid = like if like is not None else next(iter(masks.values()))
        return combine_structures({name: volume.array != 0 for name, volume in masks.items()}, grid, labels, reference)
    items = find(reference, catalogue)
    structures = [item for item in items if item.kind == "structures"]
    if structures:
        return _of_objects(reference, structures, like, labels, catalogue)
    volume = _whole(read_mask_item(only(items, reference), catalogue), labels, reference)
    if volume.channels > 1:
        return _of_channels(reference, volume, like, labels)
    mask = in_grid_of(volume, like, reference)
    if labels is None:
        return mask
    return map_segments(mask, labels, reference) or map_values(mask, labels, reference)


def read_mask_item(item: Item, catalogue: Catalogue) -> Volume:
    """Read the voxels of a mask that `scan` found: of a picture with a palette its numbers, else as they are.

    Returns:
        Where it has a palette, the volume's item keeps the colours of the numbers that stand in it.

    Raises:
        BadImage: See `voxgraft.imaging.read.read_item`; or its palette is not read, or makes another number than 0
            black.
    """
    if item.palette is None:
        return read_item(item, catalogue)
    volume = read_item(item, catalogue, numbers=True)
    used = set(values_in(volume.array))
    palette = {number: colour for number, colour in item.palette.items() if number in used}
    check_background(palette, item.path)
    return replace(volume, item=replace(volume.item or item, palette=palette, channels=1, colours=False))


def read_map(reference: ImageRef, catalogue: Catalogue) -> Volume:
    """Read exactly one image as `voxgraft.imaging.read.read` does, but of a picture with a palette its numbers.

    Raises:
        DataError: There is none, or there are several; or see `read_mask_item`.
    """
    items = find(reference, catalogue)
    return read_mask_item(only([item for item in items if item.kind == "image"] or items, reference), catalogue)


def in_grid_of(mask: Volume, like: Volume | None, name: object, what: str = "the label") -> Volume:
    """A mask with the order of axes of its image, after a comparison of their grids.

    Args:
        mask: (i, j[, k]), or (channel, i, j[, k]), in any order of axes.
        like: The image that it was drawn on; None leaves the mask as it is.
        name: What messages call the mask, such as its path.

    Raises:
        BadImage: It has another shape, or lies more than a hundredth of a voxel beside the image.
    """
    if like is None:
        return mask
    if mask.dims != like.dims:
        raise BadImage(name, f"{what} has {mask.dims} axes and the image {like.dims}")
    turned, _ = reoriented(mask)
    straight, _ = reoriented(first_channel(like))
    apart = millimetres_apart(straight.affine, turned.affine, straight.shape)
    if turned.shape != straight.shape:
        raise BadImage(
            name, f"{what}'s grid of {times(turned.shape)} voxels is not the image's {times(straight.shape)}"
        )
    if apart > TOLERANCE * min(straight.spacing):
        raise BadImage(name, f"{what}'s grid lies up to {apart:.3g} mm off the image's")
    array = orientation_of(like.affine, like.dims).undo(turned.array)
    return Volume(array, like.affine, dims=like.dims, item=mask.item)


def read_values(reference: ImageRef, labels: Labels | None, catalogue: Catalogue) -> Volume:
    """A mask that is an image, with the values that it holds: whole numbers (i, j[, k]), or (channel, i, j[, k]).

    A picture whose colours are all the same is one map of values.

    Args:
        labels: The structures that are wanted; None takes any value.

    Raises:
        DataError: It is damaged, there are several, or it is in colours or holds fractions.
    """
    return _whole(read_map(reference, catalogue), labels, reference)


def _whole(volume: Volume, labels: Labels | None, name: object) -> Volume:
    """Whole numbers (i, j[, k]), or (channel, i, j[, k]); a picture whose colours are all the same is one map."""
    if volume.channels == 1 or _is_grey(volume, labels):
        volume = first_channel(volume)
    else:
        _check_colours(volume, labels, name)
    return volume if volume.array.dtype.kind in "iu" else integer_mask(volume, name)


def other_patient(item: Item, like: Item | None) -> str:
    """Why two images cannot belong together where both say whose they are; empty where nothing speaks against it."""
    if like is None or not item.patient or not like.patient or item.patient == like.patient:
        return ""
    return "its header and the reference's name different patients"


def other_frame(item: Item, like: Item | None) -> str:
    """Why positions in two images mean nothing to each other; empty where nothing speaks against it."""
    uid, other_uid = (str(scan.facts.get("frame") or "") if scan is not None else "" for scan in (item, like))
    return "it and the reference lie in different frames of reference" if uid and other_uid and uid != other_uid else ""


def _of_channels(reference: ImageRef, volume: Volume, like: Volume | None, labels: Labels | None) -> Volume:
    """Each channel, from 1, holds one structure, or the one that the file names."""
    masks = volume.array
    for channel in masks:
        if set(values_in(channel)) - {0, int(channel.max(initial=0))}:
            raise BadImage(
                reference, f"a label has one channel, or 0 and 1 in a channel for each structure; it has {len(masks)}"
            )
    if labels is None:
        channels = f"{len(masks)} channels, a structure each; name them 1 to {len(masks)} in data.labels"
        raise BadImage(reference, f"the label has {channels}")
    turned = in_grid_of(volume, like, reference)
    if (label := map_segments(turned, labels, reference)) is not None:
        return label
    by_number: dict[Source, Array] = {number: channel != 0 for number, channel in enumerate(turned.array, 1)}
    return combine_structures(by_number, turned, labels, reference)


def _is_grey(volume: Volume, labels: Labels | None) -> bool:
    """Whether it is a picture of greys in colours; 0 and 1 in equal channels may be structures that overlap."""
    first = volume.array[0]
    if volume.dims != 2 and (volume.item is None or not volume.item.colours):
        return False
    kept = labels is not None and labels.overlap == "keep" and first.max(initial=0) <= 1
    return not kept and all(np.array_equal(first, channel) for channel in volume.array[1:])


def _check_colours(volume: Volume, labels: Labels | None, name: object) -> None:
    """Refuse a mask in colours, unless they are 0 and 1, or kept as structures that overlap."""
    array = volume.array.reshape(len(volume.array), -1)
    kept = array.max(initial=0) <= 1 or (labels is not None and labels.overlap == "keep")
    if kept or volume.item is None or not volume.item.colours:
        return
    differing = np.flatnonzero((array != array[:1]).any(0))[:: max(1, array.shape[1] // 10_000)]
    some_colours = sorted({tuple(int(part) for part in array[:, index]) for index in differing})
    or_else = ", or set data.regions: each where red, green and blue are a structure each"
    or_else = "" if labels is None or labels.by_option else or_else
    colours = f"the mask is in colours, such as {some_colours[0]}, and a colour is not a structure"
    raise BadImage(name, f"{colours}; save it as a grey picture with a value for each structure{or_else}")


def _of_objects(
    reference: ImageRef, items: Sequence[Item], like: Volume | None, labels: Labels | None, catalogue: Catalogue
) -> Volume:
    """The structures of one or more SEG or RTSTRUCT objects."""
    if like is None:
        raise DataError(
            f"{reference}: holds structures of another image, and can only be read together with that image"
        )
    masks: dict[Source, Array] = {}
    notes: list[Problem] = []
    for item in items if reference.files else [only(items, reference)]:
        notes += item.problems
        for name, where in _chosen(reference, item, read_structures(item, like, catalogue, notes.append)).items():
            if name in masks:
                raise DataError(f"{reference}: two of its objects hold a structure {name!r}; keep one of them")
            masks[name] = where
    item = replace(items[0], problems=tuple(dict.fromkeys(notes)))
    return combine_structures(masks, replace(like, item=item), labels, reference)


def _chosen(reference: ImageRef, item: Item, masks: dict[str, Array]) -> dict[str, Array]:
    """The structures of an object that the reference chose, under the names of labels; all where it chose none.

    Raises:
        BadImage: It holds a structure that its header, by which they were chosen, does not name.
    """
    if not reference.structures:
        return masks
    known = {str(name) for name in item.facts.get("names") or ()}
    if strange := sorted({*masks} - known):
        raise BadImage(item.path, f"its header does not name the structure {strange[0]!r} that it holds")
    chosen: dict[str, Array] = {}
    for name, label in reference.structures:
        if name in masks:  # one without a contour is not there
            chosen[label] = chosen[label] | masks[name] if label in chosen else masks[name]
    return chosen


def read_structures(
    item: Item, like: Volume, catalogue: Catalogue, say: Callable[[Problem], None] = lambda _: None
) -> dict[str, Array]:
    """The structures of a SEG or RTSTRUCT object by their names, as bool arrays in the grid of a scan.

    Args:
        say: Is told what a person should know of what was read.

    Raises:
        BadImage: It is damaged, or lies elsewhere.
        BrokenPlugin: Its reader fails.
    """
    if item.errors:
        raise BadImage(item.path, "; ".join(problem.message for problem in item.errors))
    chosen = choose(catalogue, "reader", {"use": item.reader})
    with asked(chosen, item.path, "reading the structures of"):
        masks: dict[str, Array] = chosen.build().structures(item, like, say)
    return masks


def _structure(part: ImageRef, like: Volume | None, catalogue: Catalogue) -> Volume:
    """One structure in a file of its own."""
    mask = read_mask(part, like, None, catalogue)
    values = values_in(mask.array)
    if len(values) > 2 or (len(values) == 2 and values[0] != 0):
        raise BadImage(part, f"a file of one structure holds 0 and one other value, this one holds {some(values)}")
    return mask


def _agreed(reference: MaskRef, like: Volume | None, labels: Labels | None, catalogue: Catalogue) -> Volume:
    """The masks of several raters brought together."""
    from .raters import majority, staple

    masks = [read_mask(part, like, labels, catalogue) for part in reference.parts]
    for part, mask in zip(reference.parts, masks, strict=True):
        in_grid_of(mask, masks[0], part)
        if mask.array.shape != masks[0].array.shape:
            raise BadImage(part, "some raters' masks hold overlapping structures and some do not")
    fuse = majority if reference.rule == "majority" else staple
    left_out = None if labels is None else labels.ignored
    return masks[0].with_array(fuse([mask.array for mask in masks], masks[0].dims, left_out))


def mark_ignored(mask: Array, valid: NDArray[np.bool_], value: int) -> Array:
    """A mask with a value, in all of its channels, where nothing counts.

    Args:
        mask: (i, j[, k]), or (structure, i, j[, k]).
        valid: bool (i, j[, k]).
    """
    kind = np.promote_types(mask.dtype, np.min_scalar_type(value))
    return np.where(valid, mask, kind.type(value))
