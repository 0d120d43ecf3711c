"""Who made a derived object, and the UIDs that follow from it: the same model on the same scan gives the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .sources import Sources

LONGEST = 64
"""Letters in a long string (VR LO)."""


@dataclass(frozen=True, slots=True)
class Review:
    """What readers decided about a mask.

    Attributes:
        when: The date, as YYYY-MM-DD.
        key: What tells one result of a review from another.
        corrected: The names of the structures that a reader changed; the others were accepted as they were.
        reader, organisation: Who answers for it, where that is to be named.
    """

    when: str
    key: str
    corrected: frozenset[str]
    reader: str = ""
    organisation: str = ""

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Review | None:
        """From the facts that writers are given; None for a mask that nobody has reviewed."""
        if not facts.get("reviewed"):
            return None
        return cls(
            when=facts["reviewed"][:10],
            key=facts.get("review_key", ""),
            corrected=frozenset(filter(None, facts.get("corrected", "").split("\n"))),
            reader=facts.get("reviewer", ""),
            organisation=facts.get("organisation", ""),
        )


@dataclass(frozen=True, slots=True)
class Maker:
    """The model behind a mask, in texts that fit DICOM's long strings, and the review that it went through."""

    model: str
    version: str
    hash: str
    software: str
    review: Review | None = None

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Maker:
        """From the facts that writers are given: `model`, `version`, `hash`, `software`, and those of a review."""
        code = facts.get("hash", "")
        version = facts.get("version") or code[:16] or "0"
        return cls(
            model=long_string(facts.get("model") or "VoxGraft"),
            version=long_string(version),
            hash=long_string(code) if code else "",
            software=long_string(facts.get("software") or version),
            review=Review.of(facts),
        )

    @property
    def key(self) -> str:
        """What tells two makers apart: the hash of the model, else its name and version."""
        return self.hash or f"{self.model} {self.version}"


def object_uids(kind: str, sources: Sources, maker: Maker) -> tuple[str, str]:
    """The series and the instance UID of what a maker derives from a scan; a second run replaces the first.

    What was reviewed has a series of its own, and another instance whenever another result came of the review.

    Args:
        kind: `segmentation`, `labelmap`, `rtstruct` or `report`.
    """
    parts = (*sources.instances, sources.series, maker.key)
    if maker.review is None:
        return derived_uid(f"{kind} series", *parts), derived_uid(kind, *parts)
    return derived_uid(f"reviewed {kind} series", *parts), derived_uid(f"reviewed {kind}", *parts, maker.review.key)


def long_string(text: str) -> str:
    """A text that fits a long string: no backslash, which would part it, no control characters, at most 64 letters."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in text).strip()
    return plain[:LONGEST] or "unnamed"


def derived_uid(*parts: str) -> str:
    """A UID that is the same whenever the same things are named."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["voxgraft", *parts]))
