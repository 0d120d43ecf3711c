"""Values of masks: do they have names, does every name have values, and how do unknown ones come about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.cases import Dataset
from ..errors import DataError
from ..imaging.structures import Labels, check_alike
from ..imaging.volume import Array
from ..labels.label_map import fix_for
from ..support.texts import listed
from .problem import CaseProblem, Severity

if TYPE_CHECKING:
    from .record import Look

MANY = 12
"""So many values without a name come from interpolation or lossy compression, not from structures."""

USUAL = 0.9
"""The share of masks that hold a structure, from which on its absence is worth a look."""


def why_not_whole(array: Array) -> str:
    """How a mask came by its fractions, for a message; empty where there is nothing to tell."""
    if array.dtype.kind != "f":
        return ""
    finite = array[np.isfinite(array)]
    broken = finite[np.abs(finite - np.rint(finite)) > 1e-3]
    if not broken.size:
        return ""
    share = f" ({broken.size / array.size:.2g} of its voxels, such as {broken[0]:.4g})"
    if finite.min() >= 0 and finite.max() <= 1:
        return f"{share}: it holds probabilities, or was resampled with interpolation"
    return f"{share}: it was resampled with interpolation"


def unknown_message(array: Array, values: Sequence[int], unknown: Sequence[int], labels: Labels) -> str:
    """The sentence about values that nothing stands for.

    Args:
        values: All that it holds.
        unknown: Those that no name stands for.
    """
    start = f"the label holds {listed(map(str, unknown), 10)}, which have no name"
    if len(unknown) > MANY:
        return f"{start}; so many values come from lossy compression or interpolation of a mask: export it again"
    between = _seam(array, unknown, labels)
    if between:
        return f"{start}; they cover only {between:.2g} of what is marked, between known values, as after interpolation"
    return f"{start}; {fix_for(values, labels)}"


def _seam(array: Array, unknown: Sequence[int], labels: Labels) -> float:
    """The share of the unknown values in the marked voxels, where they are few and lie between known ones."""
    known = labels.values
    if not known or max(unknown) > max(known) or max(known) < 2:
        return 0.0
    marked, strange = int(np.count_nonzero(array)), int(np.isin(array, unknown).sum())
    return strange / marked if strange < 0.2 * marked else 0.0


def judge_values(dataset: Dataset, looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Structures that nobody drew, or that single masks lack; voxels that are left out."""
    masks = [(look, look.mask) for look in looks if look.mask is not None]
    present = {value for _, mask in masks for value in mask.structures}
    if masks and not present and not any(mask.covered for _, mask in masks):
        yield CaseProblem("no-foreground", "error", None, "every label is empty: there is nothing to learn")
    try:
        check_alike((look.case.id, mask.palette) for look, mask in masks)
    except DataError as error:
        yield CaseProblem("palettes-differ", "error", None, str(error))
    labels = dataset.labels
    if labels is None or not masks:
        return
    for label in labels.items:
        if label.value not in present:
            message = f"the structure {label.name!r} (value {label.value}) is in no label"
            yield CaseProblem("absent-label", "warning", None, message)
    for region in labels.regions:
        if not present & set(region.members):
            message = f"no label holds any part of the region {region.name!r}"
            yield CaseProblem("absent-region", "warning", None, message)
    yield from _lacking(labels, looks)
    ignored = sum(mask.ignored for _, mask in masks) / max(1, sum(mask.size for _, mask in masks))
    if ignored:
        severity: Severity = "warning" if ignored > 0.5 else "note"
        cases = sum(mask.ignored > 0 for _, mask in masks)
        message = f"{ignored:.3g} of all voxels of the masks, in {cases} of {len(masks)}, are marked as not counted"
        yield CaseProblem("ignored-label", severity, None, message)


def _lacking(labels: Labels, looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Masks without a structure that nearly all others hold."""
    masks = [(look, look.mask.structures) for look in looks if look.mask is not None and look.mask.structures]
    usual = [
        label
        for label in labels.items
        if USUAL * len(masks) <= sum(label.value in structures for _, structures in masks) < len(masks)
    ]
    for look, structures in masks:
        lacking = [label.name for label in usual if label.value not in structures]
        if lacking:
            names = ", ".join(map(repr, lacking))
            message = f"the label has no {names}, which at least {USUAL:.0%} of the {len(masks)} masks have"
            yield CaseProblem("missing-structure", "warning", look.case.id, message)
