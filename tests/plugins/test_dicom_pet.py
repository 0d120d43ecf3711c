"""PET in standardised uptake values: computed by hand here, and left alone by name where something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_series import make_series
from voxgraft.imaging.volume import Item
from voxgraft_dicom.reader.options import DicomOptions
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.random.default_rng(0).integers(0, 30000, (7, 6, 5)).astype(np.int16)
AFFINE = np.diag([-4.0, -4.0, 3.0, 1.0])
DOSE, HALF_LIFE, WEIGHT = 370e6, 6586.2, 72.5
ZIRCONIUM = 282276.0
START, STARTED, ZONE = "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime", "TimezoneOffsetFromUTC"


def dose(**changes: Any) -> Dataset:
    item = Dataset()
    item.RadiopharmaceuticalStartTime = "110000.00"
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = DOSE, HALF_LIFE
    for name, value in changes.items():
        if value is None:
            delattr(item, name)
        else:
            setattr(item, name, value)
    return item


def series(folder: Path, given: Dataset | None = None, edit: Any = None, **changes: Any) -> list[Path]:
    """Scanned at 12:00 and later; slice k has the slope 0.5 + k."""

    def scaled(k: int, slice_: Dataset) -> None:
        slice_.RescaleSlope = 0.5 + k
        slice_.AcquisitionTime = f"12{k:02d}00"
        if edit is not None:
            edit(k, slice_)

    values: dict[str, Any] = {
        "Modality": "PT",
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "PatientWeight": WEIGHT,
        "SeriesDate": "20200101",
        "SeriesTime": "120000",
        "AcquisitionDate": "20200101",
        "RadiopharmaceuticalInformationSequence": [given or dose()],
    }
    return make_series(folder, ARRAY, AFFINE, edit=scaled, **{**values, **changes})


def scan(files: list[Path], **options: Any) -> Item:
    (item,) = DicomReader(DicomOptions(**options)).scan(files)
    return item


def in_file() -> Any:
    return ARRAY * (0.5 + np.arange(5))


def assert_suv(files: list[Path], factor: float) -> Item:
    item = scan(files)
    assert [(one.code, one.severity) for one in item.problems] == [("suv", "repair")], item.problems
    volume = DicomReader().read(item)
    np.testing.assert_allclose(volume.array, in_file() * factor, rtol=1e-6)
    assert volume.array.dtype == np.float32 and item.facts["units"] == "g/ml"
    return item


def test_the_dose_decays_until_the_scan_begins(tmp_path: Path) -> None:
    # 370 MBq at 11:00 are 370 * 2^(-3600 / 6586.2) = 253.3 MBq at 12:00; 72.5 kg are 72500 g.
    factor = 72500 / (370e6 * 2 ** (-3600 / 6586.2))
    assert factor == pytest.approx(2.8622e-4, rel=1e-4)
    assert_suv(series(tmp_path), factor)


def test_a_dose_corrected_to_the_injection_does_not_decay(tmp_path: Path) -> None:
    assert_suv(series(tmp_path, DecayCorrection="ADMIN"), 72500 / 370e6)


def test_a_series_made_after_the_scan_counts_from_the_first_acquisition(tmp_path: Path) -> None:
    assert_suv(series(tmp_path, SeriesTime="173000"), 72500 / (370e6 * 2 ** (-3600 / 6586.2)))


def test_an_injection_before_midnight_was_on_the_day_before(tmp_path: Path) -> None:
    given = dose(RadiopharmaceuticalStartTime="233000")

    def early(k: int, slice_: Dataset) -> None:
        slice_.AcquisitionTime = f"00{30 + k:02d}00"

    assert_suv(series(tmp_path, given, early, SeriesTime="003000"), 72500 / (370e6 * 2 ** (-3600 / 6586.2)))
    whole = dose(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20191231233000.00")
    assert_suv(series(tmp_path / "w", whole, early, SeriesTime="003000"), 72500 / (370e6 * 2 ** (-3600 / 6586.2)))


@pytest.mark.parametrize(
    ("given", "changes", "seconds"),
    [
        ({STARTED: "20200101110000.00+0100", START: None}, {ZONE: "+0100"}, 3600),
        ({STARTED: "20200101100000.00+0000", START: None}, {ZONE: "+0100"}, 3600),
        ({STARTED: "20200101100000.00+0000"}, {ZONE: "+0100"}, 3600),
        ({STARTED: "20200101160000.00+0000", START: None}, {ZONE: "-0500"}, 3600),
        ({STARTED: "20200101110000", START: None}, {ZONE: "-0500"}, 3600),
        ({STARTED: "20200101110000.00+0100"}, {}, 3600),  # the clock of the scanner gives the zone
        ({STARTED: "20200101"}, {}, 3600),
        ({START: "1100"}, {}, 3600),
        ({START: "110000.500000"}, {}, 3599.5),
        ({START: "12:00:30"}, {}, -30),  # in a dynamic scan that had begun
        ({STARTED: "20200101120030", START: None}, {}, -30),
        ({STARTED: "20200101000000", START: None}, {}, 12 * 3600),
    ],
)
def test_the_time_since_the_injection_is_that_of_the_header(
    tmp_path: Path, given: dict[str, Any], changes: dict[str, Any], seconds: float
) -> None:
    assert_suv(series(tmp_path, dose(**given), **changes), 72500 / (370e6 * 2 ** (-seconds / 6586.2)))


def test_a_dynamic_scan_over_midnight_has_one_factor(tmp_path: Path) -> None:
    def late(k: int, slice_: Dataset) -> None:
        slice_.AcquisitionDate = "20200101" if k < 2 else "20200102"
        slice_.AcquisitionTime = ("235950", "235955", "000000", "000020", "000100")[k]

    given = dose(RadiopharmaceuticalStartTime="000010")
    assert_suv(series(tmp_path, given, late, SeriesTime="235950"), 72500 / (370e6 * 2 ** (20 / 6586.2)))


def test_a_long_lived_tracer_may_be_given_days_before(tmp_path: Path) -> None:
    given = dose(RadiopharmaceuticalStartDateTime="20191227110000", RadionuclideHalfLife=ZIRCONIUM)
    factor = 72500 / (370e6 * 2 ** (-(5 * 24 + 1) * 3600 / ZIRCONIUM))
    assert_suv(series(tmp_path, given), factor)


def test_a_dose_corrected_to_the_injection_needs_neither_times_nor_a_half_life(tmp_path: Path) -> None:
    given = dose(RadionuclideHalfLife=None, RadiopharmaceuticalStartTime=None)
    assert_suv(series(tmp_path, given, DecayCorrection="ADMIN"), 72500 / 370e6)


def test_suvs_of_the_scanner_keep_their_kind(tmp_path: Path) -> None:
    ready = scan(series(tmp_path / "g", Units="GML", SUVType="LBM"))
    assert [one.code for one in ready.problems] == ["no-suv"] and "LBM" in ready.problems[0].message
    assert ready.facts["units"] == "g/ml LBM"
    assert scan(series(tmp_path / "h", Units="GML", SUVType="BW")).facts["units"] == "g/ml"

    def mixed(k: int, slice_: Dataset) -> None:
        slice_.Units = "BQML" if k else "GML"

    assert "different values of Units" in scan(series(tmp_path / "m", edit=mixed)).problems[0].message


def philips(creator: str = "Philips PET Private Group", **elements: float) -> Any:
    def edit(_: int, slice_: Dataset) -> None:
        block = slice_.private_block(0x7053, creator, create=True)
        for name, value in elements.items():
            block.add_new(int(name[1:], 16), "DS", str(value))

    return edit


def test_counts_use_the_factor_of_the_scanner(tmp_path: Path) -> None:
    assert_suv(series(tmp_path / "a", Units="CNTS", edit=philips(x00=0.00125, x09=0.7)), 0.00125)
    expected = 0.7 * 72500 / (370e6 * 2 ** (-3600 / 6586.2))
    assert_suv(series(tmp_path / "b", Units="CNTS", edit=philips(x09=0.7)), expected)
    stranger = scan(series(tmp_path / "c", Units="CNTS", edit=philips("SOMEBODY ELSE", x00=0.00125)))
    assert [one.code for one in stranger.problems] == ["no-suv"]

    def uneven(k: int, slice_: Dataset) -> None:
        philips(x00=0.001 * (1 + k))(k, slice_)

    assert "different factors" in scan(series(tmp_path / "d", Units="CNTS", edit=uneven)).problems[0].message


@pytest.mark.parametrize(
    ("given", "changes", "name"),
    [
        ({}, {"PatientWeight": None}, "PatientWeight"),
        ({}, {"PatientWeight": 0}, "PatientWeight"),
        ({"RadionuclideTotalDose": None}, {}, "RadionuclideTotalDose"),
        ({"RadionuclideHalfLife": 0}, {}, "RadionuclideHalfLife"),
        ({"RadiopharmaceuticalStartTime": None}, {}, "RadiopharmaceuticalStartTime"),
        ({"RadiopharmaceuticalStartDateTime": "20190101110000"}, {}, "times of the injection"),
        ({}, {"DecayCorrection": "NONE"}, "DecayCorrection"),
        ({}, {"CorrectedImage": ["DECY"]}, "attenuation"),
        ({}, {"CorrectedImage": None}, "attenuation"),
        ({}, {"RadiopharmaceuticalInformationSequence": None}, "RadiopharmaceuticalInformationSequence"),
        ({}, {"Units": "CNTS"}, "(7053,1000)"),
        ({}, {"Units": None}, "Units"),
        ({STARTED: "20200101110000.00+0000", START: None}, {}, "zone"),
        ({STARTED: "20200101100000.00+0000"}, {}, "zone"),
        ({STARTED: "20200101100000"}, {}, "do not agree"),
        ({STARTED: "20200101110000+0000"}, {ZONE: "+0100"}, "do not agree"),
        ({"RadionuclideHalfLife": ZIRCONIUM}, {}, "may be any of several"),
        ({"RadionuclideHalfLife": None}, {}, "RadionuclideHalfLife"),
        ({"RadionuclideHalfLife": 1.83}, {}, "times of the injection"),
        ({"RadionuclideTotalDose": 370.0}, {}, "becquerel"),
        ({START: "123000"}, {}, "times of the injection"),
        ({STARTED: "20200101123000", START: None}, {}, "times of the injection"),
        ({}, {"Units": "PROPCPS"}, "PROPCPS"),
    ],
)
def test_what_is_missing_is_named_and_the_values_stay(
    tmp_path: Path, given: dict[str, Any], changes: dict[str, Any], name: str
) -> None:
    item = scan(series(tmp_path, dose(**given), **changes))
    assert [(one.code, one.severity) for one in item.problems] == [("no-suv", "warning")]
    assert name in item.problems[0].message
    np.testing.assert_allclose(DicomReader().read(item).array, in_file(), rtol=1e-6)


def test_the_stored_units_are_kept_on_demand(tmp_path: Path) -> None:
    files = series(tmp_path)
    item = scan(files, pet="stored")
    assert item.problems == () and item.facts["units"] == "BQML"
    np.testing.assert_allclose(DicomReader(DicomOptions(pet="stored")).read(item).array, in_file(), rtol=1e-6)
    ready = scan(series(tmp_path / "g", Units="GML"))
    assert ready.problems == () and ready.facts["units"] == "g/ml"
    np.testing.assert_allclose(DicomReader().read(ready).array, in_file(), rtol=1e-6)


def test_the_padding_value_is_scaled_with_the_image(tmp_path: Path) -> None:
    item = scan(series(tmp_path, edit=lambda k, slice_: setattr(slice_, "RescaleSlope", 2), PixelPaddingValue=0))
    assert item.facts["padding"] == 0.0
    kept = make_series(tmp_path / "ct", ARRAY, AFFINE, RescaleIntercept=-1024, PixelPaddingValue=-2000)
    assert scan(kept).facts["padding"] == -3024.0
