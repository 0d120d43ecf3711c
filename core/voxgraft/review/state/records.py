"""What is kept of a review: decisions, notes, saved masks and assignments, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

ACCEPTED, CORRECTED, REJECTED, NOT_ASSESSABLE = "accepted", "corrected", "rejected", "not-assessable"
VERDICTS = (ACCEPTED, CORRECTED, REJECTED, NOT_ASSESSABLE)
REOPENED = "reopened"
"""Taken back: the structure is open again, and both lines stay in the log."""

READER, SECOND, ADJUDICATOR, GOLD = "reader", "second", "adjudicator", "gold"
ROLES = (READER, SECOND, ADJUDICATOR, GOLD)

REASONS = (
    "wrong structure",
    "boundary wrong",
    "part missing",
    "too much",
    "left and right confused",
    "image quality",
    "wrong scan",
)
"""Reasons of rejection where the workflow names none."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reader decided about one structure of one scan.

    Attributes:
        structure: Its name; empty for the scan as a whole.
        verdict: One of `VERDICTS`, or `REOPENED`.
        reason: Why it was rejected, out of the workflow's list.
        when: UTC, ISO 8601.
        seconds: How long the reader had the scan open.
        model_hash: Of the package that made the mask.
        mask_before: SHA-256 of the model's mask file.
        mask_after: SHA-256 of the mask file that was decided on: the model's own, or the reader's.
        role: Of the reader in this scan, see `ROLES`; empty where nobody is assigned.
    """

    case: str
    structure: str
    verdict: str
    reason: str = ""
    reader: str = ""
    when: str = ""
    seconds: float = 0.0
    model: str = ""
    model_version: str = ""
    model_hash: str = ""
    mask_before: str = ""
    mask_after: str = ""
    note: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a reader wrote down, pinned to a place where one is given.

    Attributes:
        place_mm: RAS millimetres.
    """

    id: str
    case: str
    reader: str
    when: str
    text: str
    place_mm: tuple[float, float, float] | None = None
    structure: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who is to read a scan, and as what.

    Attributes:
        reader: Whom it concerns; empty with `GOLD` for everybody.
        role: One of `ROLES`. With `GOLD` the scan has a reference mask, which readers are not told.
    """

    case: str
    reader: str
    role: str


@dataclass(frozen=True, slots=True)
class SavedMask:
    """A reader's mask of a scan, written whole.

    Attributes:
        sha256: Of the file.
        base: SHA-256 of the mask file that it was made from.
        model_mask: SHA-256 of the model's mask file at that time.
        tool: What changed it: `pen`, `slices`, `click`, `undo`, `redo` ...
        position: Changes in force, of the reader's journal.
        ahead: Changes that were taken back and can be made again.
        changed: Value of a structure -> voxels in which it differs from the model's mask.
        voxels: Value of a structure -> voxels it has.
    """

    case: str
    reader: str
    when: str
    sha256: str
    base: str
    model_mask: str
    tool: str = ""
    position: int = 0
    ahead: int = 0
    changed: Mapping[str, int] = field(default_factory=dict)
    voxels: Mapping[str, int] = field(default_factory=dict)


def from_document(kind: type[R], values: Mapping[str, Any]) -> R:
    """A record from plain values; what it does not know is left out.

    Raises:
        TypeError: Something is missing.
    """
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    parts = {name: value for name, value in values.items() if name in known}
    if parts.get("place_mm") is not None:
        x, y, z = parts["place_mm"]
        parts["place_mm"] = (float(x), float(y), float(z))
    return kind(**parts)
