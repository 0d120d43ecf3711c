"""PET series as scanners write them become uptake values, or one sentence says which attribute they cannot do without.

The rules are those of QIBA's vendor-neutral pseudocode and of DICOM PS3.3: C.8.9.1 (Units, DecayCorrection, SUVType),
C.8.9.2 (doses and times), C.8.9.4 (FrameReferenceTime and slopes), C.12.1 (TimezoneOffsetFromUTC) and C.7.2.2 (weight,
size).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pet_series import DECAYED, DOSE, HALF_LIFE, HEIGHT, SLOPES, STORED, WEIGHT, Edit, dose, write_series
from pydicom.dataset import Dataset

import voxgraft as vg
from voxgraft.plugin import Catalogue, Item, read_item, scan_files, walk

FACTOR = WEIGHT * 1000 / DECAYED
START, WHOLE = "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return vg.catalogue()


def one(folder: Path, catalogue: Catalogue, **options: Any) -> tuple[Item, np.ndarray]:
    """The image in a folder, and its voxels over the stored ones: a factor, where all is well."""
    found = catalogue.with_options("reader", {"dicom": options}) if options else catalogue
    (item,) = scan_files(walk(folder), found)
    return item, read_item(item, found).array / np.where(STORED, STORED * SLOPES, 1)


def assert_factor(folder: Path, catalogue: Catalogue, factor: float, unit: str = "g/ml", **options: Any) -> None:
    item, found = one(folder, catalogue, **options)
    assert item.facts["units"] == unit and [problem.code for problem in item.problems] in (["suv"], [])
    np.testing.assert_allclose(found[STORED > 0], factor, rtol=1e-5)


def at(**changes: Any) -> Edit:
    """Change every slice so."""

    def edit(_: int, slice_: Dataset) -> None:
        for name, value in changes.items():
            setattr(slice_, name, value)

    return edit


# By what uptake is related to


@pytest.mark.parametrize(
    ("option", "unit", "size"),
    [
        ("suv", "g/ml", 72500),
        # 9270 * 72.5 / (6680 + 216 * 72.5 / 1.76^2) = 57.27 kg
        ("suv-lbm-janma", "g/ml LBMJANMA", 9270e3 * 72.5 / (6680 + 216 * 72.5 / 1.76**2)),
        # 1.10 * 72.5 - 128 * (72.5 / 176)^2 = 58.03 kg
        ("suv-lbm-james", "g/ml LBMJAMES128", 1e3 * (1.10 * 72.5 - 128 * (72.5 / 176) ** 2)),
        # 71.84 * 72.5^0.425 * 176^0.725 = 18,855 cm2
        ("suv-bsa", "cm2/ml BSA", 71.84 * 72.5**0.425 * 176**0.725),
    ],
)
def test_uptake_is_related_to_weight_lean_mass_or_surface(
    tmp_path: Path, catalogue: Catalogue, option: str, unit: str, size: float
) -> None:
    assert_factor(write_series(tmp_path), catalogue, size / DECAYED, unit, pet=option)


def test_women_have_other_formulas(tmp_path: Path, catalogue: Catalogue) -> None:
    folder = write_series(tmp_path, PatientSex="F")
    janma = 9270e3 * WEIGHT / (8780 + 244 * WEIGHT / HEIGHT**2)
    assert_factor(folder, catalogue, janma / DECAYED, "g/ml LBMJANMA", pet="suv-lbm-janma")
    james = 1e3 * (1.07 * WEIGHT - 148 * (WEIGHT / HEIGHT / 100) ** 2)
    assert_factor(folder, catalogue, james / DECAYED, "g/ml LBMJAMES128", pet="suv-lbm-james")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"PatientSize": None}, "PatientSize is missing"),
        ({"PatientSize": 176}, "PatientSize is 176"),
        ({"PatientSize": 0}, "PatientSize is 0"),
        ({"PatientSex": None}, "PatientSex is missing"),
        ({"PatientSex": "O"}, "PatientSex is O"),
    ],
)
def test_lean_mass_needs_height_and_sex(
    tmp_path: Path, catalogue: Catalogue, changes: dict[str, Any], name: str
) -> None:
    item, found = one(write_series(tmp_path, **changes), catalogue, pet="suv-lbm-janma")
    assert [problem.code for problem in item.problems] == ["no-suv"] and name in item.problems[0].message
    assert item.facts["units"] == "BQML"
    np.testing.assert_allclose(found[STORED > 0], 1.0, rtol=1e-6)


def test_a_formula_is_not_believed_where_it_ends(tmp_path: Path, catalogue: Catalogue) -> None:
    # James' parabola of a very heavy, short woman turns round: 1.07 * 300 - 148 * (300 / 150)^2 < 0.
    folder = write_series(tmp_path, PatientSex="F", PatientWeight=300, PatientSize=1.5)
    item, _ = one(folder, catalogue, pet="suv-lbm-james")
    assert "lean mass" in item.problems[0].message
    assert one(folder, catalogue, pet="suv-lbm-janma")[0].facts["units"] == "g/ml LBMJANMA"


# In which units the scanner wrote


def test_values_of_the_scanner_become_those_that_are_asked_for(tmp_path: Path, catalogue: Catalogue) -> None:
    ready = write_series(tmp_path / "bw", Units="GML", SUVType="BW")
    assert_factor(ready, catalogue, 1.0)
    lean = 9270 / (6680 + 216 * WEIGHT / HEIGHT**2)
    assert_factor(ready, catalogue, lean, "g/ml LBMJANMA", pet="suv-lbm-janma")
    surface = write_series(tmp_path / "bsa", Units="CM2ML")
    assert_factor(surface, catalogue, 1.0, "cm2/ml BSA", pet="suv-bsa")
    assert_factor(surface, catalogue, WEIGHT * 1000 / (71.84 * WEIGHT**0.425 * (HEIGHT * 100) ** 0.725), "g/ml")
    item, found = one(write_series(tmp_path / "ibw", Units="GML", SUVType="IBW"), catalogue)
    assert item.facts["units"] == "g/ml IBW" and "IBW" in item.problems[0].message
    np.testing.assert_allclose(found[STORED > 0], 1.0, rtol=1e-6)


def test_uptake_of_the_scanner_is_not_believed_of_images_without_attenuation_correction(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    item, found = one(write_series(tmp_path / "nac", Units="GML", CorrectedImage=["DECY"]), catalogue)
    assert item.facts["units"] == "GML" and "attenuation" in item.problems[0].message
    np.testing.assert_allclose(found[STORED > 0], 1.0, rtol=1e-6)
    assert_factor(write_series(tmp_path / "unsaid", Units="GML", CorrectedImage=None), catalogue, 1.0)


def philips(*others: str, creator: str = "Philips PET Private Group", **elements: object) -> Edit:
    """Write private elements of Philips, behind blocks of other makers."""

    def edit(_: int, slice_: Dataset) -> None:
        for other in others:
            slice_.private_block(0x7053, other, create=True)
        block = slice_.private_block(0x7053, creator, create=True)
        for name, value in elements.items():
            block.add_new(int(name[1:], 16), "DS", str(value))

    return edit


def test_counts_of_philips_have_factors_of_their_own(tmp_path: Path, catalogue: Catalogue) -> None:
    assert_factor(write_series(tmp_path / "a", philips(x00=0.00125, x09=0.7), Units="CNTS"), catalogue, 0.00125)
    assert_factor(write_series(tmp_path / "b", philips(x09=0.7), Units="CNTS"), catalogue, 0.7 * FACTOR)
    moved = write_series(tmp_path / "moved", philips("ANOTHER MAKER", x00=0.00125), Units="CNTS")
    assert_factor(moved, catalogue, 0.00125)
    at_injection = write_series(tmp_path / "admin", philips(x09=0.7), Units="CNTS", DecayCorrection="ADMIN")
    assert_factor(at_injection, catalogue, 0.7 * WEIGHT * 1000 / DOSE)


@pytest.mark.parametrize(
    ("edit", "changes", "name"),
    [
        (None, {}, "(7053,1000)"),
        (philips(creator="ANOTHER MAKER", x00=0.00125), {}, "(7053,1000)"),
        (philips(x00=0, x09=0), {}, "(7053,1000)"),
        (philips(x00=-1), {}, "(7053,1000)"),
        (philips(x00=0.00125), {"CorrectedImage": ["DECY"]}, "attenuation"),
        (philips(x00=0.00125), {"CorrectedImage": ["ATTN"]}, "decay"),
        (philips(x00=0.00125), {"DecayCorrection": "NONE"}, "DecayCorrection is NONE"),
        (philips(x09=0.7), {"PatientWeight": None}, "PatientWeight is missing"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_counts_without_a_factor_or_a_correction_stay_counts(
    tmp_path: Path, catalogue: Catalogue, edit: Edit | None, changes: dict[str, Any], name: str
) -> None:
    item, found = one(write_series(tmp_path, edit, Units="CNTS", **changes), catalogue)
    assert [problem.code for problem in item.problems] == ["no-suv"] and name in item.problems[0].message
    assert item.facts["units"] == "CNTS"
    np.testing.assert_allclose(found[STORED > 0], 1.0, rtol=1e-6)


# When it was injected, and when scanned


@pytest.mark.parametrize(
    ("given", "changes", "seconds"),
    [
        ({}, {}, 3600),
        ({}, {"DecayCorrection": "ADMIN"}, 0),
        ({}, {"SeriesTime": "180000"}, 3600),  # made after the scan: the first acquisition counts
        ({WHOLE: "20200101110000", START: None}, {}, 3600),
        ({WHOLE: "20200101110000.00+0100", START: None}, {"TimezoneOffsetFromUTC": "+0100"}, 3600),
        ({WHOLE: "20200101100000.00+0000", START: None}, {"TimezoneOffsetFromUTC": "+0100"}, 3600),
        ({START: "233000"}, {"SeriesTime": "003000", "AcquisitionTime": "003000"}, 3600),  # on the day before
        ({WHOLE: "20191231233000"}, {"SeriesTime": "003000", "AcquisitionTime": "003000"}, 3600),
    ],
)
def test_the_dose_decays_from_the_injection_to_the_scan(
    tmp_path: Path, catalogue: Catalogue, given: dict[str, Any], changes: dict[str, Any], seconds: float
) -> None:
    if START not in given and WHOLE in given:
        given = {**given, START: None}
    folder = write_series(tmp_path, given=dose(**given), **changes)
    assert_factor(folder, catalogue, WEIGHT * 1000 / (DOSE * 2 ** (-seconds / HALF_LIFE)))


@pytest.mark.parametrize(("creator", "seconds"), [("GEMS_PETD_01", 3000), ("ANOTHER MAKER", 3600)])
def test_general_electric_keeps_the_time_of_the_scan_elsewhere(
    tmp_path: Path, catalogue: Catalogue, creator: str, seconds: float
) -> None:
    def edit(_: int, slice_: Dataset) -> None:
        slice_.private_block(0x0009, "GEMS_IDEN_01", create=True)
        slice_.private_block(0x0009, creator, create=True).add_new(0x0D, "DT", "20200101115000.00")

    folder = write_series(tmp_path, edit, SeriesTime="180000")
    assert_factor(folder, catalogue, WEIGHT * 1000 / (DOSE * 2 ** (-seconds / HALF_LIFE)))


@pytest.mark.parametrize(
    ("reference", "duration", "seconds"),
    [
        (670.0, 120.0, 3600 - 670 + 59.9),  # an earlier bed, of ten minutes, is not in the series
        (0.0, 120.0, 3600),  # some scanners write 0: the first acquisition counts
        (670.0, None, 3600),
    ],
)
def test_the_beginning_is_worked_back_where_the_first_beds_are_missing(
    tmp_path: Path, catalogue: Catalogue, reference: float, duration: float | None, seconds: float
) -> None:
    times: dict[str, Any] = {"FrameReferenceTime": reference * 1000, "SeriesTime": "180000"}
    if duration is not None:
        times["ActualFrameDuration"] = int(duration * 1000)
    factor = WEIGHT * 1000 / (DOSE * 2 ** (-seconds / HALF_LIFE))
    assert_factor(write_series(tmp_path, **times), catalogue, factor)


# What cannot be computed is named, and nothing is guessed


@pytest.mark.parametrize(
    ("given", "changes", "name"),
    [
        ({}, {"PatientWeight": None}, "PatientWeight is missing"),
        ({}, {"PatientWeight": 0.07}, "PatientWeight is 0.07"),
        ({}, {"PatientWeight": 7000}, "PatientWeight is 7000"),
        ({}, {"PatientWeight": -70}, "PatientWeight is -70"),
        ({"RadionuclideTotalDose": None}, {}, "RadionuclideTotalDose"),
        ({"RadionuclideTotalDose": 370}, {}, "RadionuclideTotalDose is 370"),  # in MBq
        ({"RadionuclideTotalDose": -1}, {}, "RadionuclideTotalDose"),
        ({"RadionuclideHalfLife": None}, {}, "RadionuclideHalfLife"),
        ({"RadionuclideHalfLife": 109.77}, {}, "times of the injection"),  # in minutes: 33 half-lives in an hour
        ({START: None}, {}, START),
        ({START: "soon"}, {}, START),
        ({WHOLE: "20180101110000"}, {}, "times of the injection"),
        ({WHOLE: "20200101110000+0000", START: None}, {}, "zone"),
        ({}, {"DecayCorrection": "NONE"}, "DecayCorrection is NONE"),
        ({}, {"DecayCorrection": None}, "DecayCorrection is missing"),
        ({}, {"CorrectedImage": ["DECY"]}, "attenuation"),
        ({}, {"CorrectedImage": ["ATTN"]}, "decay"),
        ({}, {"Units": "PROPCPS"}, "PROPCPS"),
        ({}, {"Units": None}, "Units is missing"),
        ({}, {"SeriesDate": None, "SeriesTime": None, "AcquisitionTime": None}, "SeriesTime"),
        ({}, {"RadiopharmaceuticalInformationSequence": None}, "RadiopharmaceuticalInformationSequence"),
        ({}, {"RadiopharmaceuticalInformationSequence": [dose(), dose()]}, "several doses"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_missing_or_cannot_be_is_named_and_nothing_is_guessed(
    tmp_path: Path, catalogue: Catalogue, given: dict[str, Any], changes: dict[str, Any], name: str
) -> None:
    item, found = one(write_series(tmp_path, given=dose(**given), **changes), catalogue)
    assert [(problem.code, problem.severity) for problem in item.problems] == [("no-suv", "warning")]
    assert name in item.problems[0].message and "\n" not in item.problems[0].message
    np.testing.assert_allclose(found[STORED > 0], 1.0, rtol=1e-6)


def test_slices_of_two_patients_are_no_series(tmp_path: Path, catalogue: Catalogue) -> None:
    def edit(k: int, slice_: Dataset) -> None:
        slice_.PatientWeight = 60 + k

    item, _ = one(write_series(tmp_path, edit), catalogue)
    assert "different values of PatientWeight" in item.problems[0].message


def test_the_frames_of_a_dynamic_scan_are_parted_and_never_averaged(tmp_path: Path, catalogue: Catalogue) -> None:
    for number, time in enumerate(("120000", "121000", "122000")):

        def frame(k: int, slice_: Dataset, number: int = number, time: str = time) -> None:
            slice_.AcquisitionTime, slice_.FrameReferenceTime = time, 600000.0 * number
            slice_.InstanceNumber, slice_.RescaleSlope = 4 * number + k + 1, float(SLOPES[k]) * (number + 1)

        write_series(tmp_path, frame)
    (item,) = scan_files(walk(tmp_path), catalogue)
    assert item.channels == 3 and "channels" in [problem.code for problem in item.problems]
    array = read_item(item, catalogue).array
    for number in range(3):  # all are corrected to the beginning of the first: one factor
        np.testing.assert_allclose(array[number], STORED * SLOPES * (number + 1) * FACTOR, rtol=1e-5)


def test_two_times_in_one_place_without_a_word_of_them_are_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(2):

        def twice(k: int, slice_: Dataset, number: int = number) -> None:
            slice_.RescaleSlope, slice_.InstanceNumber = float(1 + number), k + 1

        write_series(tmp_path, twice)
    (item,) = scan_files(walk(tmp_path), catalogue)
    assert item.errors
    with pytest.raises(vg.VoxGraftError):
        read_item(item, catalogue)
