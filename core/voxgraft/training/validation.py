"""How well a network in training does on validation cases, on the network's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..inference.array import segment_array
from ..networks.network import SegmentationNetwork
from ..preprocessing.encoding import counted_voxels, masks_of
from ..preprocessing.plan import Plan
from ..preprocessing.prepare import Prepared
from ..scoring.pair import Counts
from ..scoring.scores import mean_of


def validation_dice(
    network: SegmentationNetwork, cases: Sequence[Prepared], plan: Plan, overlap: float
) -> dict[str, float]:
    """Mean Dice of the structures over validation cases, on the network's grid: `dice`, and `dice_NAME` for each of
    several.

    Of a large scan a block around its structures is looked at, so that looks cost the same whatever the size of scans.
    A structure's Dice is over the cases that hold it, which are the same at every look; one that no case holds is left
    out, for it has no score and certainly no bad one. `dice` is the mean over the others.

    Args:
        network: Is set to evaluation.
        cases: Prepared validation cases; those without a label are skipped.
        plan: What the network sees.
        overlap: Of neighbouring windows, as a share of their size.
    """
    looks = [look for case in cases if (look := validate_case(network, case, plan, overlap)) is not None]
    means = {name: mean_of([dice_of(look[name]) for look in looks if look[name].referred]) for _, name in plan.labels}
    named = {f"dice_{name}": mean for name, mean in means.items() if np.isfinite(mean)}
    if not named:
        return {}
    return {"dice": mean_of(list(means.values())), **(named if len(means) > 1 else {})}


def validate_case(network: SegmentationNetwork, case: Prepared, plan: Plan, overlap: float) -> dict[str, Counts] | None:
    """Voxel counts of each structure in the block of a case that is looked at; None of a case without a label.

    Args:
        network: Is set to evaluation.
        case: One prepared case.
        plan: What the network sees.
        overlap: Of neighbouring windows, as a share of their size.
    """
    if case.label is None:
        return None
    network.eval()
    block = validation_block(case, plan)
    label = np.array(case.label[block])
    image = torch.from_numpy(np.array(case.image[(slice(None), *block)]))
    predicted, _ = segment_array(network, image, label.shape, plan, overlap=overlap)
    inside = counted_voxels(label, plan)
    look = {}
    for index, (_, name) in enumerate(plan.labels, start=1):
        mask, truth = masks_of(predicted, index, plan), masks_of(label, index, plan)
        if inside is not None:
            mask, truth = mask & inside, truth & inside
        both = int((mask & truth).sum())
        fp, fn = int(mask.sum()) - both, int(truth.sum()) - both
        look[name] = Counts(both, fp, fn, label.size - both - fp - fn)
    return look


def dice_of(counts: Counts) -> float:
    """NaN where neither mask holds the structure."""
    both = counts.predicted + counts.referred
    return 2.0 * counts.tp / both if both else float("nan")


def validation_block(case: Prepared, plan: Plan) -> tuple[slice, ...]:
    """At most two patches along each axis (16 slices, for a network of slices), around the middle of the structures."""
    size = [2 * n for n in plan.patch]
    if plan.dims != plan.image_dims:
        size.insert(plan.slice_axis, 16)
    middle = np.median(case.places[:, 1:], axis=0) if len(case.places) else np.array(case.shape) / 2
    block = []
    for voxels, most, centre in zip(case.shape, size, middle, strict=True):
        start = int(np.clip(round(float(centre)) - most // 2, 0, max(0, voxels - most)))
        block.append(slice(start, min(voxels, start + most)))
    return tuple(block)
