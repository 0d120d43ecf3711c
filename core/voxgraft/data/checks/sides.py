"""Left and right: do structures that are named after a side lie on it. A mirrored image looks sound in all else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..cases import Dataset, Labels
from .problem import CaseProblem

if TYPE_CHECKING:
    from .look import Look

CLEAR = 3.0
"""Millimetres by which a left structure must lie to the right of its fellow to be called swapped."""

_LEFT = re.compile(r"(?i)(?<![a-z])(left|l)(?![a-z])")
_OTHER = {"left": "right", "l": "r"}


def pairs(labels: Labels | None) -> list[tuple[int, int]]:
    """The values of the structures that are named alike but for their side, the left one first."""
    values = {label.name.casefold(): label.value for label in labels.items} if labels is not None else {}
    found = []
    for name, value in values.items():
        fellow = _LEFT.sub(lambda side: _OTHER[side[1].lower()], name)
        if fellow != name and fellow in values:
            found.append((value, values[fellow]))
    return found


def judge_sides(dataset: Dataset, looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Scans in which structures of the left lie to the right of their fellows, by the header's geometry."""
    names = {label.value: label.name for label in dataset.labels.items} if dataset.labels else {}
    both = pairs(dataset.labels)
    for look in looks:
        if look.mask is None or len(look.shape) != 3:
            continue
        found = look.mask.structures
        swapped, straight = [], 0
        for left, right in both:
            places = [found[value].across for value in (left, right) if value in found]
            if len(places) < 2 or places[0] is None or places[1] is None:
                continue
            beyond = (places[0] - places[1]) * look.spacing[0]  # the first axis grows to the patient's right
            straight += beyond < -CLEAR
            if beyond > CLEAR:
                swapped.append(f"{names[left]!r} lies {beyond:.3g} mm to the right of {names[right]!r}")
        if swapped:
            more = f" (so do {len(swapped) - 1} more pairs, {straight} lie as named)" if len(both) > 1 else ""
            yield CaseProblem(
                "sides-swapped", "warning", look.case.id, f"{swapped[0]}{more}: names or header are wrong"
            )
