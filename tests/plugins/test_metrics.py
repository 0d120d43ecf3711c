"""Metrics agree with hand-made numbers, with MONAI, with SciPy, and with what docs/metrics.md says of them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mask_pairs import blobs, noise, pair_of
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import BrokenPlugin, DataError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Volume
from voxgraft.scoring.case import score_case
from voxgraft.scoring.metric import Metric
from voxgraft.scoring.pair import Counts, MaskPair
from voxgraft.scoring.surface import surface

DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
NAMES = (
    *("dice", "iou", "accuracy", "precision", "recall", "specificity", "f-beta"),
    *("volume-difference", "relative-volume-difference", "hd95", "hd", "assd", "nsd"),
    *("lesion-precision", "lesion-recall", "lesion-f1"),
)
OVERLAP = (
    *("dice", "iou", "accuracy", "precision", "recall", "specificity", "nsd", "f-beta"),
    *("lesion-precision", "lesion-recall", "lesion-f1"),
)


@pytest.fixture(scope="module")
def metrics(catalogue: Catalogue) -> dict[str, Metric]:
    return {name: choose(catalogue, "metric", {"use": name}).build() for name in NAMES}


def cube(start: tuple[int, ...], size: int = 4, shape: tuple[int, ...] = (10, 10, 10)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + size) for s in start)] = True
    return mask


def rows(heading: str, columns: int) -> list[list[str]]:
    """The body of the first table of so many columns under a heading of the document."""
    section = DOCUMENT.split(f"# {heading}\n", 1)[1]
    table = re.search(rf"(?:^\|(?:[^|\n]*\|){{{columns}}}\n)+", section, re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def test_every_metric_is_offered_and_documented(catalogue: Catalogue) -> None:
    cards = {spec.name: spec for _, spec in catalogue.of("metric")}
    documented = {name: (unit, better) for name, _, unit, better in rows("Definitions", 4)}
    assert set(documented) == {*NAMES, "ece"} <= set(cards)
    for name, (unit, better) in documented.items():
        assert (cards[name].unit, cards[name].higher_is_better) == (unit, better == "higher"), name


def test_the_example_in_the_documentation_is_what_comes_out(metrics) -> None:
    pair = pair_of(cube((4, 3, 3)), cube((3, 3, 3)), (2.0, 1.0, 1.0))
    assert pair.counts == Counts(tp=48, fp=16, fn=16, tn=920)
    documented = dict(rows("An example", 2))
    assert {name: f"{metric(pair):.4f}" for name, metric in metrics.items()} == documented


@pytest.mark.parametrize("column", ["both", "prediction", "reference"])
def test_the_rules_for_empty_structures_are_those_of_the_documentation(metrics, column) -> None:
    nothing, there = np.zeros((10, 10, 10), bool), cube((3, 3, 3))
    prediction = nothing if column in ("both", "prediction") else there
    reference = nothing if column in ("both", "reference") else there
    words = {
        "undefined": math.nan,
        "0": 0.0,
        "1": 1.0,
        "(TP + TN) / all": 936 / 1000,
        "TN / (TN + FP)": 936 / 1000,
        "volume of the reference": 0.064 * 2,
        "volume of the prediction": 0.064 * 2,
    }
    place = ["both", "prediction", "reference"].index(column) + 1
    documented = {row[0]: words[row[place]] for row in rows("Empty structures", 4)}
    pair = pair_of(prediction, reference, (2.0, 1.0, 1.0))
    assert {name: metric(pair) for name, metric in metrics.items()} == pytest.approx(documented, nan_ok=True)
    assert all(mask.ndim == 3 for mask in pair.masks())


def test_specificity_of_an_image_that_is_all_structure_is_undefined(metrics) -> None:
    full = np.ones((3, 3, 3), bool)
    assert math.isnan(metrics["specificity"](pair_of(full, full)))
    assert metrics["dice"](pair_of(full, full)) == 1.0


def test_a_volume_in_millilitres_needs_three_axes(metrics) -> None:
    flat = pair_of(cube((1, 1), 3, (6, 6)), np.zeros((6, 6)), (0.5, 0.5))
    assert math.isnan(metrics["volume-difference"](flat))
    solid = pair_of(cube((1, 1, 1)), cube((1, 1, 1), 2), (0.5, 2.0, 5.0))
    assert metrics["volume-difference"](solid) == pytest.approx((64 - 8) * 5.0 / 1000)


masks = arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)) | arrays(bool, st.tuples(*[st.integers(1, 8)] * 2))


@settings(max_examples=60, deadline=None)
@given(prediction=masks, data=st.data())
def test_overlap_obeys_its_laws(metrics, prediction, data) -> None:
    reference = data.draw(arrays(bool, prediction.shape))
    pair, turned = pair_of(prediction, reference), pair_of(reference, prediction)
    found = {name: metric(pair) for name, metric in metrics.items()}
    for name in OVERLAP:
        assert math.isnan(found[name]) or 0 <= found[name] <= 1, name
    for name in ("dice", "iou", "accuracy", "volume-difference", "hd95", "hd", "assd", "nsd", "lesion-f1"):
        assert found[name] == pytest.approx(metrics[name](turned), nan_ok=True), name
    for one, other in (("precision", "recall"), ("lesion-precision", "lesion-recall")):
        assert found[one] == pytest.approx(metrics[other](turned), nan_ok=True)
    if not math.isnan(found["iou"]):
        assert found["dice"] == pytest.approx(2 * found["iou"] / (1 + found["iou"]))
        assert (found["dice"] == 1.0) == bool((prediction == reference).all())
    if not math.isnan(found["hd"]):
        assert 0 <= found["assd"] <= found["hd"] and found["hd95"] <= found["hd"]
        assert (found["hd"] == 0) == bool((surface(prediction) == surface(reference)).all())


@settings(max_examples=40, deadline=None)
@given(prediction=masks, data=st.data())
def test_turning_both_masks_over_changes_nothing(metrics, prediction, data) -> None:
    reference = data.draw(arrays(bool, prediction.shape))
    axis = data.draw(st.integers(0, prediction.ndim - 1))
    spacing = (0.7, 1.3, 4.0)[: prediction.ndim]
    pair = pair_of(prediction, reference, spacing)
    flipped = pair_of(np.flip(prediction, axis), np.flip(reference, axis), spacing)
    swapped = pair_of(prediction.T, reference.T, spacing[::-1])
    for name, metric in metrics.items():
        assert metric(pair) == pytest.approx(metric(flipped), nan_ok=True), name
        assert metric(pair) == pytest.approx(metric(swapped), nan_ok=True), name


@pytest.mark.parametrize("make", [blobs, noise])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((24, 20, 22), (1.0, 1.0, 1.0)),
        ((24, 20, 14), (0.7, 0.8, 3.0)),
        ((14, 20, 24), (5.0, 1.2, 0.4)),
        ((40, 36), (1.0, 1.0)),
        ((40, 36), (0.4, 2.5)),
    ],
)
def test_surface_metrics_agree_with_monai(metrics, catalogue, make, shape, spacing) -> None:
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    prediction, reference = make(7, shape)
    batch = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
    same = {"include_background": True, "spacing": spacing}
    theirs = {
        "hd95": compute_hausdorff_distance(*batch, percentile=95, **same),
        "hd": compute_hausdorff_distance(*batch, **same),
        "assd": compute_average_surface_distance(*batch, symmetric=True, **same),
        "nsd": compute_surface_dice(*batch, [1.05], **same),
    }
    ours = {**metrics, "nsd": choose(catalogue, "metric", {"use": "nsd", "tolerance": 1.05}).build()}
    pair = pair_of(prediction, reference, spacing)
    for name, value in theirs.items():
        assert ours[name](pair) == pytest.approx(float(value), abs=1e-4), name


@pytest.mark.parametrize("make", [blobs, noise])
def test_surface_distances_agree_with_a_distance_transform_of_the_whole_image(make) -> None:
    from scipy.ndimage import binary_erosion, distance_transform_edt

    spacing = (0.7, 1.1, 2.5)
    prediction, reference = make(3, (20, 18, 12))
    edges = [mask & ~binary_erosion(mask) for mask in (prediction, reference)]
    far = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    surfaces = pair_of(prediction, reference, spacing).surfaces
    assert surfaces is not None
    assert np.allclose(np.sort(surfaces.prediction), np.sort(far[1][edges[0]]), atol=1e-5)
    assert np.allclose(np.sort(surfaces.reference), np.sort(far[0][edges[1]]), atol=1e-5)


def test_beyond_the_array_is_outside() -> None:
    solid = np.ones((4, 5, 6), bool)
    assert surface(solid).sum() == 4 * 5 * 6 - 2 * 3 * 4 and not surface(solid)[1:-1, 1:-1, 1:-1].any()
    assert surface(np.ones((1, 3), bool)).all()


def test_concentric_spheres_are_apart_by_the_difference_of_their_radii(metrics) -> None:
    spacing = (1.0, 1.0, 2.0)
    place = np.indices((64, 64, 32)) * np.array(spacing)[:, None, None, None]
    radius = np.sqrt(((place - np.array([31.5, 31.5, 31.0])[:, None, None, None]) ** 2).sum(0))
    pair = pair_of(radius < 25, radius < 20, spacing)
    for name, slack in (("assd", 0.5), ("hd95", 1.2), ("hd", 2.0)):
        assert metrics[name](pair) == pytest.approx(5.0, abs=slack), name
    assert metrics["dice"](pair) == pytest.approx(2 * 20**3 / (20**3 + 25**3), abs=0.01)
    assert metrics["nsd"](pair) == 0.0


def test_one_far_speck_moves_the_hausdorff_distance_but_not_its_percentile(metrics) -> None:
    prediction, reference = cube((2, 2, 2), 8, (40, 12, 12)), cube((2, 2, 2), 8, (40, 12, 12))
    prediction[38, 5, 5] = True
    pair = pair_of(prediction, reference, (1.5, 1.0, 1.0))
    assert metrics["hd"](pair) == pytest.approx((38 - 9) * 1.5)
    assert metrics["hd95"](pair) == 0.0


@pytest.mark.parametrize("step", [0.3, 0.7, 1.1, 2.3])
def test_a_distance_of_just_the_tolerance_is_within_it(catalogue, step) -> None:
    pair = pair_of(cube((4, 3, 3)), cube((3, 3, 3)), (step, step, step))
    within = choose(catalogue, "metric", {"use": "nsd", "tolerance": step}).build()
    below = choose(catalogue, "metric", {"use": "nsd", "tolerance": step * 0.99}).build()
    assert within(pair) == 1.0 and below(pair) == pytest.approx(36 / 56)


@pytest.mark.parametrize("tolerance", [-1, "wide", float("nan"), float("inf")])
def test_an_absurd_tolerance_is_refused(catalogue, tolerance) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="tolerance"):
        choose(catalogue, "metric", {"use": "nsd", "tolerance": tolerance})


def test_the_distances_are_measured_once_for_all_metrics(metrics) -> None:
    calls = []
    masks = (cube((4, 3, 3)), cube((3, 3, 3)))
    pair = MaskPair(Counts(48, 16, 16, 920), (1.0, 1.0, 1.0), lambda: calls.append(1) or masks)
    assert [metrics[name](pair) for name in ("hd95", "hd", "nsd")] == [1.0, 1.0, 1.0]
    assert len(calls) == 1


def test_metrics_of_counts_never_ask_for_masks(metrics) -> None:
    def refuse() -> Any:
        raise AssertionError("no metric of counts needs masks")

    pair = MaskPair(Counts(1, 1, 1, 7), (1.0, 1.0, 1.0), refuse)
    assert [metrics[name](pair) for name in NAMES[:4]] == [0.5, pytest.approx(1 / 3), 0.8, 0.5]


class TestAMetricOfAnotherPlugin:
    """What a metric from outside may do wrong is charged to its plugin."""

    volume = Volume(cube((3, 3, 3)).astype(np.uint8), np.eye(4))

    def score(self, function: Any) -> float:
        from voxgraft import MetricSpec
        from voxgraft.components.choice import Options, Selected

        card = MetricSpec(
            name="odd", summary="", higher_is_better=True, options=lambda: Options, build=lambda _: function
        )
        chosen = Selected(card, Options(), "odd-plugin")
        return score_case(self.volume, self.volume, Labels.of({"a": 1}), [chosen])["odd"]["a"]

    def test_a_failure_names_the_plugin(self) -> None:
        with pytest.raises(BrokenPlugin, match=r"odd-plugin.*computing the metric 'odd'.*ZeroDivisionError"):
            self.score(lambda pair: 1 / 0)

    def test_no_number_is_a_failure(self) -> None:
        with pytest.raises(BrokenPlugin, match="odd-plugin"):
            self.score(lambda pair: None)

    def test_infinity_counts_as_undefined(self) -> None:
        assert math.isnan(self.score(lambda pair: math.inf))

    def test_what_it_says_to_the_user_is_kept(self) -> None:
        def refuse(pair: MaskPair) -> float:
            raise DataError("this metric needs three axes")

        with pytest.raises(DataError, match="needs three axes"):
            self.score(refuse)
