"""A package as one zip file, as it moves from site to site; one from outside is checked before it is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from ..errors import ModelError, NoSuchModel
from ..support.files import atomic_write
from .package import (
    LARGEST,
    LARGEST_DOCUMENT,
    MANIFEST,
    MEMBERS,
    OPTIONAL,
    Package,
    files_of,
    most_bytes,
    read_package,
)

SUFFIX = ".voxgraft.zip"
DENSEST = 100
"""How many times smaller than its content an archive may be; weights do not shrink, a zip bomb does."""


def pack(folder: Path, target: Path) -> Path:
    """Write a package folder as one zip file."""
    read_package(folder)
    with atomic_write(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in files_of(folder):
            archive.write(folder / name, name)
    return target


def unpack(archive: Path, folder: Path) -> Package:
    """Extract a package, refusing members that escape, repeat, or are larger than any package.

    Raises:
        ModelError: It is not a package archive.
    """
    if not archive.is_file():
        raise NoSuchModel(f"{archive}: there is no such package file")
    try:
        with atomic_write(folder) as temporary, zipfile.ZipFile(archive) as file:
            temporary.mkdir(parents=True)
            for name in _members(archive, file):
                with file.open(name) as source, (temporary / name).open("wb") as sink:
                    while chunk := source.read(1 << 20):
                        sink.write(chunk)
            try:
                read_package(temporary)
            except ModelError as error:
                raise ModelError(str(error).replace(str(temporary), str(archive))) from None
    except _NO_ZIP as error:
        raise ModelError(f"{archive}: is not a readable zip file: {error}") from None
    return read_package(folder)


_NO_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
"""What reading a damaged archive raises: one with a place before its beginning an OSError."""


def _members(archive: Path, file: zipfile.ZipFile) -> list[str]:
    """The names in an archive, if they are those of a package and not more than one can hold."""
    names = [info.filename for info in file.infolist()]
    if set(names) - set(OPTIONAL) != {*MEMBERS, MANIFEST} or len(names) != len(set(names)):
        raise ModelError(
            f"{archive}: is not a model package: it holds {', '.join(sorted(set(names))[:8]) or 'nothing'}"
        )
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in file.infolist()):
        raise ModelError(
            f"{archive}: is compressed in a way that packages are not; write it with `voxgraft models export`"
        )
    size = sum(info.file_size for info in file.infolist())
    if size > LARGEST or size > max(LARGEST_DOCUMENT, DENSEST * archive.stat().st_size):
        raise ModelError(f"{archive}: would unpack to {size} bytes, which is larger than any such package")
    if large := [info.filename for info in file.infolist() if info.file_size > most_bytes(info.filename)]:
        raise ModelError(f"{archive}: its member {large[0]} would unpack to more than {LARGEST_DOCUMENT} bytes")
    return names
