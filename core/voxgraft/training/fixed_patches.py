"""Fixed patches: so many of each case, each with its own fixed augmentation, so that what a frozen encoder makes of
them has to be computed only once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..preprocessing.plan import Plan, outside
from ..preprocessing.prepare import Prepared
from .augment import augment
from .batches import Batches, RawBatch

MEMORY = 2 * 2**30
"""Bytes of patches that are kept; those beyond are made again each time, and are the same each time."""


class FixedCrops(Batches):
    """Patches that come again: in each round through the cases the next patch of every case.

    Args:
        crops: Patches of each case.
        spacing: Millimetres along the network's axes.
        strengths, strength: Of the augmentation, as `voxgraft.training.augment` takes them.
    """

    def __init__(
        self,
        cases: Sequence[Prepared],
        plan: Plan,
        *,
        crops: int,
        spacing: tuple[float, ...],
        strengths: Mapping[str, float],
        strength: float,
        **options: Any,
    ) -> None:
        super().__init__(cases, plan, **options)
        self._crops, self._spacing, self._strengths, self._strength = crops, spacing, strengths, strength
        self._kept: dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[Any]]] = {}
        self._bytes = 0

    def draw(self, step: int) -> RawBatch:
        """The patches of a step, augmented and as large as the network's patch."""
        keys = [(self._case(index), index // len(self.cases) % self._crops) for index in self._indices(step)]
        images, labels = zip(*(self._patch(key) for key in keys), strict=True)
        seed = int(np.random.default_rng([self.seed, step, 0]).integers(2**62))
        names = tuple(self.cases[case].case for case, _ in keys)
        return RawBatch(np.stack(images), np.stack(labels), seed, names, tuple(keys))

    def _patch(self, key: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        if key in self._kept:
            return self._kept[key]
        case, crop = key
        rng = np.random.default_rng([self.seed, 2, case, crop])
        centred = ((case * self._crops + crop) * 0.6180339887) % 1.0 < self.foreground
        block, coded = self._block(self.cases[case], self._centre(self.cases[case], rng, centred))
        image, label = augment(
            torch.from_numpy(np.ascontiguousarray(block))[None],
            torch.from_numpy(np.ascontiguousarray(coded))[None],
            self.plan.patch,
            self._spacing,
            self._strengths,
            int(rng.integers(2**62)),
            self._strength,
            outside(self.plan),
        )
        patch = image[0].numpy(), label[0].numpy().astype(coded.dtype)
        size = patch[0].nbytes + patch[1].nbytes
        if self._bytes + size <= MEMORY:
            self._kept[key] = patch
            self._bytes += size
        return patch
