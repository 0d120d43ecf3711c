"""How much of the vessels is left at the resolution that the plan chose, and at half of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxgraft.plugin import Run, read_case

from .options import WidthOptions


class VesselWidths:
    """Draws each training mask at the plan's spacing and at twice that, and compares what comes back with itself.

    The F1 of such a mask is a ceiling: a network that sees no finer than that draws no better. Vessels thinner than a
    pixel are what is lost.
    """

    def __init__(self, options: WidthOptions) -> None:
        self._options = options

    def outputs(self, run: Run) -> Sequence[Path]:
        """`vessel_widths.json`."""
        return [run.folder / "vessel_widths.json"]

    def do(self, run: Run) -> None:
        """Measure the training cases.

        Raises:
            DataError: A case cannot be read.
        """
        rows = [row for case in run.dataset.cases if case.id in run.split.train for row in _rows(run, case)]
        planned, half = (_means([row[grid] for row in rows]) for grid in ("planned", "half"))
        run.write("vessel_widths.json", {"planned": planned, "half": half, "masks": len(rows)})
        if rows:
            self._tell(run, planned, half)

    def _tell(self, run: Run, planned: Mapping[str, float], half: Mapping[str, float]) -> None:
        """What is lost at half resolution; a remark where that, or the plan's own, is below the ceiling."""
        run.progress.say(
            f"vessel-widths: at half the plan's resolution {half['thin']:.0%} of the structures' pixels are thinner "
            f"than a pixel, and perfect masks would have an F1 of {half['f1']:.3f}"
        )
        if planned["f1"] < self._options.ceiling:
            run.remarks.append(
                f"data.spacing is too coarse: {planned['thin']:.0%} of the structures' pixels are thinner than a pixel "
                f"there, and perfect masks would have an F1 of {planned['f1']:.3f}"
            )
        elif half["f1"] < self._options.ceiling:
            run.remarks.append(
                "keep full resolution: with an encoder or a decoder whose finest map is at half resolution no F1 above "
                f"{half['f1']:.3f} is to be expected"
            )


def ceiling(mask: NDArray[np.bool_], counted: NDArray[np.bool_], factors: Sequence[float]) -> dict[str, float]:
    """What is left of a mask (i, j) on a grid that is so many times coarser.

    Args:
        mask: The structure.
        counted: Where pixels count.
        factors: By how much the grid is coarser along each axis; 1 and less leave the axis as it is.

    Returns:
        `f1` of the mask that comes back, each coarse pixel set where more than half of it was; and `thin`, the share of
        the structure's pixels that no block of one coarse pixel fits into together with.
    """
    from skimage.transform import resize, resize_local_mean

    factors = [max(1.0, factor) for factor in factors]
    coarse = [max(1, round(n / factor)) for n, factor in zip(mask.shape, factors, strict=True)]
    drawn = mask
    if coarse != list(mask.shape):
        shares = resize_local_mean(mask.astype(np.float32), coarse)
        drawn = resize(shares, mask.shape, order=1) > 0.5
    block = np.ones([round(factor) for factor in factors], np.bool_)
    thick = ndimage.binary_opening(mask, block)
    both, either = int((drawn & mask & counted).sum()), int((drawn & counted).sum() + (mask & counted).sum())
    pixels = int((mask & counted).sum())
    return {
        "f1": 2 * both / either if either else float("nan"),
        "thin": int((mask & ~thick & counted).sum()) / pixels if pixels else float("nan"),
    }


def _rows(run: Run, case: Any) -> Iterator[dict[str, dict[str, float]]]:
    """What is left of the structures in the mask of a photograph; nothing of an empty one."""
    if case.label is None:
        return
    labels = run.dataset.labels
    image, mask = read_case(case, run.catalogue, labels)
    assert mask is not None
    counted = np.ones(mask.shape, np.bool_) if labels is None else mask.array != labels.ignored
    structures = (mask.array > 0) & counted
    if mask.dims != 2 or not structures.any():
        return
    steps = [planned / own for planned, own in zip(run.plan.spacing, image.spacing, strict=True)]
    yield {
        "planned": ceiling(structures, counted, steps),
        "half": ceiling(structures, counted, [2 * max(1.0, step) for step in steps]),
    }


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in ("f1", "thin")} if rows else {}
