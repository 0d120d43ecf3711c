"""How far a batch is: what its ledgers say, part by part and in all. Nothing is written, and no lock is asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..support.lock import LOCK
from ..support.texts import counted, legible
from .ledger import Row
from .ledger_view import BatchView, LedgerView
from .parts import Part, expected, is_batch

STAGES = ("read", "predict", "write")


@dataclass(frozen=True, slots=True)
class PartStatus:
    """How far one part of a batch is.

    Attributes:
        part: As `2/8`; None for an undivided batch.
        at_work: A process does it now.
        running: Scans that are under way there.
        missing: Scans that are still to be begun; None where nobody has counted them yet.
        seconds: What its done scans took in all, reading, predicting and writing.
        seconds_left: Until it is done, at the pace since its process began; None where that is not known, or where no
            process is at work on what is left.
        problem: Why its ledger cannot be read.
    """

    part: str | None
    at_work: bool = False
    done: int = 0
    failed: int = 0
    running: int = 0
    missing: int | None = None
    left_out: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How far a batch is, part by part."""

    out: Path
    parts: tuple[PartStatus, ...]

    @property
    def exit_code(self) -> int:
        """0; 3 where the ledger of a part cannot be read, so that the sums are too small."""
        return 3 if any(part.problem for part in self.parts) else 0

    @property
    def sums(self) -> dict[str, Any]:
        """What the parts come to together; None where some part does not say."""
        names = ("done", "failed", "running", "left_out", "seconds")
        sums: dict[str, Any] = {name: sum(getattr(part, name) for part in self.parts) for name in names}
        missing = [part.missing for part in self.parts if not part.problem]
        sums["missing"] = None if None in missing else sum(filter(None, missing))
        waiting = [part for part in self.parts if part.missing != 0 or part.running or part.problem]
        left = [part.seconds_left for part in waiting]
        sums["seconds_left"] = None if None in left else max(filter(None, left), default=0.0)
        sums["seconds"] = round(sums["seconds"], 3)
        return {**sums, "at_work": sum(part.at_work for part in self.parts)}

    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        names = tuple(PartStatus.__slots__)
        parts = [{name: getattr(part, name) for name in names} for part in self.parts]
        return {**self.sums, "parts": [{**part, "problem": part["problem"] or None} for part in parts]}

    def text(self) -> str:
        """A table for a person, the sums in its last line."""
        head = ("part", "done", "failed", "running", "missing", "left out", "time", "time left")
        rows = [head, *(_cells(part.part or "", _values(part), part) for part in self.parts)]
        if len(self.parts) > 1:
            rows.append(_cells("all", self.sums))
        else:
            rows = [row[1:] for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        lines += [f"part {part.part or ''}: {legible(part.problem)}" for part in self.parts if part.problem]
        return "\n".join([*lines, self._summary()])

    def _summary(self) -> str:
        sums = self.sums
        if sums["at_work"]:
            return f"{counted(sums['at_work'], 'process')} at work" if len(self.parts) > 1 else "at work"
        if sums["missing"] == 0 and not sums["running"]:
            return "nothing is missing" if not self.exit_code else "nothing else is missing"
        return "no process is at work; the same command does what is missing"


def status_of(out: Path) -> BatchStatus:
    """Add up what the ledgers of a batch say.

    Args:
        out: The batch's folder, also while processes are at work in it.

    Raises:
        UsageError: No batch has worked there.
        DataError: No ledger can be read.
    """
    if not out.is_dir():
        raise UsageError(f"{out}: there is no such folder; name the one that `voxgraft segment --out` made")
    if not is_batch(out):
        raise UsageError(f"{out}: holds no ledger of a batch; name the folder that `voxgraft segment --out` made")
    batch = BatchView(out)
    known = {part: _status(part, view) for part, view in batch.parts()}
    known |= {part: PartStatus(str(part), problem=problem) for part, problem in batch.damaged.items()}
    if None in known:
        return BatchStatus(out, (known[None],))
    of = next(part.of for part in known if part is not None)
    counts = expected(out)
    every = [Part(number, of) for number in range(1, of + 1)]
    parts = [known.get(one) or PartStatus(str(one), missing=counts.get(one.number, 0)) for one in every]
    return BatchStatus(out, tuple(parts))


def _status(part: Part | None, view: LedgerView) -> PartStatus:
    _, rows = view.rows()
    states = Counter(row.state for row in rows.values())
    at_work = view.running()
    running = states["running"] if at_work else 0
    missing = states["waiting"] + states["running"] - running
    pace = _pace(view.path.parent / LOCK, list(rows.values())) if at_work else None
    return PartStatus(
        part=None if part is None else str(part),
        at_work=at_work,
        done=states["done"],
        failed=states["failed"],
        running=running,
        missing=missing,
        left_out=states["left-out"],
        seconds=round(sum(row.seconds.get(stage, 0.0) for row in rows.values() for stage in STAGES), 3),
        seconds_left=None if pace is None else round((missing + running) * pace, 1),
    )


def _pace(lock: Path, rows: list[Row]) -> float | None:
    """Seconds from scan to scan since the process began, which wrote its name into the lock's file then."""
    began = lock.stat().st_mtime
    ended = [when for row in rows if row.finished and (when := _seconds(row.finished)) >= began - 1]
    return (max(ended) - began) / len(ended) if ended and max(ended) > began else None


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _values(part: PartStatus) -> dict[str, Any]:
    return {name: getattr(part, name) for name in PartStatus.__slots__}


def _cells(name: str, values: dict[str, Any], part: PartStatus | None = None) -> tuple[str, ...]:
    if part is not None and part.problem:
        return (name, *["?"] * 7)
    numbers = ("?" if values[key] is None else str(values[key]) for key in ("done", "failed", "running", "missing"))
    left = "" if values["seconds_left"] is None else duration(values["seconds_left"])
    return (name, *numbers, str(values["left_out"]), duration(values["seconds"]), left)


def duration(seconds: float) -> str:
    """As `2 h 05 min`, `3 min 20 s` or `12 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
