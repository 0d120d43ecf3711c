"""A batch in parts, for processes, nodes or jobs that share nothing but a folder.

Which part does a scan follows from the scan's identity alone, so that no part has to ask another. Each part is a batch
of its own in `OUT/parts/K-of-N`, with ledger, lock and file of origins, where nobody else writes: two processes never
write one SQLite file, which network file systems do not take well. Masks stand in `OUT` as those of an undivided
batch do. What the parts do in common, the names of new scans and the report, takes a lock of `OUT` for a moment.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DataError, UsageError
from ..support.files import digest, read_json, write_json
from ..support.lock import BUSY, LOCK, locked
from .entry import PARTS, Entry, short_hash
from .ledger import LEDGER, Ledger, Row
from .outputs import with_case_ids

MOST = 10_000
"""Parts of one batch."""
DIVISION = "parts.json"
"""The file in `OUT/parts` that says into how many parts the batch is divided."""
CALL = "call.json"
"""The file of a part that says how many scans each part of its last call had."""
PATIENCE = 600.0
"""Seconds to wait for what parts do one after the other; each takes less than a second of it."""

_FORM = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts of a batch, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def home(self, out: Path) -> Path:
        """The folder of its ledger."""
        return out / PARTS / f"{self.number}-of-{self.of}"


def part_from(text: str) -> Part | None:
    """The part that a text such as `2/8` names; None for the only part, which is the batch itself.

    Raises:
        UsageError: It names none.
    """
    match = _FORM.fullmatch(text)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of <= MOST:
        raise UsageError(
            f"--part {text!r}: write K/N, the number of this part and the number of parts, as in 2/8; "
            f"K is from 1 to N, and N at most {MOST}"
        )
    return Part(number, of) if of > 1 else None


def part_from_slurm(environment: Mapping[str, str]) -> str | None:
    """The part that a task of a SLURM job array does, as `K/N`; None outside of one.

    Raises:
        UsageError: The array's numbers do not follow each other at one distance, so that they say no part.
    """
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    if not all(name in environment for name in names):
        return None
    try:
        task, low, high, count = (int(environment[name]) for name in names)
        step = int(environment.get("SLURM_ARRAY_TASK_STEP") or 1)
        place, rest = divmod(task - low, step)
        if rest or low + (count - 1) * step != high or not 0 <= place < count:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        given = ", ".join(f"{name}={environment[name]}" for name in names)
        raise UsageError(
            f"the numbers of this job array do not name a part of a batch ({given}); name it with --part K/N"
        ) from None
    return f"{place + 1}/{count}"


def number_for(entry: Entry, of: int) -> int:
    """The number of the part that does a scan: by what the ledger knows the scan by, and by nothing else."""
    return int(digest(list(entry.key))[:16], 16) % of + 1


def homes(out: Path) -> list[tuple[Part | None, Path]]:
    """Every folder of a batch in which a ledger stands, with its part; none where there is no batch."""
    if (out / LEDGER).is_file():
        return [(None, out)]
    of = _division(out)
    numbers = (path.name.partition("-")[0] for path in (out / PARTS).glob(f"*-of-{of}")) if of else ()
    parts = [Part(number, of) for number in sorted(int(text) for text in numbers if text.isdecimal())]
    return [(part, part.home(out)) for part in parts if (part.home(out) / LEDGER).is_file()]


def is_batch(folder: Path) -> bool:
    """Whether a batch, or a part of one, has worked in a folder."""
    return (folder / LEDGER).is_file() or (folder / PARTS / DIVISION).is_file()


def enter(out: Path, part: Part | None) -> None:
    """See that a call divides the batch as the calls before it, and remember how it does.

    Raises:
        UsageError: The folder holds a batch that is divided otherwise.
        DataError: The folder cannot be written, or another process holds it.
    """
    _check_division(out, part)
    if part is None:
        return  # the caller holds the folder
    try:
        (out / PARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be written to: {error.strerror or error}; name another folder") from error
    with in_turn(out):
        _check_division(out, part)
        if not _division(out):
            write_json(out / PARTS / DIVISION, {"parts": part.of})


def named(entries: Sequence[Entry], ledger: Ledger, out: Path, part: Part) -> list[Entry]:
    """The scans of a call that are this part's, with their case ids.

    Ids are given as if one process did all of them: they do not depend on which part comes first. A name that another
    part has given to another scan in an earlier call is not given again.

    Args:
        entries: Every scan of the call, also those of other parts.
        ledger: This part's own, into which new scans are entered.
        out: The batch's folder.
        part: Which it is.

    Raises:
        UsageError: Worklists call two scans by one name.
    """
    rows = ledger.rows()
    with in_turn(out):
        mine = [one for one in with_case_ids(entries, rows, out) if number_for(one, part.of) == part.number]
        others = {
            row.case.casefold(): ((row.input, row.series), one) for one, rows in _others(out, part) for row in rows
        }
        mine = list(_apart(mine, entries, others))
        known = {row.case for row in rows}
        with ledger.together():
            for entry in mine:
                if entry.case not in known:
                    ledger.put(Row(entry.case, entry.input, entry.series))
        counts = Counter(number_for(entry, part.of) for entry in entries)
        write_json(part.home(out) / CALL, {"scans": {str(number): counts[number] for number in sorted(counts)}})
    return mine


def rows_of_all(ledger: Ledger, out: Path, part: Part | None) -> list[Row]:
    """What is known of every scan of a batch.

    Args:
        ledger: This part's own, which is open.
        out: The batch's folder.
        part: Which it is; None for an undivided batch.
    """
    return [*ledger.rows(), *([] if part is None else rows_of_others(out, part))]


def rows_of_others(out: Path, part: Part) -> list[Row]:
    """What is known of the scans of the other parts."""
    return [row for _, rows in _others(out, part) for row in rows]


def _others(out: Path, part: Part) -> Iterator[tuple[Part, list[Row]]]:
    """The rows of the other parts; a damaged ledger says nothing, `--status` tells of it."""
    from .ledger_view import LedgerView

    for other, home in homes(out):
        if other is not None and other != part:
            with suppress(DataError):
                yield other, list(LedgerView(home, shared=True).rows()[1].values())


def _apart(
    mine: Sequence[Entry], given: Sequence[Entry], others: Mapping[str, tuple[tuple[str, str], Part]]
) -> Iterator[Entry]:
    wished = {entry.key for entry in given if entry.case}
    for entry in mine:
        key, other = others.get(entry.case.casefold(), (entry.key, None))
        if key == entry.key:
            yield entry
        elif entry.key in wished:
            raise UsageError(
                f"the worklist calls a scan {entry.case!r}, as part {other} calls another one; "
                "give it another name, or choose another folder with --out"
            )
        else:
            yield replace(entry, case=f"{entry.case}-{short_hash('#'.join(entry.key))}")


@contextmanager
def in_turn(out: Path) -> Iterator[None]:
    """Do what the parts of a batch may only do one after the other.

    Raises:
        DataError: It never was this part's turn, or the folder cannot be written.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with locked(out / LOCK) as state:
                if state != BUSY:
                    yield
                    return
        except OSError as error:
            raise DataError(f"{out}: cannot be written to: {error.strerror or error}; name another folder") from error
        if time.monotonic() > end:
            raise DataError(f"{out}: another voxgraft has held this folder for {PATIENCE / 60:.0f} minutes; end it")
        time.sleep(0.02 + os.getpid() % 50 / 1000)  # not all at once


def _check_division(out: Path, part: Part | None) -> None:
    of = _division(out)
    there = "in one part" if (out / LEDGER).is_file() else f"in {of} parts" if of else ""
    asked = "in one part" if part is None else f"in {part.of} parts"
    if there and there != asked:
        how = "without --part, or with --part 1/1" if not of else f"with --part K/{of}"
        raise UsageError(
            f"{out}: holds a batch that was started {there} and cannot be continued {asked}, which would mix up "
            f"the scans of its parts; run it {how}, or choose another folder with --out"
        )


def _division(out: Path) -> int:
    """Into how many parts a batch is divided; 0 where it is in none.

    Raises:
        DataError: The file that says so is damaged.
    """
    path = out / PARTS / DIVISION
    try:
        of = read_json(path)["parts"]
        if type(of) is not int or not 1 < of <= MOST:
            raise ValueError(f"{of!r} parts")
    except FileNotFoundError:
        return 0
    except NotADirectoryError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path}: cannot be read ({error}); it has to say {{"parts": N}}, the N of the folders K-of-N beside it'
        ) from error
    return of


def expected(out: Path) -> dict[int, int]:
    """The number of scans of each part, as the last call that looked at the inputs counted them."""
    paths = [path / CALL for _, path in homes(out) if (path / CALL).is_file()]
    for path in sorted(paths, key=lambda one: one.stat().st_mtime, reverse=True):
        try:
            return {int(number): int(count) for number, count in read_json(path)["scans"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}
