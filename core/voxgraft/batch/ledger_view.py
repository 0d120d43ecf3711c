"""The ledger of a batch as others may see it: read-only, also while the batch is still running.

A ledger with a write-ahead log is opened read-only beside the process that writes. Without one nobody writes, and the
file is opened as one that does not change: SQLite then makes no file beside it, so that a folder that may not be
written can be looked at. The ledger of a part has no such log, and is read under SQLite's own lock for readers; where
there is none to be had, or a killed process left a change half-made, a copy is read. The batch's own lock is never
asked for.

A batch that is done in parts has several ledgers; `BatchView` reads them as one.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..support.lock import LOCK
from .ledger import FORMAT, LEDGER, Row, row_of
from .parts import Part, homes

TRIES = 5
"""Looks at a file that changes while it is read."""
SETTLED = 100_000_000
"""Nanoseconds; a file that changed so shortly before could change again within one tick of the file system's clock."""

State = tuple[tuple[int, int, int], ...]


class LedgerView:
    """The rows of a ledger, read again only when it has changed; may be asked from several threads.

    Args:
        folder: Where it stands.
        shared: It is that of a part, written without a log; see `Ledger`.

    Raises:
        DataError: There is no ledger, or it is damaged or of another VoxGraft; this holds for every method.
    """

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self.path, self._shared = folder / LEDGER, shared
        self._mutex = threading.Lock()
        self._state: State = ()
        self._raw: dict[str, tuple[Any, ...]] = {}
        self._rows: dict[str, Row] = {}
        self._version = 0
        self.rows()

    def rows(self) -> tuple[int, dict[str, Row]]:
        """A number that grows with every change, and every scan by its case id, in the order they were first met."""
        with self._mutex:
            state, settled = self._look()
            if state != self._state:
                self._refresh()
                self._state = state if settled else ()
            return self._version, self._rows

    def running(self) -> bool:
        """Whether the process that last held the batch's folder is still there, and something is left to do."""
        _, rows = self.rows()
        if not any(row.state in ("waiting", "running") for row in rows.values()):
            return False
        try:
            holder = json.loads((self.path.parent / LOCK).read_text(encoding="utf-8"))
            if holder["machine"] == platform.node():
                return _is_there(int(holder["process"]))
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return any(path.stat().st_mtime > time.time() - 600 for path in self._files() if path.exists())

    def _files(self) -> tuple[Path, Path]:
        return self.path, self.path.with_name(f"{LEDGER}-wal")

    def _look(self) -> tuple[State, bool]:
        """Sizes and times of the ledger's files, and whether they can be told from what may follow."""
        found = []
        for path in self._files():
            try:
                status = path.stat()
                found.append((status.st_size, status.st_mtime_ns, status.st_ino))
            except OSError:
                found.append((0, 0, 0))
        if not found[0][2]:
            raise DataError(
                f"{self.path.parent}: there is no {LEDGER} here; name the folder that `voxgraft segment --out` made"
            )
        return tuple(found), time.time_ns() - max(when for _, when, _ in found) > SETTLED

    def _refresh(self) -> None:
        records = self._read()
        if records == list(self._raw.items()):
            return
        rows = {}
        for case, values in records:
            same = self._raw.get(case) == values
            rows[case] = self._rows[case] if same else self._parsed(case, values)
        self._raw, self._rows, self._version = dict(records), rows, self._version + 1

    def _parsed(self, case: str, values: tuple[Any, ...]) -> Row:
        try:
            return row_of(dict(zip(self._columns, values, strict=True)))
        except (sqlite3.DatabaseError, TypeError) as error:
            raise DataError(f"{self.path}: the row of {case} is damaged: {error}") from error

    def _read(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Every row as it is stored."""
        problem: Exception | None = None
        for attempt in range(TRIES):
            before, _ = self._look()
            try:
                records, whole = self._query(written=before[1][0] > 0)
            except sqlite3.OperationalError as error:  # the log went away between two looks, or is being moved
                problem = error
            except sqlite3.DatabaseError as error:
                problem = error
                if before == self._look()[0] and attempt:
                    break
            else:
                if whole or before == self._look()[0]:
                    return records
            time.sleep(0.05 * attempt)
        reason = " ".join(str(problem or "it changes all the time").split())
        raise DataError(f"{self.path}: the ledger cannot be read: {reason}") from problem

    def _query(self, written: bool) -> tuple[list[tuple[str, tuple[Any, ...]]], bool]:
        """Every row, from the file itself or from a copy, and whether no change can have come between.

        Args:
            written: A write-ahead log holds something.
        """
        if self._shared:
            with suppress(sqlite3.OperationalError):
                return self._rows_of(self.path, "mode=ro"), True
            return self._rows_of_copy(), False
        if not written or os.access(self.path.parent, os.W_OK):
            return self._rows_of(self.path, "mode=ro" if written else "mode=ro&immutable=1"), written
        return self._rows_of_copy(), True

    def _rows_of_copy(self) -> list[tuple[str, tuple[Any, ...]]]:
        with tempfile.TemporaryDirectory(prefix="voxgraft-ledger-") as folder:
            for path in (*self._files(), self.path.with_name(f"{LEDGER}-journal")):
                with suppress(FileNotFoundError):
                    shutil.copyfile(path, Path(folder, path.name))
            return self._rows_of(Path(folder, self.path.name), "mode=rw")

    def _rows_of(self, path: Path, mode: str) -> list[tuple[str, tuple[Any, ...]]]:
        address = f"{path.resolve().as_uri()}?{mode}"
        with closing(sqlite3.connect(address, uri=True, timeout=5)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if self._shared and not version and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return []  # a part is just making it
            if version != FORMAT:
                raise DataError(
                    f"{self.path}: is the ledger of another version of VoxGraft (format {version}, not {FORMAT})"
                )
            cursor = connection.execute("SELECT * FROM scans ORDER BY rowid")
            self._columns = [column[0] for column in cursor.description]
            place = self._columns.index("case")
            return [(record[place], tuple(record)) for record in cursor]


def _is_there(process: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(process))


class BatchView:
    """The rows of a batch, read again only where they have changed; may be asked from several threads.

    The ledger of a part that cannot be read leaves the others as they are; `damaged` says why, for each.

    Raises:
        DataError: There is no ledger, or none can be read; this holds for every method.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.damaged: dict[Part | None, str] = {}
        self._mutex = threading.Lock()
        self._views: dict[Part | None, LedgerView] = {}
        self._versions: dict[Part | None, int] = {}
        self._rows: dict[str, Row] = {}
        self._version = 0
        self.rows()

    def rows(self) -> tuple[int, dict[str, Row]]:
        """A number that grows with every change, and every scan by its case id, part by part."""
        with self._mutex:
            found = self._read()
            versions = {part: version for part, (version, _) in found.items()}
            if versions != self._versions:
                self._rows = {case: row for _, rows in found.values() for case, row in rows.items()}
                self._versions, self._version = versions, self._version + 1
            return self._version, self._rows

    def running(self) -> bool:
        """Whether a process is at work on a part in which something is left to do."""
        with self._mutex:
            return any(view.running() for part, view in self._views.items() if part not in self.damaged)

    def parts(self) -> list[tuple[Part | None, LedgerView]]:
        """The ledgers that can be read, with the part that each is of."""
        self.rows()
        with self._mutex:
            return [(part, view) for part, view in self._views.items() if part not in self.damaged]

    def _read(self) -> dict[Part | None, tuple[int, dict[str, Row]]]:
        found = {}
        damaged: dict[Part | None, DataError] = {}
        for part, home in homes(self.out) or [(None, self.out)]:
            try:
                if part not in self._views:
                    self._views[part] = LedgerView(home, shared=part is not None)
                found[part] = self._views[part].rows()
            except DataError as error:
                damaged[part] = error
        if damaged and not found:
            raise next(iter(damaged.values()))
        self.damaged = {part: str(error) for part, error in damaged.items()}
        return found
