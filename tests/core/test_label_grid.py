"""Masks on another grid: one pass gives voxel by voxel what interpolating each class by itself gives, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxgraft.imaging import label_grid, resample
from voxgraft.imaging.label_grid import strongest
from voxgraft.imaging.resample import class_by_class, resample_labels

LEFT_OUT = 254


def labels_of(kind: str, shape: tuple[int, ...], classes: int, seed: int) -> np.ndarray:
    """Noise, blocks of equal voxels, or balls in a background."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, classes, shape).astype(np.uint8)
    if kind == "blocks":
        small = rng.integers(0, classes, [-(-n // 3) for n in shape]).astype(np.uint8)
        return np.kron(small, np.ones([3] * len(shape), np.uint8))[tuple(slice(0, n) for n in shape)]
    where, result = np.ogrid[tuple(slice(0, n) for n in shape)], np.zeros(shape, np.uint8)
    for value in range(1, classes):
        centre, radius = rng.uniform(0, 1, 3), rng.uniform(1, 8)
        result[sum((x - c * n) ** 2 for x, c, n in zip(where, centre, shape, strict=False)) < radius**2] = value
    return result


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["noise", "blocks", "balls"]),
    classes=st.sampled_from([1, 2, 5, 40, 200]),
    source=st.tuples(*[st.integers(1, 24)] * 3),
    target=st.tuples(*[st.integers(1, 40)] * 3),
    kept=st.integers(0, 2),
    left_out=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_one_pass_gives_what_each_class_by_itself_gives(
    kind: str,
    classes: int,
    source: tuple[int, ...],
    target: tuple[int, ...],
    kept: int,
    left_out: bool,
    seed: int,
) -> None:
    target = source[:kept] + target[kept:]
    labels = labels_of(kind, source, classes, seed)
    if left_out:
        labels[np.random.default_rng(seed).random(source) < 0.1] = LEFT_OUT
    wanted = class_by_class(labels, target, [*range(classes), *([LEFT_OUT] if left_out else [])])
    found = resample_labels(labels, target, classes, LEFT_OUT if left_out else None)
    assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
    assert strongest(labels, target) is not None  # it was one pass


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0, 1.5])
def test_ties_fall_as_before(factor: float) -> None:
    """Halves and thirds of a voxel: shares are equal in whole planes."""
    labels = labels_of("noise", (12, 10, 8), 3, 5)
    shape = tuple(round(n * factor) for n in labels.shape)
    assert np.array_equal(resample_labels(labels, shape, 3), class_by_class(labels, shape, range(3)))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 6.0), (0.4, 3.0, 1.1)])
def test_anisotropic_grids_and_many_rows(spacing: tuple[float, ...]) -> None:
    """Longer axes than the chunks that are weighed together, and voxels of other shapes."""
    labels = labels_of("balls", (61, 57, 33), 41, 2)
    shape = tuple(max(1, round(n * step)) for n, step in zip(labels.shape, spacing, strict=True))
    assert np.array_equal(resample_labels(labels, shape, 41), class_by_class(labels, shape, range(41)))


def test_values_that_are_no_class_and_images_of_two_axes_are_done_class_by_class() -> None:
    labels = labels_of("noise", (9, 8, 7), 6, 1)
    assert np.array_equal(resample_labels(labels, (13, 5, 9), 4), class_by_class(labels, (13, 5, 9), range(4)))
    flat = labels_of("noise", (19, 18), 6, 1)
    assert np.array_equal(resample_labels(flat, (33, 11), 6), class_by_class(flat, (33, 11), range(6)))


def test_a_processor_that_rounds_otherwise_gets_the_same_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = labels_of("noise", (9, 8, 7), 6, 1)
    wanted = resample_labels(labels, (13, 5, 9), 6)
    monkeypatch.setattr(label_grid, "_fused", lambda axes: None)
    assert np.array_equal(resample.resample_labels(labels, (13, 5, 9), 6), wanted)
