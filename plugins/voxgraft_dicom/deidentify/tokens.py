"""What identifies the patient of a source file, and the search for it in the file that is to be delivered."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from . import rules
from .form import TEXTS

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    from .options import Options


_BYTES = frozenset(["OB", "OW", "UN", "OL", "OD", "OF", "OV"])
_PIXELS = frozenset((0x7FE00010, 0x7FE00008, 0x7FE00009))
_OWN = rules.tags(("DeidentificationMethod", "PatientIdentityRemoved", "LongitudinalTemporalInformationModified"))
_IDS = rules.tags(("PatientID", "OtherPatientIDs"))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What must not be found.

    Attributes:
        words: Looked for as whole words, in texts and codes; of letters and figures, in lower case, one space between.
        parts: Looked for within words too, in texts; five letters at least.
        runs: Looked for with all spaces and punctuation taken out; six letters or figures at least.
        values: Patient ids of up to three figures, which mean something only where they are a whole value.
        uids: The UIDs of the source that name one thing.
        raw: Looked for in the bytes of the pixel data, where an encoder may have left a comment.
        names: The parts of all names; no cleaned description may hold one, be it a word that descriptions are made of.
    """

    words: frozenset[str]
    parts: frozenset[str]
    runs: frozenset[str]
    values: frozenset[str]
    uids: frozenset[str]
    raw: frozenset[bytes]
    names: frozenset[str]


def identifying(source: Dataset, options: Options) -> Tokens:
    """Everything in a file that says whose it is: names, numbers, places, dates of birth, UIDs."""
    texts: set[str] = set()
    names: set[str] = set()
    ids: set[str] = set()
    uids: set[str] = set()
    kept = rules.kept(options.retain)
    for element in elements(source, forgiving=True):
        tag = int(element.tag)
        if element.VR == "PN":
            for value in _values(element):
                names |= _name(str(value))
        elif tag in rules.IDENTIFYING and tag not in kept:
            for value in _values(element):
                ids |= {str(value)} if tag in _IDS else set()
                texts |= {str(value), *(part for part in re.split(r"[,;\n]", str(value)) if len(part.strip()) > 4)}
        elif tag in rules.BIRTH and element.VR == "DA":
            for value in _values(element):
                texts |= _birth(str(value))
        elif element.VR in ("DA", "DT") and options.dates != "keep":
            texts |= {found[0] for value in _values(element) if (found := re.match(r"\d{8}", str(value)))}
        elif element.VR == "UI" and not element.tag.is_private and tag not in rules.CLASSES:
            uids |= {str(value) for value in _values(element) if not well_known(str(value))}
    return _tokens(texts | names, frozenset(map(normal, ids)), frozenset(uids), frozenset(map(normal, names)))


def found(tokens: Tokens, result: Dataset, pseudonym: str) -> str | None:
    """The attribute of a file in which something identifying still stands, or None.

    Args:
        tokens: Texts that identify, taken from the original.
        result: The file as it would be written.
        pseudonym: What stands for the patient, and is not a finding.
    """
    for element in elements(result):
        tag = int(element.tag)
        if tag in _OWN or element.VR in ("DA", "DT", "TM", "AS", "SQ"):
            continue
        if tag in _PIXELS:
            lower = element.value.lower() if tag == 0x7FE00010 and tokens.raw else b""
            hit = any(text in lower for text in tokens.raw)
        elif element.VR in _BYTES and isinstance(element.value, bytes):
            hit = _in_bytes(tokens, element.value)
        else:
            texts = (str(value) for value in _values(element))
            hit = any(text != pseudonym and _hit(tokens, str(element.VR), text) for text in texts)
        if hit:
            return rules.keyword(tag)
    return None


def elements(dataset: Dataset, *, forgiving: bool = False) -> Iterator[DataElement]:
    """The elements of a data set and of all its sequences, with the values decoded.

    Args:
        forgiving: Pass over values that cannot be decoded.
    """
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:
            if not forgiving:
                raise
            continue
        yield element
        if element.VR == "SQ":
            for item in element.value or ():
                yield from elements(item, forgiving=forgiving)


def well_known(uid: str) -> bool:
    """Whether a UID stands in the standard, and so names no one's thing."""
    from pydicom.uid import UID_dictionary

    return not uid.strip() or uid in UID_dictionary


def normal(text: str) -> str:
    """Letters and figures in lower case, without accents, one space where there was anything else."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    plain = re.sub(r"[\W_]+", " ", plain)
    return re.sub(r"(?<=[^\W\d])(?=\d)|(?<=\d)(?=[^\W\d])", " ", plain).strip()


def _values(element: DataElement) -> Iterable[Any]:
    value = element.value
    if value is None or value == "":
        return ()
    return value if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else (value,)


def _name(text: str) -> set[str]:
    """A person's name, whole and in each of its parts (PS3.5, 6.2.1)."""
    parts = {part for part in re.split(r"[\^=\s,.]+", text) if normal(part) not in rules.NOBODY}
    groups = {" ".join(group.split("^")[:2][::step]) for group in text.split("=") for step in (1, -1)}
    return parts | {group for group in groups if " " in group.strip()}


def _birth(text: str) -> set[str]:
    digits = re.sub(r"\D", "", text)
    if len(digits) != 8:
        return set()
    year, month, day = digits[:4], digits[4:6], digits[6:]
    return {digits, f"{year} {month} {day}", f"{day} {month} {year}", f"{month} {day} {year}", f"{day}{month}{year}"}


def _tokens(texts: set[str], ids: frozenset[str], uids: frozenset[str], names: frozenset[str]) -> Tokens:
    normals = {normal(text) for text in texts} - {""} - rules.NOBODY
    normals = {text for text in normals if not _of_the_trade(text)}
    short = {text for text in normals if text.isdigit() and len(text) < 4}
    words = normals - short - {text for text in normals if len(text) < 2 and text.isascii()}
    runs = {run for text in words if len(run := text.replace(" ", "")) > 5 and not run.isdigit()}
    raw = {text.strip().casefold().encode() for text in texts if text.isascii() and len(text.strip()) > 5}
    return Tokens(
        words=frozenset(words),
        parts=frozenset(text for text in words if (len(text) > 4 and not text.isdigit()) or not text.isascii()),
        runs=frozenset(runs),
        values=frozenset(short & ids),
        uids=uids,
        raw=frozenset(text for text in raw if normal(text.decode()) in words),
        names=names,
    )


def _of_the_trade(text: str) -> bool:
    """Whether every word is one that stands in descriptions anyway, such as the name Head."""
    return all(word in vocabulary() for word in text.split())


def _hit(tokens: Tokens, vr: str, value: str) -> bool:
    if vr == "UI":
        return value in tokens.uids
    text = normal(value)
    if vr not in TEXTS and vr != "CS":  # numbers: an identifier is a whole value, not a part of a measure
        return len(text) > 4 and text in tokens.words
    if vr == "CS" and len(text) < 3:
        return False
    if text in tokens.values or any(f" {word} " in f" {text} " for word in tokens.words):
        return True
    if vr == "CS":
        return False
    run = text.replace(" ", "")
    return (
        any(part in text for part in tokens.parts)
        or any(one in run for one in tokens.runs)
        or any(uid in value for uid in tokens.uids)
    )


def _in_bytes(tokens: Tokens, data: bytes) -> bool:
    """Bytes of unknown meaning, as text in the usual encodings; words of less than four letters may be chance."""
    for text in (data.replace(b"\0", b"").decode("latin-1"), data.decode("utf-8", "ignore")):
        plain = normal(text)
        if any(len(word) > 3 and f" {word} " in f" {plain} " for word in tokens.words):
            return True
        if any(part in plain for part in tokens.parts) or any(uid in text for uid in tokens.uids):
            return True
    return False


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
    kept = [
        word
        for word in _WORD.findall(text)
        if (word.lower() in vocabulary() or _NUMBER.fullmatch(word.lower())) and word.lower() not in forbidden
    ]
    return " ".join(kept)
