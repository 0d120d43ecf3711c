"""The layout of the Medical Segmentation Decathlon and of nnU-Net's raw data: dataset.json says what lies where."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from voxgraft.data.cases import Case, Dataset, ImageRef, Labels
from voxgraft.errors import DataError

from .config import DecathlonConfig
from .names import images_in, listed, patients, safe_ids, stem


class DecathlonLayout:
    """Cases from dataset.json.

    The Decathlon lists its cases under `training`; one file then holds all channels. nnU-Net lists none: the cases are
    what lies in imagesTr, one file a channel with the endings `_0000`, `_0001` and so on. Test cases are left out.
    """

    def __init__(self, config: DecathlonConfig) -> None:
        self._config = config

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: There is no dataset.json, it is damaged, or a file that it names is not there.
        """
        folder = self._config.path
        document = _load(folder / "dataset.json")
        channels = _channels(document, folder)
        notes: list[str] = []
        if "training" in document:
            files = _listed_cases(document["training"], folder)
        else:
            files = _nnunet_cases(document, folder, len(channels))
        _complain_of_missing(files, folder)
        known = {path for images, label in files.values() for path in (*images, label)}
        for name in ("imagesTr", "labelsTr"):
            found, _ = images_in(folder / name) if (folder / name).is_dir() else ({}, [])
            unused = [path.name for path in found.values() if path not in known]
            if unused:
                notes.append(f"{name} holds {listed(unused, 'file')} that dataset.json does not list")
        ids = safe_ids(files)
        whose = patients(list(files), self._config.patient, {})
        cases = tuple(
            Case(ids[name], whose[name], tuple(ImageRef(path) for path in images), ImageRef(label) if label else None)
            for name, (images, label) in files.items()
        )
        return Dataset(cases, channels, _labels(document, folder), tuple(notes))


Files = dict[str, tuple[tuple[Path, ...], Path | None]]
"""For each case the files of its image, and its mask."""


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: there is no such file; the layout 'decathlon' needs it") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{path}: is no readable JSON document{place}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: holds no JSON object with the keys of a data set")
    return document


def _channels(document: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    names = document.get("channel_names", document.get("modality", {"0": "image"}))
    if isinstance(names, list):
        names = {str(index): name for index, name in enumerate(names)}
    if not isinstance(names, dict) or not names or set(names) != {str(index) for index in range(len(names))}:
        raise DataError(f"{folder / 'dataset.json'}: 'modality' must name the channels 0, 1, ... in order")
    return tuple(str(names[str(index)]) for index in range(len(names)))


def _labels(document: Mapping[str, Any], folder: Path) -> Labels | None:
    """Names of structures; the Decathlon maps values to names, nnU-Net names to values."""
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
            f"{folder / 'dataset.json'}: 'labels' must give each structure one whole number "
            "(regions of several values are not supported)"
        ) from None
    names = dict(pairs)
    if len(names) != len(pairs):
        raise DataError(f"{folder / 'dataset.json'}: two labels have one name")
    return Labels.of(names)


def _listed_cases(rows: Any, folder: Path) -> Files:
    place = folder / "dataset.json"
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{place}: 'training' lists no cases")
    entries = []
    for number, row in enumerate(rows, start=1):
        row = {"image": row} if isinstance(row, str) else row
        if not isinstance(row, dict) or not isinstance(row.get("image"), str):
            raise DataError(f"{place}: entry {number} of 'training' names no image")
        label = row.get("label")
        if label is not None and not isinstance(label, str):
            raise DataError(f"{place}: the label of entry {number} of 'training' is no path")
        entries.append((_inside(row["image"], folder), _inside(label, folder) if label else None))
    stems = Counter(stem(image) for image, _ in entries)
    files: Files = {}
    for image, label in entries:
        key = stem(image) if stems[stem(image)] == 1 else image.relative_to(folder).as_posix()
        if key in files:
            raise DataError(f"{place}: lists {image.name} twice")
        files[key] = ((image,), label)
    return files


def _inside(text: str, folder: Path) -> Path:
    """A path of dataset.json, which may not lead out of the data set."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in text or not path.parts:
        raise DataError(f"{folder / 'dataset.json'}: {text!r} is no path inside the data set's folder")
    return folder / path


def _nnunet_cases(document: Mapping[str, Any], folder: Path, channels: int) -> Files:
    ending = document.get("file_ending")
    if not isinstance(ending, str) or not (folder / "imagesTr").is_dir():
        raise DataError(f"{folder / 'dataset.json'}: has neither a list 'training' nor 'file_ending' with imagesTr")
    first = f"_0000{ending}"
    names = sorted(
        path.name.removesuffix(first)
        for path in (folder / "imagesTr").iterdir()
        if path.name.endswith(first) and not path.name.startswith(".")
    )
    if not names:
        raise DataError(f"{folder / 'imagesTr'}: holds no file that ends in {first}")
    return {
        name: (
            tuple(folder / "imagesTr" / f"{name}_{channel:04}{ending}" for channel in range(channels)),
            folder / "labelsTr" / f"{name}{ending}",
        )
        for name in names
    }


def _complain_of_missing(files: Files, folder: Path) -> None:
    images = [path for found, _ in files.values() for path in found]
    labels = [path for _, path in files.values() if path is not None]
    for what, paths in (("image", images), ("label", labels)):
        missing = [path.relative_to(folder).as_posix() for path in paths if not path.exists()]
        if missing:
            are = "is" if len(missing) == 1 else "are"
            raise DataError(f"{folder}: {listed(missing, what)}, named for training in dataset.json, {are} not there")
