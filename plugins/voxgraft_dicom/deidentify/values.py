"""New values for old ones: dummies that fit a value representation (PS3.5, 6.2), shifted dates, capped ages."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

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
    """A date (DA) or a date with a time (DT), some days later; what is no date becomes empty.

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
