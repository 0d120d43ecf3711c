"""Places in files that may tell who a patient is: only where it stands is said, never what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_UID = re.compile(r"\d+(?:\.\d+){3,}")
_SIGNS = {
    "a date": re.compile(
        r"(?<![\d.])(?:(?:19|20)\d\d([-_./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
        r"|(?:0[1-9]|[12]\d|3[01])([-_./])(?:0[1-9]|1[0-2])\2(?:19|20)\d\d)(?!\d)"
    ),
    "a person's name": re.compile(r"[^\W\d_]{2,}\^[^\W\d_]{2,}|(?:^|[/\s])[A-Z][a-z]{2,}, ?[A-Z][a-z]{2,}"),
    "a patient's number": re.compile(
        r"(?i)(?:mrn|patient_?id|pat_?id|(?<![a-z])pid)[-_ :#=]*\d{4,}|(?<![\d.])\d{7,10}(?![\d.])"
    ),
}


class Trace(NamedTuple):
    """A place where a file may tell who the patient is.

    Attributes:
        code: The code of the problem: `names-in-header`, `burned-in` or `text-in-header`.
        place: The name of the header's field, or the kind of file name.
        kind: What its text looks like; empty where that goes without saying.
    """

    code: str
    place: str
    kind: str = ""


def signs(text: str) -> Iterator[str]:
    """What a text looks like that tells of a person: a date, a name, a number; nothing for harmless ones."""
    plain = _UID.sub(" ", text)
    for kind, pattern in _SIGNS.items():
        match = pattern.search(plain)
        if match:
            yield kind
            plain = pattern.sub(" ", plain)
