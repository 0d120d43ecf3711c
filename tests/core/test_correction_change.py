"""Changes of masks: applied and taken back exactly, written as bytes, and held off from locked structures."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from voxgraft.correction.change import Change, Labels
from voxgraft.correction.locks import Counts, broken, changes, keep
from voxgraft.errors import DataError


def pair(seed: int, shape: tuple[int, ...], kind: str = "u1", order: str = "C") -> tuple[Labels, Labels]:
    """Two masks that differ in some voxels of a corner."""
    chance = np.random.default_rng(seed)
    before = np.array(chance.integers(0, 5, shape), kind, order=order)  # type: ignore[call-overload]
    after = before.copy(order="K")
    corner = tuple(slice(size // 3, size // 3 + max(1, size // 4)) for size in shape)
    after[corner] = chance.integers(0, 5, after[corner].shape)
    return before, after


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "i8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(40,), (31, 17), (31, 17, 9), (3, 16, 9, 12), (1, 20, 20)])
def test_a_change_is_applied_and_taken_back(shape: tuple[int, ...], order: str, kind: str) -> None:
    before, after = pair(sum(shape), shape, kind, order)
    change = Change.between(before, after)
    assert change is not None and change.voxels == np.count_nonzero(before != after)
    assert change.before.size <= np.prod([max(1, size // 4) for size in shape])
    back = Change.from_bytes(change.to_bytes())
    assert back.box == change.box and back.voxels == change.voxels
    mask = before.astype(before.dtype.newbyteorder("="))
    back.apply(mask)
    assert np.array_equal(mask, after)
    with pytest.raises(DataError, match="not the one"):
        back.apply(mask)
    back.revert(mask)
    assert np.array_equal(mask, before)


def test_nothing_is_a_change_too() -> None:
    mask = np.ones((4, 5, 6), np.uint8)
    assert Change.between(mask, mask.copy()) is None
    nothing = Change.from_bytes(Change.nothing(mask).to_bytes())
    nothing.apply(mask)
    assert nothing.voxels == 0 and mask.all()


def test_a_change_does_not_share_its_voxels_with_the_masks() -> None:
    before, after = pair(1, (20, 20, 20))
    change = Change.between(before, after)
    assert change is not None
    wanted = change.after.copy()
    after[:] = 0
    assert np.array_equal(change.after, wanted)


@pytest.mark.parametrize(
    "after", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4, 4), np.float32)]
)
def test_masks_that_cannot_be_compared_are_refused(after: Labels) -> None:
    with pytest.raises(DataError, match=r"voxels|whole numbers"):
        Change.between(np.zeros((4, 4, 4), np.uint8), after)


def test_labels_that_do_not_fit_are_refused() -> None:
    after = np.zeros((4, 4, 4), np.uint16)
    after[1, 1, 1] = 300
    with pytest.raises(DataError, match="do not fit into uint8"):
        Change.between(np.zeros((4, 4, 4), np.uint8), after)
    with pytest.raises(DataError, match="differ in shape or type"):
        Change((slice(0, 2),), np.zeros(3, np.uint8), np.zeros(3, np.uint8))
    with pytest.raises(DataError, match="does not fit into a mask"):
        Change((slice(-3, 0),), np.zeros(3, np.uint8), np.zeros(3, np.uint8))


def test_damaged_bytes_are_told() -> None:
    change = Change.between(*pair(2, (30, 30, 30)))
    assert change is not None
    data = change.to_bytes()
    chance = np.random.default_rng(0)
    for _ in range(300):
        spoiled = bytearray(data)
        for place in chance.integers(0, len(data), 3):
            spoiled[place] = chance.integers(256)
        if spoiled != data:
            try:
                Change.from_bytes(bytes(spoiled))
            except DataError as error:
                assert "cannot be read" in str(error) or "does not fit into a mask" in str(error)
    for end in range(0, len(data), 7):
        with pytest.raises(DataError, match="cannot be read"):
            Change.from_bytes(data[:end])


@pytest.mark.parametrize(
    "header",
    [
        {"box": [[0, 2**31]] * 3, "type": "|u1"},
        {"box": [[0, 10**30]], "type": "|u1"},
        {"box": [[5, 2]], "type": "|u1"},
        {"box": [[0, 2]], "type": "|O"},
        {"box": [[0, 2]], "type": ["|u1"]},
        {"box": [], "type": "|u1"},
        {"box": [[0, 1e400]], "type": "|u1"},
        {"box": 3},
        [],
        {"box": [[0, 100_000_000]], "type": "|u1"},
    ],
)
def test_headers_that_ask_for_too_much_are_refused(header: object) -> None:
    data = Change.nothing(np.zeros((2, 2), np.uint8)).to_bytes().split(b"\n", 1)[1]
    with pytest.raises(DataError, match="cannot be read"):
        Change.from_bytes(b"VGC1" + json.dumps(header).encode() + b"\n" + data)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64])
def test_gained_and_lost_voxels_are_counted(kind: type) -> None:
    before = np.zeros((6, 6, 6), kind)
    before[:2], before[2:4] = 1, 2
    after = before.copy()
    after[0, 0, :3], after[2, 0, 0], after[5, 5, 5] = 2, 1, 3
    assert changes(before, after) == {0: Counts(0, 1), 1: Counts(1, 3), 2: Counts(3, 1), 3: Counts(1, 0)}
    assert broken(before, after, [1, 3, 9]) == {1: 4, 3: 1}
    assert broken(before, after, ()) == {} and broken(before, before.copy(), [0, 1, 2, 3]) == {}


def test_locked_structures_are_kept() -> None:
    before, after = pair(3, (24, 20, 16), order="F")
    kept = keep(before, after, {1, 4})
    assert broken(before, kept, {1, 4}) == {} and broken(before, after, {1, 4})
    free = ~(np.isin(before, [1, 4]) | np.isin(after, [1, 4]))
    assert np.array_equal(kept[free], after[free])
    assert np.array_equal(keep(before, after, ()), after) and keep(before, after, ()) is not after


def test_the_proof_is_one_quick_pass() -> None:
    before = np.zeros((160, 250, 250), np.uint8, order="F")
    before[40:120, 50:200, 60:190] = 3
    after = before.copy(order="K")
    after[60:62, 60:64, 60:80] = 5
    begun = time.process_time()
    assert broken(before, after, range(1, 31)) == {3: 160, 5: 160}
    assert time.process_time() - begun < 0.5
