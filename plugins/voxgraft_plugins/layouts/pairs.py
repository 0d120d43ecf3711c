"""Images and masks that are matched by their file names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from voxgraft.plugin import Case, DataError, Dataset, ImageRef, MaskRef, images_in, listed, safe_ids

from .options import PairsOptions
from .pairing import is_region
from .patterns import Pattern, patients


@dataclass(frozen=True, slots=True)
class Found:
    """What one folder or pattern gave: a file for each case, what stood in the places of its name, and leftovers.

    Attributes:
        parts: For each case the files of its raters or structures by their names; `files` then holds the first.
    """

    files: Mapping[str, Path]
    places: Mapping[str, Mapping[str, str]]
    others: tuple[Path, ...] = ()
    parts: Mapping[str, tuple[tuple[str, ImageRef], ...]] = field(default_factory=dict)

    @property
    def masks(self) -> dict[str, ImageRef]:
        """The mask of each case: one file, or one for each structure."""
        several = {case: MaskRef(parts[0][1].path.parent, named=parts) for case, parts in self.parts.items()}
        return {**{case: ImageRef(path) for case, path in self.files.items()}, **several}

    def without(self, masks: Found) -> Found:
        """A mask is no image, although its name, as `a_seg.nii.gz`, may fit the pattern of images, `{case}.nii.gz`."""
        taken = {*masks.files.values(), *(one.path for several in masks.parts.values() for _, one in several)}
        return replace(self, files={case: path for case, path in self.files.items() if path not in taken})


class PairsLayout:
    """A case for every image; its mask is the file of the same name, or the one that a pattern gives."""

    def __init__(self, options: PairsOptions) -> None:
        self._options = options

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: A folder is not there, a case lacks a mask, or names are ambiguous.
        """
        options, folder = self._options, self._options.path
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder")
        several = options.images if isinstance(options.images, dict) else {"image": options.images}
        labels = find_masks(folder, options.labels) if options.labels is not None else Found({}, {})
        channels = {name: find(folder, text).without(labels) for name, text in several.items()}
        names = sorted({case for channel in channels.values() for case in channel.files})
        self._complain_of_unlabelled(names, labels)
        valid = find(folder, options.valid) if options.valid is not None else Found({}, {})
        self._complain_of_unbounded([name for name in names if name in labels.files], valid)
        fields = {name: channel.places[name] for channel in channels.values() for name in channel.places}
        whose, ids = patients(names, options.patient, fields), safe_ids(names)
        by_raters = options.labels is not None and "rater" in Pattern(options.labels).places
        masks = {} if by_raters else labels.masks
        cases = tuple(
            Case(
                id=ids[name],
                patient=whose[name],
                images=tuple(_reference(channel.files.get(name)) for channel in channels.values()),
                label=masks.get(name),
                raters=dict(labels.parts.get(name, ())) if by_raters else {},
                valid=_reference(valid.files.get(name)),
            )
            for name in names
        )
        notes = self._notes(names, channels, labels, valid)
        stated = options.patient is not None or any("patient" in part for part in fields.values())
        return Dataset(cases, options.channels or tuple(channels), None, notes, names_patients=stated)

    def _complain_of_unlabelled(self, names: list[str], labels: Found) -> None:
        missing = [name for name in names if name not in labels.files]
        if missing and self._options.labels is not None and self._options.unlabelled == "error":
            hint = f"; a mask is called {next(iter(labels.files.values())).name}, for one" if labels.files else ""
            raise DataError(
                f"{self._options.path}: {listed(missing, 'case')} of {len(names)} without a mask in "
                f"{self._options.labels!r}{hint}; add the masks, give the option 'labels' a pattern such as "
                "'labels/{case}_seg.nii.gz', or set unlabelled: keep"
            )

    def _complain_of_unbounded(self, names: list[str], valid: Found) -> None:
        missing = [name for name in names if name not in valid.files]
        if missing and self._options.valid is not None:
            raise DataError(
                f"{self._options.path}: {listed(missing, 'case')} of {len(names)} without a file of where it counts in "
                f"{self._options.valid!r}; add the files, or fix the option 'valid'"
            )

    def _notes(self, cases: list[str], channels: Mapping[str, Found], labels: Found, valid: Found) -> tuple[str, ...]:
        notes = []
        orphans = [labels.files[case].name for case in sorted(labels.files.keys() - set(cases))]
        if orphans:
            notes.append(f"{listed(orphans, 'mask')} without an image")
        used = {path for part in (*channels.values(), labels, valid) for path in part.files.values()}
        used |= {reference.path for parts in labels.parts.values() for _, reference in parts}
        others = {path for part in (*channels.values(), labels) for path in part.others} - used
        if others:
            names = sorted({path.name for path in others})
            notes.append(f"{listed(names, 'file')} beside the images, used by no case")
        regions = sorted({path.name for path in others if is_region(path.name)})
        if regions and self._options.valid is None:
            notes.append(
                f"{listed(regions, 'file')} may mark the region that counts; if so, name it with the option 'valid'"
            )
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
    by_case: dict[str, Path] = {}
    fields: dict[str, Mapping[str, str]] = {}
    for path, values in pattern.find(folder):
        _once(by_case, values["case"], path, folder, text, f"the case {values['case']!r}")
        fields[values["case"]] = values
    return Found(by_case, fields, _beside(by_case.values()))


def find_masks(folder: Path, text: str) -> Found:
    """The masks of a folder or pattern; with {rater} or {structure} in it, several for each case.

    Raises:
        DataError: There is no such folder, or two files belong to one case, rater or structure.
    """
    pattern = Pattern(text)
    kind = next((field for field in ("rater", "structure") if field in pattern.places), None)
    if kind is None:
        return find(folder, text)
    by_key: dict[tuple[str, str], Path] = {}
    for path, values in pattern.find(folder):
        key = (values["case"], values[kind])
        _once(by_key, key, path, folder, text, f"the {kind} {key[1]!r} of the case {key[0]!r}")
    parts: dict[str, list[tuple[str, ImageRef]]] = {}
    for (case, name), path in sorted(by_key.items()):
        parts.setdefault(case, []).append((name, ImageRef(path)))
    files = {case: several[0][1].path for case, several in parts.items()}
    return Found(files, {}, _beside(by_key.values()), {case: tuple(several) for case, several in parts.items()})


K = TypeVar("K")


def _once(files: dict[K, Path], key: K, path: Path, folder: Path, text: str, what: str) -> None:
    other = files.setdefault(key, path)
    if other is not path:
        first, second = (file.relative_to(folder).as_posix() for file in (path, other))
        raise DataError(f"{folder}: {second} and {first} both fit {text!r} for {what}")


def _beside(files: Iterable[Path]) -> tuple[Path, ...]:
    siblings = [path for parent in {path.parent for path in files} for path in parent.iterdir()]
    return tuple(path for path in siblings if path.is_file() and not path.name.startswith("."))


def _reference(path: Path | None) -> ImageRef | None:
    return None if path is None else ImageRef(path)
