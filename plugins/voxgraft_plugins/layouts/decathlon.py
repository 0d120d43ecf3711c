"""The layout of the Medical Segmentation Decathlon: dataset.json lists the cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxgraft.plugin import Case, DataError, Dataset, ImageRef, Labels, composed, images_in, listed, safe_ids, stem

from .datasetjson import channel_names, complain_of_missing, inside, load_document
from .options import DecathlonOptions
from .patterns import patients


class DecathlonLayout:
    """Cases from the list `training` in dataset.json; one file holds all channels. Test cases are left out."""

    def __init__(self, options: DecathlonOptions) -> None:
        self._options = options

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: There is no dataset.json, it is damaged, or a file that it names is not there.
        """
        folder = self._options.path
        document = load_document(folder / "dataset.json", "decathlon")
        if "training" not in document and "file_ending" in document:
            raise DataError(
                f"{folder / 'dataset.json'}: lists no cases under 'training'; it is nnU-Net's: set use: nnunet"
            )
        channels = channel_names(document, folder)
        files = _listed_cases(document.get("training"), folder)
        masks = [label for _, label in files.values() if label is not None]
        complain_of_missing({"image": [image for image, _ in files.values()], "label": masks}, folder)
        ids = safe_ids(files)
        whose = patients(list(files), self._options.patient, {})
        cases = tuple(
            Case(ids[name], whose[name], (ImageRef(image),), ImageRef(label) if label else None)
            for name, (image, label) in files.items()
        )
        known = {path for pair in files.values() for path in pair}
        labels, notes = _labels(document, folder), tuple(_unlisted(folder, known))
        return Dataset(cases, channels, labels, notes, names_patients=self._options.patient is not None)


def _unlisted(folder: Path, known: set[Path | None]) -> list[str]:
    notes = []
    for name in ("imagesTr", "labelsTr"):
        images, _ = images_in(folder / name) if (folder / name).is_dir() else ({}, [])
        unused = [path.name for path in images.values() if path not in known]
        if unused:
            notes.append(f"{name} holds {listed(unused, 'file')} that dataset.json does not list")
    return notes


def _labels(document: Mapping[str, Any], folder: Path) -> Labels | None:
    """Names of structures by value; names with values, as nnU-Net has them, are read too."""
    rows = document.get("labels")
    if rows is None:
        return None
    try:
        if all(str(key).lstrip("-").isdigit() for key in rows):
            pairs = [(str(name), int(value)) for value, name in rows.items()]
        else:
            pairs = [(str(name), int(value)) for name, value in rows.items()]
    except (TypeError, ValueError, AttributeError):
        raise DataError(
            f"{folder / 'dataset.json'}: 'labels' must give each structure one whole number; regions of several values "
            "are told by the layout 'nnunet', or under data.regions"
        ) from None
    names = dict(pairs)
    if len(names) != len(pairs):
        raise DataError(f"{folder / 'dataset.json'}: two labels have the same name")
    return Labels.of(names)


def _listed_cases(rows: Any, folder: Path) -> dict[str, tuple[Path, Path | None]]:
    """For each case its image and its mask."""
    path = folder / "dataset.json"
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: 'training' lists no cases")
    entries = []
    for number, row in enumerate(rows, start=1):
        row = {"image": row} if isinstance(row, str) else row
        if not isinstance(row, dict) or not isinstance(row.get("image"), str):
            raise DataError(f"{path}: entry {number} of 'training' names no image")
        label = row.get("label")
        if label is not None and not isinstance(label, str):
            raise DataError(f"{path}: the label of entry {number} of 'training' is not a path")
        entries.append((inside(row["image"], folder), inside(label, folder) if label else None))
    names = {image: composed(stem(image)) for image, _ in entries}
    often = Counter(names[image] for image, _ in entries)
    files: dict[str, tuple[Path, Path | None]] = {}
    for image, label in entries:
        key = names[image] if often[names[image]] == 1 else image.relative_to(folder).as_posix()
        if key in files:
            raise DataError(f"{path}: lists {image.name} twice")
        files[key] = (image, label)
    return files
