"""What a user may choose: the options of the profile, and the codes that say so in every file (PS3.16, CID 7050)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from voxgraft.plugin import UsageError

DATES = ("remove", "shift", "keep")
DESCRIPTORS = ("remove", "clean", "keep")
RETAIN = ("device", "institution", "patient", "private")
LONGEST_SHIFT = 3650
"""Days; more would move studies out of the life of their scanner."""

_BASIC = ("113100", "Basic Application Confidentiality Profile")
_DATES = {
    "shift": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "keep": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
}
_RETAINED = {
    "device": ("113109", "Retain Device Identity Option"),
    "institution": ("113112", "Retain Institution Identity Option"),
    "patient": ("113108", "Retain Patient Characteristics Option"),
    "private": ("113111", "Retain Safe Private Option"),
}
_DESCRIPTORS = ("113105", "Clean Descriptors Option")
_STRUCTURED = ("113104", "Clean Structured Content Option")
_TEMPORAL = {"remove": "REMOVED", "shift": "MODIFIED", "keep": "UNMODIFIED"}


@dataclass(frozen=True, slots=True)
class Options:
    """How a tree is de-identified.

    Attributes:
        dates: remove (by the profile), shift (whole days, the same for all files of a patient) or keep.
        shift_days: The largest shift, in days, in either direction.
        descriptors: remove descriptions and names of protocols and structures, clean them by the list of words, or
            keep them; the last does not conform to the profile.
        retain: Which of `RETAIN` stay: the device, the institution, the patient's characteristics, safe private data.
        pixels_checked: A person has looked at the pixels: no file is held back for its kind of image.
    """

    dates: str = "remove"
    shift_days: int = 365
    descriptors: str = "remove"
    retain: frozenset[str] = frozenset()
    pixels_checked: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (("dates", self.dates, DATES), ("descriptors", self.descriptors, DESCRIPTORS)):
            if value not in known:
                raise UsageError(f"--{name} {value}: choose one of {', '.join(known)}")
        if unknown := sorted(self.retain - set(RETAIN)):
            raise UsageError(f"--retain {unknown[0]}: choose of {', '.join(RETAIN)}")
        if not 1 <= self.shift_days <= LONGEST_SHIFT:
            raise UsageError(f"--shift-days {self.shift_days}: choose 1 to {LONGEST_SHIFT}")

    @property
    def temporal(self) -> str:
        """The value of Longitudinal Temporal Information Modified (0028,0303)."""
        return _TEMPORAL[self.dates]

    @property
    def method(self) -> str:
        """What stands in De-identification Method (0012,0063); at most 64 characters."""
        return "VoxGraft; descriptors kept: not the profile" if self.descriptors == "keep" else "VoxGraft; PS3.15"

    def codes(self, *, structured: bool = False) -> list[tuple[str, str]]:
        """Code value and meaning of the profile and of each option (coding scheme DCM).

        Args:
            structured: The file has structured content, which was cleaned.
        """
        codes = [] if self.descriptors == "keep" else [_BASIC]
        codes += [_STRUCTURED] if structured else []
        codes += [_DESCRIPTORS] if self.descriptors == "clean" else []
        codes += [_DATES[self.dates]] if self.dates in _DATES else []
        return codes + [_RETAINED[name] for name in RETAIN if name in self.retain]

    def document(self) -> dict[str, Any]:
        """As plain values, for the report."""
        document = {**asdict(self), "retain": sorted(self.retain)}
        if self.dates != "shift":
            del document["shift_days"]
        return document
