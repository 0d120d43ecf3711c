"""Images and masks that are matched by their file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from voxgraft.data.cases import Case, Dataset, ImageRef
from voxgraft.errors import DataError

from .config import PairsConfig
from .names import images_in, listed, patients, safe_ids
from .patterns import Pattern


@dataclass(frozen=True, slots=True)
class Found:
    """What one folder or pattern gave: a file for each case, what stood in the places of its name, and leftovers."""

    files: Mapping[str, Path]
    places: Mapping[str, Mapping[str, str]]
    others: tuple[Path, ...] = ()


class PairsLayout:
    """A case for every image; its mask is the file of the same name, or the one that a pattern gives."""

    def __init__(self, config: PairsConfig) -> None:
        self._config = config

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: A folder is not there, a case lacks a channel or a mask, or names are ambiguous.
        """
        config, folder = self._config, self._config.path
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder")
        several = config.images if isinstance(config.images, dict) else {"image": config.images}
        channels = {name: find(folder, text) for name, text in several.items()}
        names = sorted({case for found in channels.values() for case in found.files})
        for channel, found in channels.items():
            missing = [name for name in names if name not in found.files]
            if missing:
                raise DataError(f"{folder}: {listed(missing, 'case')} without the channel {channel!r}")
        labels = find(folder, config.labels) if config.labels is not None else Found({}, {})
        self._complain_of_unlabelled(names, labels)
        places = {name: found.places[name] for found in channels.values() for name in found.places}
        whose, ids = patients(names, config.patient, places), safe_ids(names)
        cases = tuple(
            Case(
                id=ids[name],
                patient=whose[name],
                images=tuple(ImageRef(found.files[name]) for found in channels.values()),
                label=ImageRef(labels.files[name]) if name in labels.files else None,
            )
            for name in names
        )
        return Dataset(cases, config.channels or tuple(channels), None, self._notes(names, channels, labels))

    def _complain_of_unlabelled(self, names: list[str], labels: Found) -> None:
        missing = [name for name in names if name not in labels.files]
        if missing and self._config.labels is not None and self._config.unlabelled == "error":
            hint = f"; a mask is called {next(iter(labels.files.values())).name}, for one" if labels.files else ""
            raise DataError(
                f"{self._config.path}: {listed(missing, 'case')} of {len(names)} without a mask in "
                f"{self._config.labels!r}{hint}; add the masks, give the option 'labels' a pattern such as "
                "'labels/{case}_seg.nii.gz', or say unlabelled: keep"
            )

    def _notes(self, cases: list[str], channels: Mapping[str, Found], labels: Found) -> tuple[str, ...]:
        notes = []
        orphans = [labels.files[case].name for case in sorted(labels.files.keys() - set(cases))]
        if orphans:
            notes.append(f"{listed(orphans, 'mask')} without an image")
        used = {path for found in (*channels.values(), labels) for path in found.files.values()}
        others = {path for found in (*channels.values(), labels) for path in found.others} - used
        if others:
            names = sorted({path.name for path in others})
            notes.append(f"{listed(names, 'file')} beside the images, used by no case")
        return tuple(notes)


def find(folder: Path, text: str) -> Found:
    """The files of a folder, or of a pattern with the place {case}, by case.

    Raises:
        DataError: There is no such folder, or two files belong to one case.
    """
    pattern = Pattern(text)
    if not pattern.places:
        files, others = images_in(folder / text)
        return Found(files, {}, tuple(others))
    found: dict[str, Path] = {}
    places: dict[str, Mapping[str, str]] = {}
    for path, values in pattern.find(folder):
        other = found.setdefault(values["case"], path)
        if other is not path:
            here, there = (one.relative_to(folder).as_posix() for one in (path, other))
            raise DataError(f"{folder}: {there} and {here} both fit {text!r} for the case {values['case']!r}")
        places[values["case"]] = values
    beside = [path for parent in {path.parent for path in found.values()} for path in parent.iterdir()]
    return Found(found, places, tuple(path for path in beside if path.is_file() and not path.name.startswith(".")))
