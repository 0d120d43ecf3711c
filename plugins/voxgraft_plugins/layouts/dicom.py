"""A tree of DICOM series as cases, with masks in a folder beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from voxgraft.data.cases import Case, Dataset, ImageRef
from voxgraft.errors import DataError

from .config import DicomConfig
from .names import images_in, listed, safe_ids, short_hash

if TYPE_CHECKING:
    from voxgraft.volume import Item


class DicomLayout:
    """A case for every series that the rules let through.

    Names of cases and patients are hashes unless folders are asked for: neither PatientID nor UIDs leave this place.
    """

    def __init__(self, config: DicomConfig) -> None:
        self._config = config

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: The folder is not there, no series in it fits, or a series lacks its mask and must not.
        """
        config = self._config
        series = _series(config.path)
        chosen = [item for item in series if self._fits(item)]
        if not chosen:
            kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(item.modality or "other" for item in series).items())
            raise DataError(f"{config.path}: none of its {len(series)} series ({kinds}) fits the rules of the layout")
        ids = self._ids(chosen)
        masks = images_in(config.labels)[0] if config.labels is not None else {}
        found = [self._mask(item, name, masks) for item, name in zip(chosen, ids, strict=True)]
        missing = [name for name, mask in zip(ids, found, strict=True) if mask is None]
        if config.labels is not None and missing and config.unlabelled == "error":
            raise DataError(f"{config.labels}: {listed(missing, 'case')} of {len(ids)} without a mask")
        cases = tuple(
            Case(name, self._patient(item), (ImageRef(item.path, item.series),), ImageRef(mask) if mask else None)
            for item, name, mask in zip(chosen, ids, found, strict=True)
        )
        return Dataset(cases, notes=self._notes(series, chosen, masks, found))

    def _fits(self, item: Item) -> bool:
        config = self._config
        if config.modality is not None and item.modality not in config.modality:
            return False
        if config.description is not None:
            text = (item.description or "").casefold()
            if not fnmatchcase(text, config.description.casefold()):
                return False
        return len(item.files) >= config.min_slices

    def _ids(self, items: Sequence[Item]) -> list[str]:
        twice = Counter(item.series for item in items)
        places = [_below(item.path, self._config.path) for item in items]
        keys = [
            str(item.series) if item.series and twice[item.series] == 1 else f"{item.series}@{place}"
            for item, place in zip(items, places, strict=True)
        ]
        if self._config.ids == "hash":
            return [
                f"{(item.modality or 'image').lower()}-{short_hash(key)}" for item, key in zip(items, keys, strict=True)
            ]
        often = Counter(item.path for item in items)
        names = [
            _below(item.path, self._config.path) + ("" if often[item.path] == 1 else f"-{short_hash(key)}")
            for item, key in zip(items, keys, strict=True)
        ]
        ids = safe_ids(names)
        return [ids[name] for name in names]

    def _patient(self, item: Item) -> str:
        folder = _below(item.path, self._config.path).split("/")[0]
        if self._config.patient == "folder" or not (item.patient or "").strip():
            return f"folder-{short_hash(folder)}"
        return f"patient-{short_hash(str(item.patient).strip())}"

    def _mask(self, item: Item, case: str, masks: dict[str, Path]) -> Path | None:
        folder = item.path if item.path.is_dir() else item.path.parent
        for name in (item.series, case, folder.name):
            if name in masks:
                return masks[name]
        return None

    def _notes(
        self, series: Sequence[Item], chosen: Sequence[Item], masks: dict[str, Path], found: Sequence[Path | None]
    ) -> tuple[str, ...]:
        notes = []
        if len(series) > len(chosen):
            notes.append(f"{len(series) - len(chosen)} of {len(series)} series do not fit the rules of the layout")
        unused = [path for path in masks.values() if path not in found]
        if unused:
            notes.append(f"{len(unused)} of {len(masks)} masks belong to no series")
        used = [path for path in found if path is not None]
        if len(set(used)) < len(used):
            notes.append("one mask serves several series: name the masks by SeriesInstanceUID")
        if self._config.patient == "id" and any(not (item.patient or "").strip() for item in chosen):
            notes.append("some series have no PatientID: their first folder is taken for the patient")
        return tuple(notes)


def _series(path: Path) -> list[Item]:
    from voxgraft.discovery import discover
    from voxgraft.reading import scan

    if not path.is_dir():
        raise DataError(f"{path}: there is no such folder")
    items = [item for item in scan(path, discover()) if item.reader == "dicom"]
    if not items:
        raise DataError(f"{path}: holds no DICOM series")
    return items


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) and path != root else path.name
