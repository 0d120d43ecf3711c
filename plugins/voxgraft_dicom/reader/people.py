"""Series whose files say that they are of several patients or studies: a UID that was used twice parts nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxgraft.plugin import Problem

from .header import Header
from .items import Problems

IDENTITY = ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate")
SHARED = ("PatientSex", "StudyDate", "Manufacturer")
"""What is the same in all files of a series, too; where some do not say it, that is not held against them."""
FEWEST = 3
"""A patient's part of a series stands for an image only with so many frames: fewer may be slices of the others."""


@dataclass(frozen=True)
class Series:
    """The files of one series of one patient and study.

    Attributes:
        suffix: What to put behind the name of its images, where the UID names those of others too.
    """

    headers: Sequence[Header]
    suffix: str = ""
    problems: Problems = ()


def of_people(headers: Sequence[Header]) -> list[Series]:
    """Part the files under one SeriesInstanceUID by the study and the patient that they name.

    Every part is an image of its own, with a warning. Where some files name nobody, or a part has fewer frames than
    make up a volume, nobody knows whose they are, and all of them are refused.
    """
    groups = _groups(headers)
    if len(groups) == 1:
        return [Series(headers)]
    names = [name for name in (*IDENTITY, *SHARED) if len({_plain(header, name) for header in headers}) > 1]
    counts = [sum(_frames(header) for header in group) for group in groups]
    what = f"the files under its SeriesInstanceUID differ in {', '.join(names)} ({', '.join(map(str, counts[:6]))})"
    if any(not _plain(group[0], name) for group in groups for name in names if name in IDENTITY[1:]):
        problem = Problem("mixed-patient", f"{what}, and some of them do not say it; correct their headers")
    elif min(counts) < FEWEST and any(header.text("ImagePositionPatient") for header in headers):
        problem = Problem("mixed-patient", f"{what}: too few of one are here to be an image; correct their headers")
    else:
        text = f"{what}: they are of several patients or studies, and were taken for images of their own"
        problem = Problem("shared-uid", text, "warning")
    if problem.severity == "error":
        return [Series(headers, "", (problem,))]
    return [Series(group, f"-{number}", (problem,)) for number, group in enumerate(groups, 1)]


def _groups(headers: Sequence[Header]) -> list[list[Header]]:
    """Files by what they say of patient and study; instances that were sent again with a corrected name stay."""
    shared = [name for name in SHARED if all(header.text(name) for header in headers)]
    groups = _by(headers, [*IDENTITY, *shared])
    instances = [[header.instance for header in group] for group in groups]
    again = sum(len(set(names)) for names in instances) > len(set().union(*map(set, instances)))
    if again and all(len(set(names)) == len(names) for names in instances):
        return _by(headers, IDENTITY[:2])
    return groups


def _by(headers: Sequence[Header], names: Sequence[str]) -> list[list[Header]]:
    groups: dict[tuple[str, ...], list[Header]] = {}
    for header in headers:
        groups.setdefault(tuple(_plain(header, name) for name in names), []).append(header)
    return sorted(groups.values(), key=lambda group: min(str(header.path) for header in group))


def _plain(header: Header, name: str) -> str:
    """A value without what only spelling adds: case, blanks, and empty parts of a name."""
    return " ".join(header.text(name).casefold().replace("^", " ").split())


def _frames(header: Header) -> int:
    several = "MOSAIC" in header.parts("ImageType")
    return max(header.whole("NumberOfFrames", 1), FEWEST if several else 1)
