"""Dates and times of DICOM, each with its zone where the header gives it (PS3.5, 6.2; PS3.3, C.12.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

ZONE = re.compile(r"([+-])(\d{2}):?(\d{2})$")
TIME = re.compile(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by a clock.

    Attributes:
        clock: What the clock showed.
        zone: How far it is ahead of universal time; None where nobody says.
    """

    clock: datetime
    zone: timedelta | None

    def since(self, other: Moment) -> timedelta | None:
        """The time that has passed since another moment; None where the zone of one alone is known."""
        if (self.zone is None) != (other.zone is None):
            return None
        ahead = (self.zone or timedelta(0)) - (other.zone or timedelta(0))
        return self.clock - other.clock - ahead

    def plus(self, days: int) -> Moment:
        return Moment(self.clock + timedelta(days=days), self.zone)


def zone_of(text: str) -> timedelta | None:
    """A suffix such as `+0100`, as TimezoneOffsetFromUTC and the ends of date-times give it; None for none."""
    match = ZONE.search(text.strip())
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return offset if match[1] == "+" else -offset


def moment(date: str, time: str, zone: timedelta | None) -> Moment | None:
    """A date (`YYYYMMDD`) and a time (`HHMM[SS[.ffffff]]`); None where they are none.

    Args:
        zone: That of the header, for a time without a suffix of its own.
    """
    own = zone_of(time)
    match = TIME.fullmatch(ZONE.sub("", time.strip()).replace(":", ""))
    if match is None or match[2] is None:
        return None
    parts = f"{match[1]}{match[2]}{match[3] or '00'}.{(match[4] or '0'):0<6}"
    try:
        clock = datetime.strptime(f"{date.strip().replace('.', '')}{parts}", "%Y%m%d%H%M%S.%f")
    except ValueError:
        return None
    return Moment(clock, own if own is not None else zone)


def whole_moment(text: str, zone: timedelta | None) -> Moment | None:
    """A date-time (`YYYYMMDDHHMM[SS[.ffffff]][+ZZZZ]`); None where it is none, or a date alone."""
    text = text.strip(" \0")
    return moment(text[:8], text[8:], zone)
