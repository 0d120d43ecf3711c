"""Probes of an encoder's stages: how well do its maps, as they are, tell the structures apart?

A ridge regression from the features of balanced voxels to their classes is fitted on all volumes but one and scored on
that one, in turn. A random network is a strong null (its first maps are edge filters too), so a number means something
only beside those of random initialisations of the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..preprocessing.plan import Plan
from ..preprocessing.prepare import Prepared
from ..training.validation import validation_block

VOXELS = 200
"""Of each class and volume, at most."""
SLICES = 6
RIDGE = 1.0

Views = list[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]]
"""Of one volume: image (channel, *spatial), voxels (n, axes), and their classes (n,)."""


def views_of(case: Prepared, plan: Plan, seed: int) -> Views:
    """What is looked at of a volume: a block around the structures, or some of its slices; background as often as the
    structures together.

    Args:
        case: A prepared case; one without a label gives no view.
        plan: What the network sees.
        seed: Draws the voxels.
    """
    label = case.label
    if label is None:
        return []
    rng = np.random.default_rng(seed)
    block = validation_block(case, plan)
    image, truth = np.array(case.image[(slice(None), *block)]), np.array(label[block]).astype(np.int64)
    if plan.regions:
        truth = (truth > 0).astype(np.int64)
    if plan.dims == plan.image_dims:
        return [(image, *_balanced(truth, len(plan.labels), VOXELS, rng))]
    axis = plan.slice_axis
    indices = np.unique(np.linspace(0, truth.shape[axis] - 1, SLICES).round().astype(int))
    each = max(8, VOXELS // len(indices))
    return [
        (image.take(n, 1 + axis), *_balanced(truth.take(n, axis), len(plan.labels), each, rng))
        for n in indices.tolist()
    ]


def stage_features(
    encoder: nn.Module, volumes: Sequence[Views], check: Callable[[], None], *, settle: bool
) -> list[list[NDArray[np.float32]]]:
    """The features of each stage (stage -> volume -> (voxel, channel)).

    Args:
        settle: Estimate the running means of a random network anew, so that it isn't judged by its empty ones.
        check: Raises when time is up.
    """
    with torch.no_grad():
        if settle:
            encoder.train()
            for views in volumes:
                for image, _, _ in views:
                    check()
                    encoder(torch.from_numpy(np.ascontiguousarray(image))[None])
        encoder.eval()
        features: list[list[list[NDArray[np.float32]]]] = []
        for number, views in enumerate(volumes):
            for image, voxels, _ in views:
                check()
                maps = encoder(torch.from_numpy(np.ascontiguousarray(image))[None])
                features = features or [[[] for _ in volumes] for _ in maps]
                for stage, stage_map in enumerate(maps):
                    features[stage][number].append(_at(stage_map[0], voxels, image.shape[1:]))
    return [[np.concatenate(parts) for parts in stage] for stage in features]


def probe_dice(features: Sequence[NDArray[np.float32]], classes: Sequence[NDArray[np.int64]]) -> list[float]:
    """The mean Dice of the structures in each volume, by a ridge regression fitted on the others."""
    number = 1 + max(int(labels.max(initial=0)) for labels in classes)
    scores = []
    for out in range(len(features)):
        x = np.concatenate([part for index, part in enumerate(features) if index != out]).astype(np.float64)
        y = np.concatenate([part for index, part in enumerate(classes) if index != out])
        mean, scale = x.mean(0), x.std(0) + 1e-6
        x = np.concatenate([(x - mean) / scale, np.ones((len(x), 1))], 1)
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ np.eye(number)[y])
        z = np.concatenate([(features[out] - mean) / scale, np.ones((len(features[out]), 1))], 1)
        guess, truth = (z @ weights).argmax(1), classes[out]
        each = [_dice(guess == c, truth == c) for c in range(1, number) if (truth == c).any()]
        scores.append(float(np.mean(each)) if each else float("nan"))
    return scores


def _dice(predicted: NDArray[Any], truth: NDArray[Any]) -> float:
    return 2.0 * float((predicted & truth).sum()) / float(predicted.sum() + truth.sum())


def _balanced(
    truth: NDArray[np.int64], structures: int, most: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    voxels, classes = [], []
    counts = {c: int((truth == c).sum()) for c in range(1, structures + 1)}
    draws = {c: min(most, n) for c, n in counts.items()}
    draws[0] = min(most, max(8, sum(draws.values())))
    for c, n in draws.items():
        candidates = np.flatnonzero(truth == c)
        chosen = rng.choice(candidates, min(n, len(candidates)), replace=False) if len(candidates) else candidates
        voxels.append(np.stack(np.unravel_index(chosen, truth.shape), 1))
        classes.append(np.full(len(chosen), c))
    return np.concatenate(voxels).astype(np.int64), np.concatenate(classes).astype(np.int64)


def _at(features: torch.Tensor, voxels: NDArray[np.int64], shape: Sequence[int]) -> NDArray[np.float32]:
    """The features (channel, *coarse) of the positions that hold these voxels."""
    index = tuple(
        np.minimum(((voxels[:, axis] + 0.5) * features.shape[1 + axis] / n).astype(int), features.shape[1 + axis] - 1)
        for axis, n in enumerate(shape)
    )
    points: NDArray[np.float32] = features.numpy()[(slice(None), *index)].T
    return points
