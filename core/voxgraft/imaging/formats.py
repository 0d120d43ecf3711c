"""What the engine asks of readers and writers, the specs by which plugins offer them, and which reader claims a file.

Of places in files that may tell who a patient is only where it stands is said, never what it says.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from ..components.catalogue import C, Component
from ..errors import DataError
from ..support.files import check_regular

if TYPE_CHECKING:
    import numpy as np

    from ..components.catalogue import AnySpec, Catalogue
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
        """Read the numbers as they are stored, (i, j[, k]), of an item that has a palette."""
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


SYSTEM = ("lost+found",)
"""Folders of a file system's own, which nobody but root may open."""
HEAD = 1024
"""Bytes at the beginning of a file in which a reader's magic is looked for."""
_ENDINGS = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".z", ".lzma", ".iso")
_TEXT = (".json", ".txt", ".csv", ".tsv", ".log", ".xml", ".svg", ".html", ".bval", ".bvec")
"""Endings of files that hold no scans when they are packed either."""


def choose_reader(file: Path, catalogue: Catalogue) -> AnySpec | None:
    """The reader of a file: the one with the longest fitting suffix, else the one whose magic bytes are in it.

    The magic bytes of files that bear any name (DICOM) come before every suffix: see `ReaderSpec.by_content`.

    Raises:
        DataError: Two readers claim it with equal right.
    """
    return claiming(file, specs(catalogue))


def claiming(file: Path, readers: Mapping[str, Any]) -> AnySpec | None:
    """See `choose_reader`."""
    claims = longest_suffix(file, readers.values())
    if len(claims) != 1 or not readers[claims[0]].by_content:
        head = _head(file)
        sure = [name for name, spec in readers.items() if spec.by_content and _has_magic(head, spec)]
        claims = sure or [name for name in claims or readers if _has_magic(head, readers[name])] or claims
    if len(claims) > 1:
        raise DataError(f"{file}: the readers {' and '.join(map(repr, claims))} both claim this file; leave one out")
    return readers[claims[0]] if claims else None


def longest_suffix(file: Path, specs: Iterable[Any]) -> list[str]:
    """The names of the specs of which a suffix fits the file's name, and none of another one is longer."""
    name = file.name.lower()
    fits = {spec.name: max((len(s) for s in spec.suffixes if name.endswith(s)), default=0) for spec in specs}
    longest = max(fits.values(), default=0)
    return [claim for claim, length in fits.items() if length == longest > 0]


def specs(catalogue: Catalogue) -> dict[str, Any]:
    return {spec.name: spec for _, spec in catalogue.of("reader")}


def known_kinds(catalogue: Catalogue) -> str:
    return ", ".join(sorted(specs(catalogue))) or "none"


def packed_name(file: Path, catalogue: Catalogue) -> str:
    """The name that a file packed with gzip needs for the reader of what is in it; empty where there is none."""
    head = _head(file)
    if head[:2] != b"\x1f\x8b":
        return ""
    try:
        inside = zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return ""
    readers = specs(catalogue).values()
    endings = [end for spec in readers if _has_magic(inside, spec) for end in spec.suffixes if end.endswith(".gz")]
    plain = file.name.removesuffix(".gz")
    return next((f"{plain.removesuffix(end.removesuffix('.gz'))}{end}" for end in endings), "")


def _head(file: Path) -> bytes:
    try:
        check_regular(file)
        with file.open("rb") as stream:
            return stream.read(HEAD)
    except OSError:
        return b""


def _has_magic(head: bytes, spec: Any) -> bool:
    return any(head[offset : offset + len(magic)] == magic for offset, magic in spec.magic)


def walk(folder: Path, closed: list[Path] | None = None) -> Iterator[Path]:
    """Every file below a folder in the order of names, without hidden ones; links may not lead round in circles.

    A link whose file is not there, or a file that may not be looked at, counts as one that cannot be read, not as none:
    it may be a slice of a scan.

    Args:
        closed: Is given the folders that cannot be opened.
    """
    seen: set[tuple[int, int]] = set()

    def cannot(error: OSError) -> None:
        if closed is not None and Path(error.filename).name not in SYSTEM:
            closed.append(Path(error.filename))

    for root, folders, files in os.walk(folder, onerror=cannot, followlinks=True):
        status = os.stat(root)  # noqa: PTH116 - a string from os.walk; a Path for each folder of a big tree is slow
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(files):
            file = Path(root, name)
            if not name.startswith(".") and _is_file(file):
                yield file


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:  # gone since the folder was listed, or a link to what is not there
        return path.is_symlink()
    except OSError:
        return True


def unopened_in(path: Path, catalogue: Catalogue) -> list[Path]:
    """What is not looked into: archives and packed files that no reader claims, folders that cannot be opened."""
    closed: list[Path] = []
    files = filter(is_archive, walk(path, closed)) if path.is_dir() else ()
    return [*(file for file in files if choose_reader(file, catalogue) is None), *closed]


def is_archive(file: Path) -> bool:
    """Whether a file is an archive or a packed file by its name."""
    name = file.name.lower()
    return name.endswith(_ENDINGS) and not name.rpartition(".")[0].endswith(_TEXT)


def unopened_problems(paths: Sequence[Path]) -> tuple[Problem, ...]:
    """What to say of archives and of folders that cannot be opened; nothing where there are none."""
    from .volume import Problem

    archives = [path for path in paths if is_archive(path)]
    closed = [path for path in paths if not is_archive(path)]
    problems = []
    if archives:
        many = len(archives) > 1
        what = f"{len(archives)} archives or packed files were" if many else "an archive or packed file was"
        text = f"{what} not opened ({_listed(archives)}); unpack those that contain scans"
        problems.append(Problem("archive", text, "warning"))
    if closed:
        what = "a folder" if len(closed) == 1 else f"{len(closed)} folders"
        text = f"{what} cannot be opened ({_listed(closed)}), so what lies there is missing; ask for the right to read"
        problems.append(Problem("closed-folder", text, "warning"))
    return tuple(problems)


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
