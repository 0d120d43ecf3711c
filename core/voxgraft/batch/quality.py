"""What was found in a scan, in millilitres, and what about it a person should look at; and the proof of geometry: a
mask is read back once it is written, and must lie where the predicted one lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, DataError
from ..imaging.read import read_item, scan
from ..imaging.structures import Label, Labels, each_structure
from ..imaging.volume import NO_SPACING, Array, Item, Volume
from ..labels.masks import read_structures
from ..scoring.measuring import Quantity

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

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
        ml: Its volume; None in a 2D image, and where nobody knows how large a voxel is.
        mm2: Its area in a 2D image; None where nobody knows how large a pixel is.
        centroid: RAS millimetres; None where nothing was found.
        confidence: Mean probability of the winning class inside it.
        quantities: What was measured of the scan's values inside it.
        box: Its bounding box in the mask; None where nothing was found.
        flat: It is of a 2D image.
        sized: It is known how large a voxel is.
    """

    value: int
    voxels: int
    ml: float | None
    mm2: float | None
    centroid: tuple[float, float, float] | None
    confidence: float | None = None
    quantities: Sequence[Quantity] = ()
    box: tuple[slice, ...] | None = field(default=None, compare=False)
    flat: bool = False
    sized: bool = True

    def document(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "voxels": self.voxels,
            **({"mm2": self.mm2} if self.flat else {"ml": self.ml}),
            "centroid_mm": [round(c, 3) for c in self.centroid] if self.centroid and self.sized else None,
            "confidence": self.confidence,
            **({"measured": {one.name: one.document() for one in self.quantities}} if self.quantities else {}),
        }


def is_of_the_scan(code: str) -> bool:
    """Whether a flag says that the scan is not what it should be: then nothing that was found in it can be trusted."""
    return code not in OF_THE_RESULT and not code.startswith("no-")


def is_sized(flags: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a scan says how large its voxels are: volumes and areas would be made up where it does not.

    Args:
        flags: Of the scan, as the ledger has them.
    """
    return all(flag.get("code") != NO_SPACING for flag in flags)


def flags_of_voxels(scan: Volume) -> Iterator[Flag]:
    """What the voxels themselves give reason to look at; readers say which are not finite numbers."""
    channels = scan.array.reshape(scan.channels, *scan.shape)
    flat = [number for number, channel in enumerate(channels, 1) if channel.size and channel.min() == channel.max()]
    if len(flat) == scan.channels:
        yield Flag("constant", "all of its voxels have the same value")
    elif flat and scan.dims == 3:
        yield Flag("constant", f"all voxels of channel {', '.join(map(str, flat))} have the same value")


def measure(mask: Volume, labels: Labels, confidence: Mapping[str, float] | None = None) -> dict[str, Structure]:
    """Voxels, volume and centroid of each structure, found or not; no volume or area where nobody knows how large a
    voxel is.

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
            ml=round(voxels * mask.voxel_ml, 4) if mask.dims == 3 and mask.sized else None,
            mm2=round(voxels * float(np.prod(mask.spacing)), 3) if mask.dims == 2 and mask.sized else None,
            centroid=_centroid(inside, box, mask) if voxels else None,
            confidence=certain.get(label.name) if voxels else None,
            box=box if voxels else None,
            flat=mask.dims == 2,
            sized=mask.sized,
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


NEAREST = (0.01, 0.01)
"""A centroid may lie so many millimetres and so many voxels off: what single precision and decimal strings cost."""

SAME_VOLUME = 1e-3


class NoReader(DataError):
    """Nothing here can read the file back; it is neither right nor wrong."""


def prove(path: Path, mask: Volume, labels: Labels, structures: Mapping[str, Structure], catalogue: Catalogue) -> None:
    """Compare a written mask with the predicted one: voxels, volume and centroid of each structure, by no shared code.

    It is read by whichever reader knows the file. Writers whose spec says that they prove what they write are not asked
    again: they compare voxel by voxel.

    Args:
        structures: What was measured on `mask`.

    Raises:
        NoReader: No installed reader knows the file.
        DataError: It is not the mask that was to be written; it must not leave this place.
    """
    try:
        items = scan(path, catalogue)
    except BadImage as error:
        raise NoReader(f"{path.name}: was written, but {error.reason}") from None
    if items[0].kind == "structures":
        measured = _structures(items[0], mask, labels, catalogue)
    else:
        measured = measure(_checked(read_item(items[0], catalogue), mask, path), labels)
    reach = NEAREST[0] + NEAREST[1] * max(mask.spacing)
    for name, meant in structures.items():
        _compare(path.name, name, meant, measured[name], reach)


def _checked(back: Volume, mask: Volume, path: Path) -> Volume:
    if back.shape != mask.shape:
        raise DataError(f"{path.name}: came back with {back.shape} voxels, {mask.shape} were written")
    return back if back.array.dtype.kind in "iu" else back.with_array(np.rint(back.array).astype(np.int32))


def _compare(file: str, name: str, meant: Structure, measured: Structure, reach: float) -> None:
    if meant.voxels != measured.voxels:
        raise DataError(f"{file}: {name} came back with {measured.voxels} voxels, {meant.voxels} were written")
    for expected, other, unit in ((meant.ml, measured.ml, "mL"), (meant.mm2, measured.mm2, "mm2")):
        if expected is not None and other is not None and abs(expected - other) > max(SAME_VOLUME * expected, 1e-3):
            raise DataError(f"{file}: {name} came back with {other:g} {unit}, {expected:g} were written")
    if meant.centroid and measured.centroid:
        apart = float(np.linalg.norm(np.subtract(meant.centroid, measured.centroid)))
        if apart > reach:
            raise DataError(f"{file}: {name} came back {apart:.3g} mm away from where it was written")


def _structures(item: Item, mask: Volume, labels: Labels, catalogue: Catalogue) -> dict[str, Structure]:
    """The structures of an object such as SEG or RTSTRUCT, measured in the grid of the mask, at their places in it."""
    back = read_structures(item, mask, catalogue)
    strangers = {name: where for name, where in back.items() if name not in labels.names}
    measured: dict[str, Structure] = {}
    for label in labels.items:
        where = back[label.name] if label.name in back else _shortened(label.name, strangers)
        if where is None:
            raise DataError(f"{item.path.name}: {label.name} is missing in what was written")
        binary = Labels((Label(1, label.name),))
        measured |= measure(Volume(where.view(np.uint8), mask.affine, dims=mask.dims), binary)
    return measured


def _shortened(name: str, strangers: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    """The structure whose name a format has shortened or freed of characters that it does not allow.

    Args:
        name: Of the label that was written.
        strangers: What was read back under names that no label has.
    """
    letters = _letters(name) or "unnamed"
    names = [other for other in strangers if _letters(other) and letters.startswith(_letters(other))]
    return strangers[max(names, key=len)] if names else None


def _letters(name: str) -> str:
    return "".join(letter for letter in name if letter.isprintable() and letter not in " \\")
