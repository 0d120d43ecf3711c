"""The folder of a review inside that of a batch: who works in it, and what lies where."""

from __future__ import annotations

import os
import re
import secrets
import unicodedata
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...batch.entry import REVIEW, safe_name
from ...batch.ledger import LEDGER
from ...batch.parts import is_batch
from ...errors import DataError, UsageError
from ...support.lock import BUSY, LOCK, NONE, locked, sweep_tree
from .errors import Refused

_READER = re.compile(r"[^\W_][\w .-]{0,39}")
TAKEN = frozenset(("model", "mine", "gold", "final", "all"))
"""Names that mean something else where a mask is named."""


@dataclass(slots=True)
class Folder:
    """Where things of a review are.

    Attributes:
        out: The batch's folder.
        writable: Decisions can be kept.
        told: What a person should know, one sentence each.
    """

    out: Path
    writable: bool = True
    told: list[str] = field(default_factory=list)
    _held: ExitStack = field(default_factory=ExitStack)

    @property
    def root(self) -> Path:
        return self.out / REVIEW

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def mask(self, case: str, reader: str) -> Path:
        """A reader's mask of a scan."""
        return self.root / "masks" / case / f"{safe_name(reader)}.nii.gz"

    def journal(self, case: str, reader: str) -> Path:
        """Where a reader's changes of a mask are kept for undo and redo."""
        return self.root / "journal" / case / safe_name(reader)

    def reference(self, case: str) -> Path:
        """The reference mask of a scan whose answer is known."""
        return self.root / "gold" / f"{case}.nii.gz"

    def secret(self) -> bytes:
        """The key by which sessions are signed, so that they outlive the server; a new one where none can be kept."""
        path = self.root / "session.key"
        with suppress(OSError):
            if len(key := path.read_bytes()) == 32:
                return key
        key = secrets.token_bytes(32)
        if self.writable:
            with suppress(OSError):
                path.unlink(missing_ok=True)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(key)
        return key

    def close(self) -> None:
        self._held.close()


def check_out(out: Path) -> None:
    """Refuse a folder that no batch left.

    Raises:
        UsageError: It is none.
        DataError: A scan of the batch is called as the folder of the review.
    """
    if not out.is_dir():
        raise UsageError(f"{out}: there is no such folder; name the one that `voxgraft segment --out` made")
    if not is_batch(out):
        raise UsageError(f"{out}: there is no {LEDGER} here; name the folder that `voxgraft segment --out` made")
    if (out / REVIEW / "report.json").is_file():
        raise DataError(
            f"{out}: one of its scans is called {REVIEW!r}, where decisions would be kept; segment it into another "
            "folder under another name (a CSV worklist with a column `case`)"
        )


def open_folder(out: Path, *, write: bool = True) -> Folder:
    """Open the folder of a review; one that may not be written can be looked at.

    Raises:
        UsageError: No batch left this folder.
        DataError: Another server works here.
    """
    check_out(out)
    folder = Folder(out, writable=write)
    if not write:
        return folder
    lock = folder.root / LOCK
    try:
        folder.root.mkdir(exist_ok=True)
        lock.touch()
    except OSError as error:
        folder.writable = False
        folder.told.append(
            f"{out.name}/{REVIEW}: cannot be written ({error.strerror}); scans can be viewed, but no decisions saved"
        )
        return folder
    state = folder._held.enter_context(locked(lock))
    if state == BUSY:
        folder.close()
        raise DataError(f"{out}: another `voxgraft review` is at work on this folder; open its page, or end it first")
    if state == NONE:
        folder.told.append(f"{out.name}: this file system has no locks; make sure that only one review runs here")
    sweep_tree(folder.root, owned=state != NONE)
    return folder


def checked_reader(name: str, known: dict[str, None]) -> str:
    """The name of a reader as it is kept.

    Args:
        known: Readers who have worked here.

    Raises:
        Refused: It is not a name, or another reader's file would have the same name.
    """
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    if not _READER.fullmatch(name) or not safe_name(name) or safe_name(name).casefold() in TAKEN:
        raise Refused(
            "a reader's name has 1 to 40 letters, digits, spaces, dots, hyphens or underscores and begins with a "
            f"letter or digit; it is not one of {', '.join(sorted(TAKEN))}"
        )
    file = safe_name(name).casefold()
    if (other := next((one for one in known if safe_name(one).casefold() == file and one != name), None)) is not None:
        raise Refused(f"there is a reader {other!r} already, whose files would have the same name; choose that name")
    return name
