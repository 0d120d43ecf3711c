"""What became of one file of a tree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .file import Outcome


@dataclass(slots=True)
class Result:
    """What became of a tree.

    Attributes:
        outcomes: One for each DICOM file that is not a directory.
        paths: The files of the source by their marks; for the user's eyes, never for a report.
        skipped: How many were done by an earlier call.
        other: Files that are not DICOM; they are not copied.
        directories: DICOMDIR files; they would name the patients and the old files.
        duplicates: Files whose bytes are those of another.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    skipped: int = 0
    other: int = 0
    directories: int = 0
    duplicates: int = 0

    def of(self, state: str) -> list[Outcome]:
        """The outcomes of one state."""
        return [outcome for outcome in self.outcomes if outcome.state == state]

    @property
    def counts(self) -> dict[str, int]:
        """How many files came to what."""
        states = Counter(outcome.state for outcome in self.outcomes)
        return {
            "written": states["written"] - self.skipped,
            "skipped": self.skipped,
            "quarantined": states["quarantined"],
            "failed": states["failed"],
            "duplicates": self.duplicates,
            "not_dicom": self.other,
            "directories": self.directories,
        }

    @property
    def rules(self) -> dict[str, int]:
        """How many files each rule held back."""
        return dict(sorted(Counter(outcome.rule for outcome in self.of("quarantined")).items()))

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        return sorted({note for outcome in self.outcomes for note in outcome.notes})

    @property
    def exit_code(self) -> int:
        """0: all done or held back by a rule; 3: some failed or still named the patient; 1: nothing was delivered."""
        wrong = self.of("failed") or "identity-left" in self.rules
        return 0 if not wrong else 3 if self.of("written") else 1
