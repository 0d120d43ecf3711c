"""Arrays from the network are bounded before they are unpacked; leases end by two clocks."""

from __future__ import annotations

import random
import struct
import tracemalloc

import numpy as np
import pytest

from voxgraft.serve.frames import pack, unpack
from voxgraft.serve.leases import Leases
from voxgraft.serve.refused import Refused, plainly

serialization = pytest.importorskip(
    "nnInteractive.inference.remote.serialization", reason="nninteractive-client is not installed"
)
MOST = 1 << 20


def arrays() -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [
        draw.normal(size=(1, 20, 21, 22)).astype(np.float32),
        (draw.random((30, 31, 32)) > 0.9).astype(np.uint8),
        np.zeros((5, 6, 7), np.uint8),
        np.ones((9, 9, 9), np.int16),
        np.asfortranarray(np.arange(60.0).reshape(3, 4, 5)),
    ]


@pytest.mark.parametrize("number", range(5))
def test_arrays_come_through_as_they_are_in_both_directions(number) -> None:
    array = arrays()[number]
    for there in (unpack(serialization.pack_array(array), MOST), serialization.unpack_array(pack(array))):
        assert there.dtype == array.dtype and np.array_equal(there, array)


def bomb(shape: tuple[int, ...], stated: int | None = None) -> bytes:
    """A few bytes that say that they are a large array of zeros."""
    head = struct.pack(f"<4sBBBB5s{len(shape)}q", b"NNIA", 1, 1, len(shape), 5, b"uint8", *shape)
    size = stated if stated is not None else min(int(np.prod(shape, dtype=object)), 2**31 - 1)
    chunk = bytearray(pack(np.zeros((8, 8, 8), np.uint8))[-32:])
    struct.pack_into("<II", chunk, 4, size, size)
    return head + struct.pack("<IQQ", 1, size, len(chunk)) + bytes(chunk)


@pytest.mark.parametrize("shape", [(1 << 10, 1 << 10, 1 << 10), (1 << 30, 1 << 30, 1 << 30), (2**31 - 1,)])
def test_a_size_bomb_is_refused_before_anything_is_reserved(shape) -> None:
    tracemalloc.start()
    with pytest.raises(Refused) as caught:
        unpack(bomb(shape), MOST)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.status == 413 and peak < MOST


def test_frames_that_lie_are_refused() -> None:
    good = serialization.pack_array(np.arange(512, dtype=np.uint8).reshape(8, 8, 8))
    start = len(good) - len(good.partition(struct.pack("<I", 1))[2]) + 16
    lies = [
        b"",
        b"NNIA",
        good[:40],
        good[:-1],
        good + b"x",
        b"XXXX" + good[4:],
        good[:4] + b"\x02" + good[5:],
        good.replace(b"uint8", b"objec"),
        good.replace(struct.pack("<q", 8), struct.pack("<q", -8), 1),
        good.replace(struct.pack("<q", 8), struct.pack("<q", 0), 1),
        bomb((4, 4, 4), stated=4096),
    ]
    for place, value in [(22, 40), (16, 200), (31, 0x08), (31, 0x40), (2, 0), (4, 1), (12, 1)]:
        lying = bytearray(good)
        lying[start + place] = value
        lies.append(bytes(lying))
    for lie in lies:
        with pytest.raises(Refused) as caught:
            unpack(lie, MOST)
        assert caught.value.status == 400
    with pytest.raises(Refused, match="8x8x8 voxels, and the image 8x8x9"):
        unpack(good, MOST, (8, 8, 9))


def test_damaged_frames_never_raise_anything_else() -> None:
    draw = random.Random(5)
    frames = [serialization.pack_array(array) for array in arrays()]
    for number in range(600):
        frame = bytearray(frames[number % len(frames)])
        for _ in range(draw.choice((1, 2, 8))):
            frame[draw.randrange(min(len(frame), 110))] = draw.randrange(256)
        try:
            unpack(bytes(frame), MOST)
        except Refused:
            continue


def test_a_lease_ends_by_two_clocks() -> None:
    now, ended = [0.0], []
    leases: Leases[str] = Leases(lambda: "work", ended.append, most=2, idle=100, liveness=10, clock=lambda: now[0])
    first, second = leases.claim(), leases.claim()
    with pytest.raises(Refused, match="all 2 places"):
        leases.claim()
    for _ in range(9):
        now[0] += 9
        leases.get(first)
    assert ended == ["work"], "the second was not heard of"
    with pytest.raises(Refused) as caught:
        leases.get(second)
    assert caught.value.status == 410
    assert leases.remaining(leases.get(first, seen=False)) == 19
    now[0] += 9
    leases.get(first, active=True)
    assert leases.remaining(leases.get(first)) == 100
    now[0] += 9
    with leases.get(first, seen=False).lock:
        now[0] += 99
        leases.sweep()
        assert len(leases) == 1, "what is being done is done to its end"
    leases.sweep()
    assert len(leases) == 0
    leases.release(first)
    leases.claim()


def test_sentences_tell_no_place_of_this_machine() -> None:
    from voxgraft.errors import BadImage, DataError

    assert plainly(DataError("/srv/patients/meier/ct.nii.gz: it is cut off")) == "ct.nii.gz: it is cut off"
    assert plainly(BadImage("/srv/meier.nii", "its 3/4 of slices lie in 'C:\\data\\x.nii'")).endswith("in 'x.nii'")
    assert plainly(DataError("a mask of 3x4 voxels (or/and more)")) == "a mask of 3x4 voxels (or/and more)"
