"""Masks in memory compared with references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, UsageError, VoxGraftError
from ..imaging.volume import ImageRef, Volume, as_volume
from ..labels.masks import read_values
from .case import scored_structures
from .pairs import turned
from .paths import Work, choose_metrics
from .scores import Scores

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.structures import Labels

ONE = "scan"
"""The name of the case where one mask is compared with one reference."""


def evaluate_volumes(
    predictions: Any,
    references: Any,
    metrics: Sequence[str],
    catalogue: Catalogue,
    labels: Labels | None = None,
    spacing: Sequence[float] | None = None,
) -> Scores:
    """Score masks in memory. Of several cases, one that cannot be scored fails alone and is named in the result.

    Args:
        predictions: A mask (a volume, an array (i, j[, k]) or a path), a sequence of masks, or masks by case.
        references: The same; several are matched by place or by case. Of a pair of which one is an array, the array has
            the grid of the other.
        metrics: Names, with options behind colons: `nsd:tolerance=2`.
        labels: The structures; by default every value that stands in a mask is one, named by its number.
        spacing: Millimetres between voxels where both are arrays.

    Raises:
        UsageError: There is no such metric, or nothing says how large the voxels of two arrays are.
        DataError: The cases do not match; where there is one pair, also what is wrong with it.
    """
    chosen = list(choose_metrics(metrics, catalogue).values())
    if labels is not None:
        scored_structures(labels, None)
    work = Work(labels, chosen, catalogue)
    failed: dict[str, str] = {}
    cases = _cases(predictions, references)
    for case, (prediction, reference) in cases.items():
        try:
            work.measure(case, *_pair(prediction, reference, labels, catalogue, spacing))
        except VoxGraftError as error:
            if isinstance(error, UsageError) or len(cases) == 1:
                raise
            failed[case] = str(error)
    return replace(work.scores(), failed=failed)


def _cases(predictions: Any, references: Any) -> dict[str, tuple[Any, Any]]:
    """The pairs, by case."""
    sides = []
    for side in (predictions, references):
        if isinstance(side, Mapping):
            sides.append({str(case): mask for case, mask in side.items()})
        elif isinstance(side, (Volume, np.ndarray, str, Path)):
            sides.append({ONE: side})
        elif isinstance(side, Sequence):
            sides.append({str(number): mask for number, mask in enumerate(side, 1)})
        else:
            raise UsageError(
                f"{type(side).__name__}: is not a mask; give a Volume, an array, a path, or several of them"
            )
    found, wanted = sides
    if apart := sorted(found.keys() ^ wanted.keys()):
        names = ", ".join(map(repr, apart[:5]))
        raise DataError(f"predictions and references do not match: {names} is on one side only")
    if not found:
        raise DataError("there is nothing to compare")
    return {case: (found[case], wanted[case]) for case in found}


def _pair(
    prediction: Any, reference: Any, labels: Labels | None, catalogue: Catalogue, spacing: Sequence[float] | None
) -> tuple[Volume, Volume]:
    """Both masks as volumes, the prediction turned as the reference lies."""
    masks = [
        read_values(ImageRef(Path(mask)), labels, catalogue) if isinstance(mask, (str, Path)) else mask
        for mask in (prediction, reference)
    ]
    grids = [mask for mask in masks if isinstance(mask, Volume)]
    like = grids[0] if grids else None
    first, second = (as_volume(mask, spacing, like) for mask in masks)
    return turned(first, second), second
