"""What was found in a scan, in millilitres, and what about it a person should look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..imaging.structures import Labels, each_structure
from ..imaging.volume import Array, Volume
from ..scoring.metric import Quantity

LOW_CONFIDENCE = 0.7
"""Mean probability of the winning class inside a structure below which a person should look."""

BORDER_SHARE, BORDER_VOXELS = 0.01, 5
"""A structure is cut off by the edge of the scan where more than this share of it, and this many voxels, lie there."""

TINY_SHARE, TINY_PIECES = 0.05, 5
"""Pieces below this share of the largest are tiny; so many of them look like noise."""

OF_THE_RESULT = frozenset(
    (
        *("nothing-found", "empty-structure", "low-confidence", "touches-border", "tiny-components"),
        *("several-series", "unproved", "kept-correction"),
    )
)
"""Codes of flags about what was found and written (`no-...` too); all others speak of the scan itself."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Something a person should look at.

    Attributes:
        code: A stable word to script against.
        message: One plain sentence.
        structure: The structure it is about, where it is about one.
    """

    code: str
    message: str
    structure: str | None = None

    def document(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure of one scan.

    Attributes:
        ml: Its volume; None in a 2D image.
        mm2: Its area in a 2D image.
        centroid: RAS millimetres; None where nothing was found.
        confidence: Mean probability of the winning class inside it.
        quantities: What was measured of the scan's values inside it.
        box: Its bounding box in the mask; None where nothing was found.
    """

    value: int
    voxels: int
    ml: float | None
    mm2: float | None
    centroid: tuple[float, float, float] | None
    confidence: float | None = None
    quantities: Sequence[Quantity] = ()
    box: tuple[slice, ...] | None = field(default=None, compare=False)

    def document(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "voxels": self.voxels,
            **({"ml": self.ml} if self.mm2 is None else {"mm2": self.mm2}),
            "centroid_mm": [round(c, 3) for c in self.centroid] if self.centroid else None,
            "confidence": self.confidence,
            **({"measured": {one.name: one.document() for one in self.quantities}} if self.quantities else {}),
        }


def is_of_the_scan(code: str) -> bool:
    """Whether a flag says that the scan is not what it should be: then nothing that was found in it can be trusted."""
    return code not in OF_THE_RESULT and not code.startswith("no-")


def flags_of_voxels(scan: Volume) -> Iterator[Flag]:
    """What the voxels themselves give reason to look at; readers say which are not finite numbers."""
    channels = scan.array.reshape(scan.channels, *scan.shape)
    flat = [number for number, channel in enumerate(channels, 1) if channel.size and channel.min() == channel.max()]
    if len(flat) == scan.channels:
        yield Flag("constant", "all of its voxels have the same value")
    elif flat and scan.dims == 3:
        yield Flag("constant", f"all voxels of channel {', '.join(map(str, flat))} have the same value")


def measure(mask: Volume, labels: Labels, confidence: Mapping[str, float] | None = None) -> dict[str, Structure]:
    """Voxels, volume and centroid of each structure, found or not.

    Memory: one byte for each voxel of a structure's bounding box.

    Args:
        mask: Values of `labels`, shape (i, j[, k]); or 0 and 1 (structure, i, j[, k]) in their order.
    """
    certain = confidence or {}
    measured = {}
    for label, box, inside in each_structure(mask, labels):
        voxels = int(np.count_nonzero(inside))
        measured[label.name] = Structure(
            value=label.value,
            voxels=voxels,
            ml=round(voxels * mask.voxel_ml, 4) if mask.dims == 3 else None,
            mm2=round(voxels * float(np.prod(mask.spacing)), 3) if mask.dims == 2 else None,
            centroid=_centroid(inside, box, mask) if voxels else None,
            confidence=certain.get(label.name) if voxels else None,
            box=box if voxels else None,
        )
    return measured


def flags_of(mask: Volume, structures: Mapping[str, Structure]) -> list[Flag]:
    """What the mask itself gives reason to look at.

    Args:
        mask: Values (i, j[, k]), or a channel for each region.
        structures: Name -> what `measure` found.
    """
    missing = [name for name, structure in structures.items() if not structure.voxels]
    if len(missing) == len(structures):
        flags = [Flag("nothing-found", "none of the structures was found")]
    else:
        flags = [Flag("empty-structure", f"{name} was not found", name) for name in missing]
    for name, structure in structures.items():
        if structure.confidence is not None and structure.confidence < LOW_CONFIDENCE:
            message = f"{name}: the model is unsure (mean probability {structure.confidence:.0%})"
            flags.append(Flag("low-confidence", message, name))
    return [*flags, *_shape_flags(mask, structures)] if mask.dims == 3 else flags


def _shape_flags(mask: Volume, structures: Mapping[str, Structure]) -> Iterator[Flag]:
    several = mask.array.ndim > mask.dims
    for index, (name, structure) in enumerate(structures.items()):
        if (box := structure.box) is None:
            continue
        inside = mask.array[index][box] != 0 if several else mask.array[box] == structure.value
        edge = max(_on_edges(inside, box, mask.shape))
        if edge >= BORDER_VOXELS and edge > BORDER_SHARE * structure.voxels:
            yield Flag("touches-border", f"{name} reaches the edge of the scan and may be cut off", name)
        tiny = _tiny_pieces(inside)
        if tiny >= TINY_PIECES:
            yield Flag("tiny-components", f"{name} has {tiny} tiny pieces besides its main one", name)


def _centroid(inside: Array, box: tuple[slice, ...], mask: Volume) -> tuple[float, float, float]:
    index = np.zeros(4)
    index[3] = 1
    for axis, part in enumerate(box):
        profile = np.count_nonzero(inside, axis=tuple(a for a in range(mask.dims) if a != axis))
        index[axis] = part.start + float((profile * np.arange(len(profile))).sum() / profile.sum())
    x, y, z = (float(v) for v in (mask.affine @ index)[:3])
    return x, y, z


def _on_edges(inside: Array, box: tuple[slice, ...], shape: tuple[int, ...]) -> Iterator[int]:
    """Voxels of a structure on each face of the scan."""
    for axis, (part, length) in enumerate(zip(box, shape, strict=True)):
        yield int(np.count_nonzero(np.moveaxis(inside, axis, 0)[0])) if part.start == 0 else 0
        yield int(np.count_nonzero(np.moveaxis(inside, axis, 0)[-1])) if part.stop == length else 0


def _tiny_pieces(inside: Array) -> int:
    import cc3d

    pieces = cc3d.connected_components(np.ascontiguousarray(inside), connectivity=26)
    sizes = np.asarray(cc3d.statistics(pieces)["voxel_counts"])[1:]
    return int((sizes < TINY_SHARE * sizes.max()).sum())
