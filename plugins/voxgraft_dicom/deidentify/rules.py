"""What is done with each attribute: the table of PS3.15 (E.1-1), and what the options and our own caution change.

The table is that of dicom-anonymizer (edition 2026c of the standard). Its option columns are not in that package; they
are in `rules.toml`, for the options that are offered. Its driver is not used: it leaves the attributes within sequences
alone, turns removed dates into the year 1, and forgets its UIDs when the process ends.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from importlib.resources import files

from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR, tag_for_keyword

EDITION = "2026c"


class Action(Enum):
    """What happens to an attribute."""

    REMOVE = "remove"
    EMPTY = "empty"
    DUMMY = "dummy"
    UID = "uid"
    KEEP = "keep"


_OF_TABLE = {
    "D_TAGS": Action.DUMMY,
    "Z_TAGS": Action.EMPTY,
    "X_TAGS": Action.REMOVE,
    "U_TAGS": Action.UID,
    # Where the standard leaves the choice to the kind of object, the one that is valid in every object is taken.
    "Z_D_TAGS": Action.DUMMY,
    "X_Z_TAGS": Action.EMPTY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    "X_Z_U_STAR_TAGS": Action.KEEP,  # references to images: kept, with the new UIDs inside
}

_RULES = tomllib.loads((files(__package__) / "rules.toml").read_text(encoding="utf-8"))


def tags(keywords: Iterable[str]) -> frozenset[int]:
    """The tags of attributes, by their keywords; those that this pydicom does not know yet are left out."""
    found = map(tag_for_keyword, keywords)
    return frozenset(tag for tag in found if tag is not None)


RETAINED = {name: tags(keywords) for name, keywords in _RULES["retained"].items()}
"""What the options `patient`, `device` and `institution` of `retain` keep."""


def kept(retain: Iterable[str]) -> frozenset[int]:
    """The tags of the attributes that these options of `retain` keep."""
    return frozenset().union(*(RETAINED[name] for name in retain if name in RETAINED))


DESCRIPTORS, BIRTH, CLASSES = tags(_RULES["descriptors"]), tags(_RULES["birth"]), tags(_RULES["classes"])
IDENTIFYING = tags(_RULES["identifying"])
NOBODY = frozenset(_RULES["nobody"])
"""Words in the place of a name that name nobody."""

SEGMENT_LABEL = tag_for_keyword("SegmentLabel")
"""Must not be empty, and says which structure it is: cleaned by the words, never removed."""

TIMEZONE = tag_for_keyword("TimezoneOffsetFromUTC")

SAFE_PRIVATE = {(row["group"], row["creator"]): frozenset(row["elements"]) for row in _RULES["safe_private"]}
"""(group, creator): elements."""


@lru_cache(maxsize=1)
def _table() -> dict[int, Action]:
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    table: dict[int, Action] = {}
    for name, given in dicom_anonymization_database_selector(f"dicomfields_{EDITION}").items():
        if name in _OF_TABLE:
            table |= {tag[0] << 16 | tag[1]: _OF_TABLE[name] for tag in given if len(tag) == 2}
    for action, own in _RULES["own"].items():
        table |= dict.fromkeys(tags(own), Action(action))
    return table


@lru_cache(maxsize=8192)
def action(tag: int) -> Action:
    """What the profile does with an attribute that is not private.

    Commands, file meta and directory records (groups below 8) have no place in a data set. Curves (50xx) and overlays
    (60xx) are removed whole; what the dictionary of the standard does not know is removed.
    """
    group = tag >> 16
    if group < 8 or group in range(0x5000, 0x5100) or group in range(0x6000, 0x6100) or not dictionary_has_tag(tag):
        return Action.REMOVE
    if not tag & 0xFFFF:  # lengths of groups, which are no longer right
        return Action.REMOVE
    given = _table().get(tag)
    if given is not None:
        return given
    vr = dictionary_VR(tag)
    if vr == "UI":
        return Action.KEEP if tag in CLASSES else Action.UID
    return Action.EMPTY if vr in ("PN", "DA", "DT", "TM") else Action.KEEP


def keyword(tag: int) -> str:
    """The attribute's name for a message."""
    place = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return f"{dictionary_keyword(tag)} {place}" if dictionary_has_tag(tag) else place
