"""Files that a person has put into a scan's folder, or corrected there: they outlive every change of the folder.

What stands in a folder is compared by its content with what the ledger says was put there. A mask or object that
differs, or of which the ledger knows nothing, is kept beside the new one as `mask.corrected-1.nii.gz`; a file of
another name keeps its name. Pictures and reports are made anew.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..support.files import REPLACED, digest, remove, replaced, sha256
from .quality import Flag

if TYPE_CHECKING:
    from .ledger import Ledger

KEPT = "kept-correction"
"""The code of the flag."""

MADE_ANEW = ("preview.png", "preview-plain.jpg", "report.json")

_CORRECTED = re.compile(r"^(?P<stem>[^.]*)\.corrected-\d+(?P<ending>(?:\..*)?)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Corrections:
    """Keeps what people have put into the folders of a batch.

    Attributes:
        names: Files that writers make: under such a name only what a writer made may stand.
    """

    out: Path
    ledger: Ledger
    names: frozenset[str]

    def carry(self, case: str, new: Path) -> list[Flag]:
        """Copy what a person has put into a scan's folder into the one that will replace it."""
        return list(_flags(self._kept(case, self.out / case, new, shutil.copy2)))

    def rescue(self, case: str, old: Path) -> list[Flag]:
        """Move what a person has put into a folder since it was looked at; the folder is removed then."""
        folder = self.out / case
        known = {content_of(path) for path in folder.iterdir()}
        flags = list(_flags(self._kept(case, old, folder, shutil.move, known)))
        remove(old)
        return flags

    def clear(self, case: str) -> list[Flag]:
        """Take the results out of a scan's folder; what a person has put there stays.

        Raises:
            DataError: The folder cannot be changed.
        """
        folder = self.out / case
        if not folder.is_dir():
            return []
        old = self.out / f"{REPLACED}-clear-{case}"
        try:
            folder.rename(old)
            folder.mkdir()
            flags = self.rescue(case, old)
            with suppress(OSError):  # not empty
                folder.rmdir()
        except OSError as error:
            raise DataError(f"{folder}: cannot be cleared: {error.strerror or error}") from error
        return flags

    def restore(self, among: Collection[str] | None = None) -> list[Flag]:
        """Put right what a process left that was killed while it replaced a folder.

        Args:
            among: The scans of this part; the folders of others may be being replaced just now.
        """
        flags = []
        for old, folder in replaced(self.out):
            if among is not None and folder.name not in among:
                continue
            if folder.exists():
                flags += self.rescue(folder.name, old)
            else:
                old.rename(folder)
        return flags

    def _kept(
        self, case: str, old: Path, new: Path, put: Callable[[Path, Path], object], known: Collection[str] = ()
    ) -> Iterator[tuple[str, str]]:
        """Put into `new` what somebody else put into `old`; gives the new name and the old one of each."""
        if not old.is_dir():
            return
        written = self.ledger.written(case)
        for path in sorted(old.iterdir()):
            if path.name in MADE_ANEW or path.name.startswith(".tmp"):
                continue
            content = content_of(path)
            if content in known or content in written.get(path.name, ()):
                continue
            ours = path.name in self.names or path.name in written
            taken = {entry.name for folder in ((new, old) if ours else (new,)) for entry in folder.iterdir()}
            name = _free(path.name, taken, ours)
            _put(path, new / name, put)
            yield name, path.name


def content_of(path: Path) -> str:
    """A fingerprint of a file, of where a link leads, or of all that lies in a folder."""
    if path.is_symlink():
        return digest(["link", str(path.readlink())])
    if path.is_dir():
        return digest([[entry.name, content_of(entry)] for entry in sorted(path.iterdir())])
    return sha256(path) if path.is_file() else digest(["special", path.name])


def _free(name: str, taken: Collection[str], corrected: bool) -> str:
    """The name under which a file is kept: its own, or the next one that says that it is a correction."""
    if not corrected and name not in taken:
        return name
    match = _CORRECTED.match(name)
    stem, dot, ending = (match["stem"], "", match["ending"]) if match else name.partition(".")
    names = (f"{stem}.corrected-{number}{dot}{ending}" for number in count(1))
    return next(offer for offer in names if offer not in taken)


def _put(path: Path, target: Path, put: Callable[[Path, Path], object]) -> None:
    if path.is_symlink():
        target.symlink_to(path.readlink())
    elif path.is_dir():
        shutil.copytree(path, target, symlinks=True)
    elif path.is_file():
        put(path, target)


def _flags(kept: Iterable[tuple[str, str]]) -> Iterator[Flag]:
    for name, was in kept:
        if name != was:
            yield Flag(KEPT, f"{was} was not what this batch wrote (corrected by hand?); it is kept as {name}")
        elif _CORRECTED.match(name):
            yield Flag(KEPT, f"{name} holds an earlier correction; it is kept")
