"""The attributes that sorting, geometry and reading need: their tags, and how their values are understood."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

_ROWS = list(csv.DictReader(Path(__file__).with_name("attributes.csv").read_text(encoding="ascii").splitlines()))
"""Tag, keyword, representation where the value is not text, and how the name of a private element's maker begins."""
TAGS = {row["keyword"]: int(row["tag"], 16) for row in _ROWS}
WANTED = frozenset(TAGS.values())
NAMES = {tag: name for name, tag in TAGS.items()}
WHOLE_NUMBERS = frozenset(row["keyword"] for row in _ROWS if row["vr"] == "US")
_LETTERS = {"FD": "d", "FL": "f", "SS": "h"}
BINARY = {row["keyword"]: _LETTERS[row["vr"]] for row in _ROWS if row["vr"] in _LETTERS}
"""Attributes that are numbers in bytes, by the letters of `struct`."""
PRESENCE = frozenset(row["keyword"] for row in _ROWS if row["vr"] in ("SQ", "OF", "OD"))
"""Attributes of which only the presence counts."""
PRIVATE = {row["keyword"]: (f"Creator{row['tag'][:4]}", row["maker"]) for row in _ROWS if row["maker"]}
"""Attributes of one maker, each with the element that names its creator and how that name begins."""
CREATORS = frozenset(creator for creator, _ in PRIVATE.values())


def shown(text: str) -> str:
    """A value from a file as a message may show it: short, and on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:40])


class Attributes:
    """Attributes as text by keyword, several values parted by a backslash; blank ones are left out."""

    __slots__ = ()
    values: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.values.get(name, "")

    def parts(self, name: str) -> list[str]:
        """The values of an attribute of code strings, in capitals."""
        return self.values.get(name, "").upper().split("\\")

    def numbers(self, name: str, count: int) -> tuple[float, ...] | None:
        """The values of a numeric attribute; None where they are missing, no finite numbers, or of another count."""
        try:
            values = tuple(float(part) for part in self.values[name].split("\\"))
        except (KeyError, ValueError):
            return None
        return values if len(values) == count and all(map(math.isfinite, values)) else None

    def number(self, name: str, default: float) -> float:
        values = self.numbers(name, 1)
        return values[0] if values else default

    def whole(self, name: str, default: int = 0) -> int:
        """A whole number; -1 where something else stands there."""
        text = self.values.get(name)
        if text is None:
            return default
        return int(text) if text.isascii() and text.isdecimal() else -1
