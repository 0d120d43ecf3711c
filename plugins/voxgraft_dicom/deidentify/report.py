"""The report in the target: what was done to which new file. It holds no word of the source."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from voxgraft.plugin import DataError, UsageError, remove, source_hash, write_json

from . import rules
from .file import Job, Outcome, Settings


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


REPORT = "deidentify.json"
_JOURNAL = "deidentify.part.jsonl"


@dataclass(slots=True)
class Report:
    """The report of a target, with what earlier calls have done.

    Attributes:
        files: The documents of the outcomes of earlier calls, by mark.
        notes: What they had to say.
    """

    target: Path
    head: dict[str, Any]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, target: Path, settings: Settings) -> Report:
        """Read the report of an earlier call, or begin one.

        Raises:
            UsageError: The target holds something else, or results of another key or of other options.
        """
        head = _head(settings)
        path = target / REPORT
        if not path.exists():
            if target.is_dir() and any(target.iterdir()):
                raise UsageError(f"{target}: is not empty, and holds no {REPORT}; choose an empty folder")
            report = cls(target, head)
            write_json(path, {**head, "state": "under way", "files": []})
            return report
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            files = {str(one["id"]): dict(one) for one in before["files"]}
            notes = [str(note) for note in before.get("notes", ())]
            same = before["key"] == head["key"], before["options"] == head["options"], before["code"] == head["code"]
            renamed = before["pseudonyms"].items() - head["pseudonyms"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path}: is not a report of voxgraft deidentify; choose an empty folder") from error
        if not same[0]:
            raise UsageError(f"{target}: holds results made with another key; give that one, or choose an empty folder")
        if not same[1]:
            raise UsageError(f"{target}: holds results made with other options; choose an empty folder")
        if not same[2]:  # other code may clean more, or hold back what is written here
            made = before.get("voxgraft")
            raise UsageError(f"{target}: holds results made by other code (VoxGraft {made}); choose an empty folder")
        if renamed:
            text = "in which a patient has another pseudonym or none; give that one, or choose an empty folder"
            raise UsageError(f"{target}: holds results made with another table of pseudonyms, {text}")
        return cls(target, head, files | _journal(target), notes)

    def done(self, job: Job) -> Outcome | None:
        """The outcome of a file that an earlier call has written, if neither it nor the result has changed place or
        state since."""
        one = self.files.get(job.mark, {})
        if one.get("state") != "written" or one.get("source") != job.state or not self._result(one).is_file():
            return None
        return Outcome(job.mark, "written", str(one["file"]), source=job.state)

    def forget(self, marks: Set[str], keep: Set[str]) -> None:
        """Remove the results of files that have changed since: what they give now may have another name, or be held
        back.

        Args:
            marks: Of files that are to be done again.
            keep: Results that another file of the source has given.
        """
        for mark in marks & self.files.keys():
            one = self.files.pop(mark)
            if one.get("state") == "written" and one.get("file") not in keep:
                remove(self._result(one))

    def _result(self, document: Mapping[str, Any]) -> Path:
        """Where the result lies that a report names.

        Raises:
            UsageError: It would lie elsewhere.
        """
        path = self.target / str(document.get("file"))
        if not path.resolve().is_relative_to(self.target.resolve()):
            raise UsageError(f"{self.target / REPORT}: names a file outside of the target; choose an empty folder")
        return path

    def write(self, result: Result) -> None:
        """Write the report, and remove the journal that is now part of it."""
        now = {outcome.mark: outcome.document() for outcome in result.outcomes}
        document = {
            **self.head,
            "state": "done",
            "counts": result.counts,
            "quarantined": result.rules,
            "notes": sorted({*self.notes, *result.notes}),
            "files": list((self.files | now).values()),
        }
        write_json(self.target / REPORT, document)
        remove(self.target / _JOURNAL)


class Journal:
    """A line for each file that is done, so that a call that was ended need not be repeated."""

    def __init__(self, target: Path) -> None:
        try:
            self._file = (target / _JOURNAL).open("a", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{target}: cannot be written to: {error.strerror or error}") from error

    def add(self, outcome: Outcome) -> None:
        """Note an outcome."""
        self._file.write(json.dumps(outcome.document()) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; it stays until the report is written."""
        self._file.close()


def _head(settings: Settings) -> dict[str, Any]:
    codes = settings.options.codes()
    return {
        "voxgraft": version("voxgraft"),
        "profile": f"PS3.15 Basic Application Level Confidentiality Profile, table of {rules.EDITION}",
        "codes": [{"value": value, "meaning": meaning} for value, meaning in codes],
        "options": settings.options.document(),
        "key": settings.key.mark("check"),
        "code": source_hash("voxgraft_dicom")[:16],
        "pseudonyms": {settings.key.mark("patient", patient): name for patient, name in settings.pseudonyms.items()},
    }


def _journal(target: Path) -> dict[str, dict[str, Any]]:
    """What a call that was ended had done; its last line may be cut."""
    try:
        lines = (target / _JOURNAL).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        try:
            one = json.loads(line)
            found[str(one["id"])] = dict(one)
        except (ValueError, KeyError, TypeError):
            continue
    return found
