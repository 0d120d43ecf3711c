"""Metrics agree with independent implementations: surface-distance, MONAI, SciPy, and MedPy where it is installed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mask_pairs import blobs, noise, pair_of
from voxgraft.components.choice import choose
from voxgraft.scoring.metric import Metric
from voxgraft.scoring.pair import MaskPair, find_lesions
from voxgraft.scoring.surface import area_distances, label_surface_distances, surface, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.8, 3.0), (5.0, 1.2, 0.4)]


@pytest.fixture(scope="module")
def metric(catalogue: Any) -> Any:
    def make(name: str, **options: Any) -> Metric:
        return choose(catalogue, "metric", {"use": name, **options}).build()

    return make


def cubes(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes that do not touch."""
    one, other = np.zeros(shape, bool), np.zeros(shape, bool)
    one[tuple(slice(1, 2 + n // 4) for n in shape)] = True
    other[tuple(slice(n - 3 - seed % 3, n - 1) for n in shape)] = True
    return one, other


MAKES = [blobs, noise, cubes]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [*(((18, 16, 14), spacing) for spacing in SPACINGS), ((30, 26), (1.0, 1.0)), ((30, 26), (0.4, 2.5))],
)
def test_surfaces_by_area_are_those_of_surface_distance(metric, make, shape, spacing) -> None:
    peer = pytest.importorskip("surface_distance", reason="surface-distance is in the extra `dev`")
    prediction, reference = make(4, shape)
    theirs = peer.compute_surface_distances(reference, prediction, spacing)
    pair = pair_of(prediction, reference, spacing)
    found = pair.areas
    assert found is not None
    for mine, sizes, name in (
        (found.prediction, found.prediction_sizes, "pred"),
        (found.reference, found.reference_sizes, "gt"),
    ):
        distances = theirs["distances_pred_to_gt" if name == "pred" else "distances_gt_to_pred"]
        assert np.allclose(np.sort(mine), distances, atol=1e-5)
        assert sizes is not None and np.isclose(sizes.sum(), theirs[f"surfel_areas_{name}"].sum())
    by_area = {"surface": "area"}
    for tolerance in (0.5, 1.05, 3.0):
        expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert metric("nsd", tolerance=tolerance, **by_area)(pair) == pytest.approx(expected, abs=1e-6)
    assert metric("hd95", **by_area)(pair) == pytest.approx(peer.compute_robust_hausdorff(theirs, 95), abs=1e-5)
    assert metric("hd", **by_area)(pair) == pytest.approx(peer.compute_robust_hausdorff(theirs, 100), abs=1e-5)
    expected = np.mean(peer.compute_average_surface_distance(theirs))
    assert metric("assd", pooled=False, **by_area)(pair) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_surfaces_by_voxel_are_those_of_scipys_distance_transform(metric, make, spacing) -> None:
    from scipy.ndimage import binary_erosion, distance_transform_edt

    masks = make(9, (17, 15, 13))
    edges = [mask & ~binary_erosion(mask) for mask in masks]
    far = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    one, other = far[1][edges[0]], far[0][edges[1]]
    pair, both = pair_of(*masks, spacing), np.concatenate([one, other])
    assert metric("hd95")(pair) == pytest.approx(max(np.percentile(one, 95), np.percentile(other, 95)), abs=1e-5)
    assert metric("hd95", pooled=True)(pair) == pytest.approx(np.percentile(both, 95), abs=1e-5)
    assert metric("hd")(pair) == pytest.approx(both.max(), abs=1e-5)
    assert metric("assd")(pair) == pytest.approx(both.mean(), abs=1e-5)
    assert metric("assd", pooled=False)(pair) == pytest.approx((one.mean() + other.mean()) / 2, abs=1e-5)
    assert metric("nsd", tolerance=1.55)(pair) == pytest.approx((both <= 1.5501).mean())


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_pooled_hd95_is_medpys(metric, make, spacing) -> None:
    binary = pytest.importorskip("medpy.metric.binary", reason="MedPy (GPL) is not among the extras")
    prediction, reference = make(5, (17, 15, 13))
    pair = pair_of(prediction, reference, spacing)
    assert metric("hd95", pooled=True)(pair) == pytest.approx(binary.hd95(prediction, reference, spacing), abs=1e-5)
    assert metric("assd")(pair) == pytest.approx(binary.assd(prediction, reference, spacing), abs=1e-5)
    assert metric("dice")(pair) == pytest.approx(binary.dc(prediction, reference))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9, 0.9, 4.0)])
def test_many_structures_at_once_are_each_by_itself(spacing) -> None:
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(2)
    fields = np.stack([gaussian_filter(generator.standard_normal((26, 24, 22)), 3) for _ in range(7)])
    reference = fields.argmax(0).astype(np.uint8)
    prediction = np.roll(reference, (1, -2, 1), (0, 1, 2))
    prediction[generator.random(prediction.shape) < 0.02] = 3
    prediction[prediction == 6] = 0
    together = label_surface_distances(prediction, reference, spacing)
    assert set(together) == {1, 2, 3, 4, 5}
    for turn in (np.ascontiguousarray, np.asfortranarray):
        for value, found in label_surface_distances(turn(prediction), turn(reference), spacing).items():
            alone = surface_distances(prediction == value, reference == value, spacing)
            assert np.allclose(np.sort(found.prediction), np.sort(alone.prediction))
            assert np.allclose(np.sort(found.reference), np.sort(alone.reference))
            assert len(found.prediction) == surface(prediction == value).sum()


@settings(max_examples=60, deadline=None)
@given(
    prediction=arrays(bool, st.tuples(*[st.integers(1, 7)] * 3) | st.tuples(*[st.integers(1, 9)] * 2)),
    data=st.data(),
    spacing=st.tuples(*[st.floats(0.1, 9.0)] * 3),
)
def test_distances_are_those_of_every_pair_of_voxels(prediction, data, spacing) -> None:
    reference = data.draw(arrays(bool, prediction.shape))
    assume(prediction.any() and reference.any())
    steps = np.array(spacing[: prediction.ndim])
    ends = [np.argwhere(surface(mask)) * steps for mask in (prediction, reference)]
    apart = np.linalg.norm(ends[0][:, None] - ends[1][None], axis=-1)
    found = surface_distances(prediction, reference, spacing[: prediction.ndim])
    assert np.allclose(np.sort(found.prediction), np.sort(apart.min(1)), rtol=1e-5, atol=1e-6)
    assert np.allclose(np.sort(found.reference), np.sort(apart.min(0)), rtol=1e-5, atol=1e-6)


def test_distances_far_apart_are_right_whichever_way_they_are_found(monkeypatch) -> None:
    from voxgraft.scoring import surface as module

    one, other = cubes(1, (40, 44, 36))
    one[20:24, 20, 20] = True
    ways = []
    for query in (0.0, 1e9):
        monkeypatch.setattr(module, "QUERY", query)
        ways.append(surface_distances(one, other, (0.8, 1.1, 2.5)))
    assert np.allclose(ways[0].prediction, ways[1].prediction, rtol=1e-5)
    assert np.allclose(ways[0].reference, ways[1].reference, rtol=1e-5)


def test_the_area_of_a_ball_is_its_area() -> None:
    """Within what marching cubes on yes and no overrates slanting surfaces by, about a tenth."""
    spacing = (1.0, 0.8, 1.6)
    place = [(np.arange(n) - n / 2 + 0.5) * step for n, step in zip((70, 90, 50), spacing, strict=True)]
    ball = sum(axis**2 for axis in np.meshgrid(*place, indexing="ij")) < 25.0**2
    found = area_distances(ball, ball, spacing)
    assert found.prediction_sizes is not None
    assert found.prediction_sizes.sum() == pytest.approx(4 * math.pi * 25**2, rel=0.15)
    assert not found.prediction.any()


@pytest.mark.parametrize(("connectivity", "number"), [(6, 3), (18, 2), (26, 1)])
def test_lesions_are_counted_by_their_connectivity(metric, connectivity, number) -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[1, 1, 1] = mask[2, 2, 1] = mask[3, 3, 2] = True
    lesions = find_lesions(mask, mask, (1.0, 1.0, 1.0), connectivity)
    assert len(lesions.predicted) == len(lesions.referred) == number
    assert metric("lesion-f1", connectivity=connectivity)(pair_of(mask, mask, (1.0, 1.0, 1.0))) == 1.0


class TestLesions:
    """Reference: lesions of 8, 8, 1, 1 voxels; prediction: one over the first two, one over the third, a false one."""

    spacing = (2.0, 1.0, 1.0)

    @pytest.fixture
    def pair(self) -> MaskPair:
        reference, prediction = np.zeros((20, 12, 12), bool), np.zeros((20, 12, 12), bool)
        reference[1:3, 1:3, 1:3] = reference[5:7, 1:3, 1:3] = True
        reference[12, 6, 6] = reference[18, 10, 10] = True
        prediction[1:7, 1:3, 1:3] = True
        prediction[12, 6, 6:8] = True
        prediction[15:17, 1:3, 1:3] = True
        return pair_of(prediction, reference, self.spacing)

    @pytest.mark.parametrize(
        ("options", "precision", "recall"),
        [
            ({}, 2 / 3, 3 / 4),
            ({"iou": 0.3}, 2 / 3, 2 / 4),
            ({"iou": 0.4}, 1 / 3, 1 / 4),
            ({"iou": 0.5}, 1 / 3, 1 / 4),
            ({"iou": 0.6}, 0.0, 0.0),
            ({"smallest": 2.0}, 2 / 3, 3 / 4),
            ({"smallest": 2.1}, 1 / 3, 1.0),
            ({"smallest": 5.0}, 1 / 2, 1.0),
            ({"smallest": 1000.0}, math.nan, math.nan),
        ],
    )
    def test_the_rules_of_matching_are_those_of_the_documentation(
        self, metric, pair, options, precision, recall
    ) -> None:
        assert metric("lesion-precision", **options)(pair) == pytest.approx(precision, nan_ok=True)
        assert metric("lesion-recall", **options)(pair) == pytest.approx(recall, nan_ok=True)
        together = 0.0 if precision == 0 else 2 * precision * recall / (precision + recall)
        assert metric("lesion-f1", **options)(pair) == pytest.approx(together, nan_ok=True)

    def test_images_of_two_axes_have_their_own_neighbours(self, metric) -> None:
        mask = np.eye(6, dtype=bool)
        for connectivity, number in ((4, 6), (8, 1), (6, 6), (26, 1)):
            assert len(find_lesions(mask, mask, (1.0, 1.0), connectivity).referred) == number

    def test_a_connectivity_that_three_axes_do_not_have_is_refused(self, metric, pair) -> None:
        from voxgraft.errors import DataError

        with pytest.raises(DataError, match="3 axes have no connectivity 8"):
            metric("lesion-f1", connectivity=8)(pair)

    def test_numbers_of_lesions_are_scipys(self) -> None:
        from scipy.ndimage import label

        mask = noise(3, (12, 11, 10))[0]
        expected = label(mask, np.ones((3, 3, 3)))[1]
        assert len(find_lesions(mask, mask, (1.0, 1.0, 1.0)).referred) == expected


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 2 / 3), (2.0, 5 / 9), (0.5, 5 / 6)])
def test_f_beta_is_the_textbooks(metric, beta, expected) -> None:
    """Precision 1, recall 1/2."""
    reference = np.zeros((4, 4), bool)
    reference[:2] = True
    prediction = reference.copy()
    prediction[1] = False
    assert metric("f-beta", beta=beta)(pair_of(prediction, reference, (1.0, 1.0))) == pytest.approx(expected)


def test_the_relative_difference_of_volumes_keeps_its_sign_when_asked(metric) -> None:
    reference, prediction = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    reference[:2], prediction[:1] = True, True
    pair = pair_of(prediction, reference, (1.0, 2.0))
    assert metric("relative-volume-difference")(pair) == 0.5
    assert metric("relative-volume-difference", signed=True)(pair) == -0.5
    assert metric("relative-volume-difference", signed=True)(pair_of(reference, prediction, (1.0, 2.0))) == 1.0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("f-beta", {"beta": 0}),
        ("lesion-f1", {"connectivity": 7}),
        ("lesion-f1", {"iou": 1.5}),
        ("lesion-f1", {"smallest": -1}),
        ("hd95", {"surface": "mesh"}),
        ("ece", {"bins": 1}),
        ("ece", {"margin": math.nan}),
    ],
)
def test_absurd_options_are_refused(metric, name, options) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        metric(name, **options)


@settings(max_examples=30, deadline=None)
@given(masks=arrays(bool, (3, 5, 5, 5)), spacing=st.tuples(*[st.floats(0.3, 4.0)] * 3))
def test_the_hausdorff_distance_keeps_the_triangle_inequality(metric, masks, spacing) -> None:
    assume(all(surface(mask).any() for mask in masks))
    hd = metric("hd")
    one, two, three = (hd(pair_of(masks[a], masks[b], spacing)) for a, b in ((0, 1), (1, 2), (0, 2)))
    assert three <= one + two + 1e-5
