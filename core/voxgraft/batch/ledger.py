"""The ledger of a batch: one row a scan, in SQLite, right whenever the process is killed.

A row goes from `waiting` over `running` to `done` or `failed`; a series that the model's contract does not choose is
`left-out`. Only the process that holds the batch's folder (see `lock`) writes. A row that is `running` when the
ledger is opened therefore belongs to a process that has ended, and waits again; the try it took stays counted, so that
a scan which takes the process down with it is put aside like one that fails.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DataError

LEDGER = "ledger.sqlite"
FORMAT = 2
INTERRUPTED = "interrupted"
_ANEW = "move it away to start again (masks already in the folder are kept)"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scans (
    "case" TEXT PRIMARY KEY,
    input TEXT NOT NULL,                    -- path of the scan, relative to the batch's folder
    series TEXT NOT NULL DEFAULT '',        -- which image of that path
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'left-out')),
    tries INTEGER NOT NULL DEFAULT 0,       -- of this input with this model
    input_stat TEXT NOT NULL DEFAULT '',    -- names and states of the input's files
    input_hash TEXT NOT NULL DEFAULT '',    -- their bytes
    model TEXT NOT NULL DEFAULT '',         -- name and version, for people
    model_hash TEXT NOT NULL DEFAULT '',
    options_hash TEXT NOT NULL DEFAULT '',
    outputs TEXT NOT NULL DEFAULT '{}',     -- JSON: file in the case's folder -> SHA-256
    structures TEXT NOT NULL DEFAULT '{}',  -- JSON: what was found, as in report.json
    seconds TEXT NOT NULL DEFAULT '{}',     -- JSON: read, predict, write
    peak_mb REAL,                           -- highest memory of the process while the scan was predicted
    flags TEXT NOT NULL DEFAULT '[]',       -- JSON: what a person should look at
    error_code TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    created TEXT NOT NULL,
    started TEXT NOT NULL DEFAULT '',
    finished TEXT NOT NULL DEFAULT ''
)
"""
_WRITTEN = """
CREATE TABLE IF NOT EXISTS written (        -- every file that may stand in a scan's folder because it was put there
    "case" TEXT NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY ("case", file, sha256)
)
"""
_JSON = ("outputs", "structures", "seconds", "flags")


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger knows of one scan; the columns are explained in the schema."""

    case: str
    input: str
    series: str = ""
    state: str = "waiting"
    tries: int = 0
    input_stat: str = ""
    input_hash: str = ""
    model: str = ""
    model_hash: str = ""
    options_hash: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    structures: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_mb: float | None = None
    flags: Sequence[Mapping[str, Any]] = ()
    error_code: str = ""
    error: str = ""
    created: str = ""
    started: str = ""
    finished: str = ""

    @property
    def interrupted(self) -> bool:
        """A process ended while this scan was under way."""
        return self.error_code == INTERRUPTED

    @property
    def confidence(self) -> float | None:
        """The lowest of its structures' confidences."""
        known = [
            structure["confidence"] for structure in self.structures.values() if structure.get("confidence") is not None
        ]
        return min(known, default=None)


class LedgerError(DataError):
    """The ledger cannot be written: nothing can be done until it can."""


class Ledger:
    """The open ledger of a batch; its methods may be called from several threads.

    Args:
        folder: Where it stands.
        shared: Other machines read it while it is written: without a write-ahead log, whose index only processes of
            one machine can share.

    Raises:
        DataError: The file is damaged, of a later VoxGraft, or the disk is full; this holds for every method.
    """

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self._journal = "TRUNCATE" if shared else "WAL"
        self.path = folder / LEDGER
        self._mutex = threading.Lock()
        with self._plainly():
            self._connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        tables = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if version != FORMAT and (version or tables):
            raise DataError(
                f"{self.path}: is the ledger of another version of VoxGraft (format {version}); choose another "
                "folder with --out, "
                f"or {_ANEW}"
            )
        if (state := self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(state)
        self._connection.execute(f"PRAGMA journal_mode = {self._journal}")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("BEGIN IMMEDIATE")  # whoever looks sees a ledger, or nothing yet
        self._connection.execute(_SCHEMA)
        self._connection.execute(_WRITTEN)
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")
        self._connection.execute(
            "UPDATE scans SET state = 'waiting', error_code = ?, error = ? WHERE state = 'running'",
            (INTERRUPTED, "the process ended while this scan was in progress"),
        )
        self._connection.execute("COMMIT")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._mutex:
            self._connection.close()

    def rows(self) -> list[Row]:
        """Every scan, in the order in which they were first met."""
        with self._plainly(), self._mutex:
            records = self._connection.execute("SELECT * FROM scans ORDER BY rowid").fetchall()
            return [row_of(row) for row in records]

    def get(self, case: str) -> Row:
        with self._plainly(), self._mutex:
            return row_of(self._connection.execute('SELECT * FROM scans WHERE "case" = ?', (case,)).fetchone())

    def put(self, row: Row) -> None:
        """Enter a scan, or everything anew about one that is known; `created` is kept."""
        values = {**asdict(row), "created": _now()}
        values |= {name: json.dumps(values[name], sort_keys=True) for name in _JSON}
        columns = ", ".join(f'"{name}"' for name in values)
        placeholders = ", ".join(f":{name}" for name in values)
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in values if name not in ("case", "created"))
        self._run(
            f'INSERT INTO scans ({columns}) VALUES ({placeholders}) ON CONFLICT ("case") DO UPDATE SET {changes}',
            values,
        )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keep several changes at once, or none of them; by one thread, while no other has anything to enter."""
        self._run("BEGIN", ())
        try:
            yield
        except BaseException:
            self._run("ROLLBACK", ())
            raise
        self._run("COMMIT", ())

    def begin(self, case: str) -> None:
        """A try begins."""
        self._run(
            "UPDATE scans SET state = 'running', tries = tries + 1, error_code = '', error = '', flags = '[]',"
            " outputs = '{}', structures = '{}', seconds = '{}', peak_mb = NULL, started = :now, finished = ''"
            ' WHERE "case" = :case',
            {"case": case, "now": _now()},
        )

    def note_hash(self, case: str, input_hash: str) -> None:
        """The bytes of the input have been read."""
        self._run('UPDATE scans SET input_hash = :hash WHERE "case" = :case', {"case": case, "hash": input_hash})

    def written(self, case: str) -> dict[str, set[str]]:
        """The files that this batch has put into a scan's folder: name to every SHA-256 that it may have."""
        query = 'SELECT file, sha256 FROM written WHERE "case" = ?'
        with self._plainly(), self._mutex:
            outputs: dict[str, set[str]] = {}
            for file, content in self._connection.execute(query, (case,)):
                outputs.setdefault(file, set()).add(content)
        return outputs

    def expect(self, case: str, outputs: Mapping[str, str]) -> None:
        """Note what is about to be put into a scan's folder, so that it is known whenever the process is killed."""
        for file, content in outputs.items():
            self._run("INSERT OR IGNORE INTO written VALUES (?, ?, ?)", (case, file, content))

    def finish(
        self,
        case: str,
        *,
        outputs: Mapping[str, str],
        structures: Mapping[str, Any],
        seconds: Mapping[str, float],
        peak_mb: float | None,
        flags: Sequence[Mapping[str, Any]],
    ) -> None:
        """The outputs of a scan are in place.

        Args:
            case: The scan's name.
            outputs: File -> SHA-256 of what was written.
            structures: Name -> what was measured of it.
            seconds: Stage -> how long it took.
            peak_mb: The highest memory of this process while the scan was predicted, in megabytes.
            flags: What a person should look at, each with `code` and `message`.
        """
        kept = json.dumps(list(outputs.values()))
        self._run(
            'DELETE FROM written WHERE "case" = ? AND sha256 NOT IN (SELECT value FROM json_each(?))', (case, kept)
        )
        self._run(
            "UPDATE scans SET state = 'done', outputs = :outputs, structures = :structures, seconds = :seconds,"
            ' peak_mb = :peak, flags = :flags, finished = :now WHERE "case" = :case',
            {
                "case": case,
                "outputs": json.dumps(outputs, sort_keys=True),
                "structures": json.dumps(structures),
                "seconds": json.dumps(seconds),
                "peak": peak_mb,
                "flags": json.dumps(flags),
                "now": _now(),
            },
        )

    def fail(
        self,
        case: str,
        code: str,
        message: str,
        seconds: Mapping[str, float] | None = None,
        counts: bool = True,
    ) -> None:
        """A try has failed; it counts, unless that had nothing to do with the scan.

        Args:
            case: The scan's name.
            code: What kind of failure it is.
            message: One sentence for a person.
            seconds: Stage -> how long it took until then.
            counts: False takes the try back.
        """
        values = {"case": case, "code": code, "message": message, "seconds": json.dumps(seconds or {}), "now": _now()}
        self._run(
            "UPDATE scans SET state = 'failed', error_code = :code, error = :message, seconds = :seconds,"
            ' finished = :now, tries = tries - :back WHERE "case" = :case',
            {**values, "back": 0 if counts else 1},
        )

    def release(self) -> None:
        """Let the scans under way wait again; the try they took does not count, for nobody is to blame."""
        self._run("UPDATE scans SET state = 'waiting', tries = tries - 1 WHERE state = 'running'", {})

    def _run(self, statement: str, values: Mapping[str, Any] | Sequence[Any]) -> None:
        with self._plainly(), self._mutex:
            self._connection.execute(statement, values)

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise LedgerError(
                f"{self.path}: the ledger cannot be used: {error}; make sure that its disk has space and is "
                "writable, and run the command again: what was done is kept"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: is not a ledger, or is damaged ({' '.join(str(error).split())}); {_ANEW}"
            ) from error


def row_of(record: sqlite3.Row | Mapping[str, Any]) -> Row:
    """A row from its columns as SQLite holds them.

    Raises:
        sqlite3.DatabaseError: A column that holds JSON holds something else.
    """
    values = dict(record)
    try:
        return Row(**{**values, **{name: json.loads(values[name]) for name in _JSON}})
    except ValueError as error:
        raise sqlite3.DatabaseError(f"the row of {values['case']}: {error}") from None


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
