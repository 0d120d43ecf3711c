"""The file of an index: what the headers of each folder said, for as long as its files stay as they are."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FORMAT = 1
MINE = 0x56474958
"""SQLite's application id of an index, by which somebody else's file is told apart."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS folders (
    tree TEXT NOT NULL,     -- JSON: the tree's place
    folder TEXT NOT NULL,   -- JSON: relative to it; several folders over which series are spread, as a hash
    readers TEXT NOT NULL,  -- fingerprint of the code that read the headers
    state TEXT NOT NULL,    -- fingerprint of the names, sizes and times of the files
    items TEXT NOT NULL,    -- JSON: the images, without any patient's identifier
    PRIMARY KEY (tree, folder)
) WITHOUT ROWID
"""


class Unusable(Exception):
    """The index cannot be kept at its place."""


class Store:
    """The open index of one tree. Several processes may work on one file at once.

    Args:
        tree: The tree's place, which other trees in the same file do not share.
        readers: A fingerprint of the code that reads headers; what other code found is not used.

    Raises:
        Unusable: The file cannot be opened or written, or is not an index.
    """

    def __init__(self, path: Path, tree: str, readers: str) -> None:
        self._tree, self._readers = _text(tree), readers
        with self._plainly():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            try:
                self._prepare()
                path.chmod(0o600)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        # In this order: another process that begins the index at the same time marks it before it makes the table.
        empty = not self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        whose = self._connection.execute("PRAGMA application_id").fetchone()[0]
        if whose != MINE and not empty:
            raise Unusable("it is a file of something else")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT):
            raise Unusable(f"it is the index of another VoxGraft (format {version})")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.execute(f"PRAGMA application_id = {MINE}")
        self._connection.execute(_SCHEMA)
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def close(self) -> None:
        self._connection.close()

    def known(self) -> dict[str, tuple[str, str]]:
        """State and items of each folder that this code has read."""
        query = "SELECT folder, state, items FROM folders WHERE tree = ? AND readers = ?"
        with self._plainly():
            rows = self._connection.execute(query, (self._tree, self._readers)).fetchall()
        return {json.loads(folder): (state, items) for folder, state, items in rows}

    def put(self, entries: Mapping[str, tuple[str, str]]) -> None:
        """Remember state and items of folders, all or none."""
        rows = [(self._tree, _text(folder), self._readers, state, items) for folder, (state, items) in entries.items()]
        with self._plainly(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?, ?)", rows)

    def forget(self, folders: Iterable[str]) -> None:
        """Forget folders that are gone."""
        rows = [(self._tree, _text(folder)) for folder in folders]
        with self._plainly(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("DELETE FROM folders WHERE tree = ? AND folder = ?", rows)

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Unusable(str(error)) from error
        except OSError as error:
            raise Unusable(error.strerror or str(error)) from error


def open_store(path: Path, tree: str, readers: str, *, own: bool) -> Store:
    """Open an index, or begin one.

    Args:
        own: The place is the layout's own, so that a damaged file there may be replaced.

    Raises:
        Unusable: See `Store`.
    """
    try:
        return Store(path, tree, readers)
    except Unusable as error:
        if not own or not isinstance(error.__cause__, sqlite3.DatabaseError) or not _damaged(error.__cause__):
            raise
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    return Store(path, tree, readers)


def _text(name: str) -> str:
    """A name that SQLite takes, whatever bytes a file system allows."""
    return json.dumps(name)


def _damaged(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorname", "") in ("SQLITE_NOTADB", "SQLITE_CORRUPT")
