"""What a batch left and what its readers decided, as it stands on disk: what corrections, pages and figures look at.

Accession number, date and description of scans are read from their headers for the page, and kept in memory only.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING

from ...batch.ledger import Row
from ...batch.ledger_view import BatchView
from ...batch.outputs import PREVIEW
from ...errors import VoxGraftError
from ...imaging.read import as_in_training
from ...imaging.volume import Array
from ...support.texts import legible
from .audit import AuditLog
from .errors import Forbidden, NotThere, Refused
from .folder import Folder, checked_reader, open_folder
from .images import Image, Images
from .masks import grid_of
from .models import Models
from .records import Assignment, Decision
from .sources import Gone, Identity, identity_of
from .state import ReviewState
from .viewing import MASK, Seen
from .worklist import Ordered, ordered

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue


_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:]+/)*")
"""The folders of an absolute path."""


class Reviewed:
    """The scans of a batch and what readers decided about them; for one process.

    Args:
        out: The batch's folder.
        catalogue: Whose readers read the scans.
        write: Take the review's lock, so that decisions can be saved; False only looks, beside a server too.

    Raises:
        UsageError: No batch left this folder.
        DataError: Another server works here, or a file cannot be read.
    """

    def __init__(self, out: Path, catalogue: Catalogue, *, write: bool = True) -> None:
        self.folder: Folder = open_folder(out, write=write)
        try:
            self.ledger = BatchView(out)
            self.log = AuditLog(self.folder.root, self.folder.writable)
        except BaseException:
            self.folder.close()
            raise
        self.out, self.catalogue = out, catalogue
        self.state = ReviewState().replay(self.log.entries)
        self.log.entries.clear()  # the state holds what they say
        self.models = Models(self.folder.root / "models")
        self.images = Images(out, self._cache())
        self.identities = Identities(out, catalogue)
        self.mutex = threading.RLock()
        self._order: Ordered | None = None
        self._grids: dict[str, tuple[tuple[int, ...], Array]] = {}

    def close(self) -> None:
        """End: the lock is given back, and the log closed."""
        self.identities.close()
        self.log.close()
        self.folder.close()

    def _cache(self) -> Path:
        """Where converted scans are kept: below the review, or for as long as the process lives."""
        if self.folder.writable:
            return self.folder.cache
        self._temporary = tempfile.TemporaryDirectory(prefix="voxgraft-review-")
        return Path(self._temporary.name)

    @property
    def told(self) -> list[str]:
        """What a person should know of this review, one sentence each: a broken chain, a read-only folder."""
        return [*self.log.told, *self.folder.told]

    def tell(self, message: str) -> None:
        """Say something on the page and where the server was started."""
        self.folder.told.append(message)

    def check_writable(self) -> None:
        """Refuse what changes something where nothing may be written.

        Raises:
            Forbidden: It is so.
        """
        if not self.folder.writable:
            raise Forbidden("this folder is read-only: scans can be viewed, but not decided or corrected")

    @property
    def readers(self) -> list[str]:
        return sorted(self.state.readers)

    @property
    def has_doubles(self) -> bool:
        """Whether some scan is read twice, without the readers knowing of each other."""
        return any(Seen(row, self.state.of(case), "").doubles for case, row in self.rows.items())

    @property
    def reasons(self) -> list[str]:
        return self.models.reasons(self.rows)

    @property
    def rows(self) -> dict[str, Row]:
        return self.ledger.rows()[1]

    def seen(self, case: str, reader: str) -> Seen:
        """A scan as a reader may see it.

        Raises:
            NotThere: The ledger knows no such scan.
        """
        row = self.rows.get(case)
        if row is None:
            raise NotThere("there is no such scan in this batch")
        return Seen(row, self.state.of(case), reader)

    def all_seen(self, reader: str) -> list[Seen]:
        return [Seen(row, self.state.of(case), reader) for case, row in self.rows.items()]

    def decisions(self, case: str | None = None) -> list[Decision]:
        """Every decision that was ever made, or those about one scan, in their order."""
        cases = list(self.state.scans) if case is None else [case]
        return [decision for one in cases for decision in self.state.of(one).decisions]

    def assignments(self) -> list[Assignment]:
        return [one for scan in list(self.state.scans.values()) for one in scan.assignments]

    def ordered(self) -> Ordered:
        """The scans in the order in which they are worth a look."""
        version, rows = self.ledger.rows()
        if self._order is None or self._order.version != version:
            self._order = ordered(version, rows.values())
        return self._order

    def image(self, case: str, channel: int, reader: str) -> Image:
        """One channel of a scan as NIfTI.

        Args:
            case: The scan.
            channel: Its number, from 0 on.
            reader: Who looks.

        Raises:
            NotThere: There is no such scan, or its image is gone, has changed or cannot be read.
        """
        row = self.seen(case, reader).row
        try:
            return self.image_of_row(row, channel)
        except VoxGraftError as error:
            raise NotThere(plain(error)) from error

    def preview(self, case: str, reader: str) -> Path:
        """The picture that the batch drew of a scan.

        Raises:
            NotThere: There is none.
        """
        row = self.seen(case, reader).row
        path = self.out / row.case / PREVIEW
        if PREVIEW not in row.outputs or not path.is_file():
            raise NotThere("there is no picture of this scan")
        return path

    def mask_file(self, case: str, which: str, reader: str) -> tuple[Path, str]:
        """A mask file and its SHA-256.

        Args:
            which: `model`, `mine`, or the name of a reader.

        Raises:
            NotThere: There is no such mask, its file is gone, or it may not be seen.
        """
        seen = self.seen(case, reader)
        if which == "model":
            path = self.out / case / MASK
            if not seen.model_mask or not path.is_file():
                raise NotThere(no_mask(seen.row))
            return path, seen.model_mask
        saved = seen.mine if which == "mine" else seen.masks.get(which)
        if saved is None:
            raise NotThere("there is no such mask of this scan")
        path = self.folder.mask(case, saved.reader)
        if not path.is_file():
            raise NotThere(f"{path.name} is no longer in the review's folder of this scan; restore it from a copy")
        return path, saved.sha256

    def enter(self, name: str) -> str:
        """The name of a reader who begins to work.

        Raises:
            Refused: It cannot be one.
        """
        with self.mutex:
            name = checked_reader(name, self.state.readers)
            if name not in self.state.readers and self.folder.writable:
                self.log.append("reader", {"reader": name}, self.state.take)
        return name

    def image_of_row(self, row: Row, channel: int) -> Image:
        facts = self.models.of(row)
        catalogue = as_in_training(facts.readers, self.catalogue) if facts.readers else self.catalogue
        return self.images.get(row, channel, catalogue, modality=facts.modality, names=facts.channels)

    def grid(self, seen: Seen) -> tuple[tuple[int, ...], Array]:
        """Shape (i, j, k) and affine of the model's mask of a scan; read once for each mask.

        Raises:
            DataError: It cannot be read.
        """
        key = seen.model_mask
        if key not in self._grids:
            self._grids[key] = grid_of(self.out / seen.row.case / MASK)
        return self._grids[key]


def no_mask(row: Row) -> str:
    """Why there is no mask to look at."""
    if row.state == "failed":
        return f"the scan has failed: {row.error}"
    if row.state == "done":
        return f"the batch wrote no {MASK} of this scan; segment it with the writer nifti to see and correct its mask"
    return "the scan is not segmented yet, or is being segmented again; come back when that is done"


def plain(error: VoxGraftError) -> str:
    """One sentence for the page, without places of this machine."""
    if isinstance(error, (Gone, Refused)):
        return str(error)
    return legible(_FOLDERS.sub("", str(getattr(error, "reason", "") or error)))[:500]


def named(reader: str) -> str:
    if not reader:
        raise Forbidden("say who you are first: choose a reader's name")
    return reader


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
