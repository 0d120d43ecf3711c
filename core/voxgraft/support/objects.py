"""Files in object storage, through fsspec: `s3://BUCKET/FOLDER`, and whatever else has a file system of its kind.

What is read is fetched to a folder here, whole or not at all, and again only when it may have changed there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError, UsageError, VoxGraftError
from .files import atomic_write, digest, read_json, sha256, write_json
from .lock import remove

_STAMPS = ("ETag", "etag", "md5", "md5Hash", "LastModified", "last_modified", "mtime", "created")
"""What storages of several makers call that by which a change is seen."""

_NO_ANSWER = ("ConnectionError", "ClientConnectionError", "HTTPClientError", "TimeoutError")


def mirror_of(url: str, home: Path) -> Path:
    """Where the copy of what a URL names lies, below a folder of caches; all copies are for their owner alone."""
    copies = home / "objects"
    with suppress(OSError):  # told where the first copy is written
        copies.mkdir(mode=0o700, parents=True, exist_ok=True)
    return copies / digest(url.rstrip("/"))[:16] / (PurePosixPath(url.split("://", 1)[1]).name or "all")


def fetch(url: str, target: Path) -> Path:
    """Let `target` be what a URL names: a file, or all files below a prefix; only what has changed is fetched.

    Raises:
        UsageError: There is no such file or prefix, or no package for such storage is installed.
        DataError: It cannot be reached or read, or not whole.
    """
    with _plainly(url, "read"):
        system, root = _system(url)
        found = _found(system, root)
        if not found:
            _ask(system, root)
            raise UsageError(f"{url}: there is no such file or folder")
        known = target.with_name(f"{target.name}.objects.json")
        before: Mapping[str, Any] = read_json(known) if known.is_file() else {}
        now = {name: _stamp(facts) for name, (_, facts) in found.items()}
        for name, (key, facts) in found.items():
            path = target / name if name else target
            if now[name] is None or before.get(name) != now[name] or not path.is_file():
                _get(system, key, path, facts.get("size"))
        for name in set(before) - set(now):
            remove(target / name)
        write_json(known, now)
    return target


def fetch_file(url: str, target: Path) -> None:
    """Fetch one file.

    Raises:
        DataError: It cannot be read, or not whole.
    """
    with _plainly(url, "read"):
        system, key = _system(url)
        _get(system, key, target, system.info(key).get("size"))


def put(folder: Path, url: str, last: str = "") -> None:
    """Put the files of a folder below a URL, one after the other; each is whole there or not there.

    Args:
        folder: Here.
        url: There; other files below it are left alone.
        last: The name of a file that is put when the others are there.

    Raises:
        DataError: The storage does not take them.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == last):
        put_file(path, f"{url}/{path.relative_to(folder).as_posix()}")


def put_file(path: Path, url: str) -> None:
    """Put one file at a URL.

    Raises:
        DataError: The storage does not take it, or has not got all of it.
    """
    with _plainly(url, "written"):
        system, key = _system(url)
        system.makedirs(system._parent(key), exist_ok=True)
        system.put_file(str(path), key)
        system.invalidate_cache(system._parent(key))
        if system.info(key).get("size") not in (None, path.stat().st_size):
            raise DataError(f"{url}: has not arrived whole")


def take(url: str, folder: Path, hashes: Mapping[str, str]) -> None:
    """Fetch files whose hashes are known, and remove them there.

    Args:
        url: There.
        folder: Here.
        hashes: File -> SHA-256.

    Raises:
        DataError: One is not there, or is another.
    """
    for name, wanted in hashes.items():
        fetch_file(f"{url}/{name}", folder / name)
        if sha256(folder / name) != wanted:
            raise DataError(f"{url}/{name}: is not what the worker wrote; its hash differs")
    discard(url)


def discard(url: str) -> None:
    """Remove all below a URL.

    Raises:
        DataError: The storage does not let it.
    """
    with _plainly(url, "removed"):
        system, root = _system(url)
        if system.exists(root):
            system.rm(root, recursive=True)


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {' '.join(str(error).split())}") from None
    return system, str(root).rstrip("/")


def _found(system: Any, root: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The files below a path, by their names relative to it; that of the path itself is empty.

    Raises:
        DataError: A name leads out of the folder.
    """
    system.invalidate_cache()
    if system.isfile(root):
        return {"": (root, system.info(root))}
    found = {}
    for key, facts in system.find(root, detail=True).items():
        name = key[len(root) :].lstrip("/")
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or "\\" in name or Path(name).is_absolute() or "\0" in name:
            raise DataError(f"{key!r}: its name leads out of the folder that it would be fetched to")
        found[name] = (key, facts)
    return found


def _ask(system: Any, root: str) -> None:
    """Let a storage say why it shows nothing: some take a host that does not answer for one without the file.

    Raises:
        Exception: Whatever it says, other than that the file is not there.
    """
    try:
        system.info(root)
    except FileNotFoundError as error:
        if _behind(error) is not None:
            raise


def _behind(error: BaseException) -> BaseException | None:
    """What is behind an error that says that a file is not there: a host that does not answer, or that refuses."""
    cause = error.__cause__
    while cause is not None:
        if _unreached(cause) or getattr(cause, "status", 404) not in (404, 410):
            return cause
        cause = cause.__cause__
    return None


def _unreached(error: BaseException) -> bool:
    """Whether this says that a host does not answer, in the words of Python, aiohttp or botocore."""
    return any(kind.__name__ in _NO_ANSWER for kind in type(error).__mro__)


def _stamp(facts: Mapping[str, Any]) -> str | None:
    """What changes when a file does; None where the storage tells its size alone, by which a change can be missed."""
    told = [str(facts[name]) for name in _STAMPS if facts.get(name)]
    return digest([facts.get("size"), *told]) if told else None


def _get(system: Any, key: str, target: Path, size: int | None) -> None:
    with atomic_write(target) as path:
        system.get_file(key, str(path))
        if size is not None and path.stat().st_size != size:
            raise DataError(f"{key}: only {path.stat().st_size} of {size} bytes have arrived")


@contextmanager
def _plainly(url: str, what: str) -> Iterator[None]:
    """Errors of the many libraries behind fsspec as one sentence."""
    try:
        yield
    except VoxGraftError:
        raise
    except Exception as error:
        reason = _behind(error) or error
        if isinstance(reason, FileNotFoundError):
            raise DataError(f"{url}: is not there (any more)") from None
        said = " ".join(str(reason).split()) or type(reason).__name__
        raise DataError(f"{url}: cannot be {'reached' if _unreached(reason) else what}: {said}") from error
