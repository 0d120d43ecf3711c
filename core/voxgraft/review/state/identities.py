"""Accession number, date and description of scans, read from their headers for the page and kept in memory only."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING

from ...batch.ledger import Row
from .sources import Identity, identity_of

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue


class Identities:
    """Reads headers behind the list, so that nobody waits for them.

    Args:
        out: The batch's folder.
        catalogue: Whose readers look at the headers.
    """

    def __init__(self, out: Path, catalogue: Catalogue) -> None:
        self._out, self._catalogue = out, catalogue
        self._found: dict[str, tuple[tuple[str, str], Identity]] = {}
        self._wanted: Queue[Row] = Queue()
        self._asked: set[tuple[str, str, str]] = set()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def known(self, case: str) -> Identity:
        """What has been read of a scan; nothing where it was not asked for yet."""
        return self._found.get(case, (("", ""), Identity()))[1]

    def of(self, row: Row) -> Identity:
        """What the header of a scan says; waits for it."""
        key = (row.input, row.series)
        if row.case not in self._found or self._found[row.case][0] != key:
            self._found[row.case] = key, identity_of(row, self._out, self._catalogue)
        return self._found[row.case][1]

    def want(self, rows: Iterable[Row]) -> None:
        """Have the headers of scans read behind the list."""
        for row in rows:
            key = (row.case, row.input, row.series)
            if key not in self._asked:
                self._asked.add(key)
                self._wanted.put(row)
        if self._thread is None and not self._wanted.empty():
            self._thread = threading.Thread(target=self._work, name="voxgraft-headers", daemon=True)
            self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether headers are still being read: a list that is asked for again will say more."""
        return self._wanted.unfinished_tasks > 0

    def close(self) -> None:
        self._end.set()

    def _work(self) -> None:
        while not self._end.is_set():
            try:
                row = self._wanted.get(timeout=0.5)
            except Empty:
                continue
            try:
                self.of(row)
            except Exception:  # a reader may fail in any way; the row is shown without it
                continue
            finally:
                self._wanted.task_done()
