"""All ledgers of a batch as one, whether it is done in parts or not: what the report, the review and others read."""

from __future__ import annotations

import threading
from pathlib import Path

from ..errors import DataError
from .ledger import Row
from .ledger_view import LedgerView
from .parts import Part, homes


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
