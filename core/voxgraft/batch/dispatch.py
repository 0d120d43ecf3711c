"""The parent of a batch: hands scans to an executor, puts what comes back in its place, and alone writes the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, VoxGraftError, WorkerLost
from ..support.files import is_full, put_in_place, read_json, remove, sha256, sweep, write_json
from .ledger import LedgerError
from .outputs import REPORT
from .remote import Remote
from .scan import code_of, plain
from .task import Outcome, ScanResult, ScanTask

if TYPE_CHECKING:
    from .corrections import Corrections
    from .entry import Entry
    from .quality import Flag
    from .scan import Segmenter
    from .task import Executor

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
        self._remote = remote or Remote()
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
            self._remote.take(self._out / result.staged, result.outputs)
            outputs, flags = placed(result, self._corrections)
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
