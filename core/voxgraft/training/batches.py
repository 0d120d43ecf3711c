"""Batches: which case, where in it, and the voxels around. Every step draws from its own seed, so that any step can
be drawn again without those before it; that is what makes a resumed training equal to one that was not killed. Where an
encoder is frozen, patches are fixed, so that what it makes of them has to be computed only once."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import Queue
from threading import Event, Thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..preprocessing.plan import Plan, encoded_type, outside
from ..preprocessing.prepare import Prepared
from ..transfer.stack import Stack
from ..workflow.sections import Training
from .augment import augment

BEYOND = 255
"""What stands for a voxel beyond the image, where no label is looked at."""

MARGIN = 1.35
"""How much larger than a patch the block is that augmentation turns and stretches."""


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Blocks of voxels, larger than patches by a margin.

    Attributes:
        image: float32 (batch, channel, *block).
        label: Class indices or bits of regions (batch, *block), see `voxgraft.preprocessing.encoding`.
        seed: What augmentation draws from.
        crops: Of fixed patches, the case's number and the patch's number within it: they are augmented already and as
            large as the network's patch.
        unlabelled: Blocks of unlabelled cases, where a strategy learns from them as well.
    """

    image: NDArray[np.float32]
    label: NDArray[Any]
    seed: int
    cases: tuple[str, ...]
    crops: tuple[tuple[int, int], ...] = ()
    unlabelled: RawBatch | None = None


class Batches:
    """Blocks from prepared cases.

    Args:
        foreground: The share of blocks that are centred on a labelled voxel, classes in turn.
        rank, world: This process and the number of processes. Each draws its own samples of the batch that all of them
            make up, and is as far with its random numbers as one process that draws the whole.
    """

    def __init__(
        self,
        cases: Sequence[Prepared],
        plan: Plan,
        *,
        seed: int,
        foreground: float,
        batch: int | None = None,
        margin: float = MARGIN,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.cases, self.plan, self.seed, self.foreground = list(cases), plan, seed, foreground
        self.batch = batch or plan.batch
        self.rank, self.world = rank, world
        sliced = plan.dims != plan.image_dims
        block = [int(np.ceil(n * margin / 2) * 2) for n in plan.patch]
        if sliced:
            block.insert(plan.slice_axis, 1)
        self.block = tuple(block)
        self._sliced = sliced
        self.unlabelled: Batches | None = None

    @property
    def epoch_steps(self) -> int:
        """Steps in which as many samples are drawn as there are cases (slices, for slice-wise networks)."""
        samples = len(self.cases)
        if self._sliced:
            samples = sum(case.shape[self.plan.slice_axis] for case in self.cases)
        return max(1, -(-samples // (self.batch * self.world)))

    def draw(self, step: int) -> RawBatch:
        """The batch of a step."""
        rng = np.random.default_rng([self.seed, step, 0])
        images, labels, names = [], [], []
        mine = self._indices(step)
        for index in range(step * self.world * self.batch, (step + 1) * self.world * self.batch):
            case = self.cases[self._case(index)]
            centre = self._centre(case, rng, (index * 0.6180339887) % 1.0 < self.foreground)
            if index not in mine:
                continue
            image, label = self._block(case, centre)
            images.append(image)
            labels.append(label)
            names.append(case.case)
        return RawBatch(np.stack(images), np.stack(labels), int(rng.integers(2**62)), tuple(names))

    def _indices(self, step: int) -> range:
        """The running numbers of this process's samples of a step."""
        first = (step * self.world + self.rank) * self.batch
        return range(first, first + self.batch)

    def stream(self, start: int, ahead: int = 3) -> Generator[RawBatch, None, None]:
        """Batches from a step on, without end, drawn ahead by a thread so that the device never waits for a disk."""
        queue: Queue[RawBatch | BaseException] = Queue(ahead)
        stop = Event()

        def work() -> None:
            step = start
            try:
                while not stop.is_set():
                    raw = self.draw(step)
                    queue.put(raw if self.unlabelled is None else replace(raw, unlabelled=self.unlabelled.draw(step)))
                    step += 1
            except BaseException as error:  # handed to the reader of the stream, which raises it
                queue.put(error)

        thread = Thread(target=work, daemon=True)
        thread.start()
        try:
            while True:
                item = queue.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            while not queue.empty():
                queue.get_nowait()

    def _case(self, index: int) -> int:
        """Cases in a new random order each time through."""
        lap, position = divmod(index, len(self.cases))
        return int(np.random.default_rng([self.seed, 1, lap]).permutation(len(self.cases))[position])

    def _centre(self, case: Prepared, rng: np.random.Generator, centred: bool) -> NDArray[np.float64]:
        """Where in a case a block is drawn, in voxels."""
        if not (centred and len(case.places)):
            return np.asarray(rng.uniform(0, 1, len(case.shape)) * np.array(case.shape))
        classes = np.unique(case.places[:, 0])
        structure = classes[rng.integers(len(classes))]
        rows = np.flatnonzero(case.places[:, 0] == structure)
        return np.asarray(case.places[rows[rng.integers(len(rows))], 1:] + 0.0)

    def _block(self, case: Prepared, centre: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        shape = np.array(case.shape)
        block = np.array(self.block)
        patch = np.array(self.plan.patch if not self._sliced else np.insert(self.plan.patch, self.plan.slice_axis, 1))
        low, high = np.minimum(patch / 2, shape / 2), np.maximum(shape - patch / 2, shape / 2)
        start = np.floor(np.clip(centre, low, high) - block / 2 + 0.5).astype(int)
        stored, known = case.image, self._known(case)
        label = self._nothing(tuple(block))
        inside = tuple(slice(max(0, -s), min(b, n - s)) for s, b, n in zip(start, block, shape, strict=True))
        source = tuple(slice(max(0, s), min(n, s + b)) for s, b, n in zip(start, block, shape, strict=True))
        pads = [(part.start, int(b) - part.stop) for part, b in zip(inside, block, strict=True)]
        image = np.pad(stored[(slice(None), *source)], [(0, 0), *pads], mode="edge")
        label[inside] = 0 if known is None else known[source]
        if self._sliced:
            axis = self.plan.slice_axis
            return image.squeeze(1 + axis), label.squeeze(axis)
        return image, label

    def _known(self, case: Prepared) -> NDArray[Any] | None:
        return case.label

    def _nothing(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The label of voxels beyond the image."""
        return np.full(shape, outside(self.plan) or 0, encoded_type(self.plan))


class Unlabelled(Batches):
    """Blocks of images alone: what stands for their label says which voxels lie in the image (0) and which beyond it
    (`BEYOND`). Drawn by seeds of their own, so that labelled blocks are those that they would be without them."""

    def __init__(self, cases: Sequence[Prepared], plan: Plan, *, seed: int, **options: Any) -> None:
        super().__init__(cases, plan, seed=seed + 1_000_003, foreground=0.0, **options)

    def _known(self, case: Prepared) -> NDArray[Any] | None:
        return None

    def _nothing(self, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.full(shape, BEYOND, np.uint8)


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


def batches_of(
    cases: Sequence[Prepared],
    unlabelled: Sequence[Prepared],
    plan: Plan,
    stack: Stack,
    strengths: Mapping[str, float],
    options: Training,
    rank: int = 0,
    world: int = 1,
) -> Batches:
    """Patches drawn without end, or a fixed number of each case where a strategy asks for it; beside each batch one of
    unlabelled patches, where a strategy needs them. Where labels are not looked at, all cases are unlabelled.

    Args:
        cases, unlabelled: Those with labels and those without.
        plan: Gives patch and batch.
        stack: Its strategies say what they learn from.
        strengths: The modality's augmentation, for fixed patches.
        options: Say seed, foreground and augmentation.
        rank, world: See `Batches`.
    """
    beside = Unlabelled(unlabelled, plan, seed=options.seed, rank=rank, world=world)
    if not stack.supervised:
        return beside
    drawn: dict[str, Any] = {"seed": options.seed, "foreground": options.foreground, "rank": rank, "world": world}
    batches = Batches(cases, plan, **drawn)
    if stack.crops is not None:
        fixed: dict[str, Any] = {"spacing": network_spacing(plan), "strengths": strengths, "strength": options.augment}
        batches = FixedCrops(cases, plan, crops=stack.crops, **fixed, **drawn)
    if "unlabelled" in stack.needs:
        batches.unlabelled = beside
    return batches


def network_spacing(plan: Plan) -> tuple[float, ...]:
    """Millimetres along the network's axes."""
    if plan.dims == plan.image_dims:
        return plan.spacing
    return tuple(step for axis, step in enumerate(plan.spacing) if axis != plan.slice_axis)
