"""The store of packages on this disk: folders, and files of the ending `.voxgraft.zip`."""

from __future__ import annotations

from pathlib import Path

from voxgraft.errors import ModelError, NoSuchModel
from voxgraft.packages.archive import unpack
from voxgraft.packages.package import MANIFEST, read_package
from voxgraft.packages.references import cache_folder
from voxgraft.support.files import sha256


class FolderStore:
    """Answers to paths of packages, and to a run's folder, which holds one."""

    def fetch(self, reference: str) -> Path:
        """The folder of the package at a path; a package file is unpacked into the cache.

        Raises:
            ModelError: There is nothing, or it is damaged.
        """
        path = Path(reference)
        if path.is_dir():
            inner = path / "package"
            folder = inner if not (path / MANIFEST).exists() and (inner / MANIFEST).exists() else path
            return read_package(folder).folder
        if not path.is_file():
            raise NoSuchModel(f"{reference}: there is no such model: no package folder, no package file, no reference")
        target = cache_folder() / "unpacked" / sha256(path)
        try:
            return read_package(target).folder
        except ModelError:
            return unpack(path, target).folder
