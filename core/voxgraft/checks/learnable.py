"""Can every structure be learnt and judged: what the parts of a split hold, and what is left of it for the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..datasets.cases import Split
from ..imaging.structures import Labels
from .problem import CaseProblem, millimetres


@dataclass(frozen=True, slots=True)
class Marked:
    """What the mask of a case marks.

    Attributes:
        voxels: Voxels of each structure by its value.
        spacing: Millimetres along each axis of the image.
    """

    voxels: Mapping[int, int]
    spacing: tuple[float, ...]


def judge_learnable(
    labels: Labels | None, cases: Mapping[str, Marked], split: Split, spacing: Sequence[float] | None = None
) -> Iterator[CaseProblem]:
    """One case alone to train on, structures in one part of the split alone, and those that the network never sees.

    Args:
        cases: The masks that could be read, by case.
        spacing: Millimetres between the voxels that the network sees; by default the median of the training cases.
    """
    parts = {
        name: [cases[case] for case in ids if case in cases]
        for name, ids in (("training", split.train), ("validation", split.validation))
    }
    if len(split.train) == 1:
        yield CaseProblem("one-training-case", "warning", None, f"{split.train[0]} is the only case to train on")
    held = {name: Counter(value for case in part for value in case.voxels) for name, part in parts.items()}
    lost = _lost(parts["training"], spacing)
    for label in labels.items if labels is not None else ():
        seen = [name for name, present in held.items() if present[label.value]]
        if len(seen) == 1 and all(parts.values()):
            where, lacking = ("learnt", "training") if seen == ["validation"] else ("judged", "validation")
            message = f"the structure {label.name!r} is in no {lacking} case of this fold, and cannot be {where}"
            yield CaseProblem("one-sided-structure", "warning", None, message)
        if label.value in lost:
            message = (
                f"the structure {label.name!r} is smaller in every training case than a voxel that the network sees "
                f"({millimetres(lost[label.value])} mm): no patch will hold it"
            )
            yield CaseProblem("lost-structure", "warning", None, message)


def _lost(cases: Sequence[Marked], spacing: Sequence[float] | None) -> dict[int, Sequence[float]]:
    """Structures that are smaller than one voxel of the network in every case that has them, with its spacing."""
    if not cases:
        return {}
    dims = min(len(case.spacing) for case in cases)
    given = tuple(spacing or ())
    seen = given if len(given) == dims else tuple(np.median([case.spacing[:dims] for case in cases], axis=0).tolist())
    largest: dict[int, float] = {}
    for case in cases:
        for value, voxels in case.voxels.items():
            size = voxels * float(np.prod(case.spacing[:dims]))
            largest[value] = max(largest.get(value, 0.0), size)
    return {value: seen for value, size in largest.items() if 0 < size < float(np.prod(seen))}


def empty_masks(cases: Mapping[str, Marked]) -> list[str]:
    """The cases whose mask marks no structure."""
    return [name for name, case in cases.items() if not any(case.voxels.values())]
