"""Clean one data set in place, sequences within sequences included."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from . import rules
from .form import fits, harmless, strange
from .key import Key
from .options import Options
from .rules import Action
from .tokens import cleaned, well_known

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset


DEEPEST = 24
"""Sequences within sequences; the deepest of the standard (structured reports) need about ten."""

_TEMPORAL = ("DA", "DT", "TM")
_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020


class TooDeep(ValueError):
    """Sequences within sequences without end."""


class Misfit(ValueError):
    """A value that is to stay does not match its VR."""


@dataclass(frozen=True, slots=True)
class Cleaner:
    """Cleans the files of one patient.

    Attributes:
        pseudonym: The patient's new name and id.
        days: By how many days dates are shifted.
        forbidden: Words of this file that no cleaned description may hold, in lower case.
    """

    key: Key
    options: Options
    pseudonym: str
    days: int
    forbidden: frozenset[str] = frozenset()
    _kept: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_kept", rules.kept(self.options.retain))

    def clean(self, dataset: Dataset, depth: int = 0) -> None:
        """Do with every element what the profile and the options say.

        Raises:
            Misfit: A value does not match its VR, so that it may hide others.
            TooDeep: More sequences within sequences than any object of the standard has.
        """
        if depth > DEEPEST:
            raise TooDeep
        safe = _safe_private(dataset) if "private" in self.options.retain else frozenset()
        for tag in list(dataset.keys()):
            if tag.is_private:
                if tag not in safe:
                    del dataset[tag]
                elif not fits(dataset[tag]):
                    raise Misfit(rules.keyword(int(tag)))
            elif tag in (_PATIENT_NAME, _PATIENT_ID):
                dataset[tag].value = self.pseudonym
            else:
                self._element(dataset, int(tag), depth)
                if tag in dataset and not fits(dataset[tag]):
                    if not harmless(dataset[tag]):
                        raise Misfit(rules.keyword(int(tag)))
                    dataset[tag].value = ""

    def uid(self, original: str) -> str:
        """The new UID of an old one; those of the standard and empty ones stay."""
        return original if well_known(original) else self.key.uid(original)

    def _element(self, dataset: Dataset, tag: int, depth: int) -> None:
        action = self._action(tag)
        if action is Action.REMOVE:
            del dataset[tag]
            return
        element = dataset[tag]
        if strange(element):
            del dataset[tag]
        elif element.VR == "SQ":
            self._sequence(element, action, depth)
        elif tag in rules.DESCRIPTORS:
            self._descriptor(dataset, element, action)
        elif _is_date(tag):
            self._date(element, action)
        elif action is Action.UID:
            element.value = [self.uid(uid) for uid in element.value] if element.VM > 1 else self.uid(str(element.value))
        elif action is Action.EMPTY:
            element.value = None if element.VR in ("UN", "OB", "OW") else ""
        elif action is Action.DUMMY and not element.is_empty:
            element.value = dummy(str(element.VR))
        elif element.VR == "UN":
            del dataset[tag]  # a known attribute would have been given its representation: this is anything
        elif element.VR == "AS" and not element.is_empty:
            element.value = capped_age(str(element.value))

    def _action(self, tag: int) -> Action:
        action = rules.action(tag)
        if tag in self._kept and not (action is Action.UID and dictionary_VR(tag) == "SQ"):
            return Action.KEEP
        if action is Action.REMOVE and tag not in rules.BIRTH:
            if _is_date(tag) and self.options.dates != "remove":
                return Action.KEEP
            if tag in rules.DESCRIPTORS and self.options.descriptors != "remove":
                return Action.KEEP
        return action

    def _sequence(self, element: DataElement, action: Action, depth: int) -> None:
        if action is Action.EMPTY:
            element.value = []
            return
        for item in element.value or ():
            self.clean(item, depth + 1)
            if action is Action.DUMMY:
                _hollow(item)

    def _date(self, element: DataElement, action: Action) -> None:
        """A date, a time, or the zone that both are in."""
        if element.is_empty:
            return
        tag, vr = int(element.tag), dictionary_VR(int(element.tag))
        if tag in rules.BIRTH:
            element.value = ""
        elif self.options.dates == "remove":
            if action is not Action.KEEP:
                element.value = dummy(vr) if action is Action.DUMMY else ""
        elif self.options.dates == "shift" and vr in ("DA", "DT"):
            texts = element.value if element.VM > 1 else [element.value]
            new = [shifted(vr, str(text), self.days) for text in texts]
            element.value = new if all(new) and len(new) > 1 else new[0]
            if element.is_empty and action is Action.DUMMY:
                element.value = dummy(vr)

    def _descriptor(self, dataset: Dataset, element: DataElement, action: Action) -> None:
        label = int(element.tag) == rules.SEGMENT_LABEL
        if element.is_empty or self.options.descriptors == "keep":
            return
        if self.options.descriptors == "clean" or label:
            texts = element.value if element.VM > 1 else [element.value]
            element.value = " ".join(filter(None, (cleaned(str(text), self.forbidden) for text in texts)))
        elif action is not Action.KEEP:
            element.value = ""
        if element.is_empty and label:
            element.value = f"Segment {dataset.get('SegmentNumber', '')}".strip()
        elif element.is_empty and action is Action.DUMMY:
            element.value = DUMMY_TEXT


def _is_date(tag: int) -> bool:
    return tag == rules.TIMEZONE or (dictionary_has_tag(tag) and dictionary_VR(tag) in _TEMPORAL)


def _hollow(item: Dataset) -> None:
    """Put dummies for all values of an item that had to stay."""
    for element in item:
        if element.VR == "SQ":
            for inner in element.value or ():
                _hollow(inner)
        elif element.VR != "UI" and not element.is_empty:
            element.value = dummy(str(element.VR))


def _safe_private(dataset: Dataset) -> frozenset[int]:
    """The private elements that are known to hold numbers only, and the creators of their blocks."""
    safe: set[int] = set()
    for (group, creator), wanted in rules.SAFE_PRIVATE.items():
        for block in range(0x10, 0x100):
            place = group << 16 | block
            if place in dataset and str(dataset[place].value).strip() == creator:
                inside = {group << 16 | block << 8 | number for number in wanted}
                kept = {tag for tag in inside if tag in dataset and _is_number(dataset[tag])}
                safe |= kept | ({place} if kept else set())
    return frozenset(safe)


def _is_number(element: DataElement) -> bool:
    """Numbers, in a representation of numbers, or in bytes that a writer of implicit VR left unnamed."""
    if element.VR in ("DS", "IS", "FL", "FD", "SS", "US", "SL", "UL"):
        return True
    if not isinstance(element.value, bytes):
        text = element.value if isinstance(element.value, str) else "x"
        return element.VR == "SH" and not text.strip(" 0123456789.:+-eE\\")
    if element.VR not in ("UN", "OB"):
        return False
    value = element.value
    return not value.strip(b" \0" + b"0123456789.+-eE\\") or (len(value) in (2, 4, 8) and not value.isalnum())


DUMMY_TEXT = "REMOVED"
DUMMY_DATE = "19000101"
OLDEST = 89
"""Years; older people are few, so that their age alone may tell who they are (45 CFR 164.514)."""

_TEXTS = frozenset(["AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"])
_NUMBERS = frozenset(["FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"])
_DUMMIES: dict[str, Any] = {
    "DA": DUMMY_DATE,
    "DT": f"{DUMMY_DATE}000000",
    "TM": "000000",
    "AS": "000Y",
    "DS": "0",
    "IS": "0",
    "UR": "http://removed.invalid",
}


def dummy(vr: str) -> Any:
    """A value that says nothing and is valid where an empty one is not."""
    if vr in _TEXTS:
        return DUMMY_TEXT
    return 0 if vr in _NUMBERS else _DUMMIES.get(vr, b"\0\0")


def shifted(vr: str, text: str, days: int) -> str:
    """A date (DA) or a date with a time (DT), some days later; what is not a date becomes empty.

    The time, the zone and the precision stay. A date without a day is shifted from the first of its month.

    Args:
        vr: `DA` or `DT`.
        text: The value, such as `20240131` or `20240131101500.0+0100`.
        days: How many later; fewer than 0 is earlier.
    """
    digits = re.sub(r"[.:/-]", "", text.strip()) if vr == "DA" else text.strip()
    found = re.fullmatch(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?(?:[+-]\d{4})?)", digits)
    if found is None or (vr == "DA" and (len(digits) != 8)):
        return ""
    year, month, day, rest = found.groups()
    try:
        new = date(int(year), int(month or 1), int(day or 1)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{new:%Y%m%d}".zfill(8)[: 4 + 2 * bool(month) + 2 * bool(day)] + rest


def capped_age(text: str) -> str:
    """An age (AS) of more than 89 years becomes 90."""
    found = re.fullmatch(r"\s*(\d{1,3})Y\s*", text)
    return "090Y" if found and int(found[1]) > OLDEST else text
