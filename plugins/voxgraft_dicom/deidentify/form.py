"""Whether values have the form of their representation (PS3.5, 6.2): one that has not may hide other elements.

A damaged length lets one element swallow those behind it, names included; and as they are then no elements of their
own, nobody knows of these names. So a file with such a value is not delivered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

TEXTS = frozenset(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_FORMS = {
    "AS": re.compile(r"(\d{3}[DWMY])?"),
    "CS": re.compile(r"[ -~\xa0-\uffff]{0,64}"),
    "DA": re.compile(r"[\d.:/-]{0,21}"),
    "DT": re.compile(r"[\d.:/+-]{0,54}"),
    "TM": re.compile(r"[\d.:-]{0,28}"),
    "DS": re.compile(r"[-+0-9.eE]{0,32}"),
    "IS": re.compile(r"[-+]?[0-9]{0,20}(\.0*)?"),
    "UI": re.compile(r"[0-9.]{0,64}"),
}
_NUMBERS = frozenset(("US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"))
_SHORT = 26
"""Characters of a date and time with its zone."""


def fits(element: DataElement) -> bool:
    """Whether a decoded element is what its representation, and its number of values, say."""
    vr, value = str(element.VR), element.value
    if vr == "SQ" or value is None or isinstance(value, bytes):
        return True
    several = list(value) if type(value).__name__ == "MultiValue" or isinstance(value, list) else [value]
    if vr in _NUMBERS:
        return _as_many_as_told(int(element.tag), len(several))
    texts = [str(getattr(one, "original_string", one)).strip(" \0") for one in several]
    if vr in _FORMS:
        return all(_FORMS[vr].fullmatch(text) for text in texts)
    return not any(_CONTROL.search(text) for text in texts)


def harmless(element: DataElement) -> bool:
    """Whether a date, a time or an age of a wrong form is too short to hide an element, and may be emptied instead."""
    text = str(element.value)
    return str(element.VR) in ("AS", "DA", "DT", "TM") and len(text) <= _SHORT and not _CONTROL.search(text)


def strange(element: DataElement) -> bool:
    """Whether a text stands where the dictionary has no text, or a name where it has no name."""
    tag, vr = int(element.tag), str(element.VR)
    if vr not in TEXTS or not dictionary_has_tag(tag):
        return False
    told = dictionary_VR(tag)
    return told not in TEXTS | {"CS", "UN"} or (vr == "PN" and told != "PN")


def _as_many_as_told(tag: int, number: int) -> bool:
    told = dictionary_VM(tag) if dictionary_has_tag(tag) else "1-n"
    return not told.isdigit() or number <= int(told)
