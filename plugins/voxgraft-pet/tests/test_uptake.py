"""What is measured of a tumour: by hand on small images, and against a plain search for the sphere."""

from __future__ import annotations

import numpy as np
import pytest

from voxgraft.plugin import Inside, Options, Quantity
from voxgraft_pet.uptake import RADIUS, Uptake, highest_mean, part_in_sphere

SPACINGS = [(4.0, 4.0, 3.27), (2.0, 2.0, 2.0), (5.47, 5.47, 3.27), (0.98, 0.98, 3.0), (10.0, 10.0, 10.0)]


def measured(values: np.ndarray, mask: np.ndarray, unit: str = "g/ml") -> dict[str, Quantity]:
    inside = Inside(values, mask, (4.0, 4.0, 2.5), 0.04, unit)
    return {quantity.name: quantity for quantity in Uptake(Options())(inside)}


def test_volume_glycolysis_maximum_and_peak() -> None:
    values = np.ones((15, 15, 15), np.float32)
    mask = np.zeros(values.shape, bool)
    mask[5:10, 5:10, 5:10] = True
    values[mask], values[7, 7, 7] = 4.0, 129.0
    found = measured(values, mask)
    assert found["MTV"].value == pytest.approx(125 * 0.04)
    assert found["TLG"].value == pytest.approx((124 * 4 + 129) * 0.04)
    assert found["SUVmax"].value == 129.0 and 4.0 < found["SUVpeak"].value < 20.0
    assert found["SUVmax"].derivation == ("56851009", "SCT", "Maximum")
    assert found["SUVpeak"].derivation == ("126031", "DCM", "Peak Value Within ROI")
    assert found["MTV"].concept == ("126032", "DCM", "Metabolic Volume") and found["MTV"].unit[0] == "mL"
    assert found["TLG"].concept == ("126033", "DCM", "Total Lesion Glycolysis") and found["TLG"].unit[0] == "g"


@pytest.mark.parametrize(
    ("unit", "name", "concept"),
    [
        ("g/ml", "SUVmax", "126401"),
        ("g/ml LBMJANMA", "SULmax", "126405"),
        ("g/ml LBMJAMES128", "SULmax", "126406"),
        ("cm2/ml BSA", "SUVbsa max", "126403"),
    ],
)
def test_each_kind_of_uptake_has_its_own_term(unit: str, name: str, concept: str) -> None:
    values, mask = np.ones((9, 9, 9), np.float32), np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    found = measured(values, mask, unit)
    assert found[name].concept is not None and found[name].concept[0] == concept


def test_the_terms_are_those_of_the_standard() -> None:
    """As pydicom's tables of PS3.16 have them."""
    from pydicom.sr.codedict import codes

    values, mask = np.ones((9, 9, 9), np.float32), np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    known = {"Metabolic Volume": codes.DCM.MetabolicVolume, "Total Lesion Glycolysis": codes.DCM.TotalLesionGlycolysis}
    known |= {
        "SUVbw": codes.DCM.Suvbw,
        "Maximum": codes.SCT.Maximum,
        "Peak Value Within ROI": codes.DCM.PeakValueWithinROI,
    }
    terms = {term for one in measured(values, mask).values() for term in (one.concept, one.derivation) if term}
    assert {meaning for _, _, meaning in terms} == set(known)
    assert all(
        known[meaning].value == value and known[meaning].scheme_designator == scheme for value, scheme, meaning in terms
    )


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_sphere_has_a_cubic_centimetre_on_any_grid(spacing: tuple[float, float, float]) -> None:
    parts = part_in_sphere(spacing)
    assert parts.sum() * np.prod(spacing) == pytest.approx(1000.0, rel=0.05)
    assert all(size % 2 for size in parts.shape) and np.array_equal(parts, parts[::-1, ::-1, ::-1])


@pytest.mark.parametrize("spacing", SPACINGS[:3])
def test_the_peak_is_the_highest_mean_of_all_spheres(spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(1)
    values, mask = rng.gamma(2.0, 2.0, (13, 12, 14)), rng.random((13, 12, 14)) < 0.2
    assert highest_mean(values, mask, spacing) == pytest.approx(searched(values, mask, spacing), rel=1e-9)


def searched(values: np.ndarray, mask: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """The same by going through every voxel of the mask and of its sphere; what leaves the scan has no mean."""
    parts = part_in_sphere(spacing)
    half = [size // 2 for size in parts.shape]
    wide = np.pad(values, [(n, n) for n in half], constant_values=np.nan)
    means = []
    for i, j, k in np.argwhere(mask):
        around = wide[tuple(slice(at, at + size) for at, size in zip((i, j, k), parts.shape, strict=True))]
        means.append(float((around[parts > 0] * parts[parts > 0]).sum() / parts.sum()))
    return float(np.nanmax(means))


def test_the_hottest_sphere_need_not_hold_the_hottest_voxel() -> None:
    values = np.ones((31, 31, 31))
    values[5, 5, 5] = 60.0
    values[15:26, 15:26, 15:26] = 8.0
    mask = values > 1
    assert highest_mean(values, mask, (2.0, 2.0, 2.0)) == pytest.approx(8.0)


def test_a_sphere_that_leaves_the_scan_or_holds_no_number_does_not_count() -> None:
    values, mask = np.full((9, 9, 9), 5.0), np.zeros((9, 9, 9), bool)
    mask[0, 4, 4] = True
    assert highest_mean(values, mask, (4.0, 4.0, 4.0)) is None
    mask[4, 4, 4] = True
    assert highest_mean(values, mask, (4.0, 4.0, 4.0)) == pytest.approx(5.0)
    values[4, 4, 5] = np.nan
    assert highest_mean(values, mask, (4.0, 4.0, 4.0)) is None
    found = measured(values.astype(np.float32), mask)
    assert "SUVpeak" not in found and found["SUVmax"].value == 5.0


def test_nothing_but_bad_voxels_has_no_uptake() -> None:
    values, mask = np.full((5, 5, 5), np.nan, np.float32), np.ones((5, 5, 5), bool)
    assert measured(values, mask) == {}


def test_the_radius_is_that_of_percist() -> None:
    assert pytest.approx(12.4, abs=0.01) == 2 * RADIUS  # millimetres; Wahl 2009: about 1.2 cm
