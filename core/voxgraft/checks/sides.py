"""Left and right: do structures that are named after a side lie on it. A mirrored image looks sound in all else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..datasets.cases import Dataset
from ..imaging.structures import Labels
from ..support.texts import listed
from .problem import CaseProblem

if TYPE_CHECKING:
    from ..workflow.workflow import Workflow
    from .record import Look

CLEAR = 3.0
"""Millimetres by which a left structure must lie to the right of its fellow to be called swapped."""

_LEFT = frozenset({"left", "l", "lt", "lh", "sin", "sinister", "sinistra", "links", "gauche", "izquierda", "izquierdo"})
_RIGHT = frozenset(
    {"right", "r", "rt", "rh", "dex", "dexter", "dextra", "rechts", "droit", "droite", "derecha", "derecho"}
)
_WORDS = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]|\d+|[^\W\d_]+")
_SHORT = re.compile(r"(?<![A-Za-z])([LR])([A-Z]{1,2})(?![A-Za-z])")

QUARTER = 90.0
"""Degrees: a structure that is turned by so much or more may come to lie where its fellow was."""


def side_of(name: str) -> tuple[str, str] | None:
    """The side that a name tells, `left` or `right`, and the rest of the name; None where it tells none, or both.

    A side is a word of its own: `left kidney`, `kidney_right`, `L.Hippocampus`, `KidneyLeft`, `ctx-lh-insula`, and not
    the L of the vertebra `L1`.
    """
    words = [(match[0].lower(), name[match.end() : match.end() + 1]) for match in _WORDS.finditer(name)]
    sides = [(word, index) for index, (word, after) in enumerate(words) if word in _LEFT | _RIGHT]
    sides = [(word, index) for word, index in sides if len(word) > 1 or not words[index][1].isdigit()]
    if len(sides) != 1:
        return None
    word, index = sides[0]
    rest = " ".join(other for number, (other, _) in enumerate(words) if number != index)
    return ("left" if word in _LEFT else "right"), f"{index} {rest}"


def pairs(labels: Labels | None) -> list[tuple[int, int]]:
    """The values of the structures that are named alike but for their side, the left one first."""
    known: dict[tuple[str, str], int] = {}
    for label in labels.items if labels is not None else ():
        if (side := side_of(label.name)) is not None:
            known.setdefault(side, label.value)
    return [
        (value, known["right", rest])
        for (side, rest), value in known.items()
        if side == "left" and ("right", rest) in known
    ]


def sided(labels: Labels | None) -> list[str]:
    """The names of structures and regions that have a side: by name, by coded term, or as `LV` beside `RV`."""
    if labels is None:
        return []
    terms = {label.name: label.code[2] if label.code else "" for label in labels.items}
    terms.update({region.name: "" for region in labels.regions})

    def is_half(name: str) -> bool:
        turned = _SHORT.sub(lambda match: ("R" if match[1] == "L" else "L") + match[2], name)
        return turned != name and turned in terms

    return [name for name, term in terms.items() if side_of(name) or side_of(term) or is_half(name)]


def judge_mirroring(labels: Labels | None, workflow: Workflow) -> Iterator[CaseProblem]:
    """Whether training mirrors, or turns over, images of structures that have a side; whether prediction may mirror."""
    strengths, strength = workflow.data.modality.build().augmentation, workflow.training.augment
    mirrors = strength > 0 and strengths.get("mirror", 0.0) > 0
    turn = strengths.get("rotation", 0.0) * strength
    names = sided(labels)
    if names and (mirrors or turn >= QUARTER):
        how = "mirrors images" if mirrors else f"turns images by up to {turn:g} degrees"
        sided_ones = f"{listed(map(repr, names))} {'has a side' if len(names) == 1 else 'have sides'}"
        message = f"training {how}, and {sided_ones}: the network cannot learn which is left or right"
        yield CaseProblem("mirrored-sides", "warning", None, message)
    if workflow.inference.mirror and not mirrors:
        message = "inference.mirror is on, but training mirrors images along no axis"
        yield CaseProblem("mirror-unused", "warning", None, f"{message}: prediction will mirror none either")


def judge_sides(dataset: Dataset, looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Scans in which structures of the left lie to the right of their fellows, by the header's geometry."""
    names = {label.value: label.name for label in dataset.labels.items} if dataset.labels else {}
    both = pairs(dataset.labels)
    for look in looks:
        if look.mask is None or len(look.shape) != 3:
            continue
        structures = look.mask.structures
        swapped, straight = [], 0
        for left, right in both:
            positions = [structures[value].across for value in (left, right) if value in structures]
            if len(positions) < 2 or positions[0] is None or positions[1] is None:
                continue
            beyond = (positions[0] - positions[1]) * look.spacing[0]  # the first axis grows to the patient's right
            straight += beyond < -CLEAR
            if beyond > CLEAR:
                swapped.append(f"{names[left]!r} lies {beyond:.3g} mm to the right of {names[right]!r}")
        if swapped:
            more = f" (so do {len(swapped) - 1} more pairs, {straight} lie as named)" if len(both) > 1 else ""
            message = f"{swapped[0]}{more}: names or header are wrong"
            yield CaseProblem("sides-swapped", "warning", look.case.id, message)
