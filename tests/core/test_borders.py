"""Fast ways of deciding give voxel by voxel what the plain ones give: argmax, interpolation of all, sums of windows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from training import tiny_plan

from voxgraft.imaging.structures import Region
from voxgraft.inference import array as arrays
from voxgraft.inference import decide
from voxgraft.inference.array import segment_array
from voxgraft.inference.decide import Decisions, Tally, decide_here, winners
from voxgraft.inference.grid import Interpolation, Place, Planes, mixed
from voxgraft.inference.kernels import FastKernels
from voxgraft.inference.sliding import gaussian, logits_by_slab, window_starts

Shape = tuple[int, ...]


def logits_of(kind: str, classes: int, shape: Shape, seed: int) -> Tensor:
    """Noise, noise with hardly any different values (ties everywhere), or smooth."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(classes, *shape, generator=random)
    if kind == "ties":
        return noise.round()
    if kind == "close":  # apart by the last bit or not at all
        return 1 + torch.randint(0, 3, noise.shape, generator=random) * 2.0**-23
    if kind == "smooth":
        small = torch.randn(1, classes, 2, 2, 2, generator=random)
        return nn.functional.interpolate(small, shape, mode="trilinear")[0].contiguous()
    return noise


def places_of(source: Shape, target: Shape) -> list[Place]:
    return [Place(Interpolation(old, new), 0, new) for old, new in zip(source, target, strict=True)]


def told(tally: Tally) -> np.ndarray:
    return np.array(tally.means())


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["noise", "ties", "close", "smooth"]),
    classes=st.sampled_from([2, 3, 5, 300]),
    source=st.tuples(*[st.integers(1, 9)] * 3),
    target=st.tuples(*[st.integers(1, 14)] * 3),
    kept=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_looking_at_borders_alone_gives_what_interpolating_all_gives(
    kind: str, classes: int, source: Shape, target: Shape, kept: int, seed: int
) -> None:
    target = source[:kept] + target[kept:]
    logits = logits_of(kind, classes, source, seed)
    places = places_of(source, target)
    plain, fast = Tally(classes), Tally(classes)
    truth = Planes(logits, places[1:]).at(places[0]).argmax(0)
    assert torch.equal(decide_here(Planes(logits, places[1:]).at(places[0]), plain).long(), truth)
    decisions = Decisions(logits, float(logits.abs().max()), places[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "WORTH", 1.0)
        patch.setattr(decide, "OPEN_AT_A_TIME", 50)
        assert torch.equal(decisions.between(places[0], fast).long(), truth)
    again = Tally(classes)
    assert torch.equal(decisions.between(places[0], again).long(), truth)  # and once more: nothing was written over
    assert fast.voxels.tolist() == plain.voxels.tolist()
    assert (told(fast) <= told(plain) + 1e-5).all()  # never more sure than all logits are
    if classes == 2:
        assert told(fast) == pytest.approx(told(plain), abs=1e-5)


def thin(shape: Shape, classes: int) -> Tensor:
    """Sheets and threads of one voxel in a background, and one voxel alone, all of them near a tie."""
    labels = torch.zeros(shape, dtype=torch.long)
    labels[:, 3], labels[4, :, 2], labels[1, 1, 1] = 1 % classes, 2 % classes, classes - 1
    return nn.functional.one_hot(labels, classes).movedim(-1, 0).float() * 2.0**-22 + 1


@pytest.mark.parametrize("worth", [0.0, 1.0])
@pytest.mark.parametrize("target", [(17, 9, 8), (8, 40, 9), (9, 9, 64), (3, 9, 31)])
@pytest.mark.parametrize(("kind", "classes"), [("thin", 1), ("thin", 3), ("thin", 100), ("smooth", 100), ("ties", 100)])
@pytest.mark.parametrize("layout", ["plain", "classes last", "axes turned", "every other voxel"])
def test_hard_logits_get_the_class_of_the_definition(
    kind: str, classes: int, target: Shape, layout: str, worth: float
) -> None:
    """Each axis stretched by another factor, from memory of any order, at borders alone and everywhere."""
    source = (8, 9, 8)
    logits = thin(source, classes) if kind == "thin" else logits_of(kind, classes, source, 7)
    places = places_of(source, target)
    truth = Planes(logits.clone(), places[1:]).at(places[0]).argmax(0)
    if layout == "classes last":
        logits = logits.movedim(0, -1).contiguous().movedim(-1, 0)
    elif layout == "axes turned":
        logits = logits.transpose(1, 3).contiguous().transpose(1, 3)
    elif layout == "every other voxel":
        logits = logits.repeat_interleave(2, 3)[..., ::2]
    before = logits.clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "WORTH", worth)
        found = Decisions(logits, float(logits.abs().max()), places[1:]).between(places[0], Tally(classes))
    assert torch.equal(found.long(), truth)
    assert torch.equal(logits, before)


def test_a_row_that_needs_no_interpolation_is_decided_on_a_copy() -> None:
    """The logits of the slab are read again by the next rows: nothing is worked out in their place."""
    logits = logits_of("noise", 4, (9, 6, 7), 5)
    places = places_of((9, 6, 7), (17, 6, 7))
    before, decisions = logits.clone(), Decisions(logits, float(logits.abs().max()), places[1:])
    for row in range(17):
        decisions.between(Place(places[0].along, row, row + 1), Tally(4))
    assert torch.equal(logits, before)


def test_the_largest_of_a_few_voxels_is_that_of_argmax() -> None:
    for classes in (1, 2, 255, 256, 257):
        logits = logits_of("ties", classes, (50,), 3)
        best, found = decide.largest_of_few(logits)
        assert torch.equal(found.long(), logits.argmax(0))
        assert torch.equal(best, logits.max(0).values)


def test_a_window_of_a_larger_buffer_is_read_where_it_lies() -> None:
    logits = logits_of("smooth", 4, (12, 10, 11), 5)[:, 2:9, :, 3:10]
    places = places_of((7, 10, 7), (9, 17, 13))
    found = Decisions(logits, float(logits.abs().max()), places[1:]).between(places[0], Tally(4))
    assert torch.equal(found.long(), Planes(logits.clone(), places[1:]).at(places[0]).argmax(0))


def test_parts_of_the_rows_are_those_of_the_whole() -> None:
    logits = logits_of("noise", 3, (12, 6, 7), 5)
    places = places_of((12, 6, 7), (20, 8, 9))
    whole = Planes(logits, places[1:]).at(places[0])
    part = Place(places[0].along, 7, 15, 3)
    assert torch.equal(Planes(logits[:, 3:], places[1:]).at(part), whole[:, 7:15])


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, width=32), seed=st.integers(0, 1000))
def test_mixing_never_turns_an_order_round(share: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    low = torch.randn(2, 500, generator=random)
    gap = torch.randint(0, 3, low.shape, generator=random) * 2.0**-24  # hardly larger than rounding
    one = mixed(*low.clone(), torch.tensor(share))
    assert (mixed(*(low + gap), torch.tensor(share)) >= one).all()


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (256, 3, 4), (257, 3, 4), (1, 4, 4), (3, 0, 4)])
@pytest.mark.parametrize("kind", ["noise", "ties"])
def test_winners_are_those_of_argmax(shape: Shape, kind: str) -> None:
    logits = logits_of(kind, shape[0], shape[1:], 1)
    found = winners(logits)
    assert torch.equal(found.long(), logits.argmax(0))
    assert found.dtype == (torch.uint8 if shape[0] <= 256 else torch.int16)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5])
def test_sums_in_place_are_bit_for_bit_those_of_the_definition(layout: torch.memory_format, overlap: float) -> None:
    """The plain sums, window by window in the same order, divided by the sum of weights as a product of axes."""
    torch.manual_seed(3)
    convolution = nn.Conv3d(1, 5, 3, padding=1)
    image, roi = torch.randn(1, 23, 14, 13), (8, 6, 8)

    def network(windows: Tensor) -> Tensor:
        return convolution(windows).contiguous(memory_format=layout)

    size = image.shape[1:]
    starts = [window_starts(n, r, overlap) for n, r in zip(size, roi, strict=True)]
    tapers = [gaussian(n) for n in roi]
    weight = tapers[0][:, None, None] * tapers[1][:, None] * tapers[2]
    sums = [torch.zeros(n) for n in size]
    for total, first, taper in zip(sums, starts, tapers, strict=True):
        for start in first:
            total[start : start + len(taper)] += taper
    truth = torch.zeros(5, *size)
    with torch.inference_mode():
        for corner in ((i, j, k) for i in starts[0] for j in starts[1] for k in starts[2]):
            place = (slice(None), *(slice(c, c + r) for c, r in zip(corner, roi, strict=True)))
            with FastKernels():  # as windows are computed
                part = network(image[place][None].contiguous(memory_format=torch.channels_last_3d))[0]
            truth[place] += part * weight
        truth /= sums[0][:, None, None] * (sums[1][:, None] * sums[2])
        parts = [slab.clone() for _, slab in logits_by_slab(network, image, roi, overlap=overlap)]
        assert torch.equal(torch.cat(parts, 1), truth)
        for begin, slab in logits_by_slab(network, image, roi, overlap=overlap, shared=1):
            assert torch.equal(slab, truth[:, begin : begin + slab.shape[1]])


@pytest.mark.parametrize("shape", [(23, 19, 17), (35, 28, 26), (46, 19, 17), (9, 7, 8)])
@pytest.mark.parametrize("layout", ["classes", "regions"])
def test_a_scan_whose_probabilities_are_looked_at_gets_the_same_labels(shape: Shape, layout: str) -> None:
    """Looking makes all logits be interpolated: the plain path, which the fast one must equal voxel by voxel."""
    torch.manual_seed(0)
    network = nn.Conv3d(1, 4, 5, padding=2)
    labels = tuple((value, str(value)) for value in range(1, 4))
    plan = tiny_plan().model_copy(update={"labels": labels, "patch": (8, 8, 8)})
    if layout == "regions":
        regions = tuple(Region(name, (value,)) for value, name in labels)
        plan, network = plan.model_copy(update={"regions": regions}), nn.Conv3d(1, 3, 5, padding=2)
    image = torch.randn(1, 23, 19, 17) * 3
    seen = np.zeros(shape, int)

    def see(part: tuple[slice, ...], probabilities: np.ndarray) -> None:
        assert probabilities.shape[1:] == seen[part].shape
        seen[part] += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "WORTH", 1.0)
        patch.setattr(arrays, "VALUES", 4 * 3 * math.prod(shape[1:]))
        fast, confidence = segment_array(network, image, shape, plan)
    plain, exact = segment_array(network, image, shape, plan, see=see)
    assert (seen == 1).all()
    assert np.array_equal(fast, plain)
    assert confidence == pytest.approx(exact, abs=0.02)
    if layout == "regions" or shape == tuple(image.shape[1:]):
        assert confidence == pytest.approx(exact, abs=1e-6)
