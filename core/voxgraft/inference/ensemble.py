"""Several networks as one model: the probabilities that each gives a voxel, averaged, decide.

Every network sees a scan through its own plan (spacing, normalisation), since each was planned for from its own
training cases; so the average is taken on the scan's own grid. Time is that of one network times their number. Memory
is that of all weights, of one network's pass, and one number for each output and voxel of the scan, whatever the number
of networks; where that is too much, it lies in a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ..components.catalogue import Catalogue
from ..errors import ModelError
from ..imaging.body import Box
from ..imaging.volume import Volume
from ..packages.package import Package
from ..preprocessing.plan import Plan, encoded_type
from ..support.machine import free_memory
from .around import on_grid
from .array import See
from .decide import Interpolation, Tally
from .precision import Network, applied
from .predictor import Applied, How
from .recipe import network_of

AT_A_TIME = 16
"""Rows of a scan that are decided together."""
SHARE_OF_MEMORY = 0.25
"""Of the memory that is free, what the mean probabilities of a scan may take before they lie in a file."""


class Ensemble(Applied):
    """The networks of a package as one model; takes the place of a `Predictor`.

    Raises:
        ModelError: The weights do not fit the networks that the package describes, or a plugin it needs is missing.
    """

    def __init__(self, package: Package, catalogue: Catalogue, **how: Unpack[How]) -> None:
        super().__init__(package, catalogue, **how)
        self.networks = [network_of(self.model, plan) for plan in package.members]
        try:
            tensors = load_file(package.weights)
            for number, network in enumerate(self.networks):
                network.load_state_dict(_own(tensors, number))
                network.to(self.device).eval()
        except Exception as error:
            raise ModelError(f"{package.folder}: the weights do not fit the networks it describes") from error
        self.applied = [applied(network, self.precision, self.device) for network in self.networks]

    def _found(
        self,
        image: Volume,
        missing: Sequence[int],
        progress: Callable[[float], None] | None,
        see: See | None,
        box: Box | None,
    ) -> tuple[NDArray[Any], list[float]]:
        with tempfile.TemporaryDirectory(prefix="voxgraft-") as scratch:
            means = _room((self.plan.classes, *image.shape), scratch)
            for number, (network, plan) in enumerate(zip(self.applied, self.package.members, strict=True)):
                shown = None if progress is None else _part(progress, number, len(self.networks))
                self._add(means, network, plan, image, missing, shown, box)
            decided = self._decide(means, see)
            del means
        return decided

    def _add(
        self,
        means: NDArray[np.float32],
        network: Network,
        plan: Plan,
        image: Volume,
        missing: Sequence[int],
        progress: Callable[[float], None] | None,
        box: Box | None,
    ) -> None:
        """Add one network's share of the mean probabilities (output, *spatial), axes in RAS order."""
        seen = self._seen(image, plan, missing)
        share = 1.0 / len(self.networks)
        shape = list(image.shape)
        sliced = plan.dims != plan.image_dims
        if sliced:  # slices are seen where the network sees them; probabilities are resampled along their axis below
            shape[plan.slice_axis] = seen.shape[1 + plan.slice_axis]
        target = means if tuple(shape) == image.shape else np.zeros((plan.classes, *shape), np.float32)

        def add(part: tuple[slice, ...], probabilities: NDArray[np.float32]) -> None:
            target[(slice(None), *part)] += share * probabilities

        there = None if box is None else on_grid(box, image.shape, shape)
        self._segmented(network, seen, tuple(shape), plan, progress, add, there)
        if target is not means:
            axis = 1 + plan.slice_axis
            along = Interpolation(target.shape[axis], means.shape[axis])
            means += along.take(torch.from_numpy(target), axis, 0, means.shape[axis], 0).numpy()

    def _decide(self, means: NDArray[np.float32], see: See | None) -> tuple[NDArray[Any], list[float]]:
        """What the mean probabilities say, some rows at a time; and the mean of them where each output won."""
        plan = self.plan
        shape: tuple[int, ...] = means.shape[1:]
        mask: NDArray[Any] = np.zeros(shape, encoded_type(plan))
        tally = Tally(plan.classes)
        for start in range(0, shape[0], AT_A_TIME):
            rows = slice(start, min(shape[0], start + AT_A_TIME))
            part = np.ascontiguousarray(means[:, rows])
            if see is not None:
                see((rows, *(slice(0, n) for n in shape[1:])), part)
            mask[rows] = _decided(torch.from_numpy(part), plan, tally).numpy()
        return mask, tally.means()


def _own(tensors: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    prefix = f"{number}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _decided(probabilities: Tensor, plan: Plan, tally: Tally) -> Tensor:
    """The most probable class of each voxel, or a bit for each region that is more likely there than not."""
    if not plan.regions:
        best, classes = probabilities.max(0)
        tally.add(classes, best)
        return classes.short()
    bits = torch.zeros(probabilities.shape[1:], dtype=torch.int32)
    for index, channel in enumerate(probabilities):
        inside = channel > 0.5
        bits |= inside.int() << index
        tally.add_region(index, channel, inside)
    return bits


def _room(shape: tuple[int, ...], scratch: str) -> NDArray[np.float32]:
    """Zeros, in a file where memory is short."""
    if 4 * np.prod(shape, dtype=np.float64) <= SHARE_OF_MEMORY * free_memory():
        return np.zeros(shape, np.float32)
    return np.memmap(f"{scratch}/means.npy", np.float32, "w+", shape=shape)


def _part(progress: Callable[[float], None], number: int, of: int) -> Callable[[float], None]:
    """Shows the progress of one network as a part of the whole."""
    return lambda share: progress((number + share) / of)
