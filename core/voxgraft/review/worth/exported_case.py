"""One reviewed scan in a data set: its images and its final mask in their grid, both proved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError
from ...imaging.read import as_in_training, read, read_item
from ...imaging.structures import Labels
from ...imaging.volume import Array, Item, Volume, millimetres_apart
from ...imaging.write import write
from ...support.files import sha256
from ..state.models import Models
from ..state.sources import check_same, items_of
from .final import Final, placed
from .snapshot import Snapshot

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue

FORMATS = ("images", "labels")
"""The folders of a data set."""
IGNORED = 255
"""What voxels hold that nobody vouches for, in a scan of which not every structure is final."""
AS_THEY_ARE = ("nifti", "pictures")
"""Readers of files that a data set keeps as they are; others are converted."""


@dataclass(frozen=True, slots=True)
class Written:
    """One case of a data set.

    Attributes:
        key: What it is made of.
        columns: The columns of the images.
        images, label: Paths in the data set's folder.
        facts: What the table says besides, by column.
        files: Path -> SHA-256.
    """

    key: str
    patient: str
    columns: tuple[str, ...]
    images: tuple[str, ...]
    label: str
    facts: Mapping[str, str]
    files: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Plain values, as the manifest holds them."""
        return {**asdict(self), "columns": list(self.columns), "images": list(self.images)}

    @classmethod
    def checked(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document of a case, if it is one whose files lie in its own folder.

        Raises:
            ValueError: It is none.
        """
        row = {name: document[name] for name in cls.__slots__}
        for name in row["files"]:
            parts = Path(name).parts
            if len(parts) != 2 or parts[0] not in FORMATS or parts[1] in ("..", "."):
                raise ValueError(f"{name} is not a file of a data set")
        return row


def take_over(earlier: Mapping[str, Any] | None, old: Path, new: Path, key: str) -> Written | None:
    """A case of an earlier export that is made of the same, linked into the new folder; None where there is none.

    Args:
        earlier: What the earlier export says of the case.
        old: Folder of the earlier export.
        new: Folder that is being written.
        key: What the case is made of.
    """
    if earlier is None or earlier["key"] != key:
        return None
    if any(not (old / name).is_file() or sha256(old / name) != content for name, content in earlier["files"].items()):
        return None
    for name in earlier["files"]:
        _link(old / name, new / name)
    row = dict(earlier)
    return Written(**{**row, "columns": tuple(row["columns"]), "images": tuple(row["images"])})


def write_case(
    snapshot: Snapshot, final: Final, labels: Labels, folder: Path, key: str, patient: str, *, link: bool = False
) -> Written:
    """Write the images and the mask of one scan.

    Args:
        snapshot: The batch and what people decided about it.
        final: The reading that counts.
        labels: The structures of the data set.
        folder: Of the data set; its folders `images` and `labels` are there.
        key: What the case is made of.
        patient: Whose it is.
        link: Link files that need no conversion.

    Raises:
        DataError: The scan or the mask has gone, has changed, or came back otherwise than it was written.
    """
    row = final.row
    model = Models(snapshot.folder.root / "models").of(row)
    catalogue = as_in_training(model.readers, snapshot.catalogue)
    items = items_of(row, snapshot.out, catalogue)
    check_same(row, items, snapshot.out)
    if len(items) > 1 and len(model.channels) != len(items):
        raise DataError(f"{final.case}: nothing says which of its {len(items)} files is which channel")
    columns = tuple(f"image_{name}" for name in model.channels) if len(items) > 1 else ("image",)
    images = []
    for number, item in enumerate(items):
        name = final.case if len(items) == 1 else f"{final.case}_{number:04d}"
        images.append(_image(item, folder, name, catalogue, link))
    label = f"labels/{final.case}.nii.gz"
    _mask(final, labels, items[0], folder / label, catalogue)
    files = {name: sha256(folder / name) for name in (*images, label)}
    return Written(key, patient, columns, tuple(images), label, _facts(final), files)


def _image(item: Item, folder: Path, name: str, catalogue: Catalogue, link: bool) -> str:
    """Put one image into the data set; its path there."""
    path = item.files[0] if len(item.files) == 1 else item.path
    if item.reader in AS_THEY_ARE and path.is_file() and len(item.files) < 2:
        ending = "".join(part for part in path.suffixes[-2:] if part.lower() in (".nii", ".gz")) or path.suffix
        target = folder / f"images/{name}{ending.lower()}"
        _link(path, target) if link else shutil.copyfile(path, target)
        return f"images/{target.name}"
    target = folder / f"images/{name}.nii.gz"
    volume = read_item(item, catalogue)
    write(volume, target, catalogue)
    _prove(read(target, catalogue), volume, target)
    return f"images/{target.name}"


def _mask(final: Final, labels: Labels, item: Item, target: Path, catalogue: Catalogue) -> None:
    """Write the final mask in the grid of its image."""
    mask = placed(final, item, catalogue)
    volume = mask.with_array(_known(mask.array, final, labels))
    write(volume, target, catalogue, Labels(labels.items, ignore=(IGNORED,) if final.others else ()))
    _prove(read(target, catalogue), volume, target)


def _known(array: Array, final: Final, labels: Labels) -> Array:
    """The mask with `IGNORED` wherever no final structure is, unless all of them are final."""
    if not final.others:
        return array
    if IGNORED in labels.values:
        raise DataError(f"{final.case}: a structure has the value {IGNORED}, which would mark what is not known")
    values = [label.value for label in labels.items if label.name in final.done]
    kind = np.promote_types(array.dtype, np.uint8)
    return np.where(np.isin(array, values), array, kind.type(IGNORED)).astype(kind)


def _prove(back: Volume, meant: Volume, target: Path) -> None:
    """Hold what was written, read back, against what was to be written.

    Raises:
        DataError: It is another.
    """
    name = f"{target.parent.name}/{target.name}"
    if back.array.shape != meant.array.shape or not np.array_equal(back.array, meant.array, equal_nan=_is_float(back)):
        raise DataError(f"{name}: came back with other voxels than were written")
    if millimetres_apart(back.affine, meant.affine, meant.shape) > 0.01 * min(meant.spacing):
        raise DataError(f"{name}: came back at another place than it was written")


def _is_float(volume: Volume) -> bool:
    return volume.array.dtype.kind == "f"


def _facts(final: Final) -> dict[str, str]:
    """What the table says of a case: who decided what about which model's mask, and when."""
    reading = final.reading
    decision = next(iter(reading.decisions.values()))
    verdicts = {
        verdict: [name for name, one in final.verdicts.items() if one == verdict]
        for verdict in ("corrected", "accepted")
    }
    told = [f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items() if names]
    others = [f"{verdict}: {name}" for name, verdict in final.others.items()]
    return {
        "reader": reading.reader,
        "reviewed": reading.when,
        "verdicts": "; ".join(told + others),
        "model": decision.model,
        "model_version": decision.model_version,
        "model_hash": decision.model_hash,
    }


def _link(source: Path, target: Path) -> None:
    """Link a file where the disks are the same, else copy it."""
    with suppress(OSError):
        os.link(source.resolve(), target)
        return
    shutil.copyfile(source, target)
