"""From the names of structures in objects to the labels of the data set, and the coded terms that objects give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from voxgraft.plugin import DataError, Item, Label, Labels

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving
from .pick import fits_one

Code = tuple[str, str, str]
SHOWN = 20
"""Names that a note tells, at most."""


class Terms:
    """The names of the structures of a data set.

    Args:
        rules: The labels in the order of their values, and patterns of the names that stand for each.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]] | None) -> None:
        self._rules = rules
        self._used: dict[str, set[str]] = {}
        self._left: Counter[str] = Counter()
        self._codes: dict[str, set[Code]] = {}
        self._coded: set[str] = set()

    def pairs(self, item: Item) -> tuple[tuple[str, str], ...]:
        """For each structure of an object that is a label: its name there, and the label's.

        Raises:
            DataError: A name fits two labels.
        """
        found = []
        for name in dict.fromkeys(str(one) for one in item.facts.get("names") or ()):
            label = self._label(name)
            if label is None:
                self._left[name] += 1
            else:
                self._used.setdefault(label, set()).add(name)
                found.append((name, label))
        if item.modality == "SEG" and any(name not in self._coded for name, _ in found):
            codes = _codes(item)
            for name, label in found:
                self._coded.add(name)
                if name in codes:
                    self._codes.setdefault(label, set()).add(codes[name])
        return tuple(found)

    def labels(self) -> Labels | None:
        """In the order of the rules, else of the alphabet, with values from 1; None where no structure was found."""
        names = sorted(self._used, key=lambda name: (name.casefold(), name)) if self._rules is None else self._rules
        values = Labels.of({name: value for value, name in enumerate(names, 1)})
        known = {name: codes for name, codes in self._codes.items() if len(codes) == 1}
        items = (Label(one.value, one.name, next(iter(known.get(one.name, {None})))) for one in values.items)
        return Labels(tuple(items)) if values.items else None

    def notes(self) -> list[str]:
        """The names that are not a label, and labels whose names are suspiciously alike."""
        notes = []
        if self._left:
            shown = ", ".join(f"{name!r} ({times})" for name, times in self._left.most_common(SHOWN))
            more = f", and {len(self._left) - SHOWN} more names" if len(self._left) > SHOWN else ""
            notes.append(f"structures that fit no label and are left out: {shown}{more}")
        alike = Counter(" ".join(name.casefold().split()) for name in self._used)
        double = sorted(name for name in self._used if alike[" ".join(name.casefold().split())] > 1)
        if double:
            shown = ", ".join(map(repr, double[:6]))
            notes.append(f"labels that differ only in letter case or blanks: {shown}; labels.names can join them")
        return notes

    def _label(self, name: str) -> str | None:
        if self._rules is None:
            return name
        own = [label for label in self._rules if label.strip().casefold() == name.strip().casefold()]
        fitting = own or [label for label, patterns in self._rules.items() if fits_one(name, patterns)]
        if len(fitting) > 1:
            raise DataError(
                f"data.layout.labels.names: the structure {name!r} fits {' and '.join(map(repr, fitting))}; "
                "make the patterns narrower"
            )
        return fitting[0] if fitting else None


def _codes(item: Item) -> dict[str, Code]:
    """The coded term of each segment; of an object that cannot be read none: whoever reads its voxels will say so."""
    found: dict[str, Code] = {}
    try:
        with forgiving():
            dataset = read_dicom(item.path, pixels=False, specific_tags=["SegmentSequence"])
            for segment in dataset.get("SegmentSequence") or ():
                term = (segment.get("SegmentedPropertyTypeCodeSequence") or [{}])[0]
                code = [str(term.get(name) or "") for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")]
                if all(code):
                    found.setdefault(str(segment.get("SegmentLabel") or "").strip(), (code[0], code[1], code[2]))
    except Exception:  # pydicom fails in many ways on a damaged file
        return {}
    return found
