"""One case under the magnifying glass: read once, measured, and judged by itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..components.catalogue import Catalogue
from ..datasets.cases import Case
from ..errors import BadImage, VoxGraftError
from ..imaging.channels import among_present, stack_channels
from ..imaging.orientation import Orientation, reoriented
from ..imaging.read import find, read_item
from ..imaging.structures import Labels
from ..imaging.volume import Array, FoundRegion, ImageRef, Item, MaskRef, Volume, first_channel
from ..labels.label_map import HIGHEST, integer_mask, map_segments, map_values, unknown_values, values_in
from ..labels.masks import mark_ignored, read_mask, read_mask_item
from ..labels.valid_region import REGION, found_region, nonzero, one_channel
from ..support.texts import listed
from .geometry import disagreement
from .identity import traces
from .masks import measure_mask
from .record import Look, Mask
from .values import unknown_message, why_not_whole
from .voxels import measure_channel, thumbnail

STRAY = 0.01
"""The share of structures outside the region that counts, from which on it is told of: a border is never exact."""


def look_at(case: Case, catalogue: Catalogue, labels: Labels | None) -> Look:
    """Read a case, measure it, and note everything that is wrong with it by itself.

    Args:
        labels: The structures that its mask may hold; None takes any.
    """
    look = Look(case)
    try:
        image = _image(look, catalogue)
        valid = None if case.valid is None else _valid(look, case.valid, image, catalogue)
        if case.label is not None:
            _mask(look, case.label, image, labels, catalogue, valid)
    except MemoryError:
        look.add("unreadable-image", "error", "the case does not fit into this machine's memory")
    return look


def _image(look: Look, catalogue: Catalogue) -> Volume | None:
    """The image as it was read, all channels on one grid; None where it cannot be used."""
    volumes = [_volume(look, ref, "image", catalogue) for ref in look.case.present]
    images = [volume for volume in volumes if volume is not None]
    if not images or len(images) < len(volumes):
        return None
    if look.case.align is None:
        for number, volume in enumerate(images[1:], 2):
            apart = disagreement(images[0], volume, f"channel {number}")
            if apart is not None:
                look.add("channel-mismatch", "error", apart[1])
                return None
    try:
        image = stack_channels(images, among_present(look.case.align, look.case.images))
    except VoxGraftError as error:
        look.add("channel-mismatch", "error", _reason(error))
        return None
    if image.array.dtype.kind not in "biuf" or image.array.size == 0:
        look.add("unreadable-image", "error", f"the image's {image.array.size} voxels are of type {image.array.dtype}")
        return None
    turned, _ = reoriented(image)
    look.shape, look.spacing = turned.shape, turned.spacing
    look.modality = images[0].item.modality if images[0].item else None
    channels = image.array.reshape(image.channels, *image.shape)
    look.channels = tuple(measure_channel(channel) for channel in channels)
    look.thumbnail = thumbnail(turned.array.reshape(image.channels, *turned.shape)[0])
    return image


def _volume(look: Look, ref: ImageRef, what: str, catalogue: Catalogue) -> Volume | None:
    """Read one image or mask by itself; its header's problems, and the failure to read it, are noted."""
    called = _called(ref, what)
    try:
        items = find(ref, catalogue)
        items = [item for item in items if item.kind == "image"] or items
        _note_header_problems(look, items, called, catalogue)
        if len(items) > 1:
            look.add(f"several-{what}s", "error", f"{called}: {len(items)} images are there, and one is needed")
        if len(items) > 1 or items[0].errors:
            return None
        return read_item(items[0], catalogue) if what == "image" else read_mask_item(items[0], catalogue)
    except MemoryError:
        look.add(f"unreadable-{what}", "error", f"{called}: does not fit into this machine's memory")
    except VoxGraftError as error:
        look.add(f"unreadable-{what}", "error", f"{called}: {_reason(error)}")
    return None


def _note_header_problems(look: Look, items: list[Item], called: str, catalogue: Catalogue) -> None:
    """Note what headers tell; what was said of the image is not said again of its mask."""
    noted = {(problem.code, problem.severity) for problem in look.problems if problem.severity != "error"}
    for item in items:
        look.traces |= traces(item, catalogue)
        for problem in item.problems:
            if (problem.code, problem.severity) in noted:
                continue
            look.add(problem.code, problem.severity, f"{called}: {problem.message}")


def _valid(look: Look, ref: ImageRef, image: Volume | None, catalogue: Catalogue) -> NDArray[np.bool_] | None:
    """Where the case counts, axes in RAS order; None where that cannot be told."""
    if isinstance(ref, FoundRegion):
        return None if image is None else reoriented(image)[1].apply(found_region(ref, image, catalogue))
    volume = _volume(look, ref, "valid-region", catalogue)
    if volume is None:
        return None
    apart = None if image is None else disagreement(image, volume, REGION)
    if apart is not None:
        look.add("valid-region-mismatch", "error", apart[1])
        return None
    try:
        volume = one_channel(volume, ref.path.name)
        inside = nonzero(volume)
    except BadImage as error:
        look.add("unusable-valid-region", "error", f"{_called(ref, 'valid-region')}: {error.reason}")
        return None
    if not inside.any():
        look.add("empty-valid-region", "error", f"{_called(ref, 'valid-region')} is 0 everywhere: nothing would count")
        return None
    if len(values := np.unique(volume.array)) > 2:
        message = f"{_called(ref, 'valid-region')} holds {len(values)} different values; all but 0 count"
        look.add("odd-valid-region", "warning", message)
    turned: NDArray[np.bool_] = reoriented(volume)[1].apply(inside)
    return turned


def _within(look: Look, mask: Array, labels: Labels | None, valid: NDArray[np.bool_] | None) -> Array:
    """A mask, axes in RAS order, with what lies outside the valid region ignored; what is marked there is noted."""
    if valid is None or mask.shape[-valid.ndim :] != valid.shape:
        return mask
    ignored = (labels.ignored if labels is not None else None) or 0
    structures = (mask != 0) & (mask != ignored) if ignored else mask != 0
    inside, outside = (int(np.count_nonzero(structures & where)) for where in (valid, ~valid))
    share = outside / max(1, inside + outside)
    if share > STRAY:
        message = f"{share:.2g} of the structures' voxels lie outside {REGION} and are not counted"
        look.add("outside-valid-region", "warning" if share > 0.5 else "note", message)
    return mark_ignored(mask, valid, ignored)


def _mask(
    look: Look,
    ref: ImageRef,
    image: Volume | None,
    labels: Labels | None,
    catalogue: Catalogue,
    valid: NDArray[np.bool_] | None,
) -> None:
    """Read the mask: plain label maps step by step, for exact messages; all others by `read_mask` alone."""
    try:
        items = [] if isinstance(ref, MaskRef) else find(ref, catalogue)
    except VoxGraftError as error:
        look.add("unreadable-label", "error", f"{_called(ref, 'label')}: {_reason(error)}")
        return
    plain = len(items) > 0 and all(item.kind == "image" for item in items)
    volume = _volume(look, ref, "label", catalogue) if plain else None
    if plain and volume is None:
        return
    if volume is not None and volume.channels == 1:
        _label_map(look, ref, volume, image, labels, valid, catalogue)
        return
    if not plain:
        _note_header_problems(look, items, _called(ref, "label"), catalogue)
    if image is None:
        return
    try:
        mask = read_mask(ref, image, labels, catalogue)
    except VoxGraftError as error:
        look.add("unusable-label", "error", f"{_called(ref, 'label')}: {_reason(error)}")
        return
    if mask.item is not None and not plain:
        _note_header_problems(look, [mask.item], _called(ref, "label"), catalogue)
    turned = _within(look, reoriented(image)[1].apply(mask.array), labels, valid)
    look.mask = measure_mask(turned, mask.dims, labels)
    _judge_emptiness(look)


def _label_map(
    look: Look,
    ref: ImageRef,
    label: Volume,
    image: Volume | None,
    labels: Labels | None,
    valid: NDArray[np.bool_] | None,
    catalogue: Catalogue,
) -> None:
    """A mask of one value a voxel."""
    if image is not None:
        apart = disagreement(image, label)
        if apart is not None:
            look.add(apart[0], "error", apart[1])
    try:
        whole = integer_mask(first_channel(label), "label")
    except BadImage as error:
        look.add("label-not-whole", "error", f"{error.reason}{why_not_whole(label.array)}")
        return
    _note_header_problems(look, [whole.item] if whole.item is not None else [], _called(ref, "label"), catalogue)
    array, named = whole.array, None
    try:
        named = map_segments(whole, labels, ref) if labels is not None else None
    except VoxGraftError as error:
        look.add("unusable-label", "error", f"{_called(ref, 'label')}: {_reason(error)}")
        return
    values = values_in(array)
    strange = [value for value in values if not 0 <= value <= HIGHEST]
    if strange:
        message = f"the label holds {listed(map(str, strange), 10)}; values go from 0 to {HIGHEST}"
        look.add("label-out-of-range", "error", message)
    known = [value for value in values if value not in strange]
    unknown = unknown_values(known, labels) if labels is not None and named is None else []
    if unknown and labels is not None:
        look.add("unnamed-label", "error", unknown_message(array, values, unknown, labels))
    if not strange and not unknown and labels is not None:
        array = (named or map_values(whole, labels, ref)).array
    if strange:
        look.mask = Mask(size=array.size, values=frozenset(values), covered=int(np.count_nonzero(array)))
        return
    orientation: Orientation = reoriented(label)[1]
    look.mask = measure_mask(_within(look, orientation.apply(array), labels, valid), label.dims, labels)
    look.mask.values = frozenset(values)
    look.mask.palette = dict((label.item.palette if label.item else None) or {})
    _judge_emptiness(look)


def _judge_emptiness(look: Look) -> None:
    if look.mask is not None and not look.mask.structures:
        look.add("empty-label", "warning", "the label is empty: no structure is marked")


def _called(ref: ImageRef, what: str) -> str:
    name = what.replace("-", " ")
    return f"the {name}" if ref.series else f"the {name} {ref.path.name}"


def _reason(error: VoxGraftError) -> str:
    return str(error.reason) if isinstance(error, BadImage) else str(error)
