"""From a scan to labels in the scan's own grid, with the preprocessing that the package carries."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ..errors import BadImage, ModelError
from ..imaging.body import Box
from ..imaging.orientation import Orientation, reoriented, shape_at
from ..imaging.volume import Volume
from ..labels.valid_region import region_in
from ..packages.facts import applied_around, applied_in, used_around
from ..preprocessing.plan import network_image
from ..support.machine import choose_device, free_memory
from .around import ALL, Search, search_of
from .array import See, mask_of, segment_array
from .need import check_room, need_of
from .precision import Network, applied, precision_on
from .recipe import activations_of, network_of, recipe_of

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..packages.package import Package
    from ..preprocessing.modality import Modality
    from ..preprocessing.plan import Plan


@dataclass(frozen=True)
class Prediction:
    """What was found in a scan.

    Attributes:
        labels: The values the package's labels name, in the scan's own grid; `labels.item` is the scan's. Of regions
            that nothing is painted with: 0 and 1 (region, i, j[, k]), in the order of the package's labels.
        confidence: For each structure found, the mean probability of it inside it (0 to 1).
        seconds: Of computing, without reading and writing.
        searched: Where the network looked.
    """

    labels: Volume
    confidence: dict[str, float]
    seconds: float
    searched: str = ALL


class How(TypedDict, total=False):
    """How a package is to be applied.

    Attributes:
        device: `auto`, which is the default, `cpu`, `cuda` or `cuda:1`.
        overlap, mirror: By default what the package's workflow says. Windows are mirrored along those axes only along
            which training mirrored.
        precision: `auto`, `32`, `bf16` or `16`; by default what the package's workflow says.
        body: `auto`, `on` or `off`: whether only the body is searched; by default what the package's workflow says.
    """

    device: str
    overlap: float | None
    mirror: bool | None
    precision: str | None
    body: str | None


UNMIRRORED = "the model was trained on images that were mirrored along no axis, so none is mirrored here"
"""Said where mirroring was asked for: a network that has never seen mirrored images mistakes left and right in them."""


class Applied(ABC):
    """What applies a package to scans, whatever the number of its networks.

    Attributes:
        notes: What a user should know of how the model is applied here.
        precision: The numbers in which it is applied: `32`, `bf16` or `16`.
        body: Whether only the body is searched, where it is found.

    Raises:
        ModelError: A plugin that the package needs is missing.
    """

    def __init__(self, package: Package, catalogue: Catalogue, **how: Unpack[How]) -> None:
        recipe = recipe_of(package, catalogue)
        self.package, self.plan = package, package.plan
        self.overlap, self.mirror = recipe.inference.windows(how.get("overlap"), how.get("mirror"))
        plans = package.members or (package.plan,)
        self.batch, self.skip_empty = recipe.inference.batch, recipe.inference.skip_empty
        self.device = choose_device(how.get("device", "auto"))
        self.precision = precision_on(self.device, how.get("precision") or recipe.inference.precision, package.facts)
        unmirrored = self.mirror and not any(plan.mirrored for plan in plans)
        half = [applied_in(package.facts, self.precision)] if self.precision != "32" else []
        self.modality: Modality = recipe.modality.build()
        self.body = used_around(how.get("body") or recipe.inference.body, package.facts)
        around = [applied_around(package.facts)] if self.body else []
        self.notes = (*([UNMIRRORED] if unmirrored else []), *half, *around)
        self.model = recipe.model
        self._taken: dict[Any, int] = {}

    def predict(
        self,
        volume: Volume,
        progress: Callable[[float], None] | None = None,
        missing: Sequence[int] = (),
        see: See | None = None,
    ) -> Prediction:
        """Labels in the scan's own grid.

        Args:
            volume: One scan, (channel, i, j[, k]) or (i, j[, k]), in any orientation and spacing.
            progress: Is told the share that is done, from 0 to 1.
            missing: The optional channels that the scan lacks; what `volume` holds in their place is not looked at.
            see: Is shown the probabilities, of several networks their mean, a part of the scan at a
                time, each voxel once, in RAS order of axes. A single 2D network on slices that had to be resampled
                shows nothing: its masks are resampled, not probabilities.

        Raises:
            BadImage: It has another number of channels or axes than the model was trained on, or lacks a channel that
                the model cannot do without.
        """
        start = time.monotonic()
        check_scan(volume, self.plan, missing)
        image, orientation = reoriented(volume)
        search = self._search(image, missing)
        mask, confidence = self._found(image, missing, progress, see, search.box)
        inside = region_in(self.modality, image)
        if inside is not None:  # what the network says where it never learnt from anything means nothing
            mask[~inside] = 0
        return self._told(volume, orientation, mask, confidence, start, search)

    def saves(self, volume: Volume, missing: Sequence[int] = ()) -> bool:
        """Whether fewer windows of this scan are computed than it has, since only the body is searched."""
        return self._search(reoriented(volume)[0], missing).box is not None

    def _search(self, image: Volume, missing: Sequence[int]) -> Search:
        """Where to look in a scan whose axes are in RAS order."""
        if not self.body:
            return Search()
        plans = self.package.members or (self.plan,)
        return search_of(self.modality, image, missing, plans, self.overlap)

    @abstractmethod
    def _found(
        self,
        image: Volume,
        missing: Sequence[int],
        progress: Callable[[float], None] | None,
        see: See | None,
        box: Box | None,
    ) -> tuple[NDArray[Any], list[float]]:
        """What is found in a scan whose axes are in RAS order, see `predict`, in a box of it or all over: class indices
        or bits (*spatial), and the mean probability of each output where it won."""

    def _seen(self, image: Volume, plan: Plan, missing: Sequence[int]) -> Tensor:
        """What a network sees of a scan whose axes are in RAS order: float32 (channel, *spatial).

        Raises:
            TooLarge: Predicting it does not fit into memory.
        """
        self._room(plan, image.shape, shape_at(image.shape, image.spacing, plan.spacing), held=0)
        array = image.array.reshape(image.channels, *image.shape)
        return torch.from_numpy(np.ascontiguousarray(network_image(array, image.spacing, plan, self.modality, missing)))

    def _segmented(
        self,
        network: Network,
        seen: Tensor,
        shape: tuple[int, ...],
        plan: Plan,
        progress: Callable[[float], None] | None,
        see: See | None,
        box: Box | None,
    ) -> tuple[NDArray[Any], list[float]]:
        """What one network finds; see `segment_array`.

        Raises:
            TooLarge: It does not fit into memory, which is found out before anything is computed.
        """
        return segment_array(
            network,
            seen,
            shape,
            plan,
            overlap=self.overlap,
            mirror=plan.mirrored if self.mirror else (),
            batch=self.batch,
            device=self.device,
            progress=progress,
            see=see,
            skip_empty=self.skip_empty,
            room=self._room(plan, shape, tuple(seen.shape[1:]), seen.numel() * seen.element_size()),
            box=box,
        )

    def _room(self, plan: Plan, shape: tuple[int, ...], seen: tuple[int, ...], held: int) -> int:
        """Bytes that are left for a slab of logits, where they are computed.

        Args:
            held: Bytes of what the network sees that are there already, and count as free no more.
        """
        need = need_of(plan, shape, seen, self._activations(plan), self.batch)
        device = None if self.device.type == "cpu" else int(torch.cuda.mem_get_info(self.device)[0])
        return check_room(need, plan, seen, free_memory() + held, device)

    def _activations(self, plan: Plan) -> int:
        """Bytes that a network takes for one window, worked out once for each plan."""
        key = (plan.patch, plan.strides)
        if key not in self._taken:
            self._taken[key] = activations_of(self.model, plan)
        return self._taken[key]

    def _told(
        self,
        volume: Volume,
        orientation: Orientation,
        mask: NDArray[Any],
        confidence: Sequence[float],
        start: float,
        search: Search,
    ) -> Prediction:
        """What was found, in the scan's own grid.

        Args:
            mask: Class indices or bits, axes in RAS order.
            confidence: The mean probability of each output of the network where it won.
            start: When computing began, by the monotonic clock.
            search: Where the network looked.
        """
        labels = np.ascontiguousarray(orientation.undo(mask_of(mask, self.plan)))
        first = 0 if self.plan.regions else 1
        means = zip(output_names(self.package), confidence[first:], strict=True)
        known = {name: round(mean, 4) for name, mean in means if mean > 0}
        result = Volume(labels, volume.affine, dims=volume.dims, item=volume.item)
        return Prediction(result, known, time.monotonic() - start, search.said)


class Predictor(Applied):
    """A trained model of one network, ready for scans.

    Raises:
        ModelError: The weights do not fit the network that the package describes; see `Applied` too.
    """

    def __init__(self, package: Package, catalogue: Catalogue, **how: Unpack[How]) -> None:
        super().__init__(package, catalogue, **how)
        self.network = network_of(self.model, package.plan)
        try:
            self.network.load_state_dict(load_file(package.weights))
        except Exception as error:
            raise ModelError(f"{package.folder}: the weights do not fit the network it describes") from error
        self.network.to(self.device).eval()
        self.applied = applied(self.network, self.precision, self.device)

    def _found(
        self,
        image: Volume,
        missing: Sequence[int],
        progress: Callable[[float], None] | None,
        see: See | None,
        box: Box | None,
    ) -> tuple[NDArray[Any], list[float]]:
        seen = self._seen(image, self.plan, missing)
        return self._segmented(self.applied, seen, image.shape, self.plan, progress, see, box)


def predictor_of(package: Package, catalogue: Catalogue, **how: Unpack[How]) -> Applied:
    """What applies a package: one network, or several as one.

    Args:
        package: A verified model; one with members becomes an ensemble.
        catalogue: Offers the encoder and decoder of the package.
        how: Device, overlap and the other options of `Predictor`.

    Raises:
        ModelError: See `Predictor`; or it was trained without masks and finds no structures.
    """
    package.check_finds_structures()
    if not package.members:
        return Predictor(package, catalogue, **how)
    from .ensemble import Ensemble

    return Ensemble(package, catalogue, **how)


def output_names(package: Package) -> list[str]:
    """The structure of each output, background left out; a region that is painted has its colour's name."""
    called = {label.value: label.name for label in package.labels.items}
    return [called.get(value, name) for value, name in package.plan.labels]


def check_scan(volume: Volume, plan: Plan, missing: Sequence[int]) -> None:
    """Refuse a scan that the model is not for.

    Args:
        volume: The scan, not yet resampled.
        plan: What the model was trained on.
        missing: The channels that the scan lacks, by their place.

    Raises:
        BadImage: It has another number of channels or axes, or lacks a channel that the model cannot do without.
    """
    name = volume.item.path.name if volume.item else "the scan"
    if volume.dims != plan.image_dims:
        raise BadImage(name, f"has {volume.dims} axes; the model was trained on {plan.image_dims}D images")
    if volume.channels != len(plan.channels):
        channels = ", ".join(plan.channels)
        raise BadImage(name, f"has {volume.channels} channels; the model needs {len(plan.channels)}: {channels}")
    if min(volume.shape) < 1 or not np.isfinite(volume.spacing).all():
        raise BadImage(name, "has no voxels")
    for index in missing:
        if plan.channels[index] not in plan.optional:
            raise BadImage(name, f"lacks the channel {plan.channels[index]}, which the model needs")
