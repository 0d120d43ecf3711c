"""The DICOM reader: series from headers, volumes from series."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxgraft.plugin import BadImage, Item, Problem, Volume

from .elements import MAGIC, PREAMBLE, Memory
from .header import STRUCTURES, Header, is_image, read_header
from .items import Found
from .options import DicomOptions
from .series import describe, is_nameless, possible_slices, series_of
from .stored import bits_problem
from .structures import structures_item
from .upright import resampled
from .voxels import read_voxels

OPTIONS = "options"
"""Where an item's facts keep the options of the reader that found it."""
UNREADABLE = "it is not a readable DICOM file; it is truncated, or of another kind than its name says"
CHANGED = "its files have changed since they were looked at"


class DicomReader:
    """Reads DICOM images; arrays are (column, row, slice), with channels or colours first; affines lead to RAS."""

    def __init__(self, options: DicomOptions | None = None) -> None:
        self._options = options or DicomOptions()

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Group files into series and describe each image in them; objects that hold no image are left out.

        A file that breaks off before it names its series, or is not DICOM at all in spite of its name, counts against
        every series of the same folder that it may be a slice of. SEG and RTSTRUCT objects become items of the kind
        `structures`, for other readers to read.
        """
        headers: list[Header] = []
        structures: list[Header] = []
        damaged: dict[Path, Header | None] = {}
        memory = Memory()
        reasons: dict[Path, str] = {}
        for file in (*files, *unclaimed(files)):
            try:
                header = read_header(file, memory)
            except (BadImage, OSError) as error:
                header, reasons[file] = None, error.reason if isinstance(error, BadImage) else UNREADABLE
            if header is not None and header.sop_class in STRUCTURES:
                structures.append(header)
            elif header is None or (is_image(header) and is_nameless(header)):
                damaged[file] = header
            elif is_image(header):
                headers.append(header)
        items, blamed = [], set()
        for series in series_of(headers):
            candidates = possible_slices(damaged, series.headers)
            blamed.update(candidates)
            items += [self._remembered(image.item) for image in describe(series, candidates, self._options)]
        items += [structures_item(header) for header in structures]
        return items + [_unreadable(file, reasons.get(file, UNREADABLE)) for file in damaged if file not in blamed]

    def read(self, item: Item) -> Volume:
        """Read the voxels; the first spatial axis is contiguous in memory.

        Intensities are rescaled by the modality transformation of each frame, and by nothing else (private scale
        factors and real world value maps are left alone; PET: see the options): whole numbers stay integers (int16
        where they fit), others become float32. Colours become channels, as do the volumes of a series that an
        attribute distinguishes; MONOCHROME1 is left as it is. An item is read with the options of the reader that
        found it, whichever reader reads it: its facts say what its voxels mean.

        Raises:
            BadImage: A file is damaged, cannot be decoded, or has changed since the scan.
        """
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        strange: list[tuple[Header, int]] = []
        try:
            image = self._again(item)
            pixels = read_voxels(image.frames, image.factor, lambda header, bits: strange.append((header, bits)))
        except OSError as error:
            raise BadImage(item.path, f"it cannot be read: {error.strerror or error}") from error
        dims = len(item.shape)
        if pixels.ndim == 4:  # (slice, row, column, colour)
            array = pixels.transpose(3, 2, 1, 0) if dims == 3 else pixels[0].transpose(2, 1, 0)
        elif dims == 2:
            array = pixels[0].T
        elif item.channels > 1:
            array = pixels.reshape(item.channels, -1, *pixels.shape[1:]).transpose(0, 3, 2, 1)
        else:
            array = pixels.transpose(2, 1, 0)
        if strange:
            item = replace(item, problems=(*item.problems, *bits_problem(strange)))
        if image.leaning is not None:
            return resampled(array, image.leaning, item)
        return Volume(array, item.affine, dims=dims, item=item)

    def _remembered(self, item: Item) -> Item:
        """The item with the options that it was found with, where they are not the usual ones."""
        options = self._options.model_dump(exclude_defaults=True)
        return replace(item, facts={**item.facts, OPTIONS: options}) if options else item

    def _again(self, item: Item) -> Found:
        """Look at the item's files once more, and find it in them.

        Raises:
            BadImage: They are not the same any more.
            OSError: A file cannot be read.
        """
        memory = Memory()
        headers = [header for file in item.files if (header := read_header(file, memory)) is not None]
        if len(headers) < len(item.files):
            raise BadImage(item.path, CHANGED)
        options = DicomOptions.model_validate(item.facts.get(OPTIONS, {}))
        images = [image for series in series_of(headers) for image in describe(series, (), options)]
        same = [image for image in images if _is_same(image.item, item)]
        match = next((image for image in same if image.item.series == item.series), same[0] if len(same) == 1 else None)
        if match is not None:
            return match
        for image in images:
            for problem in image.item.errors:
                raise BadImage(item.path, f"{CHANGED}: {problem.message}")
        raise BadImage(item.path, CHANGED)


def _is_same(now: Item, then: Item) -> bool:
    if now.errors or (now.files, now.shape, now.channels) != (then.files, then.shape, then.channels):
        return False
    return np.allclose(now.affine, then.affine, atol=1e-6)


def _unreadable(file: Path, text: str) -> Item:
    return Item(file, "dicom", (), np.eye(4), problems=(Problem("truncated", text),), files=(file,))


_RUN = re.compile(r"[0-9a-fA-F]+")
_RUNS = re.compile(r"#(?:[._-]#)+")


def unclaimed(files: Sequence[Path]) -> Iterator[Path]:
    """Files without the mark of DICOM whose names are built like those of the given files beside them."""
    known = set(files)
    if len(known) < 2:  # one file was asked for by its name
        return
    folders: dict[Path, set[str]] = {}
    for file in files:
        if file.suffix.lower() not in ENDINGS:
            folders.setdefault(file.parent, set()).add(_pattern(file.name))
    for folder, patterns in folders.items():
        for name in sorted(_names(folder)):
            file = folder / name
            if file not in known and _pattern(name) in patterns and _is_unmarked(file):
                yield file


ENDINGS = (".dcm", ".dicom", ".ima")
"""Files that are handed over whatever is in them."""


def _pattern(name: str) -> str:
    """A name with its numbers left out: `IM-0001-0003` and `IM-0002-0017` are built alike, as are two UIDs."""
    return _RUNS.sub("#", _RUN.sub("#", name))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names of thousands of files, of which few become paths
    except OSError:
        return []


def _is_unmarked(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(PREAMBLE + len(MAGIC))[PREAMBLE:] != MAGIC
    except OSError:  # a link whose file is not there, or a file that may not be read
        return not file.is_dir()
