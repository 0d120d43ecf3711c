"""A prediction and its reference in one grid, stored as label maps, as channels or as objects of structures.

What is scored are single structures, and regions that are made of several (the whole tumour, the whole kidney).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadImage, DataError, UsageError, VoxGraftError
from ..imaging.orientation import orientation_of, reoriented
from ..imaging.read import find, only, read_item
from ..imaging.structures import Label, Labels, Source
from ..imaging.volume import ImageRef, Item, Volume, first_channel
from ..labels.label_map import folded, map_segments, match_labels, some
from ..labels.masks import read_mask, read_values

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

Pair = tuple[Path, Path]


def read_pair(
    pair: Pair, labels: Labels | None, catalogue: Catalogue, scan: Path | None = None
) -> tuple[Volume, Volume]:
    """A prediction and its reference.

    A prediction whose axes run in another order or direction than the reference's is turned, exactly; it is not
    resampled. A DICOM object of structures is read in the grid of the other; two of them in the grid of their scan, or
    in that of their own frames.

    Args:
        labels: The structures by name and value; None where every value is one.
        scan: The image that both were drawn on.

    Raises:
        DataError: One cannot be read, or two objects have no grid in common.
    """
    items = [_item(path, catalogue) for path in pair]
    objects = [item.kind == "structures" for item in items]
    if any(objects) and labels is None:
        path = pair[0] if objects[0] else pair[1]
        raise DataError(f"{path}: holds structures by name; say which values they have with --labels NAME=VALUE,...")
    if labels is not None and all(objects):
        grid = _common_grid(pair, items, catalogue, scan)
        first, second = (_of_object(*one, grid, labels, catalogue) for one in zip(pair, items, strict=True))
        return first, second
    if labels is not None and objects[0]:
        reference = _reference(pair[1], labels, catalogue)
        return _of_object(pair[0], items[0], first_channel(reference), labels, catalogue), reference
    prediction = _by_name(read_values(ImageRef(pair[0]), labels, catalogue), labels, pair[0])
    if labels is not None and objects[1]:
        return prediction, _of_object(pair[1], items[1], first_channel(prediction), labels, catalogue)
    reference = _reference(pair[1], labels, catalogue)
    return turned(prediction, reference), reference


def labels_named_in(pairs: Iterable[Pair], catalogue: Catalogue) -> Labels | None:
    """The structures of masks that name them themselves (DICOM SEG, RTSTRUCT, segmentations of 3D Slicer).

    Names are one structure where they differ in case and blanks alone, or where references and predictions give them
    one coded term that no other structure of the object has.

    Returns:
        None unless all masks that can be read name their structures.
    """
    names: dict[str, dict[Source, None]] = {}
    for pair in pairs:
        try:
            items = [_item(path, catalogue) for path in pair]
        except VoxGraftError:  # the case fails by itself, with its reason
            continue
        if not all(item.facts.get("names") for item in items):
            return None
        for name in items[1].facts["names"]:
            names.setdefault(folded(name), {})[str(name)] = None
        own, others = (_terms(item) for item in items)
        same = {name: others[code] for code, name in own.items() if code in others}
        for name in items[0].facts["names"]:
            key = folded(name)
            key = key if key in names or name not in same else folded(same[name])
            names.setdefault(key, {})[str(name)] = None
    if not names:
        return None
    found = [Label(number, str(next(iter(row))), sources=tuple(row)) for number, row in enumerate(names.values(), 1)]
    return Labels(tuple(found), by_option=True)


def _terms(item: Item) -> dict[str, str]:
    """Names by their coded terms; terms of several structures say nothing."""
    codes: dict[str, str] = dict(item.facts.get("codes") or {})
    every = list(codes.values())
    return {code: name for name, code in codes.items() if every.count(code) == 1}


def _item(path: Path, catalogue: Catalogue) -> Item:
    """The one mask at a path; beside the scan it was drawn on an object of structures is meant."""
    items = find(ImageRef(path), catalogue)
    return only([item for item in items if item.kind == "structures"] or items, path)


def _by_name(mask: Volume, labels: Labels | None, path: Path) -> Volume:
    """A mask whose file names its structures, by these names; else as it is."""
    return mask if labels is None else map_segments(mask, labels, path) or mask


def _reference(path: Path, labels: Labels | None, catalogue: Catalogue) -> Volume:
    if labels is not None and labels.ignored is not None:
        return read_mask(ImageRef(path), None, labels, catalogue)
    return _by_name(read_values(ImageRef(path), labels, catalogue), labels, path)


def _of_object(path: Path, item: Item, like: Volume, labels: Labels, catalogue: Catalogue) -> Volume:
    """Named structures in a grid; those that `labels` does not know are left out."""
    names = [str(name) for name in item.facts.get("names") or ()]
    if names and not match_labels(names, labels, path):
        raise DataError(f"{path}: holds the structures {some(names)}, and --labels names none of them")
    others = "background" if labels.others == "error" else labels.others
    known = replace(labels, others=others, overlap=labels.overlap if labels.regions else "keep")
    return read_mask(ImageRef(path, files=item.files), like, known, catalogue)


def turned(prediction: Volume, reference: Volume) -> Volume:
    """The prediction with the order and direction of axes of its reference; the voxels are the same."""
    if prediction.dims != 3 or reference.dims != 3:
        return prediction
    wanted = orientation_of(reference.affine, 3)
    if orientation_of(prediction.affine, 3) == wanted:
        return prediction
    straight, _ = reoriented(prediction)
    affine = np.eye(4)
    affine[:3, wanted.order] = straight.affine[:3, :3] * np.where(wanted.flips, -1, 1)
    start = [n - 1 if flip else 0 for n, flip in zip(straight.shape, wanted.flips, strict=True)]
    affine[:3, 3] = straight.affine[:3, :3] @ start + straight.affine[:3, 3]
    return Volume(wanted.undo(straight.array), affine, dims=3, item=prediction.item)


def _common_grid(pair: Pair, items: list[Item], catalogue: Catalogue, scan: Path | None) -> Volume:
    """The grid of the scan, or one that holds the frames of both objects."""
    if scan is not None:
        from ..labels.convert import image_for

        return image_for(scan, items[1], catalogue)
    try:
        prediction, reference = (first_channel(read_item(item, catalogue)) for item in items)
        return _covering(reference, prediction)
    except BadImage as error:
        raise DataError(
            f"{pair[0]} and {pair[1]} hold structures of a scan, and have no grid in common ({error.reason}); name the "
            "scan with --images"
        ) from None


def _covering(volume: Volume, other: Volume) -> Volume:
    """The smallest grid in which two grids of one lattice lie, such as those of objects with different slices."""
    other = turned(other, volume)
    columns = np.abs(volume.affine[:3, :3] - other.affine[:3, :3]) * max(*volume.shape, *other.shape)
    start = np.linalg.solve(volume.affine, other.affine[:, 3])[:3]
    if columns.max() > 0.01 * min(volume.spacing) or np.abs(start - np.rint(start)).max() > 0.01:
        raise BadImage(other.item.path if other.item else "", "their grids differ")
    first = np.rint(start).astype(int)
    low = np.minimum(0, first)
    high = np.maximum(volume.shape, first + other.shape)
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ low
    shape = tuple(int(n) for n in high - low)
    return Volume(np.broadcast_to(np.uint8(0), shape), affine, dims=3, item=volume.item)


MEAN = "mean"
"""The name under which the average over a case's defined structures stands beside them."""

Regions = Mapping[str, Sequence[int]]
"""NAME -> the values of the structures that a region is made of."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A name, and the values of its voxels in a label map; in masks with channels its channel is its place."""

    name: str
    values: tuple[int, ...]


def structures_of(labels: Labels, regions: Regions | None = None) -> tuple[Structure, ...]:
    """The structures of `labels`, then the regions.

    Raises:
        DataError: There is none, a name appears twice or is kept for their mean, or a region has a value that no
            structure has.
    """
    if not labels.items:
        raise DataError("there is no structure to score: the masks hold background only, or no structure is named")
    structures = [Structure(label.name, (label.value,)) for label in labels.items]
    for name, values in (regions or {}).items():
        strange = sorted(set(values) - set(labels.values))
        if strange or not values:
            what = f"the value {strange[0]}, which no structure has" if strange else "no value"
            raise DataError(f"the region {name!r} is made of {what}; structures have {_some(labels.values)}")
        structures.append(Structure(name, tuple(sorted(set(values)))))
    names = [structure.name for structure in structures]
    for name in names:
        if name == MEAN:
            raise DataError(f"a structure is called {MEAN!r}, which is kept for the mean over structures; rename it")
        if names.count(name) > 1:
            raise DataError(f"two structures are called {name!r}; rename one")
    return tuple(structures)


def read_regions(text: str, labels: Labels | None = None) -> dict[str, tuple[int, ...]]:
    """The regions that a text such as `whole=1+2+3,core=2+3` names; parts are values, or names of structures.

    Raises:
        UsageError: It does not have this form, or a part is neither.
    """
    names = {label.name: label.value for label in labels.items} if labels else {}
    regions: dict[str, tuple[int, ...]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not values:
            raise UsageError(f"--regions {text}: expected name=1+2, not {part!r}")
        if name in regions:
            raise UsageError(f"--regions {text}: two regions are called {name!r}")
        regions[name] = tuple(_value(value.strip(), names, text) for value in values.split("+"))
    if not regions:
        raise UsageError("--regions: no region is named; expected name=1+2,other=2+3")
    return regions


def _value(text: str, names: Mapping[str, int], whole: str) -> int:
    if text in names:
        return names[text]
    if text.isascii() and text.isdigit() and 0 < int(text) <= 65535:
        return int(text)
    raise UsageError(f"--regions {whole}: {text!r} is neither a structure's name nor a value from 1 to 65535")


def _some(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
