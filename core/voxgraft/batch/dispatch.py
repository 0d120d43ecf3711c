"""The parent of a batch: hands scans to an executor, puts what comes back in its place, and alone writes the ledger.

Files that a person has put into a scan's folder, or corrected there, outlive every change of the folder.
What stands in a folder is compared by its content with what the ledger says was put there. A mask or object that
differs, or of which the ledger knows nothing, is kept beside the new one as `mask.corrected-1.nii.gz`; a file of
another name keeps its name. Pictures and reports are made anew.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, VoxGraftError, WorkerLost
from ..support.files import digest, is_full, put_in_place, read_json, sha256, write_json
from ..support.lock import REPLACED, remove, replaced, sweep
from .ledger import Ledger, LedgerError
from .outputs import REPORT
from .quality import Flag
from .scan import code_of, plain
from .task import Outcome, ScanResult, ScanTask

if TYPE_CHECKING:
    from .entry import Entry
    from .remote import Remote
    from .scan import Segmenter
    from .task import Executor

KEPT = "kept-correction"
"""The code of the flag."""

MADE_ANEW = ("preview.png", "preview-plain.jpg", "report.json")

_CORRECTED = re.compile(r"^(?P<stem>[^.]*)\.corrected-\d+(?P<ending>(?:\..*)?)$", re.DOTALL)

LAST_WAIT = 30.0
"""Seconds to wait for what is under way in this process, when a batch ends in an error."""


class Dispatch:
    """Works through the scans of a batch by an executor.

    Args:
        work: What workers do.
        corrections: Keeps what people have put into the folders of scans, and holds the ledger.
        task_of: Makes the task of a scan.
        say: Is told what a user should know of how the model is applied, once.
        remote: Where results lie in object storage; they are there before the ledger says so.
    """

    def __init__(
        self,
        work: Segmenter,
        corrections: Corrections,
        task_of: Callable[[Entry], ScanTask],
        say: Callable[[str], None],
        remote: Remote | None = None,
    ) -> None:
        self._remote = remote
        self._work, self._corrections, self._task_of = work, corrections, task_of
        self._ledger, self._out = corrections.ledger, corrections.out
        self._say, self._said = say, set[str]()
        self._begun: dict[str, Entry] = {}
        self._fatal: BaseException | None = None

    def run(self, entries: Sequence[Entry], executor: Executor) -> Iterator[Entry]:
        """Work through entries; gives each when its row is `done` or `failed`.

        Raises:
            ModelError: The model cannot be used; the scans under way wait again.
            DataError: The ledger cannot be written, or the executor has lost a scan.
        """
        outcomes = iter(executor.run(self._work, self._tasks(entries)))
        try:
            for outcome in outcomes:
                entry = self._begun.pop(_checked(outcome).task.entry.case, None)
                if entry is None:
                    raise DataError(f"the executor returned two results for the scan {outcome.task.entry.case}")
                if self._settle(outcome, entry):
                    yield entry
            if self._fatal is not None:
                raise self._fatal
            if self._begun:
                raise DataError(f"the executor lost {len(self._begun)} scans, {', '.join(self._begun)} among them")
        except BaseException:
            self._work.stop(LAST_WAIT)
            raise
        finally:
            if hasattr(outcomes, "close"):
                outcomes.close()
            for case in self._begun:  # what nobody will put in its place
                sweep(self._out, case, owned=True)
            self._begun.clear()

    def _tasks(self, entries: Iterable[Entry]) -> Iterator[ScanTask]:
        """The task of each scan, whose row says from then on that it is under way; none when something is wrong."""
        for entry in entries:
            if self._fatal is not None:
                return
            self._ledger.begin(entry.case)
            self._begun[entry.case] = entry
            yield self._task_of(entry)

    def _settle(self, outcome: Outcome, entry: Entry) -> bool:
        """Put a result in its place and into the ledger; False where what is wrong is not the scan's fault."""
        if isinstance(outcome.error, WorkerLost):
            self._ledger.fail(entry.case, "worker-lost", plain(outcome.error, entry, self._out))
            sweep(self._out, entry.case, owned=True)
            return True
        if outcome.error is not None:
            self._fatal = self._fatal or outcome.error
            return False
        result = outcome.value
        assert isinstance(result, ScanResult)
        if result.input_hash:
            self._ledger.note_hash(entry.case, result.input_hash)
        for note in set(result.notes) - self._said:
            self._say(note)
            self._said.add(note)
        if result.state == "failed":
            self._ledger.fail(entry.case, result.code, result.error, result.seconds, counts=result.counts)
            return True
        try:
            if self._remote is not None:
                self._remote.take(self._out / result.staged, result.outputs)
            outputs, flags = placed(result, self._corrections)
            if self._remote is not None:
                self._remote.publish(self._out / entry.case)
        except LedgerError:
            raise
        except (VoxGraftError, OSError) as error:
            message = plain(error, entry, self._out)
            counts = not is_full(self._out)
            self._ledger.fail(entry.case, code_of(error, "write"), message, result.seconds, counts=counts)
            return True
        self._ledger.finish(
            entry.case,
            outputs=outputs,
            structures=result.structures,
            seconds=result.seconds,
            peak_mb=result.peak_mb,
            flags=flags,
        )
        return True


def _checked(outcome: Any) -> Outcome:
    if not isinstance(outcome, Outcome) or not isinstance(outcome.task, ScanTask):
        raise DataError(f"the executor gave no Outcome of a task, but {type(outcome).__name__}")
    return outcome


def placed(result: ScanResult, corrections: Corrections) -> tuple[Mapping[str, str], Sequence[Mapping[str, Any]]]:
    """Put the staged folder of a scan in its place; what a person corrected stays beside the new files.

    The ledger knows of each file before it stands there, so that none is taken for a correction whenever the process
    is killed.

    Returns:
        SHA-256 of each file, and the flags, as they are then.

    Raises:
        DataError: The folder cannot be replaced; what was staged is gone then.
    """
    out, case = corrections.out, result.case
    staged, folder = out / result.staged, out / case
    hashes, flags = dict(result.outputs), list(result.flags)
    late: list[Flag] = []
    if not staged.is_dir():
        raise DataError(f"{folder}: its files are not here; all workers have to see the batch's folder under this path")
    try:
        _amend(staged, corrections.carry(case, staged), hashes, flags)
        corrections.ledger.expect(case, hashes)
    except BaseException:
        remove(staged)
        raise
    put_in_place(staged, folder, lambda old: late.extend(corrections.rescue(case, old)))
    _amend(folder, late, hashes, flags)
    return hashes, flags


def _amend(folder: Path, more: Sequence[Flag], hashes: dict[str, str], flags: list[Mapping[str, Any]]) -> None:
    """Add flags to the report of a scan, and to what is known of it."""
    if more:
        flags += [flag.document() for flag in more]
        write_json(folder / REPORT, {**read_json(folder / REPORT), "flags": flags})
        hashes[REPORT] = sha256(folder / REPORT)


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
