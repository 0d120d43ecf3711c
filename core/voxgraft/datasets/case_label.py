"""The mask of a case, with what does not count in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DataError
from ..labels.masks import mark_ignored, read_mask
from ..labels.valid_region import read_valid_region

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.structures import Labels
    from ..imaging.volume import Volume
    from .cases import Case


def read_label(case: Case, like: Volume, labels: Labels | None, catalogue: Catalogue) -> Volume:
    """The mask of a case as `voxgraft.labels.masks.read_mask` gives it, with `labels.ignored` where the case does not
    count.

    Args:
        like: The image; the mask has its shape and order of axes.

    Raises:
        DataError: The case has no mask; see also `read_mask` and `read_valid_region`, whose message names the case.
    """
    if case.label is None:
        raise DataError(f"case {case.id!r} has no label")
    mask = read_mask(case.label, like, labels, catalogue)
    if case.valid is None or labels is None or labels.ignored is None:
        return mask
    return mask.with_array(
        mark_ignored(mask.array, read_valid_region(case.valid, like, catalogue, case.id), labels.ignored)
    )
