"""One number a voxel stands for its structures: through resampling, augmentation, sampling and slices, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from training import tiny_plan

from held_cases import Held
from voxgraft.imaging.structures import Region
from voxgraft.inference.array import decide, mask_of, segment_array
from voxgraft.inference.decide import Tally
from voxgraft.preprocessing.encoding import counted_voxels, encode_labels, masks_of, regridded
from voxgraft.preprocessing.plan import Plan, encoded_type, left_out, left_out_bit, outside
from voxgraft.training.augment import augment
from voxgraft.training.batches import Batches
from voxgraft.training.targets import unpacked

SHAPE = (12, 10, 8)


def plan_of(number: int = 3, **changes: Any) -> Plan:
    names = [f"r{index}" for index in range(number)]
    values = {
        "labels": tuple((index + 1, name) for index, name in enumerate(names)),
        "regions": tuple(Region(name, (index + 1,)) for index, name in enumerate(names)),
        "structures": tuple(range(1, number + 1)),
    }
    return Plan.model_validate({**tiny_plan().model_dump(), **values, **changes})


def overlapping(regions: int, seed: int = 0) -> np.ndarray:
    """Boxes of random places, one a region."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((regions, *SHAPE), np.uint8)
    for channel in mask:
        start = [int(rng.integers(0, n - 3)) for n in SHAPE]
        channel[tuple(slice(s, s + int(rng.integers(2, 6))) for s in start)] = 1
    return mask


@pytest.mark.parametrize("regions", [1, 3, 7, 8, 20, 23])
@pytest.mark.parametrize("ignored", [None, 255])
def test_structures_come_back_as_they_went(regions: int, ignored: int | None) -> None:
    plan, mask = plan_of(regions, ignored=ignored), overlapping(regions)
    if ignored is not None:
        mask[:, 0] = ignored
    label = encode_labels(mask, SHAPE, plan)
    assert label.dtype == encoded_type(plan)
    counts = counted_voxels(label, plan)
    target, seen = unpacked(torch.from_numpy(label)[None].long(), plan)
    for index in range(regions):
        truth = mask[index] == 1
        assert np.array_equal(masks_of(label, index + 1, plan), truth)
        assert np.array_equal(target[0, index].numpy() == 1, truth)
    if ignored is None:
        assert counts is None and seen is None
    else:
        assert seen is not None and counts is not None and (label[0] == left_out_bit(plan)).all()
        assert np.array_equal(counts, mask[0] != ignored) and np.array_equal(seen[0].numpy(), counts)


def test_the_bits_survive_augmentation_as_whole_numbers() -> None:
    plan, mask = plan_of(23), overlapping(23)
    label = torch.from_numpy(encode_labels(mask, SHAPE, plan))[None]
    image = torch.zeros(1, 1, *SHAPE)
    strengths = {"rotation": 20.0, "scale": 0.2, "elastic": 1.0, "mirror": 1.0}
    _, turned = augment(image, label, (8, 8, 8), (1, 1, 1), strengths, 3, outside=None)
    assert set(torch.unique(turned).tolist()) <= set(torch.unique(label).tolist()) and turned.dtype == torch.int64


def test_blocks_beyond_the_image_hold_no_region() -> None:
    plan = plan_of(8)
    label = np.full((4, 4, 4), 255, np.uint8)  # all eight regions everywhere
    places = np.array([[1, 2, 2, 2]], np.int16)
    case = Held("c", np.ones((1, 4, 4, 4), np.float32), label, places)
    batch = Batches([case], plan, seed=1, foreground=1.0, batch=1).draw(0)
    assert (batch.label == 255).sum() == 64 and set(np.unique(batch.label)) == {0, 255}


@pytest.mark.parametrize("several", [False, True])
def test_regions_are_unions_wherever_they_come_from(several: bool) -> None:
    regions = (Region("all", (4, 6, 9)), Region("core", (6, 9)))
    plan = plan_of(2, regions=regions, structures=(4, 6, 9), labels=((1, "all"), (2, "core")))
    values = np.random.default_rng(1).choice([0, 4, 6, 9], SHAPE).astype(np.uint8)
    mask = np.stack([values == value for value in (4, 6, 9)]).astype(np.uint8) if several else values
    label = encode_labels(mask, SHAPE, plan)
    assert np.array_equal(masks_of(label, 1, plan), values > 0)
    assert np.array_equal(masks_of(label, 2, plan), values > 4)


def test_regions_on_another_grid_keep_their_volumes() -> None:
    plan, mask = plan_of(3), np.zeros((3, 20, 20, 20), np.uint8)
    mask[0, 4:16, 4:16, 4:16], mask[1, 6:12, 6:12, 6:12], mask[2, 10:18, 10:18, 2:10] = 1, 1, 1
    fine = regridded(encode_labels(mask, (20, 20, 20), plan), (40, 40, 40), plan)
    for index in range(3):
        assert masks_of(fine, index + 1, plan).sum() == pytest.approx(8 * mask[index].sum(), rel=0.1)
    assert np.array_equal(regridded(fine, (20, 20, 20), plan), encode_labels(mask, (20, 20, 20), plan))


def test_left_out_voxels_are_a_class_of_their_own_on_another_grid() -> None:
    plan = Plan.model_validate({**tiny_plan().model_dump(), "labels": ((5, "a"), (7, "b")), "ignored": 255})
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[:3], mask[3:6], mask[6:] = 255, 5, 7
    label = encode_labels(mask, (16, 16, 16), plan)
    assert (label[:6] == left_out(plan)).all() and (label[6:12] == 1).all() and (label[12:] == 2).all()


@pytest.mark.parametrize("structures", [250, 252, 253, 254, 255, 256, 300])
@pytest.mark.parametrize("ignored", [None, 65535])
@pytest.mark.parametrize("scale", [1, 2])
def test_codes_meet_no_class_however_many_there_are(structures: int, ignored: int | None, scale: int) -> None:
    """Values up to 255 and beyond, through the prepared label, a block at the border and augmentation."""
    values = tuple(range(1, structures + 1))
    names = tuple((value, str(value)) for value in values)
    plan = Plan.model_validate({**tiny_plan().model_dump(), "labels": names, "ignored": ignored})
    mask = np.zeros((8, 8, 8), np.uint16)
    mask.ravel()[1 : structures + 1] = values
    mask[7, 7] = 0 if ignored is None else ignored
    label = encode_labels(mask, mask.shape, plan)
    assert np.array_equal(np.where(mask == ignored, left_out(plan), mask), label)
    assert len({*range(plan.classes), left_out(plan), outside(plan)}) == plan.classes + 2
    fine = encode_labels(mask, (8 * scale,) * 3, plan)
    assert set(np.unique(fine)) <= set(np.unique(label))
    places = np.array([[1, 0, 0, 0]], np.int16)
    case = Held("c", np.ones((1, 8, 8, 8), np.float32), label, places)
    batch = Batches([case], plan, seed=1, foreground=1.0, batch=1).draw(0)
    assert set(np.unique(batch.label)) <= {*np.unique(label), outside(plan)} and outside(plan) in batch.label
    whole = torch.from_numpy(label)[None]
    _, same = augment(torch.zeros(1, 1, 8, 8, 8), whole, (8, 8, 8), (1, 1, 1), {}, 3, outside=outside(plan))
    target, seen = unpacked(same, plan)
    assert (seen is None) == (ignored is None)
    assert np.array_equal(target[0].numpy(), np.where(mask == ignored, 0, mask))


def test_what_is_found_of_many_classes_keeps_its_values() -> None:
    names = tuple((value, str(value)) for value in range(200, 500))
    plan = Plan.model_validate({**tiny_plan().model_dump(), "labels": names})
    logits = torch.full((301, 2, 2, 2), -1.0)
    logits[300, 0], logits[256, 1] = 1.0, 1.0
    found = decide(logits, plan, Tally(plan.classes)).numpy()
    assert np.array_equal(np.unique(mask_of(found, plan)[0]), [499])
    assert np.array_equal(np.unique(mask_of(found, plan)[1]), [455])


class Voxels(torch.nn.Module):
    """Gives each voxel of the first channel as bits, plus or minus ten."""

    def __init__(self, regions: int) -> None:
        super().__init__()
        self.regions = regions

    def forward(self, image: Tensor) -> Tensor:
        bits = [((image[:, 0].round().long() >> index) & 1).float() * 20 - 10 for index in range(self.regions)]
        return torch.stack(bits, 1)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_what_is_found_is_what_the_network_says(dims: int, overlap: float) -> None:
    """By windows and, for a network of slices, slice by slice."""
    patch = {"patch": (8, 8, 8)[:dims], "dims": dims, "strides": ((1,) * dims,)}
    plan, mask = plan_of(5, **patch), overlapping(5, seed=4)
    label = encode_labels(mask, SHAPE, plan)
    image = torch.from_numpy(label.astype(np.float32))[None]
    found, sure = segment_array(Voxels(5), image, SHAPE, plan, overlap=overlap)
    assert np.array_equal(found, label)
    assert all(one == pytest.approx(1 / (1 + np.exp(-10))) for one in sure)
    assert np.array_equal(mask_of(found, plan), mask)


def test_later_regions_are_painted_over_earlier_ones() -> None:
    plan = plan_of(3, paint=(9, 300, 4), labels=((9, "a"), (300, "b"), (4, "c")))
    bits = np.array([[0, 1, 3, 7, 6, 4]], np.uint8)
    assert mask_of(bits, plan).tolist() == [[0, 9, 300, 4, 4, 4]] and mask_of(bits, plan).dtype == np.uint16
