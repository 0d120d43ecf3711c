"""Clean a description: only words of a fixed list stay, and numbers that cannot be an identifier."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from importlib.resources import files

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+[^\W_]*)?")
_NUMBER = re.compile(r"(?:[tlcsb])?\d{1,3}(?:[.,]\d{1,2})?(?:mm|cm|ms|kv|d)?")
"""Up to three digits: a thickness, a phase, a vertebra; longer ones may be the number of a patient or a date."""


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """The words that may stay, in lower case."""
    lines = (files(__package__) / "words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def cleaned(text: str, forbidden: Collection[str] = ()) -> str:
    """A text with the words of the list only; those of `forbidden` (lower case) are dropped all the same."""
    kept = [word for word in _WORD.findall(text) if _may_stay(word.lower()) and word.lower() not in forbidden]
    return " ".join(kept)


def _may_stay(word: str) -> bool:
    return word in vocabulary() or _NUMBER.fullmatch(word) is not None
