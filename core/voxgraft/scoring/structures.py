"""What is scored: single structures, and regions that are made of several (the whole tumour, the whole kidney)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError

if TYPE_CHECKING:
    from ..imaging.structures import Labels

MEAN = "mean"
"""The name under which the average over a case's defined structures stands beside them."""

Regions = Mapping[str, Sequence[int]]
"""NAME -> the values of the structures that a region is made of."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A name, and the values of its voxels in a label map; in masks with channels its channel is its place."""

    name: str
    values: tuple[int, ...]


def structures_of(labels: Labels, regions: Regions | None = None) -> tuple[Structure, ...]:
    """The structures of `labels`, then the regions.

    Raises:
        DataError: There is none, a name stands twice or is kept for their mean, or a region has a value that no
            structure has.
    """
    if not labels.items:
        raise DataError("there is no structure to score: the masks hold background only, or no structure is named")
    structures = [Structure(label.name, (label.value,)) for label in labels.items]
    for name, values in (regions or {}).items():
        strange = sorted(set(values) - set(labels.values))
        if strange or not values:
            what = f"the value {strange[0]}, which no structure has" if strange else "no value"
            raise DataError(f"the region {name!r} is made of {what}; structures have {_some(labels.values)}")
        structures.append(Structure(name, tuple(sorted(set(values)))))
    names = [structure.name for structure in structures]
    for name in names:
        if name == MEAN:
            raise DataError(f"a structure is called {MEAN!r}, which is kept for the mean over structures; rename it")
        if names.count(name) > 1:
            raise DataError(f"two structures are called {name!r}; rename one")
    return tuple(structures)


def read_regions(text: str, labels: Labels | None = None) -> dict[str, tuple[int, ...]]:
    """The regions that a text such as `whole=1+2+3,core=2+3` names; parts are values, or names of structures.

    Raises:
        UsageError: It does not have this form, or a part is neither.
    """
    names = {label.name: label.value for label in labels.items} if labels else {}
    regions: dict[str, tuple[int, ...]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not values:
            raise UsageError(f"--regions {text}: expected name=1+2, not {part!r}")
        if name in regions:
            raise UsageError(f"--regions {text}: two regions are called {name!r}")
        regions[name] = tuple(_value(value.strip(), names, text) for value in values.split("+"))
    if not regions:
        raise UsageError("--regions: no region is named; expected name=1+2,other=2+3")
    return regions


def _value(text: str, names: Mapping[str, int], whole: str) -> int:
    if text in names:
        return names[text]
    if text.isascii() and text.isdigit() and 0 < int(text) <= 65535:
        return int(text)
    raise UsageError(f"--regions {whole}: {text!r} is neither a structure's name nor a value from 1 to 65535")


def _some(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
