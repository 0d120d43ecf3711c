"""Which reader claims a file, the files of a folder, and archives: no reader looks into them, so they are named."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..support.files import check_regular
from .volume import Problem

if TYPE_CHECKING:
    from ..components.catalogue import AnySpec, Catalogue

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


def claiming(file: Path, readers: dict[str, Any]) -> AnySpec | None:
    """See `choose_reader`."""
    name = file.name.lower()
    fits = {spec.name: max((len(s) for s in spec.suffixes if name.endswith(s)), default=0) for spec in readers.values()}
    longest = max(fits.values(), default=0)
    claims = [claim for claim, length in fits.items() if length == longest] if longest else []
    if len(claims) != 1 or not readers[claims[0]].by_content:
        head = _head(file)
        sure = [name for name, spec in readers.items() if spec.by_content and _has_magic(head, spec)]
        claims = sure or [name for name in claims or readers if _has_magic(head, readers[name])] or claims
    if len(claims) > 1:
        raise DataError(f"{file}: the readers {' and '.join(map(repr, claims))} both claim this file; leave one out")
    return readers[claims[0]] if claims else None


def specs(catalogue: Catalogue) -> dict[str, Any]:
    return {spec.name: spec for _, spec in catalogue.of("reader")}


def known_kinds(catalogue: Catalogue) -> str:
    return ", ".join(sorted({spec.name for _, spec in catalogue.of("reader")})) or "none"


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


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder in the order of names, without hidden ones; links may not lead round in circles.

    A link whose file is not there counts as a file that cannot be read, not as none: it may be a slice of a scan.
    """
    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(root)  # noqa: PTH116 - a string from os.walk; a Path for each folder of a big tree is slow
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(files):
            file = Path(root, name)
            if not name.startswith(".") and (file.is_file() or (file.is_symlink() and not file.exists())):
                yield file


def archives_in(path: Path, catalogue: Catalogue) -> list[Path]:
    """The archives and packed files in a folder that no reader claims; none for a file."""
    files = filter(is_archive, walk(path)) if path.is_dir() else ()
    return [file for file in files if choose_reader(file, catalogue) is None]


def is_archive(file: Path) -> bool:
    """Whether a file is an archive or a packed file by its name."""
    name = file.name.lower()
    return name.endswith(_ENDINGS) and not name.rpartition(".")[0].endswith(_TEXT)


def archive_problems(archives: Sequence[Path]) -> tuple[Problem, ...]:
    """What to say of archives; nothing where there are none."""
    if not archives:
        return ()
    names = ", ".join(file.name for file in archives[:3]) + (", ..." if len(archives) > 3 else "")
    what = "an archive or packed file was" if len(archives) == 1 else f"{len(archives)} archives or packed files were"
    return (Problem("archive", f"{what} not opened ({names}); unpack those that contain scans", "warning"),)
