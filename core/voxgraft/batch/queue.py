"""What is to be done with each scan of a call: skip it, do it, put it aside; and what became of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..packages.facts import numbers_of
from ..packages.package import Package
from ..support.files import sha256
from ..support.progress import Bar, Progress
from ..support.texts import counted, encodable
from .dispatch import KEPT, Corrections
from .entry import Entry, hash_of, stat_of, what_changed
from .ledger import INTERRUPTED, Row
from .report import REPORT_EVERY, remember
from .scan import plain

PICTURES = 6
"""Scans whose pictures a notebook shows."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What became of one scan in this call.

    Attributes:
        input: The path as the caller would write it.
        state: `done`, `skipped` (it was done before), `failed` or `left-out`.
        error: Why it failed or was left out; None otherwise.
        outputs: The files of the scan.
    """

    case: str
    input: str
    state: str
    error: str | None = None
    code: str | None = None
    outputs: tuple[Path, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the scans of one call, in the order of the inputs."""

    out: Path
    scans: tuple[Scan, ...]

    def count(self, state: str) -> int:
        return sum(scan.state == state for scan in self.scans)

    @property
    def done(self) -> int:
        return self.count("done")

    @property
    def failed(self) -> int:
        return self.count("failed")

    @property
    def skipped(self) -> int:
        return self.count("skipped")

    @property
    def left_out(self) -> int:
        return self.count("left-out")

    @property
    def report(self) -> Path:
        return self.out / "report.html"

    @property
    def exit_code(self) -> int:
        """0: all is done; 3: some scans failed and the rest is done; 1: all failed."""
        if not self.failed:
            return 0
        return 3 if self.done + self.skipped else 1

    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        scans = [
            {
                "case": scan.case,
                "input": encodable(scan.input),
                "state": scan.state,
                "error": scan.error,
                "code": scan.code,
                "outputs": [encodable(str(path)) for path in scan.outputs],
                "flags": list(scan.flags),
            }
            for scan in self.scans
        ]
        counts = {"done": self.done, "failed": self.failed, "skipped": self.skipped, "left_out": self.left_out}
        return {**counts, "report": encodable(str(self.report)), "scans": scans}

    def __repr__(self) -> str:
        return f"Batch in {self.out}: {self._counts()}"

    def _counts(self) -> str:
        counts = {"done": self.done, "skipped": self.skipped, "failed": self.failed, "left out": self.left_out}
        return ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "no scan"

    def _repr_html_(self) -> str:
        """What a notebook shows: the state of each scan, and pictures of the first."""
        from ..reports.notebook import Table, fragment, thumbnail
        from .outputs import PREVIEW

        rows = [(scan.case, scan.state, ", ".join(scan.flags), scan.error or "") for scan in self.scans]
        previews = [(scan.case, self.out / scan.case / PREVIEW) for scan in self.scans]
        found = [(case, path) for case, path in previews if path.is_file()][:PICTURES]
        pictures = [(case, address) for case, path in found if (address := thumbnail(path))]
        lines = [f"{self.report}: the worklist, doubtful scans first"]
        return fragment(self._counts(), lines, [Table.of(("Case", "State", "Flags", "Why not"), rows)], pictures)


CHANGED, BROKEN = "other files of the scan", "results missing or changed"
"""Why a scan is done again whatever is asked for."""
SAID = 5
"""Scans in each state that are set aside with a line of their own."""
TRIES = 3
"""After so many failed tries of the same input with the same model a scan is put aside."""


class BatchQueue:
    """Decides what is to be done with each scan of a call, and keeps what became of it."""

    def __init__(
        self,
        corrections: Corrections,
        package: Package,
        decides: Callable[[Entry], str],
        retry: bool,
        keep_done: bool,
        progress: Progress,
        write_report: Callable[[bool], None],
    ) -> None:
        self._write_report = write_report
        self._corrections, self._package = corrections, package
        self._out, self._ledger = corrections.out, corrections.ledger
        self._decides, self._retry, self._keep_done, self._progress = decides, retry, keep_done, progress
        self._bar: Bar | None = None
        self._set_aside_so_far: Counter[str] = Counter()
        self._again: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._entries: list[Entry] = []
        self._scans: dict[str, Scan] = {}
        self._fresh: list[Entry] = []
        self._suspects: list[Entry] = []

    def sort(self, entries: Sequence[Entry]) -> None:
        """Enter every scan, which has its case id, into the ledger, and find those that are to be done."""
        rows = {row.case: row for row in self._ledger.rows()}
        self._name_other_models(rows.values())
        self._entries = list(entries)
        self._remember()
        for entry in self._entries:
            row = rows.get(entry.case)
            if entry.state == "waiting":
                self._weigh(entry, row)
            else:
                self._set_aside(entry, row)
        for state, number in self._set_aside_so_far.items():
            if number > SAID:
                self._progress.say(f"{state}: {number - SAID} more; the report names each with its reason")
        for does, reasons in (("segments again", self._again), ("keeps", self._kept)):
            if reasons:
                self._progress.say(f"{self._out}: {does} {_told(reasons)}")
        if self._again.keys() - {CHANGED, BROKEN}:
            self._progress.say("note: --keep-done keeps finished scans as they are")

    def work(self, run: Callable[[Sequence[Entry]], Iterable[Entry]]) -> None:
        """Do what is to be done.

        Scans that were under way when a process ended come last and one by one: the one that ended it, by taking all
        memory say, then takes no other down with it.
        """
        if not (total := len(self._fresh) + len(self._suspects)):
            return
        last = time.monotonic()
        with self._progress.bar("segmenting", total) as bar:
            self._bar = bar
            for group in [self._fresh, *([entry] for entry in self._suspects)]:
                for entry in run(group) if group else ():
                    row = self._ledger.get(entry.case)
                    self._scans[entry.case] = self._scan(entry, row, row.state)
                    if row.state == "failed":
                        self._progress.say(f"failed: {entry.case}: {row.error}")
                    for flag in row.flags:
                        if flag["code"] == KEPT:
                            self._progress.say(f"{entry.case}: {flag['message']}")
                    bar.advance(note=entry.case)
                    if time.monotonic() - last > REPORT_EVERY:
                        self.report()
                        last = time.monotonic()

    def within(self, share: float) -> None:
        """Show what share of the scan under way is predicted."""
        if self._bar is not None:
            self._bar.within(share, "this scan")

    def report(self, last: bool = False) -> None:
        """Write the page; on a full disk the scans have failed already, and are more important."""
        try:
            self._write_report(last)
        except DataError as error:
            self._progress.say(str(error))

    def _remember(self) -> None:
        """Keep what finds the scans in the archive; a batch does not fail for want of it."""
        try:
            remember(self._ledger.path.parent, self._entries)
        except DataError as error:
            self._progress.say(str(error))

    def batch(self) -> Batch:
        return Batch(self._out, tuple(self._scans[entry.case] for entry in self._entries))

    def _name_other_models(self, rows: Iterable[Row]) -> None:
        """Say that the folder holds what other models made, before any of it is made again."""
        others = Counter(row.model for row in rows if row.state == "done" and row.model_hash != self._package.hash)
        for model, number in others.items():
            self._progress.say(
                f"{self._out}: holds {number} scans that another model segmented ({model}); those that are named in "
                "this call are segmented again"
            )

    def _set_aside(self, entry: Entry, row: Row | None) -> None:
        """A scan that is left out or refused; a result that it has from another call stays."""
        reason = plain(UsageError(entry.reason), entry, self._out)
        self._say_set_aside(entry, reason)
        if row is None or row.state != "done":
            changes = {"state": entry.state, "error_code": entry.code, "error": reason}
            self._ledger.put(self._row(entry, **changes))
        self._scans[entry.case] = Scan(entry.case, str(entry.given), entry.state, reason, entry.code)

    def _say_set_aside(self, entry: Entry, reason: str) -> None:
        """Say it of the first few in each state; a hospital's night has hundreds of localizers."""
        state = entry.state.replace("-", " ")
        self._set_aside_so_far[state] += 1
        if self._set_aside_so_far[state] <= SAID:
            self._progress.say(f"{state}: {entry.case}: {reason}")

    def _weigh(self, entry: Entry, row: Row | None) -> None:
        """Skip a scan, put it aside for good, or have it done."""
        stat = stat_of(entry)
        same_input = row is not None and self._same_input(entry, row, stat)
        same = same_input and row is not None and row.model_hash == self._package.hash
        if row is not None and row.state == "done" and self._is_kept(entry, row, same_input):
            if row.input_stat != stat:  # the same bytes: they are not read again the next time
                self._ledger.put(replace(row, input_stat=stat))
            self._scans[entry.case] = self._scan(entry, row, "skipped")
            return
        tries = row.tries if row is not None and same and row.state != "done" and not self._retry else 0
        if row is not None and tries >= TRIES:
            self._quarantine(entry, row)
            return
        if row is not None and row.input_stat and not same_input:
            for flag in self._corrections.clear(entry.case):  # a mask of other voxels than these
                self._progress.say(f"{entry.case}: {flag.message}")
        interrupted = row is not None and row.interrupted and tries > 0
        input_hash = row.input_hash if row is not None and same_input else ""
        code = INTERRUPTED if interrupted else ""
        self._ledger.put(self._row(entry, tries=tries, input_stat=stat, input_hash=input_hash, error_code=code))
        (self._suspects if interrupted else self._fresh).append(entry)

    def _is_kept(self, entry: Entry, row: Row, same_input: bool) -> bool:
        """Whether a scan that is done stays as it is; counts why it does not, or why it would not."""
        if not same_input:
            reason = CHANGED
        elif row.model_hash != self._package.hash:
            reason = "another model"
        elif changed := what_changed(row.options_hash, self._decides(entry)):
            reason = f"other {changed}"
        else:
            reason = ""
        kept = not reason or (self._keep_done and same_input)
        if kept and not is_whole(self._out / entry.case, row.outputs):
            reason, kept = BROKEN, False
        if reason:
            (self._kept if kept else self._again)[reason] += 1
        return kept

    def _quarantine(self, entry: Entry, row: Row) -> None:
        error, code = row.error, row.error_code
        if row.interrupted:
            code = "crashed"
            error = f"the process ended {row.tries} times while this scan was in progress (was there enough memory?)"
            self._ledger.fail(entry.case, code, error)
        error = f"{error} (tried {row.tries} times and put aside; --retry tries it again)"
        self._progress.say(f"failed: {entry.case}: {error}")
        self._scans[entry.case] = Scan(entry.case, str(entry.given), "failed", error, code)

    def _same_input(self, entry: Entry, row: Row, stat: str) -> bool:
        if (row.input, row.series) != entry.key:
            return False
        return row.input_stat == stat or (bool(row.input_hash) and row.input_hash == hash_of(entry))

    def _row(self, entry: Entry, **changes: Any) -> Row:
        version = str(self._package.facts.get("version", ""))
        numbers = numbers_of(self._package.facts)
        return Row(
            case=entry.case,
            input=entry.input,
            series=entry.series,
            model=f"{self._package.name} {version}".strip() + (f", in {numbers}" if numbers != "float32" else ""),
            model_hash=self._package.hash,
            options_hash=self._decides(entry),
            **changes,
        )

    def _scan(self, entry: Entry, row: Row, state: str) -> Scan:
        files = tuple(self._out / entry.case / name for name in row.outputs)
        flags = tuple(dict.fromkeys(str(flag["code"]) for flag in row.flags))
        return Scan(entry.case, str(entry.given), state, row.error or None, row.error_code or None, files, flags)


def _told(reasons: Mapping[str, int]) -> str:
    """How many scans, and why; the most frequent reason first."""
    why = ", ".join(f"{reason} ({number})" for reason, number in Counter(reasons).most_common())
    return f"{counted(sum(reasons.values()), 'finished scan')}: {why}"


def is_whole(folder: Path, outputs: Mapping[str, str]) -> bool:
    """Whether a scan's files are those whose hashes stand in the ledger."""
    files = {folder / name: content for name, content in outputs.items()}
    return bool(files) and all(path.is_file() and sha256(path) == content for path, content in files.items())
