"""Reviewed scans as a data set that a workflow trains on: images, final masks, and a table of who decided what.

The folder appears whole or not at all. A second export makes it anew and takes over what has not changed; a folder that
holds anything else is left alone.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import hmac
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...components.code import own_code
from ...errors import DataError, UsageError, VoxGraftError
from ...imaging.structures import Labels
from ...support.files import CELLS, atomic_write, digest, is_full, read_bytes, read_json, sha256, write_json
from ...support.texts import write_rows
from ..state.sources import items_of
from .comparing import labels_of
from .exported_case import FORMATS, Written, take_over, write_case
from .final import Final, final_of
from .snapshot import Snapshot

TABLE, MANIFEST, LABELS = "cases.csv", "export.json", "labels.json"
FORMAT = 1
OWN = (TABLE, MANIFEST, LABELS)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How reviewed scans are exported.

    Attributes:
        reader: Whose readings count; by default the adjudicator's, or those of the only reader.
        partial: Also take scans in which not every structure is final; voxels that nobody vouches for are ignored.
        link: Link images that need no conversion instead of copying them, where the disk is the same.
        patients: Case -> patient, where the scans do not say whose they are.
        key: The secret by which a DICOM layout names patients, where it has one.
        unverified: Export although the audit log is damaged.
    """

    reader: str = ""
    partial: bool = False
    link: bool = False
    patients: Mapping[str, str] = field(default_factory=dict)
    key: bytes | None = None
    unverified: bool = False


@dataclass(slots=True)
class Exported:
    """What became of the scans of a batch.

    Attributes:
        cases: Those in the data set.
        left_out: Case -> why it is not in it.
        failed: Case -> what went wrong.
        unchanged: The data set was there already.
    """

    target: Path
    cases: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unchanged: bool = False

    @property
    def exit_code(self) -> int:
        """0: all is done; 3: some scans failed and the rest is done; 1: there is nothing."""
        if not self.cases:
            return 1
        return 3 if self.failed else 0

    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "target": str(self.target),
            "cases": self.cases,
            "left_out": [{"case": case, "reason": reason} for case, reason in self.left_out.items()],
            "failed": [{"case": case, "error": error} for case, error in self.failed.items()],
            "unchanged": self.unchanged,
        }


def export(snapshot: Snapshot, target: Path, wishes: Wishes | None = None) -> Exported:
    """Write the scans whose structures are all accepted or corrected as a data set; see docs/review_worth.md.

    Args:
        snapshot: The batch and what people decided about it.
        target: A folder that is not there, is empty, or holds an earlier export.
        wishes: How; by default see `Wishes`.

    Raises:
        UsageError: The target lies in the batch's folder, or holds something else.
        DataError: The audit log is damaged, or the disk is full.
    """
    wishes = wishes or Wishes()
    check_target(snapshot, target)
    check_log(snapshot, wishes.unverified)
    before = _earlier(target)
    exported = Exported(target)
    finals = _chosen(snapshot, wishes, exported)
    if not finals:
        return exported
    labels = labels_of(finals[0].row)
    with suppress(_Unchanged), atomic_write(target) as folder:
        for name in FORMATS:
            (folder / name).mkdir(parents=True)
        rows = _write_all(finals, labels, folder, before, snapshot, wishes, exported)
        if rows:
            _describe(folder, labels, rows, exported)
        if not rows or _same(before, target, rows):
            exported.unchanged = bool(rows)
            raise _Unchanged
    return exported


class _Unchanged(VoxGraftError):
    """There is nothing to put in place of what is there."""


def check_target(snapshot: Snapshot, target: Path) -> None:
    """Refuse a folder that holds anything but an earlier export.

    Raises:
        UsageError: It is one, or it and the batch's folder lie in each other.
    """
    inside, out = target.resolve(), snapshot.out.resolve()
    if inside.is_relative_to(out) or out.is_relative_to(inside):
        raise UsageError(f"{target}: lies in the batch's folder, or around it; choose a folder elsewhere")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"{target}: is not a folder; choose another name")
    if not target.is_dir():
        return
    there = {
        path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    known = {*OWN, *(name for files in _earlier(target).values() for name in files["files"])}
    if there and MANIFEST not in there:
        raise UsageError(f"{target}: holds something other than an export of reviewed scans; choose another folder")
    if strange := sorted(there - known):
        raise UsageError(f"{target}: {strange[0]} is not part of an export; move it away, or choose another folder")


def check_log(snapshot: Snapshot, unverified: bool) -> None:
    """Refuse decisions that somebody may have changed.

    Raises:
        DataError: The chain of the audit log is broken.
    """
    if snapshot.log.faults and not unverified:
        fault = snapshot.log.faults[0]
        raise DataError(
            f"{snapshot.folder.root.name}/audit.jsonl: line {fault.line}: {fault.message}; find out who changed it, or "
            "export anyway with --unverified"
        )


def read_patients(path: Path) -> dict[str, str]:
    """Who is whose, from a CSV table with the columns `case` and `patient`.

    Raises:
        UsageError: It cannot be read, or has no such columns.
    """
    try:
        text = read_bytes(path, marks=CELLS).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is not a readable table: {getattr(error, 'strerror', None) or error}") from None
    if not rows or not {"case", "patient"} <= set(rows[0]):
        raise UsageError(f"{path}: needs the columns case and patient, separated by commas")
    return {row["case"].strip(): row["patient"].strip() for row in rows if row["case"] and row["patient"]}


def read_key(path: Path) -> bytes:
    """The secret of a key file, as the layout `dicom` reads it.

    Raises:
        UsageError: It cannot be read, or is too short to keep a secret.
    """
    try:
        key = read_bytes(path, 2**16).strip()
    except OSError as error:
        raise UsageError(f"{path}: the key cannot be read: {error.strerror or error}") from None
    if len(key) < 16:
        raise UsageError(f"{path}: the key has {len(key)} bytes; it needs at least 16")
    return key


def patient_of(snapshot: Snapshot, final: Final, wishes: Wishes) -> str:
    """Whose scan it is, as the layouts name patients, so that splits keep a patient's scans together.

    The table that the caller gives counts first. A DICOM scan's patient is a fingerprint of PatientID, the one that the
    layout `dicom` makes. Otherwise each scan is its own patient, by the name of its file.

    Args:
        snapshot: The batch and what was decided.
        final: The reading of the scan that counts.
        wishes: With the caller's table and key.
    """
    if final.case in wishes.patients:
        return wishes.patients[final.case]
    item = items_of(final.row, snapshot.out, snapshot.catalogue)[0]
    if not item.patient:
        return final.case
    mark = hashlib.sha256(item.patient.encode("utf-8", "surrogateescape")).hexdigest()
    if wishes.key is not None:
        mark = hmac.new(wishes.key, mark.encode(), hashlib.sha256).hexdigest()
    return f"patient-{mark[:10]}"


def _chosen(snapshot: Snapshot, wishes: Wishes, exported: Exported) -> list[Final]:
    """The readings that are exported; why others are not is noted."""
    finals: list[Final] = []
    for case, row in snapshot.rows.items():
        final = final_of(snapshot, case, wishes.reader)
        if row.state != "done":
            exported.left_out[case] = "it has no mask"
        elif case in snapshot.state.references:
            exported.left_out[case] = "it is a gold case, kept to judge readers and models"
        elif isinstance(final, str):
            exported.left_out[case] = final
        elif final.others and not (wishes.partial and final.done):
            name, verdict = next(iter(final.others.items()))
            exported.left_out[case] = f"{name} is {verdict}"
        elif finals and labels_of(row) != labels_of(finals[0].row):
            exported.left_out[case] = f"its model finds other structures than that of {finals[0].case}"
        else:
            finals.append(final)
    return finals


def _write_all(
    finals: Sequence[Final],
    labels: Labels,
    folder: Path,
    before: Mapping[str, Any],
    snapshot: Snapshot,
    wishes: Wishes,
    exported: Exported,
) -> dict[str, Written]:
    """The row of each case that could be written; a scan that fails takes no other with it."""
    rows: dict[str, Written] = {}
    for final in finals:
        try:
            key = _key(snapshot, final, wishes)
            written = take_over(before.get(final.case), exported.target, folder, key)
            if written is None:
                patient = patient_of(snapshot, final, wishes)
                written = write_case(snapshot, final, labels, folder, key, patient, link=wishes.link)
            if rows and written.columns != (first := next(iter(rows.values())).columns):
                raise DataError(f"it has the channels {', '.join(written.columns)}, others {', '.join(first)}")
        except (VoxGraftError, OSError) as error:
            if is_full(folder) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
                raise DataError(f"{exported.target}: cannot be written: no space is left on the disk") from error
            exported.failed[final.case] = str(error).replace(f"{folder}/", "")
            continue
        rows[final.case] = written
        exported.cases.append(final.case)
    return rows


def _key(snapshot: Snapshot, final: Final, wishes: Wishes) -> str:
    """What a case in a data set is made of; the same gives the same files."""
    reading = final.reading
    made_from = [
        final.row.input_hash,
        final.row.input,
        final.row.series,
        final.mask.sha256,
        sorted(final.verdicts.items()),
    ]
    whose = [reading.reader, reading.when, final.row.model, final.row.model_hash]
    patient = wishes.patients.get(final.case), wishes.key.hex() if wishes.key else None
    code = [own_code(), *map(snapshot.catalogue.fingerprint, ("reader", "writer"))]
    return digest([FORMAT, made_from, whose, bool(final.others), patient, wishes.link, code])


def _describe(folder: Path, labels: Labels, rows: Mapping[str, Written], exported: Exported) -> None:
    """Write the table, the names of the structures, and what the folder is made of."""
    columns = next(iter(rows.values())).columns
    facts = list(next(iter(rows.values())).facts)
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        head = ["case", "patient", *columns, "label", *facts]
        lines = ([case, row.patient, *row.images, row.label, *row.facts.values()] for case, row in rows.items())
        write_rows(file, [head, *lines])
    write_json(folder / LABELS, labels.document())
    cases = {case: row.document() for case, row in rows.items()}
    write_json(folder / MANIFEST, {"format": FORMAT, "cases": cases, "left_out": exported.left_out})


def _earlier(target: Path) -> dict[str, Any]:
    """What an earlier export says of its cases; nothing where there is none."""
    try:
        manifest = read_json(target / MANIFEST)
        if manifest["format"] != FORMAT:
            return {}
        return {str(case): Written.checked(row) for case, row in manifest["cases"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _same(before: Mapping[str, Any], target: Path, rows: Mapping[str, Written]) -> bool:
    """Whether an earlier export is made of the same, and is as it was made."""
    if {case: row.document() for case, row in rows.items()} != dict(before):
        return False
    files = {name: content for row in rows.values() for name, content in row.files.items()}
    return all((target / name).is_file() for name in OWN) and all(
        (target / name).is_file() and sha256(target / name) == content for name, content in files.items()
    )
