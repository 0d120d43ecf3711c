"""The scans of a folder as a viewer's worklist: a data set of any layout, a tree of images, or what a batch left.

What a viewer saves lies in `voxgraft-labels/TAG/ID.nii.gz` of that folder, beside the labels that are there already and
never over them; a mask that is saved again leaves the one before it as `ID.before-1.nii.gz`.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batch.entry import safe_name
from ..batch.ledger import Row
from ..batch.ledger_view import BatchView
from ..batch.parts import is_batch
from ..checks.guess import guess_dataset
from ..errors import UsageError, VoxGraftError
from ..imaging.channels import stack_channels
from ..imaging.read import find, only, read
from ..imaging.structures import Label, Labels
from ..imaging.volume import ImageRef, Item, Volume
from ..imaging.write import write
from ..labels.masks import in_grid_of, read_mask, read_values
from ..review.state.sources import path_of
from ..support.files import read_json, write_json
from ..support.texts import stem
from .refused import Refused

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

SAVED, ADDED = "voxgraft-labels", "voxgraft-images"
"""The folders of what viewers save and send."""
ORIGINAL, FINAL = "original", "final"
"""The tags of the labels that lie there already, and of those that viewers save."""

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_NAME = re.compile(r"[\w][\w .-]{0,119}")


@dataclass(frozen=True)
class Image:
    """One scan of the folder.

    Attributes:
        id: What viewers call it; never a path.
        images: One reference for each channel.
        label: The mask that lies there already.
        names: Of that mask, the values by the names of structures, where they are known.
        confidence: Of the model whose mask that is, by structure.
    """

    id: str
    images: tuple[ImageRef, ...]
    label: ImageRef | None = None
    names: Mapping[str, int] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)


class Datastore:
    """The scans of a folder; its methods may be called from several threads.

    Raises:
        UsageError: There is no such folder.
        DataError: It holds nothing that can be read.
    """

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        if not folder.is_dir():
            raise UsageError(f"--data {folder}: there is no such folder")
        self.folder, self.catalogue = folder, catalogue
        self._items: dict[str, Item] = {}
        self._mutex = threading.Lock()
        self.images: dict[str, Image] = {}
        self._ledger = BatchView(folder) if is_batch(folder) else None
        self._version = 0
        self.refresh()

    def refresh(self) -> None:
        """Look at the folder again."""
        if self._ledger is not None:
            self._version, rows = self._ledger.rows()
            found = list(_of_batch(self.folder, rows.values()))
        else:
            found = list(_of_folder(self.folder, self.catalogue))
        with self._mutex:
            self.images = {image.id: image for image in [*found, *_added(self.folder)]}
            self._items = {name: item for name, item in self._items.items() if name in self.images}

    def follow(self) -> None:
        """Look at the folder again where a batch that is under way has done more scans."""
        if self._ledger is not None and self._ledger.rows()[0] != self._version:
            self.refresh()

    def get(self, name: str) -> Image:
        """The scan of an id, or of the SeriesInstanceUID by which OHIF calls it.

        Raises:
            Refused: 404, there is none.
        """
        if name in self.images:
            return self.images[name]
        by_series = [image for image in self.images.values() if name and image.images[0].series == name]
        if len(by_series) == 1:
            return by_series[0]
        raise Refused(404, "there is no image of this id")

    def item(self, image: Image) -> Item:
        """The header of a scan's first channel."""
        if image.id not in self._items:
            items = find(image.images[0], self.catalogue)
            self._items[image.id] = only([item for item in items if item.kind == "image"] or items, image.id)
        return self._items[image.id]

    def read(self, image: Image, catalogue: Catalogue) -> Volume:
        """The voxels of a scan, its channels on one grid.

        Args:
            image: The scan.
            catalogue: Reads it as the data of a model were read.
        """
        return stack_channels([read(reference, catalogue) for reference in image.images])

    def shaped(
        self, shape: Sequence[int], spacing: Sequence[float], share: float
    ) -> Iterator[tuple[Image, tuple[int, ...]]]:
        """The scans of one channel that have an array's shape and spacing, each with the order of its axes.

        Args:
            shape: Of the array.
            spacing: Millimetres along its axes.
            share: By which spacings may differ.
        """
        for image in [one for one in self.images.values() if len(one.images) == 1]:
            try:
                item = self.item(image)
            except VoxGraftError:
                continue
            if len(item.shape) == len(shape) and item.channels == 1:
                for order in _orders_of(item.shape, item.spacing, shape, spacing, share):
                    yield image, order

    def tags(self, image: Image) -> dict[str, dict[str, Any]]:
        """The labels of a scan by their tags, each with its ending and what is known of it."""
        labels: dict[str, dict[str, Any]] = {}
        if image.label is not None:
            params = {"label_names": dict(image.names)} if image.names else {}
            labels[ORIGINAL] = {"ext": ".nii.gz", "info": {"params": params}}
        for folder in sorted((self.folder / SAVED).glob("*/")):
            if _TAG.fullmatch(folder.name) and _in(folder, image.id).is_file():
                labels[folder.name] = {"ext": ".nii.gz", "info": _info(folder, image.id)}
        return labels

    def label(self, image: Image, tag: str) -> Volume:
        """A label of a scan, in the grid of the scan.

        Raises:
            Refused: 404, there is none.
        """
        like = self.read(image, self.catalogue)
        like = like.with_array(like.array.reshape(like.channels, *like.shape)[0])
        saved = _in(self.folder / SAVED / checked_tag(tag), image.id)
        if saved.is_file():
            return in_grid_of(read_values(ImageRef(saved), None, self.catalogue), like, image.id)
        if tag == ORIGINAL and image.label is not None:
            return read_mask(image.label, like, None, self.catalogue)
        raise Refused(404, "this image has no label of this tag")

    def save(self, image: Image, mask: Volume, tag: str, info: Mapping[str, Any], names: Mapping[str, int]) -> None:
        """Keep a mask that a person made, whole or not at all.

        Args:
            image: Whose mask it is.
            mask: Values in the scan's own grid.
            tag: Under which it is kept.
            info: What the viewer says of it.
            names: The values by the names of structures.
        """
        folder = self.folder / SAVED / checked_tag(tag)
        target = _in(folder, image.id)
        labels = Labels(tuple(Label(value, name) for name, value in sorted(names.items(), key=lambda pair: pair[1])))
        with self._mutex:
            if target.is_file():
                number = 1
                while (before := folder / f"{_file(image.id)}.before-{number}.nii.gz").exists():
                    number += 1
                target.rename(before)
            write(mask, target, self.catalogue, labels, {})
            write_json(folder / f"{_file(image.id)}.json", {"image": image.id, **info, "label_names": dict(names)})

    def add(self, name: str, file: Path) -> str:
        """Take an image that a viewer sends into the folder; gives its id.

        Raises:
            Refused: 400, it cannot be read; 409, the name is taken.
        """
        if not _NAME.fullmatch(name):
            raise Refused(400, "the id of an image has letters, digits, spaces, dots and dashes, at most 120")
        if name in self.images:
            raise Refused(409, "there is an image of this id already; choose another")
        volume = read(file, self.catalogue)
        write(volume, self.folder / ADDED / f"{_file(name)}.nii.gz", self.catalogue, None, {}, writer="nifti")
        write_json(self.folder / ADDED / f"{_file(name)}.json", {"id": name})
        self.refresh()
        return name

    def unlabelled(self) -> list[Image]:
        """The scans of which no viewer has saved a final label."""
        return [image for image in self.images.values() if not _in(self.folder / SAVED / FINAL, image.id).is_file()]


def checked_tag(tag: str) -> str:
    """A tag that may be the name of a folder.

    Raises:
        Refused: 400, it may not.
    """
    if not _TAG.fullmatch(tag):
        raise Refused(400, "a tag has letters, digits, _ and -, at most 40")
    return tag


def _orders_of(
    shape: Sequence[int], spacing: Sequence[float], like: Sequence[int], steps: Sequence[float], share: float
) -> Iterator[tuple[int, ...]]:
    """The orders of a scan's axes in which it has an array's shape and spacing.

    Args:
        shape, spacing: Of the scan.
        like, steps: Of the array.
        share: By which spacings may differ.
    """
    for order in ((0, 1, 2), (2, 1, 0), *permutations(range(3))):
        if all(shape[axis] == n for axis, n in zip(order, like, strict=True)) and all(
            abs(spacing[axis] - step) <= share * step for axis, step in zip(order, steps, strict=True)
        ):
            yield order


def _file(name: str) -> str:
    """The name of a file of an id: two ids that differ never share one."""
    from hashlib import sha256

    plain = safe_name(name)
    return plain if plain == name else f"{plain}-{sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _in(folder: Path, name: str) -> Path:
    return folder / f"{_file(name)}.nii.gz"


def _info(folder: Path, name: str) -> dict[str, Any]:
    """What a viewer said of a label; Slicer looks for the names in `params`."""
    try:
        document = read_json(folder / f"{_file(name)}.json")
        return {
            "params": {"label_names": document.get("label_names", {}), "label_info": document.get("label_info", [])}
        }
    except (OSError, ValueError, AttributeError):
        return {"params": {}}


def _of_folder(folder: Path, catalogue: Catalogue) -> Iterator[Image]:
    """The cases of a data set, or the images of a tree; what viewers sent and saved is not among them."""
    layout, dataset = guess_dataset(folder, catalogue)
    often = Counter(case.id if layout else stem(Path(case.id)) for case in dataset.cases)
    ours = (folder / SAVED, folder / ADDED)
    names = {label.name: label.value for label in dataset.labels.items} if dataset.labels else {}
    for case in dataset.cases:
        if case.present and not any(case.present[0].path.is_relative_to(place) for place in ours):
            label = case.label
            short = case.id if layout else stem(Path(case.id))  # where no layout names them, files give their names
            name = short if often[short] == 1 else case.id
            yield Image(name, case.present, label, names if label is not None else {})


def _of_batch(folder: Path, rows: Iterable[Row]) -> Iterator[Image]:
    """The scans that a batch has done, with its masks."""
    for row in rows:
        inputs = [path_of(part, folder) for part in row.input.split(" + ")]
        series = [part or None for part in row.series.split(" + ")]
        mask = folder / row.case / "mask.nii.gz"
        if row.state != "done" or not mask.is_file() or not all(path.exists() for path in inputs):
            continue
        paths = inputs * len(series) if len(inputs) == 1 else inputs
        names = {name: int(one["value"]) for name, one in row.structures.items()}
        sure = {name: one["confidence"] for name, one in row.structures.items() if one.get("confidence") is not None}
        references = tuple(ImageRef(path, one) for path, one in zip(paths, series, strict=False))
        yield Image(row.case, references, ImageRef(mask), names, sure)


def _added(folder: Path) -> Iterator[Image]:
    """The images that viewers sent."""
    for path in sorted((folder / ADDED).glob("*.nii.gz")):
        try:
            name = str(read_json(path.with_name(f"{path.name.removesuffix('.nii.gz')}.json"))["id"])
        except (OSError, ValueError, KeyError, TypeError):
            name = path.name.removesuffix(".nii.gz")
        yield Image(name, (ImageRef(path),))
