"""A version's files: where they are, and how they come here."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from voxgraft.errors import ModelError
from voxgraft.packages.package import LARGEST, MANIFEST, MEMBERS, OPTIONAL, Package, read_package
from voxgraft.packages.references import cache_folder
from voxgraft.support.files import atomic_write, digest

from .connection import Address


def fetch_package(uri: str, at: Address, name: str) -> Package:
    """The verified package at a place that a registry gave.

    Files on this disk are used where they are. Others are copied into the cache, the package's own and no more, and
    only a copy that passes verification stays there.

    Args:
        name: Of the version, for messages.

    Raises:
        ModelError: It is not a package, or damaged.
    """
    folder = _local(uri, at)
    if folder is not None:
        if not folder.is_dir():
            raise ModelError(f"{name}: its files are not where the registry says, or cannot be seen from this machine")
        return _read(folder, name)
    target = cache_folder() / "fetched" / digest([at.uri, uri])
    try:
        return read_package(target)
    except ModelError:
        _download(uri, at, target, name)
    return read_package(target)


def _local(uri: str, at: Address) -> Path | None:
    """The folder, where the place is one on this disk; also when database and files were moved together."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    folder = Path(unquote(parts.path) if parts.scheme else uri)
    if not folder.is_dir() and at.database is not None and "mlartifacts" in folder.parts:
        tail = folder.parts[folder.parts.index("mlartifacts") :]
        folder = at.database.parent.joinpath(*tail)
    return folder


def _download(uri: str, at: Address, target: Path, name: str) -> None:
    from mlflow.artifacts import download_artifacts, list_artifacts

    listed = list_artifacts(artifact_uri=uri, tracking_uri=at.uri)
    sizes = {str(file.path).rpartition("/")[2]: int(file.file_size or 0) for file in listed if not file.is_dir}
    members: tuple[str, ...] = (*MEMBERS, MANIFEST)
    if lacking := [member for member in members if member not in sizes]:
        raise ModelError(f"{name}: is not a VoxGraft package: it has no {lacking[-1]}")
    members = (*members, *(member for member in OPTIONAL if member in sizes))
    if sum(sizes[member] for member in members) > LARGEST:
        raise ModelError(f"{name}: is larger than any model package")
    with atomic_write(target) as temporary:
        for member in members:
            download_artifacts(artifact_uri=f"{uri}/{member}", dst_path=str(temporary), tracking_uri=at.uri)
        _read(temporary, name)


def _read(folder: Path, name: str) -> Package:
    try:
        return read_package(folder)
    except ModelError as error:
        raise ModelError(str(error).replace(str(folder), name)) from None
