"""The proof of geometry: a written mask is read back, and must lie where the predicted one lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, DataError
from ..imaging.read import read_item, scan
from ..imaging.structures import Label, Labels
from ..imaging.volume import Item, Volume
from ..labels.masks import read_structures
from .quality import Structure, measure

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

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
