"""Coded terms of common structures (SNOMED CT as DICOM lists it, PS3.16), found by the names that people give them."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from voxgraft.plugin import Label

Code = tuple[str, str, str]
"""Value, scheme and meaning."""

PRIVATE = "99VOXGRAFT"
"""The coding scheme of structures that no term is known for; the meaning of a code is the name."""

STRUCTURE: Code = ("91723000", "SCT", "Anatomical Structure")
TISSUE: Code = ("85756007", "SCT", "Tissue")
ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
SUBSTANCE: Code = ("91720002", "SCT", "Body Substance")
SIDES: dict[str, Code] = {"left": ("7771000", "SCT", "Left"), "right": ("24028007", "SCT", "Right")}
_SHORT_SIDES = {"l": "left", "lt": "left", "r": "right", "rt": "right"}
_CATEGORIES = {category[2]: category for category in (STRUCTURE, TISSUE, ABNORMAL, SUBSTANCE)}


@dataclass(frozen=True, slots=True)
class Term:
    """What a segment is: its category, its type, and its side where the name tells one."""

    category: Code
    type: Code
    side: Code | None = None

    @property
    def private(self) -> bool:
        """Whether no published term is known for it."""
        return self.type[1] == PRIVATE


def term_of(label: Label) -> Term:
    """The coded term of a structure: its own code, else one found by its name, else one of the private scheme.

    Names may be written in many ways: `Left kidney`, `kidney_left`, `Kidney (L)`, `vertebrae_L5`, `tumour 2`.
    """
    words = [word for word in re.sub(r"[^a-z0-9]+", " ", label.name.lower()).split() if word not in ("the", "of")]
    sides = [_SHORT_SIDES.get(word, word) for word in words if _SHORT_SIDES.get(word, word) in SIDES]
    side = SIDES[sides[0]] if len(sides) == 1 else None
    if label.code is not None:
        category = next((known.category for known in terms().values() if known.type[:2] == label.code[:2]), STRUCTURE)
        return Term(category, label.code)
    bare = [word for word in words if word not in SIDES and word not in _SHORT_SIDES]
    counted = [word for word in bare if not word.isdecimal()]
    for name, told in ((words, None), (bare, side), (counted, side)):
        found = terms().get(" ".join(name))
        if found is not None:
            return Term(found.category, found.type, told)
    return Term(STRUCTURE, _private(label.name), side)


def _private(name: str) -> Code:
    """A code for a name: a word a person can read, and enough of a fingerprint to tell long names apart."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in name).strip()
    word = re.sub(r"[^A-Z0-9]+", "_", plain.upper()).strip("_")
    if not word or len(word) > 16:
        word = f"{word[:9]}_{hashlib.sha256(plain.encode()).hexdigest()[:6]}".strip("_").upper()
    return (word, PRIVATE, plain[:64] or "unnamed")


def _key(name: str) -> str:
    return " ".join(word for word in name.split() if word not in ("the", "of"))


@cache
def terms() -> dict[str, Term]:
    """The published terms by the names of structures, in small letters and without `the` and `of`."""
    found: dict[str, Term] = {}
    for row in csv.DictReader((files(__package__) / "terms.csv").read_text(encoding="utf-8").splitlines()):
        term = Term(_CATEGORIES[row["category"]], (row["code"], "SCT", row["meaning"]))
        found |= {_key(name): term for name in row["names"].split("; ")}
    return found
