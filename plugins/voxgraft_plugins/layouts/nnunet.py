"""The layout of nnU-Net's raw data sets, version 2: one file a channel, regions, an ignore label, splits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxgraft.plugin import (
    Case,
    DataError,
    Dataset,
    ImageRef,
    Label,
    Labels,
    Region,
    Split,
    as_stored,
    composed,
    listed,
    safe_ids,
)

from .datasetjson import channel_names, complain_of_missing, load_document, load_json
from .options import NnunetOptions
from .patterns import patients

SPLITS = "splits_final.json"
IGNORE = "ignore"

Files = dict[str, tuple[tuple[Path | None, ...], Path]]
"""For each case the files of its channels, and its mask."""


class NnunetLayout:
    """Cases from dataset.json with imagesTr and labelsTr, or with a list `dataset` of paths anywhere.

    The images of a case end in `_0000`, `_0001` ...; where only `_0000` is there, that file holds all channels. Test
    cases are left out.
    """

    def __init__(self, options: NnunetOptions) -> None:
        self._options = options

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: There is no dataset.json, it is damaged or contradicts itself, or files are not there.
        """
        folder = self._options.path
        path = folder / "dataset.json"
        document = load_document(path, "nnunet")
        channels = channel_names(document, folder)
        listed_cases = document.get("dataset")
        if listed_cases is None:
            files = _found_cases(document, folder, len(channels))
        else:
            files = _listed_cases(listed_cases, folder, len(channels))
        complain_of_missing({"label": [label for _, label in files.values()]}, folder)
        ids = safe_ids(files)
        whose = patients(list(files), self._options.patient, {})
        cases = tuple(
            Case(ids[name], whose[name], tuple(ImageRef(path) if path else None for path in images), ImageRef(label))
            for name, (images, label) in files.items()
        )
        notes = _notes(document, folder, {label for _, label in files.values()})
        labels, more = labels_in(document.get("labels"), document.get("regions_class_order"), path)
        stated, splits = self._options.patient is not None, self._splits(ids)
        return Dataset(cases, channels, labels, (*notes, *more), splits=splits, names_patients=stated)

    def _splits(self, ids: Mapping[str, str]) -> tuple[Split, ...]:
        path = self._options.splits or self._options.path / SPLITS
        if self._options.splits is None and not path.exists():
            return ()
        document = load_json(path)
        if not isinstance(document, list) or not all(_is_split(row) for row in document):
            raise DataError(f"{path}: must hold a list of splits with the keys 'train' and 'val'")
        document = [{part: [composed(name) for name in row[part]] for part in row} for row in document]
        unknown = sorted({name for row in document for part in row.values() for name in part} - set(ids))
        if unknown:
            raise DataError(f"{path}: names {listed(unknown, 'case')} that the data set does not have")
        return tuple(
            Split(tuple(ids[name] for name in row["train"]), tuple(ids[name] for name in row["val"]))
            for row in document
        )


def labels_in(rows: Any, order: Any, path: Path) -> tuple[Labels, list[str]]:
    """The labels of dataset.json: values, regions of several values, and `ignore`.

    Args:
        rows: The value of `labels`, as JSON gives it.
        order: The value of `regions_class_order`; None where there is none.
        path: The file, for messages.

    Returns:
        The labels, and notes.

    Raises:
        DataError: They are none, or contradict each other.
    """
    if not isinstance(rows, dict) or not rows:
        raise DataError(f"{path}: 'labels' must give each structure its value, or a list of values")
    members = {str(name): _values(name, value, path) for name, value in rows.items()}
    ignored = members.pop(IGNORE, ())
    if len(ignored) > 1:
        raise DataError(f"{path}: the label 'ignore' must have one value")
    members = {name: values for name, values in members.items() if values != (0,)}
    if strange := [name for name, values in members.items() if set(values) & {0, *ignored}]:
        raise DataError(f"{path}: the label {strange[0]!r} holds the value of background or of 'ignore'")
    plain = {values[0]: name for name, values in members.items() if len(values) == 1}
    if all(len(values) == 1 for values in members.values()):
        labels = Labels.of({name: values[0] for name, values in members.items()})
        return replace(labels, ignore=(ignored[0], IGNORE) if ignored else ()), []
    every = sorted({value for values in members.values() for value in values})
    items = tuple(Label(value, plain.get(value, f"label {value}")) for value in every)
    regions = tuple(Region(name, values) for name, values in members.items())
    paint, notes = _paint(order, regions, path)
    return Labels(items, ignore=ignored, overlap="keep", regions=regions, paint=paint), notes


def _values(name: Any, value: Any, path: Path) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535 for value in values
    ):
        raise DataError(f"{path}: 'labels' must give {name!r} a whole number from 0 to 65535, or a list of such")
    return tuple(sorted(set(values)))


def _paint(order: Any, regions: tuple[Region, ...], path: Path) -> tuple[tuple[int, ...], list[str]]:
    if order is None:
        return (), ["dataset.json has regions and no regions_class_order: predictions keep a channel for each region"]
    if (
        not isinstance(order, list)
        or len(order) != len(regions)
        or not all(isinstance(number, int) for number in order)
    ):
        raise DataError(f"{path}: 'regions_class_order' must have a value for each of the {len(regions)} regions")
    if len(set(order)) < len(order) or any(v not in r.members for v, r in zip(order, regions, strict=True)):
        return (), [
            "regions_class_order paints a region with a value that it does not hold, or two with one: predictions keep "
            "a channel for each region instead"
        ]
    return tuple(order), []


def _found_cases(document: Mapping[str, Any], folder: Path, channels: int) -> Files:
    ending = document.get("file_ending")
    images, path = folder / "imagesTr", folder / "dataset.json"
    if not isinstance(ending, str) or not ending.startswith(".") or set(ending) & set("/\\\0"):
        raise DataError(f"{path}: 'file_ending' must be the ending of the images, such as .nii.gz")
    if not images.is_dir():
        raise DataError(f"{images}: there is no such folder, and dataset.json has no list 'dataset'")
    existing = {composed(path.name): path for path in images.iterdir() if not path.name.startswith(".")}
    first = f"_0000{ending}"
    names = sorted(
        {name[: -len(first)] for name in existing for index in range(channels) if _ends(name, index, ending)}
    )
    if not names:
        raise DataError(f"{images}: holds no file that ends in {first}")
    alone = channels > 1 and not any(_ends(name, index, ending) for name in existing for index in range(1, channels))
    numbers = (0,) if alone else range(channels)
    files: Files = {}
    for name in names:
        names_of_channels = (f"{name}_{index:04}{ending}" for index in numbers)
        label = as_stored(folder / "labelsTr" / f"{name}{ending}")
        files[name] = (tuple(existing.get(file) for file in names_of_channels), label)
    return files


def _ends(name: str, index: int, ending: str) -> bool:
    return name.endswith(f"_{index:04}{ending}")


def _listed_cases(rows: Any, folder: Path, channels: int) -> Files:
    path = folder / "dataset.json"
    if not isinstance(rows, dict) or not rows:
        raise DataError(f"{path}: 'dataset' must give each case its images and its label")
    files: Files = {}
    for name, row in rows.items():
        images = row.get("images") if isinstance(row, dict) else None
        label = row.get("label") if isinstance(row, dict) else None
        if (
            not isinstance(images, list)
            or not all(isinstance(image, str) for image in images)
            or not isinstance(label, str)
        ):
            raise DataError(f"{path}: the case {name!r} of 'dataset' needs a list of images and a label")
        if len(images) not in (1, channels):
            raise DataError(f"{path}: the case {name!r} has {len(images)} images for {channels} channels")
        files[composed(str(name))] = (tuple(_path(image, folder) for image in images), _path(label, folder))
    complain_of_missing({"image": [path for images, _ in files.values() for path in images if path]}, folder)
    return files


def _path(text: str, folder: Path) -> Path:
    """A path anywhere, as nnU-Net allows it: relative to the folder, with variables of the environment."""
    if "\0" in text or not text:
        raise DataError(f"{folder / 'dataset.json'}: {text!r} is not a path")
    path = Path(os.path.expandvars(text))
    return as_stored(path if path.is_absolute() else Path(os.path.normpath(folder / path)))


def _notes(document: Mapping[str, Any], folder: Path, used: set[Path]) -> list[str]:
    notes = []
    if "overwrite_image_reader_writer" in document:
        notes.append("overwrite_image_reader_writer in dataset.json is ignored: the file's kind decides the reader")
    masks = folder / "labelsTr"
    unused = [path.name for path in sorted(masks.iterdir()) if _is_left(path, used)] if masks.is_dir() else []
    if unused:
        notes.append(f"labelsTr holds {listed(unused, 'file')} without an image")
    number = document.get("numTraining")
    if isinstance(number, int) and number != len(used):
        notes.append(f"dataset.json speaks of {number} training cases, and {len(used)} are there")
    return notes


def _is_left(path: Path, used: set[Path]) -> bool:
    return path.is_file() and not path.name.startswith(".") and path not in used and path.suffix != ".json"


def _is_split(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and set(row) == {"train", "val"}
        and all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in row.values())
    )
