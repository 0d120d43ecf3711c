"""The images of a DICOM tree: from an index where nothing has changed, from the headers elsewhere.

The index knows for each folder the names, sizes and times of its files, and what the reader said of them. A folder in
which anything differs is read again as a whole. Folders over which one series is spread are read together, for only
so can the reader judge it. This gives the same as reading the whole tree at once, because the reader parts files into
series by what their headers say, and damaged files count only against series with files in the same folder, or in
several folders beside it.

A file may change twice within the tick of a file system's clock; a folder with a file so young is read, but not
remembered.

A record of it holds plain values, paths relative to the tree, and no patient's identifier.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import (
    Catalogue,
    Item,
    Problem,
    Progress,
    digest,
    fingerprint,
    scan_files,
    source_hash,
    version_of,
    walk,
)

from .store import Store


def nameless(item: Item) -> Item:
    """The same image with a fingerprint in place of the patient's identifier."""
    patient = (item.patient or "").strip()
    return replace(item, patient=fingerprint(patient) if patient else None)


def encode(items: Sequence[Item], tree: Path) -> str:
    """Images that `nameless` gave as a JSON text."""
    return json.dumps([_record(item, tree) for item in items], separators=(",", ":"), default=_plain)


def decode(text: str, tree: Path) -> list[Item]:
    """The images in a text that `encode` made.

    Raises:
        ValueError: It is none.
    """
    try:
        return [_item(record, tree) for record in json.loads(text)]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError("these are not records of images") from error


_PLAIN = ("reader", "kind", "channels", "modality", "series", "description", "patient")
"""What JSON holds of an image as it is."""


def _record(item: Item, tree: Path) -> dict[str, Any]:
    return {name: getattr(item, name) for name in _PLAIN} | {
        "path": _below(item.path, tree),
        "shape": item.shape,
        "affine": item.affine.ravel().tolist(),
        "problems": [[problem.code, problem.message, problem.severity] for problem in item.problems],
        "files": [_below(file, tree) for file in item.files],
        "facts": dict(item.facts),
    }


def _item(record: dict[str, Any], tree: Path) -> Item:
    return Item(
        **{name: record[name] for name in _PLAIN},
        path=tree / record["path"],
        shape=tuple(record["shape"]),
        affine=np.array(record["affine"], dtype=np.float64).reshape(4, 4),
        problems=tuple(Problem(code, message, severity) for code, message, severity in record["problems"]),
        files=tuple(tree / file for file in record["files"]),
        facts=record["facts"],
    )


def _below(path: Path, tree: Path) -> str:
    return path.relative_to(tree).as_posix() if path.is_relative_to(tree) else path.absolute().as_posix()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


YOUNG = 2.0
"""Seconds that a file's last change must lie back; the clocks of some file systems tick that slowly."""
BATCH = 1000
"""Files after which what was found is put into the index."""
NOBODY = Path(".nobody", "nowhere", "nobody.dcm")
"""No file has this name. The reader takes a single file for one that a person named, and then does not look whether
others beside it are cut short; with this one beside it, a folder is looked at as a part of its tree is."""
LONG = 2000
"""Files whose reading is worth a progress bar."""


@dataclass(slots=True)
class Folder:
    """One folder of a tree: its files, in the order of names, and the fingerprint of their names, sizes and times."""

    files: list[Path] = field(default_factory=list)
    state: str = ""
    settled: bool = True


class Tree:
    """A folder with everything below it, as it lies on the disk now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: dict[str, Folder] = {}
        rows: dict[str, list[str]] = {}
        now = time.time()
        for file in walk(root):
            try:
                status = file.stat() if file.exists() else file.lstat()
            except OSError:  # it has gone since the folder was listed
                continue
            name = file.parent.relative_to(root).as_posix()
            folder = self.folders.setdefault(name, Folder())
            folder.files.append(file)
            folder.settled &= now - max(status.st_ctime, min(status.st_mtime, now)) > YOUNG
            row = f"{file.name}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}\0"
            rows.setdefault(name, []).append(row)
        for name, lines in rows.items():
            text = "".join(lines).encode("utf-8", "surrogateescape")
            self.folders[name].state = hashlib.sha256(text).hexdigest()

    @property
    def size(self) -> int:
        """The number of its files."""
        return sum(len(folder.files) for folder in self.folders.values())


def images_in(tree: Tree, catalogue: Catalogue, store: Store | None, progress: Progress) -> list[Item]:
    """The images of a tree that readers of series find; patients' identifiers are fingerprints (see `nameless`).

    Args:
        tree: The folders and the states of their files.
        catalogue: Offers the readers.
        store: What earlier looks found; None to keep nothing.
        progress: Shows how many folders are done.

    Raises:
        DataError: A file is claimed by two readers, or cannot be opened.
        Unusable: The index cannot be read or written.
    """
    if store is None:
        if tree.size >= LONG:
            progress.say(f"reading the headers of {tree.size} files")
        files = [file for folder in tree.folders.values() for file in folder.files]
        return _ordered(_scanned(files, tree.root, catalogue))
    known = store.known()

    def items_of(folders: Mapping[str, Folder]) -> dict[str, list[Item]]:
        kept = {
            name: items
            for name, folder in folders.items()
            if (items := _remembered(known.get(name), folder.state, tree.root)) is not None
        }
        changed = {name: folder for name, folder in folders.items() if name not in kept}
        return kept | _read(changed, tree, catalogue, store, progress)

    single = items_of(tree.folders)
    spread: dict[str, Folder] = {}
    for names in list(_together(single)):
        folders = [tree.folders[name] for name in names]
        state = digest([[name, folder.state] for name, folder in zip(names, folders, strict=True)])
        files = [file for folder in folders for file in folder.files]
        joint = Folder(files, state, all(folder.settled for folder in folders))
        spread[f"*{digest(names)}"] = joint
        for name in names:
            del single[name]
    joined = items_of(spread)
    store.forget(known.keys() - tree.folders.keys() - spread.keys())
    return _ordered(item for items in (*single.values(), *joined.values()) for item in items)


def readers_hash(catalogue: Catalogue) -> str:
    """A fingerprint of all readers' code and options, and of the code here: what others found is not used.

    A reader's code is that of its own modules, and of what they import from beside them.
    """
    plugins = {plugin for plugin, _ in catalogue.of("reader")}
    origins = [catalogue.origin_of(name) for name in sorted(plugins)]
    parts = [[origin.module, catalogue.code_of(origin)] for origin in origins]
    parts.append([__package__, source_hash(__package__)])
    options = sorted([*key, dict(given)] for key, given in catalogue.options.items())
    return digest([*parts, *options, version_of("voxgraft"), version_of("pydicom")])


def _remembered(row: tuple[str, str] | None, state: str, root: Path) -> list[Item] | None:
    if row is None or row[0] != state:
        return None
    try:
        return decode(row[1], root)
    except ValueError:
        return None


def _read(
    folders: Mapping[str, Folder], tree: Tree, catalogue: Catalogue, store: Store, progress: Progress
) -> dict[str, list[Item]]:
    """Read the headers of folders, and remember what they say as far as nothing in them is too young."""
    total = sum(len(folder.files) for folder in folders.values())
    quiet = progress if total >= LONG else Progress(quiet=True)
    read_items: dict[str, list[Item]] = {}
    waiting: dict[str, tuple[str, str]] = {}
    size = 0
    with quiet.bar(f"reading the headers of {total} files", total) as bar:
        for name, folder in folders.items():
            items = _scanned(folder.files, tree.root, catalogue)
            read_items[name] = items
            if folder.settled:
                waiting[name] = folder.state, encode(items, tree.root)
            size += len(folder.files)
            if size >= BATCH:
                store.put(waiting)
                waiting, size = {}, 0
            bar.advance(len(folder.files))
    if waiting:
        store.put(waiting)
    return read_items


def _scanned(files: Sequence[Path], root: Path, catalogue: Catalogue) -> list[Item]:
    """The images of series in these files, as the index would give them back."""
    nobody = root / NOBODY
    items = [item for item in scan_files([*files, nobody], catalogue, series_only=True) if item.files != (nobody,)]
    return decode(encode([nameless(item) for item in items], root), root)


def _together(folders: Mapping[str, Sequence[Item]]) -> Iterator[list[str]]:
    """Folders that share a series, with those that share one with them, and so on."""
    parent = {name: name for name in folders}

    def top(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[str, str] = {}
    for name, items in folders.items():
        for key in {key for item in items for key in _keys(item)}:
            other = first.setdefault(key, name)
            if top(other) != top(name):
                parent[top(name)] = top(other)
    often = Counter(map(top, folders))
    neighbours: dict[str, set[str]] = {}
    for name in folders:
        if often[top(name)] > 1:
            neighbours.setdefault(os.path.dirname(name), set()).add(name)  # noqa: PTH120 - names in a tree, not paths
    for name, items in folders.items():
        if any(item.errors and item.series is None for item in items):  # it may be a slice of a series spread beside it
            for other in neighbours.get(os.path.dirname(name), ()):  # noqa: PTH120
                parent[top(name)] = top(other)
    groups: dict[str, list[str]] = {}
    for name in folders:
        groups.setdefault(top(name), []).append(name)
    return (sorted(names) for names in groups.values() if len(names) > 1)


def _keys(item: Item) -> Iterator[str]:
    yield from (str(series) for series in (item.series, item.facts.get("series")) if series)


def _ordered(items: Iterable[Item]) -> list[Item]:
    return sorted(
        items, key=lambda item: (os.fspath(item.path), item.series or "", [str(file) for file in item.files[:1]])
    )
