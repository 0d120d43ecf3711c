"""What became of the scans of one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..support.texts import encodable

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
