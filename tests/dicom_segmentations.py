"""DICOM SEG objects for tests of their reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_masks import (
    FACTS,
    LABELS,
)
from voxgraft.imaging.volume import Item, Volume
from voxgraft_dicom.seg.options import SegOptions, SegReaderOptions
from voxgraft_dicom.seg.reader import SegReader
from voxgraft_dicom.seg.writer import SegWriter

READER = SegReader(SegReaderOptions())


def written(mask: Volume, path: Path, **options: Any) -> Item:
    SegWriter(SegOptions(**options)).write(mask, path, labels=LABELS, facts=FACTS)
    (item,) = READER.scan([path])
    assert item.errors == () and item.kind == "structures"
    return item


def edited(path: Path, edit: Callable[[Dataset], None]) -> Item:
    """The item of a file after an edit, with the facts of the untouched one."""
    (item,) = READER.scan([path])
    dataset = dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    return item


def drop(name: str, where: str = "PerFrameFunctionalGroupsSequence") -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        for group in dataset[where]:
            del group[name]

    return edit


def value(name: str, found: Any) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        dataset[name].value = found

    return edit
