"""Which prediction belongs to which reference: by file name, in folders of masks and in what a batch leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..imaging.formats import ReaderSpec, choose_reader, specs
from ..imaging.read import scan, scan_files
from ..support.texts import composed, listed

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

MASK = "mask"
"""The name, without its ending, of a mask in a batch's folder of one scan."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Predictions and references of the same name.

    Attributes:
        pairs: CASE -> (prediction, reference).
        missing: CASE -> why it cannot be scored: its prediction is not there, or two files have its name.
        unmatched: Names of predictions without a reference.
    """

    pairs: dict[str, tuple[Path, Path]]
    missing: dict[str, str]
    unmatched: tuple[str, ...]


def match(predictions: Path, references: Path, catalogue: Catalogue) -> Matches:
    """Match two files, or the masks of two folders by their names without endings such as `.nii.gz`.

    A folder holds masks, or, as a batch leaves them, a folder `CASE` for each scan with its `mask.nii.gz`, or with one
    DICOM object or series; a folder of such a series alone is one mask. Names are compared in one form (NFC).

    Args:
        predictions, references: Two files, or two folders.

    Raises:
        DataError: A path is not there, one is a file and the other a folder, no name is in both, or slices of several
            series lie side by side.
    """
    for path in (predictions, references):
        _check(path)
    matches = Matches({file_name(references, catalogue): (predictions, references)}, {}, ())
    if predictions.is_file() or references.is_file():
        if all(path.is_file() or _is_series(path, catalogue) for path in (predictions, references)):
            return matches
        file, folder = (predictions, references) if predictions.is_file() else (references, predictions)
        raise DataError(f"{file} is a file and {folder} a folder; name two files, or two folders")
    sliced = [folder for folder in (predictions, references) if _holds_slices(folder, catalogue)]
    several = [folder for folder in sliced if not _is_series(folder, catalogue)]
    if several:
        raise DataError(f"{several[0]}: holds slices of several series; put each series into a folder of its own")
    if len(sliced) == 2:
        return matches
    predicted, referred = _masks(predictions, catalogue), _masks(references, catalogue)
    if not referred:
        raise DataError(f"{references}: there is no mask in this folder that a reader knows")
    if not predicted.keys() & referred.keys():
        if _is_series(predictions, catalogue) and _is_series(references, catalogue):
            return matches
        some = f"{predictions} holds {listed(predicted, 3) or 'no mask'}, {references} holds {listed(referred, 3)}"
        raise DataError(f"no prediction has the name of a reference: {some}")
    pairs, missing = {}, {}
    for case, files in referred.items():
        candidates = predicted.get(case, [])
        if len(files) == 1 and len(candidates) == 1:
            pairs[case] = (candidates[0], files[0])
        elif not candidates:
            missing[case] = f"{predictions}: there is no prediction for {files[0].name if len(files) == 1 else case}"
        else:
            names = " and ".join(file.name for file in (files if len(files) > 1 else candidates))
            missing[case] = f"{references if len(files) > 1 else predictions}: {names} have the same name"
    return Matches(pairs, missing, tuple(case for case in predicted if case not in referred))


def files_of(path: Path, cases: Sequence[str], catalogue: Catalogue) -> dict[str, Path]:
    """The file of each case in a folder of images or maps, or its folder, such as that of a DICOM series; a file or a
    series by itself belongs to the only case there is.

    Args:
        path: A folder, or the file or series of the only case.
        cases: The names to look for; `CASE_0000` is found as well.

    Raises:
        DataError: There is no such path, or it holds no file with a case's name.
    """
    _check(path)
    if path.is_file():
        if len(cases) != 1:
            raise DataError(f"{path}: is one file, and there are {len(cases)} cases; name a folder")
        return {cases[0]: path}
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    names = {composed(entry.name) if entry.is_dir() else file_name(entry, catalogue): entry for entry in entries}
    files = {case: names[name] for case in cases for name in (case, f"{case}_0000") if name in names}
    if not files and len(cases) == 1 and _is_series(path, catalogue):
        return {cases[0]: path}
    if not files:
        raise DataError(f"{path}: holds no file with the name of a case, such as {cases[0]}")
    return files


def _check(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if not path.is_file() and not path.is_dir():
        raise DataError(f"{path}: is neither a file nor a folder, but a pipe, a socket or a device")


def _masks(folder: Path, catalogue: Catalogue) -> dict[str, list[Path]]:
    """CASE -> its masks, in the order of names."""
    masks: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            files = [file for file in sorted(entry.iterdir()) if file.is_file() and _suffix(file, catalogue)]
            of_batch = [file for file in files if file_name(file, catalogue) == MASK]
            if of_batch or _is_series(entry, catalogue):
                masks.setdefault(composed(entry.name), []).append(min(of_batch, key=_preference, default=entry))
        elif _suffix(entry, catalogue) or choose_reader(entry, catalogue) is not None:
            masks.setdefault(file_name(entry, catalogue), []).append(entry)
    return masks


def _holds_slices(folder: Path, catalogue: Catalogue) -> bool:
    """Whether files that lie in a folder itself are not masks each for itself, but slices of an image."""
    readers = {file: choose_reader(file, catalogue) for file in sorted(folder.iterdir()) if file.is_file()}
    files = [file for file, reader in readers.items() if isinstance(reader, ReaderSpec) and reader.series]
    if len(files) < 2:
        return False
    items = scan_files(files, catalogue)
    images = [item for item in items if item.kind == "image"]
    return 0 < len(images) < len(files) - (len(items) - len(images))


def _is_series(folder: Path, catalogue: Catalogue) -> bool:
    """Whether a folder holds one image of a reader of series, such as DICOM, or one object of structures beside it."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]
    reader = choose_reader(files[0], catalogue) if files else None
    if not isinstance(reader, ReaderSpec) or not reader.series:
        return False
    items = scan(folder, catalogue)
    return len([item for item in items if item.kind == "structures"] or items) == 1


def _preference(mask: Path) -> bool:
    """A batch leaves one mask in several formats; the NIfTI file is in the scan's own grid."""
    return not mask.name.lower().endswith((".nii.gz", ".nii"))


def file_name(file: Path, catalogue: Catalogue) -> str:
    """A file's name without the ending that a reader claims."""
    suffix = _suffix(file, catalogue) or file.suffix
    return composed(file.name[: len(file.name) - len(suffix)] or file.name)


def _suffix(file: Path, catalogue: Catalogue) -> str:
    """The longest ending that a reader claims; nothing where none does."""
    name = file.name.lower()
    suffixes = (suffix for spec in specs(catalogue).values() for suffix in spec.suffixes)
    return max((suffix for suffix in suffixes if name.endswith(suffix)), key=len, default="")
