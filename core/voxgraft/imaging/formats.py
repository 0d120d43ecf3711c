"""What the engine asks of readers and writers, and the specs by which plugins offer them.

Of places in files that may tell who a patient is only where it stands is said, never what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    import numpy as np

    from ..components.catalogue import Catalogue
    from .structures import Labels
    from .volume import Item, Problem, Volume


_UID = re.compile(r"\d+(?:\.\d+){3,}")
_SIGNS = {
    "a date": re.compile(
        r"(?<![\d.])(?:(?:19|20)\d\d([-_./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
        r"|(?:0[1-9]|[12]\d|3[01])([-_./])(?:0[1-9]|1[0-2])\2(?:19|20)\d\d)(?!\d)"
    ),
    "a person's name": re.compile(r"[^\W\d_]{2,}\^[^\W\d_]{2,}|(?:^|[/\s])[A-Z][a-z]{2,}, ?[A-Z][a-z]{2,}"),
    "a patient's number": re.compile(
        r"(?i)(?:mrn|patient_?id|pat_?id|(?<![a-z])pid)[-_ :#=]*\d{4,}|(?<![\d.])\d{7,10}(?![\d.])"
    ),
}


class Trace(NamedTuple):
    """A place where a file may tell who the patient is.

    Attributes:
        code: The code of the problem: `names-in-header`, `burned-in` or `text-in-header`.
        place: The name of the header's field, or the kind of file name.
        kind: What its text looks like; empty where that goes without saying.
    """

    code: str
    place: str
    kind: str = ""


def signs(text: str) -> Iterator[str]:
    """What a text looks like that tells of a person: a date, a name, a number; nothing for harmless ones."""
    plain = _UID.sub(" ", text)
    for kind, pattern in _SIGNS.items():
        match = pattern.search(plain)
        if match:
            yield kind
            plain = pattern.sub(" ", plain)


class Reader(Protocol):
    """Read images of one family of formats."""

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe the images in these files from their headers alone, problems included.

        A file that cannot be understood gives an item with an error, never an exception.
        """
        ...

    def read(self, item: Item) -> Volume:
        """Read the voxels of an item.

        Raises:
            BadImage: The file is damaged, or the item has a problem of severity `error`.
        """
        ...


@runtime_checkable
class PaletteReader(Reader, Protocol):
    """A reader of pictures that may hold numbers of colours in a palette."""

    def numbers(self, item: Item) -> Volume:
        """Read the numbers as they are stored, (i, j[, k]), of an item that has a palette.

        Raises:
            BadImage: The file is damaged.
        """
        ...


class StructureReader(Reader, Protocol):
    """A reader of objects that hold named, perhaps overlapping structures of another image (DICOM SEG, RTSTRUCT)."""

    def structures(
        self, item: Item, like: Volume, say: Callable[[Problem], None] = lambda _: None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Each structure by its name as a bool array in the grid of `like`, of shape `like.shape`.

        Args:
            say: Is told what a person should know of what was read, such as a structure of which nothing is left.

        Raises:
            BadImage: The object is damaged, or does not lie in this grid; the message says how far off it is.
        """
        ...


class Writer(Protocol):
    """Write images or masks in one format."""

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write one file at `target`; its folder is there.

        The engine gives a name beside the file's own, with the same ending, and renames the file once it is complete.

        Args:
            volume: Voxels in the scan's own grid; `volume.item` is the scan they belong to.
            labels: The structures of a mask, None for an image.
            facts: What is known of the maker of a mask: `model`, `version`, `hash`, `software`. Of a mask that readers
                have reviewed also `reviewed` (the date), `review_key` (a hash of the result), `corrected` (names of
                structures, one a line), and where they are to be named `reviewer` and `organisation`.

        Raises:
            DataError: This volume cannot be written in this format; the message says why.
        """
        ...


@runtime_checkable
class ReadsImages(Protocol):
    """A layout or a writer that reads images itself, such as a tree of DICOM files or a report with measurements."""

    def use_readers(self, catalogue: Catalogue) -> None:
        """Read them with these readers, which have the options of the workflow; called before anything else."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSpec(Component[C, Reader]):
    """A reader, with the file name endings it claims and the bytes by which it knows files without one.

    Attributes:
        suffixes: Lower-case endings such as `.nii.gz`; the longest that fits decides.
        magic: Pairs of (offset, bytes) found in the first kilobyte of its files.
        by_content: Its files bear any name, also with an ending of another kind: its magic comes before all suffixes.
        series: Files of one folder tree belong together (DICOM): they are scanned in one call.
        structures: It builds a `StructureReader`; a reader of the kind `series` may hand its items to it by name.
        illustrates: Its files (photographs, icons) also lie beside scans as illustrations: in a folder they count only
            where no other image lies in it.
        traces: Where the header of one of its files may tell who the patient is; it may raise on damaged files.
    """

    kind = "reader"

    suffixes: tuple[str, ...]
    magic: tuple[tuple[int, bytes], ...] = ()
    by_content: bool = False
    series: bool = False
    structures: bool = False
    illustrates: bool = False
    traces: Callable[[Path], Iterable[Trace]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSpec(Component[C, Writer]):
    """A writer, with the file name endings it answers to in `convert`.

    Attributes:
        filename: The name of its file in a batch's folder of one scan, such as `mask.nii.gz`.
        needs: What the scan must be: `any`, or `dicom` for objects that refer to DICOM instances.
        labels: It writes masks; otherwise images only.
        dims: How many axes in space its images may have.
        proves: It reads back what it wrote, and compares it with the mask, before the file takes its name.
    """

    kind = "writer"

    suffixes: tuple[str, ...]
    filename: str
    needs: str = "any"
    labels: bool = True
    dims: frozenset[int] = frozenset({2, 3})
    proves: bool = False
